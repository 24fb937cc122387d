"""penstock drift, as it is run, against services on real sockets that move and that do not."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from click.testing import CliRunner, Result

from engine.cli import main
from engine.masks import forms
from engine.shell.stub import Stub, listening, stub_server

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
KEY = "sk-live-Zx81+Qp/47hWc2"
TICKET = "t1ck3t-91b7Kd02"
ROUTE = """\
version: 1
base_url: SITE
models: [m]
auth: { bearer: "${env:MADE_KEY}" }
retry: { backoff: { initial: 10ms } }
values:
  ticket:
    request: { path: /login }
    extract: [ { json: $.session.ticket } ]
    refresh_for: [stale]
request:
  path: /chat
  headers: { X-Ticket: "{{ values.ticket }}" }
  json: { q: "{{ req.prompt }}" }
stream:
  use: always
  events:
    - match: { kind: word }
      text: $.word
    - match: { kind: count }
      usage: { input: $.n.read, output: $.n.said }
      continue: true
    - match: { kind: end }
      finish: { path: $.why, map: { done: stop } }
    - match: { kind: ping }
      ignore: true
errors:
  rules:
    - { status: 401, as: stale }
"""
CHAT = """\
version: 1
dialect: openai_chat
base_url: SITE
models: [m]
auth: { bearer: "${env:MADE_KEY}" }
retry: { backoff: { initial: 10ms } }
"""
WORDS = [
    {"kind": "word", "word": "Hel", "id": 1},
    {"kind": "ping"},
    {"kind": "word", "word": "lo", "id": 2, "mood": "calm"},
    {"kind": "count", "n": {"read": 3, "said": 2}},
    {"kind": "end", "why": "done"},
]
CHUNKS = [
    {"object": "chunk", "choices": [{"delta": {"content": "Hello"}, "finish_reason": None}]},
    {"object": "chunk", "choices": [{"delta": {}, "finish_reason": "stop"}]},
    {"object": "chunk", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
]


def events(frames: list[Any], done: str = "") -> bytes:
    lines = [f"data: {json.dumps(frame)}\n\n" for frame in frames]
    return "".join([*lines, f"data: {done}\n\n" if done else ""]).encode()


@dataclass
class Service:
    """An upstream that can be moved: each attribute is what it answers now."""

    login: dict[str, Any] = field(default_factory=lambda: {"session": {"ticket": TICKET}})
    frames: list[Any] = field(default_factory=lambda: copy.deepcopy(WORDS))
    done: str = ""
    content: str = "text/event-stream"
    statuses: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path == "/login":
            return web.json_response(self.login)
        if self.statuses and (status := self.statuses.pop(0)) != 200:
            return web.json_response({"error": {"message": f"no {KEY}"}}, status=status)
        return web.Response(
            body=events(self.frames, self.done), headers={"Content-Type": self.content}
        )


def chatting() -> Service:
    return Service(frames=copy.deepcopy(CHUNKS), done="[DONE]")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENSTOCK_ROUTES", raising=False)
    monkeypatch.setenv("MADE_KEY", KEY)
    (tmp_path / "routes").mkdir()
    asked = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    (tmp_path / "r.json").write_text(json.dumps(asked))
    return tmp_path


def run(*args: str) -> Result:
    return CliRunner().invoke(main, list(args))


async def drift(
    home: Path, service: Service, move: Callable[[Service], object], route: str = ROUTE, *more: str
) -> tuple[Result, list[str]]:
    """Record, move the service, and ask again: what came of it, and its lines."""
    async with listening(service.handle) as url:
        (home / "routes/made.yaml").write_text(route.replace("SITE", url))
        args = ("record", "made", "--request", "r.json", "-o", "f/f.yaml", "--force")
        recorded = await asyncio.to_thread(run, *args)
        assert 0 == recorded.exit_code, recorded.output
        move(service)
        result = await asyncio.to_thread(run, "drift", "made", "f/f.yaml", *more)
    assert [] == [form for secret in (KEY, TICKET) for form in forms(secret)
                  if form in result.output.encode()]  # fmt: skip
    assert "Hel" not in result.output
    return result, [line.strip() for line in result.output.splitlines()]


def told(before: str, after: str) -> str:
    return f"the fixture has {before}, the upstream sends {after}"


def stands(service: Service) -> None:
    """Nothing moves."""


async def test_an_upstream_that_stands_is_alike(home: Path) -> None:
    result, lines = await drift(home, Service(), stands)
    assert (0, ["f/f.yaml: alike"]) == (result.exit_code, lines)


async def test_other_texts_counts_and_an_optional_field_less_are_alike(home: Path) -> None:
    def move(service: Service) -> None:
        service.frames = [
            {"kind": "word", "word": "Good day", "id": 77},
            {"kind": "word", "word": " to you", "id": 78, "mood": "merry"},
            {"kind": "word", "word": " all", "id": 79},
            {"kind": "ping"},
            {"kind": "count", "n": {"read": 4, "said": 11}},
            {"kind": "end", "why": "done"},
        ]
        service.login = {"session": {"ticket": "another-ticket-77"}}

    result, lines = await drift(home, Service(), move)
    assert (0, ["f/f.yaml: alike"]) == (result.exit_code, lines)


async def test_a_renamed_field_names_rule_line_and_file(home: Path) -> None:
    def move(service: Service) -> None:
        for frame in service.frames:
            if "word" in frame:
                frame["token"] = frame.pop("word")

    result, lines = await drift(home, Service(), move)
    assert 1 == result.exit_code
    assert "f/f.yaml: drifted" == lines[0]
    at = lines.index(f"error vanished: POST /chat [word] $.word: {told('string', 'nothing')}")
    assert "read by stream.events[0].text (routes/made.yaml:19)" == lines[at + 1]
    assert f"note appeared: POST /chat [word] $.token: {told('nothing', 'string')}" in lines
    assert "error outcome: was 200, answered, is 502, failed with empty_response" in lines


async def test_a_new_kind_of_events_that_no_rule_knows_is_an_error(home: Path) -> None:
    move = lambda service: service.frames.insert(1, {"kind": "advert", "link": "x"})  # noqa: E731
    result, lines = await drift(home, Service(), move)
    assert 1 == result.exit_code
    assert "error unmatched: [advert]: no rule knows it" in lines


async def test_a_new_kind_is_a_note_where_the_route_ignores_what_no_rule_knows(home: Path) -> None:
    move = lambda service: service.frames.insert(1, {"kind": "advert", "link": "x"})  # noqa: E731
    route = ROUTE.replace("use: always", "use: always\n  unmatched: ignore")
    result, lines = await drift(home, Service(), move, route)
    assert 0 == result.exit_code
    assert "note kind: POST /chat [advert]: is new" in lines


async def test_a_retyped_number_is_an_error_though_the_engine_can_still_read_it(home: Path) -> None:
    def move(service: Service) -> None:
        service.frames[3]["n"] = {"read": "3", "said": 2}

    result, lines = await drift(home, Service(), move)
    assert (1, "f/f.yaml: drifted") == (result.exit_code, lines[0])
    assert [
        f"error retyped: POST /chat [count] $.n.read: {told('number', 'string')}",
        "read by stream.events[1].usage.input (routes/made.yaml:21)",
    ] == lines[1:]


async def test_fields_that_nothing_reads_come_and_go_as_notes(home: Path) -> None:
    def move(service: Service) -> None:
        for frame in service.frames:
            frame.pop("mood", None)
            frame["trace"] = {"span": 1}

    result, lines = await drift(home, Service(), move)
    assert (0, "f/f.yaml: alike") == (result.exit_code, lines[0])
    assert f"note vanished: POST /chat [word] $.mood: {told('string', 'nothing')}" in lines
    assert all(line.startswith("note ") for line in lines[1:])


async def test_a_kind_that_only_sometimes_comes_is_a_note(home: Path) -> None:
    result, lines = await drift(home, Service(), lambda service: service.frames.pop(1))
    assert 0 == result.exit_code
    assert [
        "note kind: POST /chat [ping]: did not come",
        "note rule: was hit, is not hit",
        "read by stream.events[3] (routes/made.yaml:25)",
    ] == lines[1:]


async def test_a_kind_that_brings_the_counts_is_missed(home: Path) -> None:
    result, lines = await drift(home, Service(), lambda service: service.frames.pop(3))
    assert 1 == result.exit_code
    assert "error usage: was usage.input, usage.output, is none told" in lines
    assert "error rule: was hit, is not hit" in lines


async def test_an_end_that_comes_before_the_counts_is_told(home: Path) -> None:
    def move(service: Service) -> None:
        service.frames[3:] = reversed(service.frames[3:])

    result, lines = await drift(home, Service(), move)
    assert 1 == result.exit_code
    assert "error order: POST /chat: was count before end, is end before count" in lines


async def test_a_second_login_that_became_needed_is_told(home: Path) -> None:
    result, lines = await drift(
        home, Service(), lambda service: service.statuses.extend([401, 200])
    )
    assert 1 == result.exit_code
    assert "error calls: GET /login: was called once, is called 2 times" in lines
    assert "error calls: POST /chat: was called once, is called 2 times" in lines
    assert "note rule: was not hit, is hit" in lines


async def test_a_login_whose_answer_moved_has_drifted(home: Path) -> None:
    def move(service: Service) -> None:
        service.login = {"data": service.login}

    result, lines = await drift(home, Service(), move)
    assert 1 == result.exit_code
    at = lines.index(f"error vanished: GET /login $.session: {told('object', 'nothing')}")
    assert "read by values.ticket.extract[0].json (routes/made.yaml:9)" == lines[at + 1]


async def test_a_path_that_is_gone_has_drifted(home: Path) -> None:
    result, lines = await drift(home, Service(), lambda service: service.statuses.append(404))
    assert 1 == result.exit_code
    assert f"error status: POST /chat: {told('200', '404')}" in lines
    assert [] == [line for line in lines if "rule" in line]  # there was nothing to be read


async def test_another_content_type_is_told(home: Path) -> None:
    move = lambda service: setattr(service, "content", "text/plain")  # noqa: E731
    result, lines = await drift(home, Service(), move)
    expected = f"error content: POST /chat: {told('text/event-stream', 'text/plain')}"
    assert (1, expected) == (result.exit_code, lines[1])


@pytest.mark.parametrize("status", [401, 403, 429, 503])
async def test_an_upstream_that_refuses_was_not_asked(home: Path, status: int) -> None:
    move = lambda service: service.statuses.extend([status] * 9)  # noqa: E731
    result, lines = await drift(home, chatting(), move, CHAT)
    assert 2 == result.exit_code
    assert lines[0].startswith("f/f.yaml: unasked: the upstream could not be asked: POST http://")
    assert f"was answered with {status}" in lines[0]


async def test_an_upstream_that_is_not_there_was_not_asked(home: Path) -> None:
    async with listening(chatting().handle) as url:
        (home / "routes/made.yaml").write_text(CHAT.replace("SITE", url))
        args = ("record", "made", "--request", "r.json", "-o", "f/f.yaml")
        assert 0 == (await asyncio.to_thread(run, *args)).exit_code
    result = await asyncio.to_thread(run, "drift", "made", "f/f.yaml", "--format", "json")
    assert 2 == result.exit_code
    (found,) = json.loads(result.output)["fixtures"]
    assert ("unasked", True) == (found["state"], "got no answer (connect)" in found["why"])


async def test_one_refusal_that_passes_is_a_note(home: Path) -> None:
    result, lines = await drift(
        home, chatting(), lambda service: service.statuses.extend([503]), CHAT
    )
    assert (0, ["f/f.yaml: alike"]) == (result.exit_code, lines[:1])
    assert "note calls: POST /chat/completions: asked again after 503" in lines


# ---- what a dialect reads ----


async def test_a_field_that_a_dialect_reads_is_an_error_and_others_are_notes(home: Path) -> None:
    def move(service: Service) -> None:
        service.frames[2]["usage"] = {"prompt": 3, "completion_tokens": 2}
        for frame in service.frames:
            del frame["object"]

    result, _ = await drift(home, chatting(), move, CHAT, "--format", "json")
    assert 1 == result.exit_code
    found = json.loads(result.output)["fixtures"][0]["differences"]
    told = {(each["severity"], each["what"], each["path"]) for each in found}
    assert {
        ("error", "vanished", "$.usage.prompt_tokens"),
        ("note", "appeared", "$.usage.prompt"),
        ("note", "vanished", "$.object"),
    } <= told
    (lost,) = (each for each in found if each["path"] == "$.usage.prompt_tokens")
    assert "dialect openai_chat" == lost["read_by"][0]["place"]
    assert ("number", "nothing") == (lost["fixture"], lost["upstream"])


async def test_a_dialect_whose_upstream_stands_is_alike(home: Path) -> None:
    def move(service: Service) -> None:
        delta = {"delta": {"role": "assistant"}, "finish_reason": None}
        service.frames.insert(0, {"object": "chunk", "choices": [delta]})

    result, lines = await drift(home, chatting(), stands, CHAT)
    assert (0, ["f/f.yaml: alike"]) == (result.exit_code, lines)
    result, lines = await drift(home, chatting(), move, CHAT)
    assert (0, "f/f.yaml: alike") == (result.exit_code, lines[0])


@pytest.mark.parametrize("form", ["text", "json"])
async def test_secrets_that_an_upstream_repeats_as_names_are_not_printed(
    home: Path, form: str
) -> None:
    def move(service: Service) -> None:
        service.frames.insert(1, {"kind": TICKET, TICKET: 1, KEY: {"type": TICKET}})
        service.frames[0] |= {TICKET: 1, KEY: 2, "type": TICKET}
        service.content = f"text/{TICKET}"

    result, _ = await drift(home, Service(), move, ROUTE, "--format", form)
    assert 1 == result.exit_code
    assert "«values.ticket»" in result.output


WIRED = """\
version: 1
base_url: SITE
models: [m]
auth: { bearer: "${env:MADE_KEY}" }
request: { path: /chat, json: { q: "{{ req.prompt }}" } }
stream:
  use: always
  events:
    - each: $.wire | from_json
      match: { step: say }
      text: $.so_far
    - each: $.wire | from_json
      match: { step: over }
      finish: stop
