"""What `serve --record` keeps: fixtures that hold, without a secret; and what it does not keep."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from engine.dialects import DIALECTS
from engine.masks import SHORTEST, forms
from engine.replay.ablation import loose
from engine.replay.fixtures import FixtureSpec
from engine.shell.app import gateway
from engine.shell.chats import Chats
from engine.shell.keeping import MOST, Keeping
from engine.shell.loopback import Detour, Stage
from engine.shell.settings import load_settings
from engine.shell.shelf import Shelf
from engine.shell.stub import listening, load_fixture
from engine.shell.testing import Bench
from engine.shell.tokens import TokenPlaces
from engine.shell.upstream import AiohttpUpstream
from engine.shell.web import PublicWeb
from tests.cli.test_drift import JOB
from tests.cli.test_record import KEY, ROUTE, pair
from tests.identity import SECRET, identity
from tests.shell.test_login import CODE
from tests.shell.test_recorder import ROUTES, played

TICKET, CLIENT = "t1ck3t-91b7Kd02", "client-key-0817"
VALUES = """\
values:
  ticket:
    request: { url: SITE/login }
    extract: [ { json: $.session.ticket } ]
    refresh_for: [stale]
request: { headers: { X-Ticket: "{{ values.ticket }}" } }
errors: { rules: [ { status: 410, as: stale } ] }
"""
CHUNKS = [
    {"choices": [{"delta": {"content": "Grüße, "}, "finish_reason": None}]},
    {"choices": [{"delta": {"content": "Welt"}, "finish_reason": "stop"}]},
]
STREAM = "".join(
    f"data: {json.dumps(each, ensure_ascii=False)}\n\n" for each in [*CHUNKS, "[DONE]"]
).replace('"[DONE]"', "[DONE]")
ANSWER = {
    "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}
Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass
class Running:
    """A gateway that records."""

    url: str
    home: Path
    log: list[dict[str, Any]]
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = self.home / "kept"

    async def ask(
        self, *, path: str = "/v1/chat/completions", key: str = CLIENT, **more: Any
    ) -> tuple[int, bytes]:
        body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **more}
        headers = {"Authorization": f"Bearer {key}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{self.url}{path}", json=body) as answer,
        ):
            return answer.status, await answer.read()

    async def told(self, count: int = 1) -> list[dict[str, Any]]:
        """The log's lines about recording, once there are so many."""
        for _ in range(1000):
            found = [each for each in self.log if each["event"] in ("recorded", "not_recorded")]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(self.log)

    async def kept(self, count: int = 1) -> list[dict[str, Any]]:
        """The fixtures; they hold, and no file has a secret in it."""
        told = await self.told(count)
        assert ["recorded"] * count == [each["event"] for each in told], told
        files = sorted(self.folder.glob("made/*.yaml"))
        for file in files:
            bench = Bench([self.home / "routes"], depth="quick", http=True)
            assert [] == (await bench.attempt(file)).complaints
        assert [] == self.leaks()
        return [yaml.safe_load(file.read_text()) for file in files]

    def leaks(self) -> list[str]:
        return [
            f"{secret} in {path.name}"
            for path in self.folder.rglob("*")
            if path.is_file()
            for secret in (KEY, TICKET, CLIENT)
            for form in forms(secret)
            if form in path.read_bytes()
        ]


@asynccontextmanager
async def recording(
    home: Path,
    handle: Handle,
    monkeypatch: pytest.MonkeyPatch,
    route: str = ROUTE,
    most: int = MOST,
    allow: frozenset[str] = frozenset(),
    *,
    synthetic: bool = False,
    **routes: str,
) -> AsyncIterator[Running]:
    lines: list[dict[str, Any]] = []
    given = {"listen.port": 0, "clients.auth": "none", "state": str(home / "state")}
    async with listening(handle) as url:
        (home / "routes").mkdir()
        for name, text in {"made": route, **routes}.items():
            (home / f"routes/{name}.yaml").write_text(text.replace("SITE", url))
        shelf = Shelf([home / "routes"], env={"MADE_KEY": KEY, "SHORT": "abc"})
        keeping = Keeping(home / "kept", most, allow, synthetic)
        settings = load_settings(None, {}, {**given, "log.level": "debug"})
        async with gateway(settings, shelf, record=keeping) as gate:
            write = gate.logger.write

            def noting(level: Any, event: str, seen: dict[str, Any], **more: Any) -> None:
                lines.append({"event": event, **seen})
                write(level, event, seen, **more)

            monkeypatch.setattr(gate.logger, "write", noting)
            yield Running(gate.url, home, lines)


