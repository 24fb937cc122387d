"""A Secret cannot be printed by accident, and what stores know of secrets stays with them."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import pprint
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from cryptography.fernet import Fernet

from engine.errors import ExchangeError
from engine.kept.sessions import Session
from engine.kept.values import Entry, Place
from engine.kept.wishes import Slot, Wish
from engine.masks import forms
from engine.options import Secret
from engine.ports import Line
from engine.route.values import Found
from engine.shell.log import Logger, take_over
from engine.shell.metrics import Metrics
from engine.shell.metrics_page import render
from engine.shell.report import Reporter
from engine.shell.settings import RedisServer, Settings
from engine.shell.store_memory import MemoryStore
from engine.wire import dumps
from tests.security.stage import Echo, Received, staged
from tests.shell.redis_server import RedisServer as Server
from tests.shell.redis_server import need_redis

TEXT = "hunter2-hunter2-hunter2"
SECRET = Secret(TEXT, "env:KEY")


def hidden(shown: object) -> bool:
    """Whether the text is in there in no form."""
    data = shown if isinstance(shown, bytes) else str(shown).encode("utf-8", "replace")
    return not any(form in data for form in forms(TEXT))


@dataclasses.dataclass
class Holder:
    secret: Secret
    inner: dict[str, list[Secret]]


WAYS: dict[str, Callable[[], object]] = {
    "repr": lambda: repr(SECRET),
    "str": lambda: str(SECRET),
    "ascii": lambda: ascii(SECRET),
    "f-string": lambda: f"{SECRET} {SECRET!r} {SECRET!s:>40} {SECRET:^30}",
    "format": lambda: f"{SECRET} {SECRET!r} {SECRET:20}",
    "percent": lambda: "%s %r %a" % (SECRET, SECRET, SECRET),  # noqa: UP031
    "in a container": lambda: str([{"a": (SECRET,)}, {SECRET}]),
    "pprint": lambda: pprint.pformat({"a": [SECRET] * 20}),
    "of a dataclass": lambda: Holder(SECRET, {"a": [SECRET]}),
    "asdict": lambda: dataclasses.asdict(Holder(SECRET, {"a": [SECRET]})),
    "json with a default": lambda: json.dumps({"a": SECRET}, default=str),
    "orjson with a default": lambda: orjson.dumps({"a": SECRET}, default=str),
    "an exception": lambda: repr(ExchangeError("fatal", f"no {SECRET}")) + str(KeyError(SECRET)),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_of_printing_shows_it(way: str) -> None:
    shown = str(WAYS[way]())
    assert hidden(shown)
    assert "env:KEY" in shown


REFUSED: dict[str, Callable[[Any], object]] = {
    "json": lambda secret: json.dumps([secret]),
    "orjson": lambda secret: orjson.dumps([secret]),
    "our own": lambda secret: dumps({"a": secret}),
    "vars": vars,
    "iteration": list,
    "length": len,
    "joining": lambda secret: "".join([secret]),
    "adding": lambda secret: "Bearer " + secret,
    "bytes": bytes,
    "number": lambda secret: "%d" % secret,  # noqa: UP031
    "index": lambda secret: secret[0],
}


@pytest.mark.parametrize("way", REFUSED)
def test_what_would_take_the_text_is_refused_without_showing_it(way: str) -> None:
    with pytest.raises((TypeError, ValueError)) as told:
        REFUSED[way](SECRET)
    assert hidden(told.value)


def test_a_traceback_with_its_variables_does_not_show_it() -> None:
    def fail(secret: Secret) -> None:
        held = {"key": secret}
        raise ValueError(held)

    try:
        fail(SECRET)
    except ValueError as error:
        whole = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert hidden("".join(whole.format()))


def test_what_holds_secrets_as_text_does_not_print_it() -> None:
    found = Found(TEXT, 5.0)
    route: Any = None
    env: dict[str, object] = {"values": {"v": TEXT}}
    holders = [
        found,
        Found({"a": TEXT}),
        Slot(found=found, kept=TEXT, refused={"a": TEXT}),
        Wish(route, route, env, Line(proxy=f"http://u:{TEXT}@p"), {}),
        Entry(TEXT.encode(), found),
        Place(MemoryStore(lambda: 0.0), "k", {"values": {"a": TEXT}}),
        Session("k", {"a": TEXT}),
        Settings(state_key=[SECRET], redis=RedisServer(url=SECRET)),
    ]
    for holder in holders:
        assert hidden(repr(holder)), type(holder)


# ---- the log and the metrics ----


def test_the_log_at_debug_shows_no_secret_whatever_it_is_given() -> None:
    out = io.BytesIO()
    logger = Logger(lambda: 0.0, level="debug", format="json", stream=out)
    logger.redactor.add(SECRET)
    take_over(logger)
    library = logging.getLogger("some.library")
    library.error("with %s and %r", SECRET, TEXT)
    library.error("args that do not fit %d", SECRET)
    try:
        raise ValueError(TEXT)
    except ValueError as error:
        library.exception("failed")
        Reporter(logger, Metrics(), lambda: 0.0, lambda: 0.0).saw("crash", error=error, path="/x")
    logger.debug("odd", secret=SECRET, text=TEXT, inside={"a": [SECRET, TEXT]}, raw=TEXT.encode())
    logger.close()
    logging.captureWarnings(False)
    assert out.getvalue().count(b"\n") == 5
    assert hidden(out.getvalue())


def test_the_metrics_have_labels_from_configuration_only() -> None:
    metrics = Metrics()
    reporter = Reporter(Logger(lambda: 0.0, stream=io.BytesIO()), metrics, lambda: 0.0, lambda: 0.0)
    reporter.saw("store_state", store="redis", up=False, lasted=1.0, error=TEXT)
    reporter.saw("store_error", store="values", op="get", error=TEXT)
    reporter.saw("value_fetched", route="r", value="v", result="ok", secrets=[SECRET])
    reporter.saw("value_cleaned", route="r", value="v", result="failed", error=TEXT)
    assert hidden(render(metrics))


# ---- stores ----

ROUTE = """
version: 1
base_url: %URL%
models: [talk]
session: { key: [req.user], persist: true, history: server, state: { mark: "{{ uuid4() }}" } }
values:
  token:
    persist: true
    request: { path: /token }
    extract: [{ json: $.token }]
    refresh_for: [auth_expired]
  chat:
    scope: session
    request: { path: /chat }
    extract: [{ json: $.token }]
    cleanup: { method: DELETE, path: "/chat/{{ values.chat | urlpath }}" }
