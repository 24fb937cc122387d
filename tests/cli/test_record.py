"""penstock record, as it is run, against services on real sockets."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
import struct
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from click.testing import CliRunner, Result

from engine.cli import main
from engine.masks import forms
from engine.shell.stub import Stub, listening, stub_server
from tests.identity import SECRET, answer, identity
from tests.shell.test_login import CODE
from tests.shell.test_oauth import CLIENT

KEY = "sk-live-Zx81+Qp/47hWc2"
TOKEN = "tok_91b7Kd02"
COOKIE = "c00k1e-Hn7s"
HI = [{"role": "user", "content": "Hi"}]
ROUTE = """\
version: 1
dialect: openai_chat
base_url: SITE/v1
models: [m]
auth: { bearer: "${env:MADE_KEY}" }
retry: { backoff: { initial: 10ms } }
"""
ANSWER = {
    "id": "c1",
    "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}

HERE = Path.cwd()
Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENSTOCK_ROUTES", raising=False)
    monkeypatch.setenv("MADE_KEY", KEY)
    (tmp_path / "routes").mkdir()
    ask(tmp_path)
    return tmp_path


def ask(home: Path, **more: Any) -> None:
    (home / "r.json").write_text(json.dumps({"model": "m", "messages": HI, **more}))


def run(*args: str, verb: str = "record") -> Result:
    return CliRunner().invoke(main, [verb, *args])


async def record(home: Path, handle: Handle, *more: str, route: str = ROUTE) -> Result:
    """`penstock record made` against a service that runs meanwhile."""
    async with listening(handle) as url:
        (home / "routes/made.yaml").write_text(route.replace("SITE", url))
        args = ("made", "--request", "r.json", "-o", "f/f.yaml", *more)
        return await asyncio.to_thread(run, *args)


def answers(*replies: Callable[[], web.Response]) -> Handle:
    """A service that gives these, one after the other."""
    left = list(replies)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return left.pop(0)()

    return handle


def plain(**more: Any) -> Callable[[], web.Response]:
    return lambda: web.json_response(ANSWER, **more)


def pieces(body: bytes, size: int, kind: str) -> Handle:
    """A service that answers in pieces of so many bytes."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        for at in range(0, len(body), size):
            await response.write(body[at : at + size])
            await asyncio.sleep(0.002)
        return response

    return handle