def answers(*replies: Callable[[], web.Response]) -> Handle:
    """A service that gives these, one after the other, the last one from then on."""
    left = list(replies)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/login":
            return web.json_response({"session": {"ticket": TICKET}})
        return (left.pop(0) if len(left) > 1 else left[0])()

    return handle


def plain(**more: Any) -> Callable[[], web.Response]:
    return lambda: web.json_response(more.pop("body", ANSWER) if "body" in more else ANSWER, **more)


async def streams(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    raw = STREAM.encode()
    for at in range(0, len(raw), 11):
        await response.write(raw[at : at + 11])
        await asyncio.sleep(0.001)
    return response


# ---- what is kept ----


async def test_a_whole_answer_becomes_a_fixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recording(tmp_path, answers(plain()), monkeypatch) as gate:
        status, _ = await gate.ask(temperature=0.5)
        (found,) = await gate.kept()
    assert (200, "made", 200) == (status, found["route"], found["expect"]["status"])
    assert "Hello" == found["expect"]["text"]
    assert {"input": 3, "output": 2} == found["expect"]["usage"]
    assert 0.5 == found["client"]["json"]["temperature"]
    assert "headers" not in found["client"]
    assert len(KEY) == len(found["env"]["MADE_KEY"])


async def test_a_stream_is_kept_with_its_cuts_and_the_client_gets_it_as_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recording(tmp_path, streams, monkeypatch) as gate:
        _, body = await gate.ask(stream=True)
        (found,) = await gate.kept()
    assert STREAM.encode() == body
    reply = found["exchanges"][0]["reply"]
    assert STREAM == reply["body"]
    assert 5 < len(reply["cuts"])
    assert "Grüße, Welt" == found["expect"]["text"]


async def test_a_client_of_another_dialect_that_names_its_model_in_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/v1beta/models/m:streamGenerateContent?alt=sse&key={CLIENT}"
    async with recording(tmp_path, streams, monkeypatch) as gate:
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{gate.url}{path}", json={"contents": [{"parts": [{"text": "Hi"}]}]}
            ) as answer,
        ):
            assert 200 == answer.status
            await answer.read()
        (found,) = await gate.kept()
    assert "/v1beta/models/m:streamGenerateContent?alt=sse" == found["client"]["path"]
    assert "gemini" == found["client"]["dialect"]


async def test_an_answer_that_is_an_error_is_kept_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = plain(body={"error": {"message": "no such thing"}}, status=400)
    async with recording(tmp_path, answers(refusal), monkeypatch) as gate:
        await gate.ask()
        (found,) = await gate.kept()
    assert (400, "invalid_request") == (
        found["expect"]["status"],
        found["expect"]["error"]["class"],
    )


async def test_a_retry_is_kept_with_what_led_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = plain(body={"error": {"message": "busy"}}, status=503)
    async with recording(tmp_path, answers(busy, plain()), monkeypatch) as gate:
        await gate.ask()
        (found,) = await gate.kept()
    assert [503, 200] == [each["reply"]["status"] for each in found["exchanges"]]


async def test_a_value_that_an_earlier_request_fetched_stands_in_each_fixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recording(tmp_path, answers(plain()), monkeypatch, ROUTE + VALUES) as gate:
        await gate.ask()
        await gate.told()
        await gate.ask()
        found = await gate.kept(2)
    for each in found:
        login, chat = each["exchanges"]
        fake = json.loads(login["reply"]["body"])["session"]["ticket"]
        assert fake == chat["expect"]["headers"]["x-ticket"]
        assert TICKET != fake


async def test_a_value_that_went_stale_is_fetched_again_in_the_fixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = plain(body={"error": {"message": "stale"}}, status=410)
    async with recording(tmp_path, answers(gone, plain()), monkeypatch, ROUTE + VALUES) as gate:
        await gate.ask()
        (found,) = await gate.kept()
    paths = [each["expect"]["url"].rpartition("/")[2] for each in found["exchanges"]]
    assert ["login", "completions", "login", "completions"] == paths