"""


async def test_json_in_a_text_is_compared_where_the_route_opens_it(home: Path) -> None:
    said = {"step": "say", "so_far": "Hello"}
    service = Service(frames=[{"wire": json.dumps(each)} for each in (said, {"step": "over"})])
    result, lines = await drift(home, service, stands, WIRED)
    assert (0, ["f/f.yaml: alike"]) == (result.exit_code, lines)

    def move(service: Service) -> None:
        service.frames[0] = {"wire": json.dumps({"step": "say", "until_now": "Hello"})}

    result, lines = await drift(home, service, move, WIRED)
    assert 1 == result.exit_code
    at = lines.index(f"error vanished: POST /chat $.wire{{}}.so_far: {told('string', 'nothing')}")
    assert "read by stream.events[0].text (routes/made.yaml:11)" == lines[at + 1]
    assert f"note appeared: POST /chat $.wire{{}}.until_now: {told('nothing', 'string')}" in lines


# ---- jobs and websockets ----

JOB = """\
version: 1
base_url: SITE
models: [m]
auth: { bearer: "${env:MADE_KEY}" }
request:
  path: /jobs
  json: { q: "{{ req.prompt }}" }
  poll:
    extract: { id: $.id }
    path: "/jobs/{{ poll.id }}"
    until: { match: { state: done } }
    every: 10ms