def written(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((home / "f/f.yaml").read_text())
    return found


async def holds(home: Path, result: Result, *secrets: str) -> dict[str, Any]:
    """The fixture; it was replayed by `record` and is by `test`, and no file holds a secret."""
    assert (0, "Replayed: as recorded") == (
        result.exit_code,
        result.output.splitlines()[-1],
    ), result.output
    tried = await asyncio.to_thread(run, "f", verb="test")
    assert (0, "1 fixtures: 1 ok, 0 failed") == (tried.exit_code, tried.output.splitlines()[-1])
    assert [] == leaks(home, *secrets)
    return written(home)


def leaks(home: Path, *secrets: str) -> list[str]:
    files = [path for path in (home / "f").iterdir() if path.is_file()]
    return [
        f"{secret} in {path.name}"
        for path in files
        for secret in secrets
        for form in forms(secret)
        if form in path.read_bytes()
    ]


# ---- what is recorded ----


async def test_a_json_answer_becomes_a_fixture_that_holds(home: Path) -> None:
    result = await record(home, answers(plain()), "--note", "a greeting")
    assert "Recorded f/f.yaml: 1 exchange, 200 stop" == result.output.splitlines()[0]
    found = await holds(home, result, KEY)
    (exchange,) = found["exchanges"]
    assert ("made", "a greeting") == (found["route"], found["note"])
    assert {"model": "m", "messages": HI} == found["client"]["json"]
    assert {"model": "m", "messages": HI} == exchange["expect"]["json"]
    fake = found["env"]["MADE_KEY"]
    assert {"authorization": f"Bearer {fake}"} == exchange["expect"]["headers"]
    assert len(KEY) == len(fake)
    assert json.dumps(ANSWER) == exchange["reply"]["body"]
    assert {"Content-Type": "application/json; charset=utf-8"} == exchange["reply"]["headers"]
    assert {
        "status": 200,
        "text": "Hello",
        "finish": "stop",
        "usage": {"input": 3, "output": 2},
        "upstream_calls": 1,
    } == found["expect"]


async def test_a_stream_keeps_its_bytes_and_its_cuts(home: Path) -> None:
    ask(home, stream=True)
    delta = {"choices": [{"delta": {"content": "Grüße"}, "finish_reason": None}]}
    last = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    frames = [json.dumps(each, ensure_ascii=False) for each in (delta, last)]
    body = "".join(f"data: {frame}\r\n\r\n" for frame in [*frames, "[DONE]"]).encode()
    result = await record(home, pieces(body, 7, "text/event-stream"))
    found = await holds(home, result, KEY)
    reply = found["exchanges"][0]["reply"]
    assert body == (home / "f" / reply["body_file"]).read_bytes()
    assert "Recorded f/f.yaml, with f.1.bin: 1 exchange, 200 stop" == result.output.split("\n")[0]
    offsets = [offset for offset, _ in reply["cuts"]]
    assert sorted(set(offsets)) == offsets
    assert len(body) >= offsets[-1] > len(body) - 20
    assert len(offsets) > 5
    assert "Grüße" == found["expect"]["text"]


async def test_a_login_a_token_and_a_cookie_are_made_up_alike_in_all_exchanges(home: Path) -> None:
    seen: list[web.BaseRequest] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request)
        if request.path == "/login":
            cookie = {"Set-Cookie": f"sid={COOKIE}; Path=/; HttpOnly"}
            return web.json_response({"session": {"token": TOKEN}}, headers=cookie)
        return web.json_response(ANSWER)

    route = (
        ROUTE
        + """\
values:
  token: { request: { url: SITE/login }, extract: [ { json: $.session.token } ] }
  sid: { request: { url: SITE/login }, extract: [ { cookie: sid } ] }
request: { headers: { X-Session: "{{ values.token }}", Cookie: "s={{ values.sid }}" } }
"""
    )
    found = await holds(home, await record(home, handle, route=route), KEY, TOKEN, COOKIE)
    assert (TOKEN, f"s={COOKIE}") == (seen[-1].headers["X-Session"], seen[-1].headers["Cookie"])
    login, _, chat = found["exchanges"]
    fake = json.loads(login["reply"]["body"])["session"]["token"]
    sid = login["reply"]["headers"]["Set-Cookie"].partition(";")[0].removeprefix("sid=")
    assert {
        "authorization": f"Bearer {found['env']['MADE_KEY']}",
        "x-session": fake,
        "cookie": f"s={sid}",
    } == chat["expect"]["headers"]
    assert (len(TOKEN), len(COOKIE)) == (len(fake), len(sid))


async def test_a_failure_and_the_retry_after_it_are_both_recorded(home: Path) -> None:
    busy = {"error": {"message": "too many", "code": "rate_limited"}}
    handle = answers(
        lambda: web.json_response(busy, status=429, headers={"Retry-After": "1"}), plain()
    )
    found = await holds(home, await record(home, handle), KEY)
    assert [429, 200] == [each["reply"]["status"] for each in found["exchanges"]]
    assert "1" == found["exchanges"][0]["reply"]["headers"]["Retry-After"]
    assert 2 == found["expect"]["upstream_calls"]


async def test_lines_that_are_no_text_stand_beside_the_fixture(home: Path) -> None:
    ask(home, stream=True)
    body = b'{"word":"a"}\n{"word":"\xff\xfe"}\n{"word":"b"}\n{"end":true}\n'
    route = """\
version: 1
base_url: SITE
models: [m]
request: { path: /ask, json: { q: "{{ req.prompt }}" }, headers: { X-Api-Key: "${env:MADE_KEY}" } }
stream:
  format: ndjson
  events:
    - { match: { end: true }, finish: stop }
    - { text: $.word }
"""
    result = await record(home, pieces(body, 5, "application/x-ndjson"), route=route)
    found = await holds(home, result, KEY)
    assert body.startswith((home / "f/f.1.bin").read_bytes())  # as far as it was read
    assert b"\xff\xfe" in (home / "f/f.1.bin").read_bytes()
    assert {
        "status": 200,
        "text": "a",
        "error": {"class": "retryable", "message": "the upstream sent a frame that is not JSON"},
        "upstream_calls": 1,
    } == found["expect"]