async def test_a_polled_job_is_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter(["waiting", "running", "done"])

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST":
            return web.json_response({"id": "job-17", "state": "waiting"})
        return web.json_response({"id": "job-17", "state": next(states), "said": "Hello"})

    async with recording(tmp_path, handle, monkeypatch, JOB) as gate:
        await gate.ask()
        (found,) = await gate.kept()
    assert ["POST", "GET", "GET", "GET"] == [
        each["expect"]["method"] for each in found["exchanges"]
    ]


PASSING = ROUTE.replace(
    'auth: { bearer: "${env:MADE_KEY}" }',
    'auth: { from: { client_key: true }, bearer: "{{ account.key }}" }',
)


async def test_a_short_key_of_a_client_is_nobodys_where_it_goes_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recording(tmp_path, answers(plain()), monkeypatch) as gate:
        await gate.ask(key="abc")
        (found,) = await gate.kept()
    assert "headers" not in found["client"]


async def test_the_clients_key_is_made_up_where_it_goes_upstream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recording(tmp_path, answers(plain()), monkeypatch, PASSING) as gate:
        await gate.ask()
        (found,) = await gate.kept()
    sent = found["exchanges"][0]["expect"]["headers"]["authorization"]
    assert {"authorization": sent} == {
        name.lower(): value for name, value in found["client"]["headers"].items()
    }


# ---- what is not ----


async def why(gate: Running) -> str:
    (told,) = await gate.told()
    assert "not_recorded" == told["event"]
    assert [] == list(gate.folder.rglob("*.yaml"))
    return str(told["why"])


async def test_a_short_key_that_goes_upstream_cannot_be_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recording(tmp_path, answers(plain()), monkeypatch, PASSING) as gate:
        await gate.ask(key="abc")
        assert (await why(gate)).startswith("client key has less than 6 characters")


async def test_what_its_client_left_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(STREAM.encode()[:100])
        await asyncio.sleep(30)
        return response

    async with recording(tmp_path, handle, monkeypatch) as gate:
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
        async with aiohttp.ClientSession() as session:
            answer = await session.post(f"{gate.url}/v1/chat/completions", json=body)
            await answer.content.read(10)
            answer.close()
        assert "the client left" == await why(gate)


async def test_a_secret_in_a_form_that_nobody_can_replace_stops_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {**ANSWER, "mirror": "".join(f"\\u{ord(char):04x}" for char in KEY)}
    text = json.dumps(told).replace("\\\\u", "\\u")
    async with recording(
        tmp_path, answers(lambda: web.Response(text=text, content_type="application/json")),
        monkeypatch,
    ) as gate:  # fmt: skip
        status, _ = await gate.ask()
        reason = await why(gate)
    assert (200, True) == (status, "would hold env:MADE_KEY" in reason)
    assert KEY not in reason


async def test_what_looks_like_a_credential_stops_the_writer_unless_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {**ANSWER, "note": "AKIA" + "Q7" * 8}
    for name, allow in (("a", frozenset[str]()), ("b", frozenset({"AKIA"}))):
        (tmp_path / name).mkdir()
        handle = answers(plain(body=told))
        async with recording(tmp_path / name, handle, monkeypatch, allow=allow) as gate:
            await gate.ask()
            if allow:
                await gate.kept()
            else:
                assert "what looks like a credential, AKIA" in await why(gate)


async def test_what_another_route_answered_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        good = request.path.startswith("/other")
        return web.json_response(ANSWER if good else {}, status=200 if good else 500)

    other = ROUTE.replace("SITE/v1", "SITE/other").replace("[m]", "[n]")
    route = ROUTE + "fallback: [other]\n"
    async with recording(tmp_path, handle, monkeypatch, route, other=other) as gate:
        assert 200 == (await gate.ask())[0]
        assert "another route took over" == await why(gate)


async def test_what_goes_on_from_an_answer_that_is_kept_here_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recording(tmp_path, answers(plain()), monkeypatch) as gate:
        path, asked = "/v1/responses", {"model": "m", "input": "Hi"}
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{gate.url}{path}", json=asked) as answer:
                ident = (await answer.json())["id"]
            more = {**asked, "previous_response_id": ident}
            async with session.post(f"{gate.url}{path}", json=more) as answer:
                assert 200 == answer.status
        first, second = await gate.told(2)
    assert "recorded" == first["event"]
    assert "it goes on from an answer that is kept here" == second["why"]


