"""The stores of a running gateway: chosen by the server file, and no request fails for them."""

from __future__ import annotations

import asyncio
import builtins
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from engine.errors import ConfigError
from engine.options import Secret
from engine.shell.settings import RedisServer, Settings
from engine.shell.store_memory import MemoryStore
from engine.shell.stores import open_stores
from tests.kit import FakeClock, Notes
from tests.security.stage import Echo, Staged, staged
from tests.shell.redis_server import RedisServer as Server
from tests.shell.redis_server import need_redis

ADMIN = {"Authorization": "Bearer admin-key-of-the-stores"}
ROUTE = """
version: 1
base_url: %URL%
models: [talk]
session: { key: [req.user], history: server, state: { chat: "{{ uuid4() }}" } }
request:
  path: /talk
  json: { chat: "{{ session.chat }}", messages: "{{ req.messages | as_openai }}" }
response: { events: [ { text: '$.choices[0].message.content' } ] }
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    need_redis()
    server = Server(tmp_path, password="a-password-of-redis-1")
    server.start()
    yield server
    server.kill()


def overrides(server: Server, **more: object) -> dict[str, object]:
    return {
        "store": "redis",
        "redis.url": server.url,
        "admin.key": "admin-key-of-the-stores",
        **more,
    }


async def talk(stage: Staged, words: str = "hi", user: str = "u") -> str:
    """One turn of a conversation; the chat it went to."""
    status, text = await stage.ask("talk", words, user=user)
    assert status == 200, text
    return str(stage.echo.asked[-1].json["chat"])


async def health(stage: Staged) -> dict[str, Any]:
    _, text = await stage.call("GET", "/admin/stores", headers=ADMIN)
    (found,) = json.loads(text.partition("\n\n")[2])["stores"]
    return dict(found)


async def metric(stage: Staged, name: str) -> float:
    _, text = await stage.call("GET", "/metrics")
    return sum(float(line.rpartition(" ")[2]) for line in text.split("\n") if line.startswith(name))


# ---- which ones ----


def opened(**given: Any) -> Any:
    return open_stores(Settings(**given), FakeClock(), Notes())


@pytest.mark.rows("FL-07")
async def test_the_server_file_chooses(tmp_path: Path) -> None:
    state = str(tmp_path)
    memory, sqlite = opened(state=state), opened(state=state, store="sqlite")
    assert isinstance(memory.passing, MemoryStore)
    assert memory.durable is memory.guard
    assert sqlite.passing is sqlite.durable is sqlite.guard
    assert not memory.shared
    shared = opened(store="redis", redis=RedisServer(url=Secret("redis://r.example")))
    assert shared.passing is shared.durable is shared.guard
    assert (shared.shared, shared.guard.name) == (True, "redis")
    for stores in (memory, sqlite, shared):
        await stores.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("given", "module", "extra"),
    [
        ({"store": "redis", "redis": RedisServer(url=Secret("redis://r"))}, "store_redis", "redis"),
        ({"state_key": [Secret(Fernet.generate_key().decode())]}, "sealed", "crypto"),
    ],
)
def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], module: str, extra: str
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name == module:
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError) as told:
        opened(**given)
    (problem,) = told.value.problems
    assert problem.code == "E607"
    assert f"penstock[{extra}]" in problem.message


@pytest.mark.parametrize("more", ["/0?what=sesame-open-door", "/0?socket_timeout=sesame-open-door"])
def test_a_url_with_unknown_parts_is_told_at_the_start_and_not_shown(more: str) -> None:
    with pytest.raises(ConfigError) as told:
        opened(store="redis", redis=RedisServer(url=Secret(f"redis://r.example{more}")))
    assert [problem.code for problem in told.value.problems] == ["E604"]
    assert "sesame" not in str(told.value)


async def test_with_a_key_nothing_of_a_conversation_lies_in_the_file_readably(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Fernet.generate_key().decode()
    given: dict[str, object] = {"store": "sqlite", "state_key": key}
    run = partial(staged, tmp_path, monkeypatch, {"talk": ROUTE}, overrides=given, echo=Echo())
    async with run() as stage:
        first = await talk(stage, "words that nobody else may read")
    path = tmp_path / "state" / "penstock.db"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    whole = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"nobody else" not in whole
    assert first.encode() not in whole
    async with run() as stage:
        assert await talk(stage) == first
        assert "nobody else" in json.dumps(stage.echo.asked[-1].json)


async def test_with_a_wrong_key_a_conversation_begins_anew_and_the_log_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chats, echo = list[str](), Echo()
    run = partial(staged, tmp_path, monkeypatch, {"talk": ROUTE}, echo=echo)
    for _ in range(2):
        given = {"store": "sqlite", "state_key": Fernet.generate_key().decode()}
        async with run(overrides=given) as stage:
            chats += [await talk(stage), await talk(stage)]
    assert chats[0] == chats[1] != chats[2] == chats[3]
    lines = [line for line in stage.written.getvalue().split(b"\n") if b"unreadable" in line]
    assert len(lines) == 1
    with sqlite3.connect(tmp_path / "state" / "penstock.db") as db:
        assert db.execute("SELECT count(*) FROM entries").fetchone() == (1,)
    db.close()


# ---- a server that fails ----


@pytest.mark.rows("AB-3")
async def test_replicas_share_a_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    given = overrides(server)
    async with staged(tmp_path / "a", monkeypatch, {"talk": ROUTE}, overrides=given) as one:
        same = {"talk": ROUTE.replace("%URL%", one.echo.url)}
        async with staged(tmp_path / "b", monkeypatch, same, overrides=given) as other:
            other.echo = one.echo
            assert await talk(one, "first") == await talk(other, "second")
        said = [m["content"] for m in one.echo.asked[-1].json["messages"]]
    assert said == ["first", "fine", "second"]


@pytest.mark.parametrize("how", ["frozen", "killed"])
async def test_no_request_fails_and_few_wait_while_the_server_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server, how: str
) -> None:
    given = overrides(server)
    async with staged(tmp_path, monkeypatch, {"talk": ROUTE}, overrides=given) as stage:
        chat = await talk(stage)
        (server.pause if how == "frozen" else server.kill)()
        for number in range(4):  # each may meet a time limit, until the circuit opens
            await talk(stage, user=f"v{number}")
        assert not (await health(stage))["up"]
        assert await metric(stage, "penstock_store_up") == 0
        assert await metric(stage, "penstock_store_errors_total") >= 3
        meantime = await talk(stage)
        assert await talk(stage) == meantime  # the spare keeps conversations going
        (server.resume if how == "frozen" else server.start)()
        begun = time.monotonic()
        while not (await health(stage))["up"]:
            assert time.monotonic() - begun < 10
            await asyncio.sleep(0.05)
        assert (await talk(stage) == chat) is (how == "frozen")
        assert await metric(stage, "penstock_store_up") == 1
    written = stage.written.getvalue()
    assert written.count(b'"event":"store_state"') == 2
    assert b"a-password-of-redis-1" not in written


@pytest.mark.rows("FL-07")
async def test_a_server_that_is_away_from_the_start_is_told_before_anybody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    server.kill()
    given = overrides(server)
    async with staged(tmp_path, monkeypatch, {"talk": ROUTE}, overrides=given) as stage:
        async with asyncio.timeout(10):
            while b'"event":"store_state"' not in stage.written.getvalue():
                await asyncio.sleep(0.01)
        assert not (await health(stage))["up"]


async def test_a_server_that_is_away_from_the_start_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    server.kill()
    given = overrides(server)
    async with staged(tmp_path, monkeypatch, {"talk": ROUTE}, overrides=given) as stage:
        for number in range(3):
            await talk(stage, user=f"u{number}")
        found = await health(stage)
    assert (found["name"], found["up"]) == ("redis", False)
    assert "redis" in found["why"]
    assert "a-password-of-redis-1" not in json.dumps(found)