async def test_a_request_that_fails_is_recorded_as_it_failed(home: Path) -> None:
    wrong = {"error": {"message": f"no such key {KEY}", "code": "bad_key"}}
    handle = answers(lambda: web.json_response(wrong, status=401))
    result = await record(home, handle)
    found = await holds(home, result, KEY)
    assert 1 == len(found["exchanges"])
    assert found["expect"]["status"] >= 400
    assert "auth" in found["expect"]["error"]["class"]
    assert KEY not in result.output


async def test_what_another_replay_sends_otherwise_has_a_matcher(home: Path) -> None:
    patch = """\
request:
  patch:
    - set: { id: "{{ uuid4() }}", at: "{{ now_ms() }}", sure: "yes" }
"""
    found = await holds(home, await record(home, answers(plain()), route=ROUTE + patch), KEY)
    sent = found["exchanges"][0]["expect"]["json"]
    assert ("«uuid»", "«any»", "yes") == (sent["id"], sent["at"], sent["sure"])


async def test_a_packed_answer_is_recorded_unpacked(home: Path) -> None:
    def packed() -> web.Response:
        return web.Response(
            body=gzip.compress(json.dumps(ANSWER).encode()),
            headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
        )

    found = await holds(home, await record(home, answers(packed)), KEY)
    assert json.dumps(ANSWER) == found["exchanges"][0]["reply"]["body"]
    assert {"Content-Type": "application/json"} == found["exchanges"][0]["reply"]["headers"]


async def test_accounts_come_along_with_made_up_keys(home: Path) -> None:
    (home / "routes/keys.txt").write_text("first-key-51\nother-key-62\n")
    route = ROUTE.replace(
        'auth: { bearer: "${env:MADE_KEY}" }',
        'auth: { from: { file: keys.txt }, bearer: "{{ account.key }}" }',
    )
    result = await record(home, answers(plain()), route=route)
    found = await holds(home, result, "first-key-51", "other-key-62")
    fakes = found["files"]["keys.txt"].split()
    used = found["exchanges"][0]["expect"]["headers"]["authorization"].removeprefix("Bearer ")
    assert (2, True) == (len(set(fakes)), used in fakes)


async def test_a_key_that_stands_in_the_route_is_made_up_and_not_expected(home: Path) -> None:
    route = ROUTE.replace(
        'auth: { bearer: "${env:MADE_KEY}" }',
        'auth: { from: { inline: { key: literal-key-77 } }, bearer: "{{ account.key }}" }',
    )
    echo = {**ANSWER, "sent": "literal-key-77"}
    result = await record(home, answers(lambda: web.json_response(echo)), route=route)
    found = await holds(home, result, "literal-key-77")
    assert {"authorization": "«any»"} == found["exchanges"][0]["expect"]["headers"]


async def test_the_key_of_a_client_is_made_up_where_it_is_passed_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", "client-key-99")
    route = ROUTE.replace(
        'auth: { bearer: "${env:MADE_KEY}" }',
        'auth: { from: { client_key: true }, bearer: "{{ account.key }}" }',
    )
    result = await record(home, answers(plain()), "--key-from", "MINE", route=route)
    found = await holds(home, result, "client-key-99")
    sent = found["exchanges"][0]["expect"]["headers"]["authorization"]
    assert {"Authorization": sent} == found["client"]["headers"]
    missing = await record(home, answers(), "--key-from", "NONE", "--force", route=route)
    assert (2, "penstock record: environment variable `NONE` is not set\n") == (
        missing.exit_code,
        missing.output,
    )


async def test_a_large_body_stands_beside_the_fixture(home: Path) -> None:
    told = {**ANSWER, "pad": "x" * 40_000}
    result = await record(home, answers(lambda: web.json_response(told)))
    await holds(home, result, KEY)
    assert json.dumps(told) == (home / "f/f.1.bin").read_text()