async def test_an_answer_beyond_the_bound_is_not_kept_but_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.shell.overhearing.LARGEST", 20_000)
    told = {**ANSWER, "pad": "x" * 30_000}
    async with recording(tmp_path, answers(plain(body=told)), monkeypatch) as gate:
        status, body = await gate.ask()
        assert (200, True) == (status, len(body) > 30_000)
        assert "it is larger than" in await why(gate)


async def test_a_full_folder_ends_the_recording_and_nothing_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recording(tmp_path, answers(plain()), monkeypatch, most=2) as gate:
        for count in (1, 2, 3):
            await gate.ask()
            told = await gate.told(count)
        assert "the folder of the route has 2 fixtures: no more are recorded" == told[-1]["why"]
        await gate.ask()
        assert 2 == len(list(gate.folder.glob("made/*.yaml")))
    assert 3 == len(await gate.told(3))


async def test_a_request_that_asks_no_upstream_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recording(tmp_path, answers(plain()), monkeypatch) as gate:
        assert 404 == (await gate.ask(model="gone"))[0]
        assert 200 == (await gate.ask())[0]
        assert 1 == len(await gate.kept())


async def test_what_is_written_at_the_end_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recording(tmp_path, answers(plain()), monkeypatch) as gate:
        await asyncio.gather(*(gate.ask() for _ in range(6)))
    assert 6 == len(await gate.kept(6))


async def test_texts_are_made_up_where_the_operator_wants_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recording(tmp_path, streams, monkeypatch, synthetic=True) as gate:
        _, body = await gate.ask(stream=True)
        (found,) = await gate.kept()
    assert STREAM.encode() == body
    said = found["expect"]["text"]
    assert (len("Grüße, Welt"), ", ") == (len(said), said[5:7])
    assert "Welt" not in said
    assert "Hi" != found["client"]["json"]["messages"][0]["content"]


# ---- the shipped routes ----


class Led(Detour):
    """The upstream of a gateway, all of whose calls go to one origin."""

    def __init__(self, url: str) -> None:
        self.inner = AiohttpUpstream()
        super().__init__(self.inner, url)

    async def close(self) -> None:
        await self.inner.close()


def endpoint(spec: FixtureSpec) -> str:
    """Where a fixture's client sends its request."""
    assert spec.client is not None
    known = DIALECTS[spec.client.dialect].endpoints.items()
    return spec.client.path or next(path for (_, path), action in known if action == "chat")


def place(file: Path, name: str) -> Path:
    """The file of a fixture's route."""
    if "/" in name:
        return (file.parent / name).resolve()
    places = (folder / f"{name}.yaml" for folder in (ROUTES, ROUTES / "examples"))
    return next(path.resolve() for path in places if path.is_file())


# Of the others the models are listed in forms of their own, or a token ends by the real clock.
KEPT = [
    path
    for path in played()
    if path.parent.name not in ("flowith", "k2think-guest", "openwebui-guest")
]