request:
  path: /talk
  headers: { authorization: "Bearer {{ values.token }}", x-chat: "{{ values.chat }}" }
  json: { prompt: "{{ req.prompt }}" }
response: { events: [ { text: $.text, finish: stop } ] }
errors: { message: $.message, rules: [ { status: 401, as: auth_expired } ] }
"""
FETCHED = "fetched-token-7f3b9a" + TEXT
PASSWORD = "redis-password-9d2c" + TEXT


async def unkind(request: Any, got: Received) -> Any:
    """Repeats every credential that it gets, in an error."""
    from aiohttp import web

    if got.target in ("/token", "/chat"):
        return web.json_response({"token": FETCHED})
    message = f"refused: {got.whole}"
    return web.json_response({"message": message}, status=401 if b"401" in got.body else 200)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    need_redis()
    made = Server(tmp_path, password=PASSWORD)
    made.start()
    yield made
    made.kill()


@pytest.mark.parametrize("store", ["sqlite", "redis"])
async def test_what_stores_keep_is_written_and_answered_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server, store: str
) -> None:
    key = Fernet.generate_key().decode()
    given = {
        "store": store, "redis.url": server.url, "state_key": key,
        "admin.key": "admin-key-of-the-secrets",
    }  # fmt: skip
    told = b""
    echo = Echo(answer=unkind)
    async with staged(tmp_path, monkeypatch, {"talk": ROUTE}, overrides=given, echo=echo) as stage:
        for words in ("hello", "please 401"):
            _, text = await stage.ask("talk", words, user="u")
            told += text.encode()
        assert len(echo.asked) >= 4
        kept = _everything(tmp_path, server)
        server.kill()
        for _ in range(4):
            _, text = await stage.ask("talk", "hello", user="v")
            told += text.encode()
        admin = {"Authorization": "Bearer admin-key-of-the-secrets"}
        for path in ("/admin/stores", "/admin/routes", "/metrics", "/readyz"):
            told += (await stage.call("GET", path, headers=admin))[1].encode()
        told += repr(stage.gateway.stores).encode() + repr(stage.settings).encode()
    written = stage.written.getvalue()
    assert b"value_fetched" in written
    for secret in (FETCHED, PASSWORD, key):
        for form in forms(secret):
            assert form not in written, secret
            assert form not in told, secret
            assert form not in kept, secret


def _everything(tmp_path: Path, server: Server) -> bytes:
    """All bytes that the stores hold."""
    files = (tmp_path / "state").iterdir() if (tmp_path / "state").exists() else ()
    whole = b"".join(path.read_bytes() for path in files)
    with redis.Redis.from_url(server.url) as direct:
        for name in direct.scan_iter():
            whole += bytes(name) + (direct.dump(name) or b"")
    assert whole
    return whole