async def test_what_nothing_could_read_again_is_not_written(home: Path) -> None:
    ask(home, messages=[{"role": "user", "content": "word " * 60_000}])
    result = await record(home, answers(plain()))
    message = (
        "penstock record: nothing is written: f.yaml would be larger than 256 KiB, and nothing "
        "would read it; there were 1 exchanges\n"
    )
    assert (1, message) == (result.exit_code, result.output)
    assert not (home / "f").exists()


async def test_a_route_may_be_named_by_its_file(home: Path) -> None:
    async with listening(answers(plain())) as url:
        (home / "elsewhere").mkdir()
        (home / "elsewhere/made.yaml").write_text(ROUTE.replace("SITE", url))
        args = ("elsewhere/made.yaml", "--request", "r.json", "-o", "f/f.yaml")
        result = await asyncio.to_thread(run, *args)
    assert "../elsewhere/made.yaml" == (await holds(home, result, KEY))["route"]


async def test_so_named_it_is_replayed_before_the_folder_of_the_fixture_is_there(
    home: Path,
) -> None:
    patch = 'request: { patch: [ { set: { id: "{{ uuid4() }}" } } ] }\n'
    async with listening(answers(plain())) as url:
        (home / "made.yaml").write_text(ROUTE.replace("SITE", url) + patch)
        args = ("made.yaml", "--request", "r.json", "-o", "f/f.yaml")
        result = await asyncio.to_thread(run, *args)
    found = await holds(home, result, KEY)
    assert "«uuid»" == found["exchanges"][0]["expect"]["json"]["id"]


async def test_a_client_of_another_dialect_says_where_it_sends(home: Path) -> None:
    (home / "r.json").write_text(json.dumps({"contents": [{"parts": [{"text": "Hi"}]}]}))
    path = "/v1beta/models/m:generateContent"
    result = await record(home, answers(plain()), "--dialect", "gemini", "--path", path)
    assert path == (await holds(home, result, KEY))["client"]["path"]