@pytest.mark.parametrize("file", KEPT, ids=lambda path: path.parent.name)
async def test_what_a_shipped_route_serves_is_kept(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture = load_fixture(file)
    spec = fixture.spec
    folders = [tmp_path / "routes"]
    folders[0].mkdir()
    (folders[0] / f"{Path(spec.route).stem}.yaml").symlink_to(place(file, spec.route))
    given = {"listen.port": 0, "clients.auth": "none", "state": str(tmp_path / "state")}
    settings = load_settings(None, {}, {**given, "log.level": "debug"})
    allow = frozenset(f"env:{name}" for name, text in spec.env.items() if len(text) < SHORTEST)
    assert spec.client is not None
    stage, model = Stage(loose(fixture)), spec.client.json.get("model", "")
    model = model or Path(endpoint(spec)).name.partition(":")[0]

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET" and request.path.endswith(("/models", "/tags")):
            known = {"id": model, "name": model, "model": model, "endpoints": ["chat"]}
            return web.json_response({"data": [known], "models": [known]})
        return await stage.handle(request)

    async with listening(handle) as url:
        monkeypatch.setattr("engine.shell.app.AiohttpUpstream", lambda most: Led(url))
        shelf = Shelf(folders, env=spec.env)
        async with gateway(settings, shelf, record=Keeping(tmp_path / "kept", allow=allow)) as gate:
            running = Running(gate.url, tmp_path, [])
            async with asyncio.timeout(20):
                while gate.models.book.find(model) is None:  # it has to be discovered
                    await asyncio.sleep(0.01)
            async with (
                aiohttp.ClientSession(headers=spec.client.headers) as session,
                session.post(f"{gate.url}{endpoint(spec)}", json=spec.client.json) as answer,
            ):
                status, _ = answer.status, await answer.read()
    assert spec.expect.status == status
    (kept,) = running.folder.rglob("*.yaml")
    trial = await Bench(folders, depth="quick", http=True).attempt(kept)
    assert [] == trial.complaints
    found = load_fixture(kept).spec
    if spec.expect.text is not None:
        assert spec.expect.text == (found.expect.text or "")
    data = b"".join(path.read_bytes() for path in running.folder.rglob("*") if path.is_file())
    secrets = [text for text in spec.env.values() if len(text) >= SHORTEST]
    assert [] == [text for text in secrets for form in forms(text) if form in data]


async def test_a_login_that_a_gateway_has_comes_along_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = (SECRET, "access-77-xy", "refresh-88-xy", "access-11-ab", "refresh-22-ab")
    old = {"access_token": "access-11-ab", "refresh_token": "refresh-22-ab", "expires_at": 1}
    (tmp_path / "creds.json").write_text(json.dumps(old))
    (tmp_path / "routes").mkdir()
    given = {"listen.port": 0, "clients.auth": "none", "state": str(tmp_path / "state")}
    async with identity() as service:
        service.next, service.good = [pair("access-77-xy", "refresh-88-xy")], {"access-77-xy"}
        text = CODE.replace("URL", service.url).replace("STORE", str(tmp_path / "creds.json"))
        (tmp_path / "routes/made.yaml").write_text(text)
        shelf = Shelf([tmp_path / "routes"], env={"SECRET": SECRET})
        keeping = Keeping(tmp_path / "kept")
        async with gateway(load_settings(None, {}, given), shelf, record=keeping) as gate:
            running = Running(gate.url, tmp_path, [])
            for _ in range(2):  # the second one has the token that the first one renewed
                assert 200 == (await running.ask())[0]
    first, second = (yaml.safe_load(path.read_text()) for path in running.folder.rglob("*.yaml"))
    assert "default" in first["tokens"]
    assert "default" in second["tokens"]
    for path in running.folder.rglob("*.yaml"):
        bench = Bench([tmp_path / "routes"], depth="quick", http=True)
        assert [] == (await bench.attempt(path)).complaints
        assert [] == [each for each in secrets for form in forms(each)
                      if form in path.read_bytes()]  # fmt: skip


# ---- on the way ----


async def test_a_client_has_each_piece_before_the_upstream_sends_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived = asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        first, rest = STREAM.encode().split(b"\n\n", 1)
        await response.write(first + b"\n\n")
        async with asyncio.timeout(10):
            await arrived.wait()
        await response.write(rest)
        return response

    async with recording(tmp_path, handle, monkeypatch) as gate:
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{gate.url}/v1/chat/completions", json=body) as answer,
        ):
            assert "Grüße" in (await answer.content.readuntil(b"\n\n")).decode()
            arrived.set()
            await answer.read()
        await gate.kept()


async def test_a_gateway_that_does_not_record_has_the_plain_ports_and_chats(
    tmp_path: Path,
) -> None:
    given = {"listen.port": 0, "clients.auth": "none", "state": str(tmp_path / "state")}
    (tmp_path / "routes").mkdir()
    shelf = Shelf([tmp_path / "routes"], env={})
    async with gateway(load_settings(None, {}, given), shelf) as gate:
        chats = gate.server.chats
        assert (Chats, AiohttpUpstream) == (type(chats), type(chats.ports.upstream))
        assert (PublicWeb, TokenPlaces) == (type(chats.ports.web), type(chats.ports.tokens))