response: { events: [ { text: $.said, finish: stop } ] }
"""


class Jobs(Service):
    """Each job takes one question more than the one before it."""

    name, left, longer = "said", 1, 1

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST":
            self.longer += 1
            self.left = self.longer
            return web.json_response({"id": f"job-{self.longer}8712", "state": "waiting"})
        self.left -= 1
        if self.left:
            return web.json_response({"state": "waiting", "ahead": 3})
        return web.json_response({"state": "done", self.name: "Hello"})


async def test_a_job_that_takes_longer_is_alike_and_its_answer_may_move(home: Path) -> None:
    result, lines = await drift(home, Jobs(), stands, JOB)
    assert (0, ["f/f.yaml: alike"]) == (result.exit_code, lines)
    result, lines = await drift(home, Jobs(), lambda jobs: setattr(jobs, "name", "words"), JOB)
    assert 1 == result.exit_code
    at = lines.index(f"error vanished: GET /jobs/* $.said: {told('string', 'nothing')}")
    assert lines[at + 1].startswith("read by response.events[0].text (")


async def test_a_websocket_whose_messages_moved_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = (FIXTURES / "websocket-chat/answer.yaml").read_text()
    client = yaml.safe_load(played)["client"]["json"]
    (home / "r.json").write_text(json.dumps(client))
    (home / "one.yaml").write_text(played)
    moved = played.replace("messageId: m1, partId: p1, text:", "messageId: m1, partId: p1, words:")
    (home / "two.yaml").write_text(moved)
    monkeypatch.setenv("WEBSOCKET_CHAT_TOKENS", "token-of-ann-0001")
    for name, code in (("one.yaml", 0), ("two.yaml", 1)):
        async with stub_server(Stub([home / name])) as url:
            monkeypatch.setenv("WEBSOCKET_CHAT_BASE_URL", url)
            result = await asyncio.to_thread(run, "drift", "websocket-chat", "one.yaml")
        assert code == result.exit_code, result.output
    assert "[text appendText] $.text: the fixture has string, the upstream sends nothing" in (
        result.output
    )
    assert "token-of-ann-0001" not in result.output


# ---- several fixtures ----


async def test_what_only_some_fixtures_have_is_not_missed(home: Path) -> None:
    service = Service()
    async with listening(service.handle) as url:
        (home / "routes/made.yaml").write_text(ROUTE.replace("SITE", url))
        args = ("record", "made", "--request", "r.json", "-o")
        await asyncio.to_thread(run, *args, "f/one.yaml")
        service.frames = [frame for frame in service.frames if frame["kind"] != "count"]
        await asyncio.to_thread(run, *args, "f/two.yaml")
        alone = await asyncio.to_thread(run, "drift", "made", "f/one.yaml")
        both = await asyncio.to_thread(run, "drift", "made", "f/one.yaml", "f/two.yaml")
    assert "error rule" in alone.output
    assert "error rule" not in both.output


async def test_the_clients_key_is_taken_from_the_environment_where_a_route_passes_it_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", "client-key-99")
    came: list[str | None] = []
    service = chatting()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        came.append(request.headers.get("Authorization"))
        return await service.handle(request)

    passed = 'auth: { from: { client_key: true }, bearer: "{{ account.key }}" }'
    async with listening(handle) as url:
        route = CHAT.replace('auth: { bearer: "${env:MADE_KEY}" }', passed)
        (home / "routes/made.yaml").write_text(route.replace("SITE", url))
        args = ("record", "made", "--request", "r.json", "-o", "f/f.yaml", "--key-from", "MINE")
        await asyncio.to_thread(run, *args)
        result = await asyncio.to_thread(run, "drift", "made", "f/f.yaml", "--key-from", "MINE")
    assert (0, ["Bearer client-key-99"] * 2) == (result.exit_code, came)


# ---- wrong use ----


async def test_a_fixture_that_does_not_hold_is_wrong_use_and_nothing_is_sent(home: Path) -> None:
    service = Service()
    async with listening(service.handle) as url:
        (home / "routes/made.yaml").write_text(ROUTE.replace("SITE", url))
        (home / "f.yaml").write_text(
            "fixture: 1\nroute: made\nenv: { MADE_KEY: fake-key }\n"
            "client: { json: { model: m, messages: [ { role: user, content: Hi } ] } }\n"
            "exchanges: [ { reply: { status: 500 } } ]\n"
        )
        result = await asyncio.to_thread(run, "drift", "made", "f.yaml")
    assert 2 == result.exit_code
    assert "penstock drift: f.yaml does not hold on route made" in result.output
    assert [] == service.asked


def test_a_route_that_is_not_there_a_broken_fixture_and_a_missing_key_are_wrong_use(
    home: Path,
) -> None:
    (home / "routes/made.yaml").write_text(CHAT.replace("SITE", "http://127.0.0.1:1"))
    (home / "f.yaml").write_text("fixture: 2\n")
    for args in (("gone", "f.yaml"), ("made", "f.yaml"), ("made", "f.yaml", "--key-from", "NONE")):
        assert 2 == run("drift", *args).exit_code