async def test_an_address_and_a_model_may_come_from_outside(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = ROUTE.replace("base_url: SITE/v1", 'base_url: "${env:WHERE}/v1"')
    (home / "routes/made.yaml").write_text(route.replace("models: [m]", 'models: ["${env:MODEL}"]'))
    ask(home, model="a-model-name")
    monkeypatch.setenv("MODEL", "a-model-name")
    async with listening(answers(plain())) as url:
        monkeypatch.setenv("WHERE", url)
        result = await asyncio.to_thread(run, "made", "--request", "r.json", "-o", "f/f.yaml")
    await holds(home, result, KEY, url, "a-model-name")


def pair(access: str, refresh: str) -> tuple[int, Any, dict[str, str]]:
    return answer(
        {
            "access_token": access, "refresh_token": refresh, "token_type": "bearer",
            "expires_in": 3600,
        }
    )  # fmt: skip


async def test_a_client_that_logs_in_by_itself(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    async with identity() as service:
        service.next, service.good = [pair("access-77-xy", "refresh-88-xy")], {"access-77-xy"}
        (home / "routes/made.yaml").write_text(CLIENT.replace("URL", service.url))
        result = await asyncio.to_thread(run, "made", "--request", "r.json", "-o", "f/f.yaml")
    found = await holds(home, result, SECRET, "access-77-xy", "refresh-88-xy")
    login, chat = found["exchanges"]
    token = json.loads(login["reply"]["body"])["access_token"]
    assert {"authorization": f"Bearer {token}"} == chat["expect"]["headers"]
    sent = login["expect"]["headers"]["authorization"].removeprefix("Basic ")
    assert f"me:{found['env']['SECRET']}" == base64.b64decode(sent).decode()


async def test_a_login_that_is_there_comes_along_made_up(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    old = {"access_token": "access-11-ab", "refresh_token": "refresh-22-ab", "expires_at": 1}
    async with identity() as service:
        service.next, service.good = [pair("access-77-xy", "refresh-88-xy")], {"access-77-xy"}
        (home / "creds.json").write_text(json.dumps(old))
        text = CODE.replace("URL", service.url).replace("STORE", str(home / "creds.json"))
        (home / "routes/made.yaml").write_text(text)
        result = await asyncio.to_thread(run, "made", "--request", "r.json", "-o", "f/f.yaml")
    secrets = [SECRET, "access-77-xy", "refresh-88-xy", *map(str, list(old.values())[:2])]
    found = await holds(home, result, *secrets)
    fake = found["tokens"]["default"]["refresh_token"]
    assert fake == found["exchanges"][1]["expect"]["form"]["refresh_token"]
    assert "refresh-88-xy" == json.loads((home / "creds.json").read_text())["refresh_token"]


async def test_a_conversation_over_a_websocket_is_recorded_as_it_was_played(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = HERE / "tests/fixtures/websocket-chat/answer.yaml"
    client = yaml.safe_load(played.read_text())["client"]["json"]
    (home / "r.json").write_text(json.dumps(client))
    monkeypatch.setenv("WEBSOCKET_CHAT_TOKENS", "token-of-ann-0001")
    async with stub_server(Stub([played])) as url:
        monkeypatch.setenv("WEBSOCKET_CHAT_BASE_URL", url)
        args = ("websocket-chat", "--request", "r.json", "-o", "f/f.yaml")
        result = await asyncio.to_thread(run, *args)
    found = await holds(home, result, "token-of-ann-0001", url)
    frames = found["exchanges"][1]["reply"]["frames"]
    assert 2 == sum("expect" in frame for frame in frames[:3])
    assert {"text": "你好！", "reasoning": "They greet."} == {
        name: found["expect"][name] for name in ("text", "reasoning")
    }


async def begun(request: web.BaseRequest) -> web.StreamResponse:
    """A stream that has said half a word."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    delta = {"choices": [{"delta": {"content": "Hel"}}]}
    await response.write(f"data: {json.dumps(delta)}\n\n".encode())
    return response


async def test_an_answer_that_breaks_off_is_recorded_so(home: Path) -> None:
    ask(home, stream=True)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = await begun(request)
        await asyncio.sleep(0.05)
        assert request.transport is not None
        request.transport.abort()
        return response

    found = await holds(home, await record(home, handle), KEY)
    assert "reset" == found["exchanges"][0]["reply"]["end"]
    assert ("Hel", "truncated") == (found["expect"]["text"], found["expect"]["error"]["class"])


async def test_an_answer_that_falls_silent_is_recorded_so(home: Path) -> None:
    ask(home, stream=True)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = await begun(request)
        await asyncio.sleep(30)
        return response

    route = ROUTE + "timeouts: { idle: 300ms }\n"
    found = await holds(home, await record(home, handle, route=route), KEY)
    assert "stall" == found["exchanges"][0]["reply"]["end"]
    assert "Hel" == found["expect"]["text"]
    assert "error" in found["expect"]


# ---- what may not be written ----


async def test_a_key_that_comes_back_coded_is_made_up_in_its_code(home: Path) -> None:
    told = base64.b64encode(f"user:{KEY}!".encode()).decode()
    echo = {**ANSWER, "debug": {"sent": told, "hex": KEY.encode().hex()}}
    handle = answers(lambda: web.json_response(echo))
    found = await holds(home, await record(home, handle), KEY, told)
    debug = json.loads(found["exchanges"][0]["reply"]["body"])["debug"]
    fake = found["env"]["MADE_KEY"]
    assert f"user:{fake}!" == base64.b64decode(debug["sent"]).decode()
    assert fake.encode().hex() == debug["hex"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("sk-proj-0123456789abcdefXYZ", "sk-"),
        ("AKIAIOSFODNN7EXAMPLE", "AKIA"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ456789", "ghp_"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abcdefgh", "eyJ"),
    ],
)
async def test_what_looks_like_a_credential_is_not_written(
    home: Path, text: str, kind: str
) -> None:
    handle = answers(*[lambda: web.json_response({**ANSWER, "other": text})] * 2)
    result = await record(home, handle)
    assert 1 == result.exit_code
    assert (
        "penstock record: nothing is written: f.yaml:LINE would hold what looks like a credential, "
        f"{kind}; --allow {kind} writes it\n"
    ) == re.sub(r":\d+ ", ":LINE ", result.output)
    assert text not in result.output
    assert not (home / "f").exists()
    allowed = await record(home, handle, "--allow", kind)
    assert 0 == allowed.exit_code
    assert text in (home / "f/f.yaml").read_text()


async def test_a_key_in_several_frames_of_an_answer_is_not_written(home: Path) -> None:
    ask(home, stream=True)
    halves = [{"choices": [{"delta": {"content": half}}]} for half in (KEY[:9], KEY[9:])]
    last = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    body = "".join(f"data: {json.dumps(each)}\n\n" for each in [*halves, last]).encode()
    result = await record(home, pieces(body, 50, "text/event-stream"))
    assert (
        "penstock record: nothing is written: the answer has env:MADE_KEY in it, in several pieces"
        == result.output.splitlines()[0]
    )
    assert 1 == result.exit_code
    assert not (home / "f").exists()


async def test_a_key_that_comes_back_coded_twice_is_not_written(home: Path) -> None:
    told = base64.b64encode(base64.b64encode(KEY.encode())).decode()
    result = await record(home, answers(lambda: web.json_response({**ANSWER, "debug": told})))
    assert (
        "penstock record: nothing is written: f.yaml, in base64 or escapes, would hold "
        "env:MADE_KEY; --allow env:MADE_KEY writes it\n"
    ) == result.output
    assert (1, False) == (result.exit_code, (home / "f").exists())


async def test_a_secret_too_short_to_be_told_from_text_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MADE_KEY", "abc")
    result = await record(home, answers(plain(), plain()))
    message = (
        "penstock record: nothing is written: env:MADE_KEY has less than 6 characters and cannot "
        "be told from other text; --allow env:MADE_KEY writes it as it is"
    )
    assert [message] == result.output.splitlines()
    assert 1 == result.exit_code
    allowed = await record(home, answers(plain()), "--allow", "env:MADE_KEY")
    assert {"MADE_KEY": "abc"} == (await holds(home, allowed))["env"]


async def test_a_secret_that_is_a_word_of_the_format_is_not_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MADE_KEY", "exchanges")
    result = await record(home, answers(plain()))
    assert 1 == result.exit_code
    assert "would hold env:MADE_KEY; --allow env:MADE_KEY writes it" in result.output
    assert not (home / "f").exists()


# ---- what goes wrong ----


async def test_a_replay_that_gives_something_else_is_told_and_its_file_kept(home: Path) -> None:
    file = home / "routes/made.yaml"

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        file.write_text(file.read_text() + f'request: {{ headers: {{ X-Was: "{KEY}" }} }}\n')
        file.write_text(file.read_text().replace("models: [m]", "models: [n]"))
        return web.json_response(ANSWER)

    result = await record(home, handle)
    assert [
        "Recorded f/f.yaml: 1 exchange, 200 stop",
        "penstock record: the replay of f/f.yaml gives something else:",
        "     exchange 1 never happened: POST URL",
        "     status should be 200, is 404",
        "     text should be 'Hello', is ''",
        "     finish should be 'stop', is ''",
        "     upstream calls should be 1, is 0",
        "     usage input should be 3, is None",
        "     usage output should be 2, is None",
        "     it failed with model_not_found: The model `m` does not exist",
    ] == [re.sub(r"http://\S+", "URL", line) for line in result.output.splitlines()]
    assert (1, []) == (result.exit_code, leaks(home, KEY))


async def test_an_upstream_that_cannot_be_reached_is_nothing_to_replay(home: Path) -> None:
    async with listening(answers()) as url:
        gone = url
    (home / "routes/made.yaml").write_text(ROUTE.replace("SITE", gone))
    result = await asyncio.to_thread(run, "made", "--request", "r.json", "-o", "f.yaml")
    assert (
        "penstock record: nothing is written: nothing came from the upstream: "
        "no connection to the upstream"
    ) == result.output.strip()
    assert (1, False) == (result.exit_code, (home / "f.yaml").exists())


def test_a_route_that_does_not_exist_is_wrong_use(home: Path) -> None:
    (home / "routes/made.yaml").write_text(ROUTE.replace("SITE", "https://a.example"))
    result = run("other", "--request", "r.json", "-o", "f.yaml")
    assert (2, "penstock: no route `other`; there are: made\n") == (
        result.exit_code,
        result.output,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "penstock record: no file r.json"),
        ("{", "penstock record: the request is not JSON: "),
        ("[]", "penstock record: the request is no JSON object"),
    ],
)
def test_a_request_that_is_none_is_wrong_use(home: Path, text: str | None, message: str) -> None:
    (home / "r.json").unlink() if text is None else (home / "r.json").write_text(text)
    result = run("made", "--request", "r.json", "-o", "f.yaml")
    assert (2, message) == (result.exit_code, result.output.strip()[: len(message)])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"model": "m"},
            "penstock record: the request would be refused: messages: expected a list, got nothing",
        ),
        (
            {"model": "n", "messages": HI},
            "penstock record: route made has no model `n`; it offers: m",
        ),
    ],
)
def test_a_request_that_would_be_refused_is_not_sent(
    home: Path, body: dict[str, Any], message: str
) -> None:
    (home / "routes/made.yaml").write_text(ROUTE.replace("SITE", "https://a.example"))
    (home / "r.json").write_text(json.dumps(body))
    result = run("made", "--request", "r.json", "-o", "f.yaml")
    assert (1, message) == (result.exit_code, result.output.strip())


def test_a_variable_that_is_not_set_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MADE_KEY")
    (home / "routes/made.yaml").write_text(ROUTE.replace("SITE", "https://a.example"))
    result = run("made", "--request", "r.json", "-o", "f.yaml")
    assert 1 == result.exit_code
    assert (
        "routes/made.yaml:5:17: error E201: environment variable `MADE_KEY` is not set"
        == result.output.splitlines()[0]
    )


async def test_a_fixture_that_is_there_is_overwritten_only_by_force(home: Path) -> None:
    (home / "f").mkdir()
    (home / "f/f.yaml").write_text("mine")
    handle = answers(plain())
    refused = await record(home, handle)
    assert (2, "penstock record: f/f.yaml is there already; --force overwrites it\n") == (
        refused.exit_code,
        refused.output,
    )
    assert "mine" == (home / "f/f.yaml").read_text()
    await holds(home, await record(home, handle, "--force"), KEY)


async def test_a_place_that_cannot_be_written_is_named(home: Path) -> None:
    (home / "f").write_text("a file")
    result = await record(home, answers(plain()))
    assert (2, "penstock record: cannot write f/f.yaml: File exists\n") == (
        result.exit_code,
        result.output,
    )


# ---- frames with lengths ----

AWS = """\
version: 1
base_url: SITE
models: [m]
auth: { bearer: "${env:MADE_KEY}" }
request: { path: /chat, json: { q: "{{ req.prompt }}" } }
stream:
  format: aws_eventstream
  use: always
  events:
    - { event: chunk, text: $.text }
    - { event: end, finish: stop }
"""


def aws_frame(event: str, payload: dict[str, Any]) -> bytes:
    text, data = event.encode(), json.dumps(payload).encode()
    headers = b"\x0b:event-type\x07" + struct.pack(">H", len(text)) + text
    prelude = struct.pack(">II", 16 + len(headers) + len(data), len(headers))
    made = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + data
    return made + struct.pack(">I", zlib.crc32(made))


async def test_a_key_inside_of_frames_with_checksums_is_made_up_and_they_fit(home: Path) -> None:
    ask(home, stream=True)
    body = aws_frame("chunk", {"text": "Hello", "for": KEY}) + aws_frame("end", {})
    kind = "application/vnd.amazon.eventstream"
    result = await record(home, pieces(body, 20, kind), route=AWS)
    found = await holds(home, result, KEY)
    raw = (home / "f" / found["exchanges"][0]["reply"]["body_file"]).read_bytes()
    assert (len(body), found["env"]["MADE_KEY"].encode() in raw) == (len(raw), True)
    assert "Hello" == found["expect"]["text"]


async def test_a_credential_in_a_packed_frame_is_not_written(home: Path) -> None:
    ask(home, stream=True)
    payload = gzip.compress(json.dumps({"text": "Hello", "k": "AKIAIOSFODNN7EXAMPLE"}).encode())
    body = b"\x01" + struct.pack(">I", len(payload)) + payload
    route = AWS.replace("aws_eventstream", "{ frames: { flags: true } }").replace("chunk", "'0'")
    result = await record(home, pieces(body, 500, "application/connect+json"), route=route)
    assert 1 == result.exit_code
    assert "a frame of f.1.bin would hold AKIA" in result.output


# ---- what nobody told of ----


async def test_an_address_and_a_text_drawn_by_chance_stop_the_writer(home: Path) -> None:
    told = {**ANSWER, "owner": "ann@corp-mail.de", "ticket": "xK9vQ2mZ7pLw4RtY8sBn3HdF"}
    handle = answers(*[lambda: web.json_response(told)] * 3)
    first = await record(home, handle)
    assert "what looks like a credential, e-mail; --allow e-mail writes it" in first.output
    second = await record(home, handle, "--allow", "e-mail")
    assert "entropy:ticket; --allow entropy:ticket writes it" in second.output
    third = await record(home, handle, "--allow", "ann@*", "--allow", "entropy:*")
    assert 0 == third.exit_code, third.output


# ---- made-up texts ----

SECRETIVE = "Please call Ann Miller about Zürich, 你好吗"


async def test_texts_are_made_up_in_request_answer_and_expectations(home: Path) -> None:
    ask(home, stream=True, messages=[{"role": "user", "content": SECRETIVE}])
    told = "Of course: Frau Müller wohnt in 东京 now."
    parts = [told[at : at + 4] for at in range(0, len(told), 4)]
    chunks: list[Any] = [
        {"choices": [{"delta": {"content": part}, "finish_reason": None}]} for part in parts
    ]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    body = "".join(f"data: {json.dumps(each, ensure_ascii=False)}\n\n" for each in chunks)
    raw = (body + "data: [DONE]\n\n").encode()
    result = await record(home, pieces(raw, 30, "text/event-stream"), "--synthetic-text")
    found = await holds(home, result, KEY)
    files = b"".join(path.read_bytes() for path in (home / "f").iterdir())
    for word in ("Ann", "Miller", "Zürich", "你好", "course", "Frau", "Müller", "wohnt", "东京"):
        assert word.encode() not in files
    (exchange,) = found["exchanges"]
    said = found["client"]["json"]["messages"][0]["content"]
    assert said == exchange["expect"]["json"]["messages"][0]["content"]
    assert (len(SECRETIVE), len(SECRETIVE.encode())) == (len(said), len(said.encode()))
    assert (len(told), len(told.encode())) == (
        len(found["expect"]["text"]),
        len(found["expect"]["text"].encode()),
    )
    assert 5 < len(exchange["reply"]["cuts"])
    assert {"authorization": f"Bearer {found['env']['MADE_KEY']}"} == exchange["expect"]["headers"]


async def test_texts_in_frames_with_checksums_are_made_up(home: Path) -> None:
    ask(home, stream=True)
    told = "The secret plan is to leave."
    body = aws_frame("chunk", {"text": told}) + aws_frame("end", {})
    handle = pieces(body, 20, "application/vnd.amazon.eventstream")
    found = await holds(home, await record(home, handle, "--synthetic-text", route=AWS), KEY)
    assert (len(told), True) == (len(found["expect"]["text"]), found["expect"]["text"] != told)


async def test_a_text_that_would_be_left_stops_the_writer(home: Path) -> None:
    ask(home, messages=[{"role": "user", "content": SECRETIVE}])
    refusal = {"error": {"message": f"this is not allowed: {SECRETIVE}"}}
    handle = answers(lambda: web.json_response(refusal, status=400))
    result = await record(home, handle, "--synthetic-text")
    assert (1, False) == (result.exit_code, (home / "f").exists())
    assert "a text would still be in f.yaml, where it was not expected" in result.output
    assert "Miller" not in result.output
