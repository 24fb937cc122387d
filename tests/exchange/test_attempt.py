"""One call of the upstream: what is sent, what is read, how it ends."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import ExchangeError
from engine.events import Finish, Usage
from engine.exchange.attempt import Attempt
from engine.options import Secret
from engine.route.route import Route
from engine.wire import dumps
from tests.kit import FakeSink, Say, World, call_of, route_of, sse

CUSTOM = """
version: 1
base_url: https://a.example
models: [ { id: m, upstream: up } ]
request: { path: /x, json: { q: "{{ req.prompt }}", s: "{{ req.stream }}" } }
stream:
  format: sse
  done: "[DONE]"
  events:
    - { has: $.e, error: { message: $.e, class: overloaded } }
    - { text: $.x, usage: { input: $.i, output: $.o }, set: { chat: $.c }, finish: $.f }
response: { events: [ { text: $.text, finish: $.f } ] }
errors:
  message: [$.msg]
  rules:
    - { content_type: text/html, as: challenge }
    - { match: { ok: false }, as: stale }
    - { status: 429, as: rate_limited, retry_after: header.x-wait }
"""
CHAT = """
version: 1
extends: openai
base_url: https://a.example/v1
models: [ { id: m, upstream: up } ]
errors: { rules: [ { match: { status: "434" }, as: auth_invalid }, inherit ] }
"""


async def attempt(
    route: Route, script: list[Say | bytes], *, key: str = "", **body: Any
) -> tuple[Any, FakeSink, World]:
    async with World(script) as world:
        whole = {"messages": [{"role": "user", "content": "hi"}], **body}
        call = call_of(route, whole, key=key)
        env = route.variables(call.asked, call.offer, world.clock.now(), world.ports.random)
        scopes = {"route": "", "account": "", "session": "s", "request": "r"}
        sink = FakeSink(stream=call.wants_stream)
        hold = await world.keyring.pools.take(route, call.client_key)
        made = Attempt(route, call, env, world.ports, world.keyring, sink, scopes, hold.account)
        return await made.run(1, None), sink, world


def chunk(text: str = "", finish: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {"content": text} if text else {}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


# ---- through the model ----


async def test_a_stream_is_read_to_its_end() -> None:
    usage = {"i": 3, "o": 4, "c": "chat1"}
    body = sse({"x": "hi"}, {"x": "!", **usage}, {"f": "stop"})
    outcome, sink, world = await attempt(route_of(CUSTOM), [body], stream=True)
    assert (sink.text, outcome.finish, outcome.error) == ("hi!", Finish("stop", "stop"), None)
    assert (outcome.usage, outcome.state) == (Usage(3, 4), {"chat": "chat1"})
    assert (outcome.status, outcome.passed) == (200, False)
    assert world.upstream.bodies[0] == {"q": "hi", "s": True}


async def test_a_whole_answer_is_read() -> None:
    outcome, sink, world = await attempt(route_of(CUSTOM), [b'{"text":"hi"}'])
    assert (sink.text, outcome.finish) == ("hi", Finish("stop"))
    assert world.upstream.bodies[0]["s"] is False


async def test_an_error_status_is_classed_with_its_body() -> None:
    say = Say(b'{"msg":"slow down"}', 429, {"X-Wait": "7"})
    outcome, sink, _ = await attempt(route_of(CUSTOM), [say])
    error = outcome.error
    assert (error.cls, error.message, error.status, error.retry_after) == (
        "rate_limited", "slow down", 429, 7.0,
    )  # fmt: skip
    assert outcome.finish is None
    assert sink.events == []


async def test_a_page_is_refused_before_its_body_is_read() -> None:
    page = Say(b"<html>", headers={"Content-Type": "text/html"}, end="stall")
    outcome, _, _ = await attempt(route_of(CUSTOM), [page], stream=True)
    assert outcome.error.cls == "challenge"


PLAIN = """
version: 1
base_url: https://a.example
models: [m]
request: { path: /x, raw: "{{ req.prompt }}" }
stream: { format: text, finish_optional: true, events: [ { text: $ } ] }
"""


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        ("text/html; charset=utf-8", b"<!doctype html><p>Sign in", "retryable"),
        ("text/html", b"<HTML>Just a moment...", "challenge"),
        ("text/html", b"Good day.", ""),
        ("text/plain", b"<html>is how a page begins", ""),
    ],
)
async def test_a_page_is_no_text_of_a_model(kind: str, body: bytes, told: str) -> None:
    page = Say(body, headers={"Content-Type": kind})
    outcome, sink, _ = await attempt(route_of(PLAIN), [page], stream=True)
    assert told == (outcome.error.cls if outcome.error else "")
    assert bool(told) is (sink.events == [])


@pytest.mark.parametrize(("status", "cls"), [(204, "empty_response"), (302, "fatal")])
async def test_no_content_and_redirects_are_errors(status: int, cls: str) -> None:
    outcome, _, _ = await attempt(route_of(CUSTOM), [Say(b"", status, {"Location": "/y"})])
    assert outcome.error.cls == cls


@pytest.mark.parametrize("cls", ["connect", "truncated", "retryable"])
async def test_what_the_network_does_is_an_outcome(cls: str) -> None:
    say = Say(error=ExchangeError(cls, "no connection"))
    outcome, _, _ = await attempt(route_of(CUSTOM), [say])
    assert (outcome.error.cls, outcome.error.message) == (cls, "no connection")


async def test_an_answer_that_breaks_off_keeps_what_came() -> None:
    say = Say([sse({"x": "hi"}, done=False)], end="reset")
    outcome, sink, _ = await attempt(route_of(CUSTOM), [say], stream=True)
    assert (sink.text, outcome.error.cls) == ("hi", "truncated")


async def test_after_the_finish_a_break_does_no_harm() -> None:
    say = Say([sse({"x": "hi"}, {"f": "stop"}, done=False)], end="reset")
    outcome, _, _ = await attempt(route_of(CUSTOM), [say], stream=True)
    assert (outcome.finish, outcome.error) == (Finish("stop", "stop"), None)


async def test_after_the_finish_usage_is_waited_for_but_not_for_long() -> None:
    say = Say([sse({"x": "hi"}, {"f": "stop"}, done=False)], end="stall")
    outcome, _, world = await attempt(route_of(CUSTOM), [say], stream=True)
    assert outcome.finish == Finish("stop", "stop")
    assert world.clock.now() - 1_700_000_000 == 1.0
    late = Say([sse({"x": "hi"}, {"f": "stop"}, done=False), sse({"i": 1, "o": 2})])
    outcome, _, _ = await attempt(route_of(CUSTOM), [late], stream=True)
    assert outcome.usage == Usage(1, 2)


@pytest.mark.parametrize("body", [[], [sse({"x": "a"}, done=False)]])
async def test_a_request_may_have_a_limit_of_its_own(body: list[bytes]) -> None:
    assert "request: { path: " in CUSTOM
    route = route_of(CUSTOM.replace("request: {", "request: { timeout: 7s,"))
    outcome, _, world = await attempt(route, [Say(body, end="stall")], stream=True)
    assert ("timeout", 7.0) == (outcome.error.cls, world.clock.now() - 1_700_000_000)


@pytest.mark.parametrize(("body", "seconds"), [([], 120.0), ([sse({"x": "a"}, done=False)], 90.0)])
async def test_silence_is_a_timeout(body: list[bytes], seconds: float) -> None:
    outcome, _, world = await attempt(route_of(CUSTOM), [Say(body, end="stall")], stream=True)
    assert outcome.error.cls == "timeout"
    assert world.clock.now() - 1_700_000_000 == seconds


async def test_a_template_that_fails_is_fatal() -> None:
    text = CUSTOM.replace("{{ req.prompt }}", "x{{ req.user }}")
    outcome, _, world = await attempt(route_of(text), [])
    assert outcome.error.cls == "fatal"
    assert outcome.error.message.startswith("the route cannot be rendered: ")
    assert world.upstream.requests == []


async def test_the_clients_own_key_goes_upstream() -> None:
    text = CHAT + "auth: { from: { client_key: true }, bearer: '{{ account.key }}' }\n"
    answer = dumps({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]})
    _, _, world = await attempt(route_of(text), [answer], key="sk-mine")
    assert world.upstream.requests[0].header("authorization") == "Bearer sk-mine"


# ---- on bytes ----


async def test_a_stream_of_the_same_dialect_is_relayed_as_it_came() -> None:
    body = sse(chunk("hi", id="c1"), chunk(finish="stop", odd={"a": 1}))
    outcome, sink, world = await attempt(route_of(CHAT), [Say([body[:20], body[20:]])], stream=True)
    assert sink.bytes == body
    assert (outcome.passed, outcome.finish) == (True, Finish("stop", "stop"))
    assert sink.events == []
    assert world.upstream.bodies[0]["model"] == "up"


async def test_a_whole_answer_of_the_same_dialect_is_handed_on() -> None:
    body = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],  "odd":1}'
    outcome, _, _ = await attempt(route_of(CHAT), [body])
    assert (outcome.whole, outcome.finish) == (body, Finish("stop", "stop"))


@pytest.mark.parametrize("first", [b"", b" \n", b"\xef", b"\xef\xbb\xbf\n"])
async def test_a_document_where_a_stream_was_asked_for_is_translated(first: bytes) -> None:
    rest = b"\xbb\xbf" if first == b"\xef" else b""
    body = rest + dumps({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]})
    outcome, sink, _ = await attempt(
        route_of(CHAT), [Say([first, body[:9], body[9:]])], stream=True
    )
    assert (sink.text, sink.bytes) == ("hi", b"")
    assert (outcome.passed, outcome.finish) == (False, Finish("stop", "stop"))


async def test_a_stream_where_a_document_was_asked_for_is_translated() -> None:
    body = sse(chunk("hi"), chunk("!", finish="stop"))
    outcome, sink, _ = await attempt(route_of(CHAT), [body])
    assert (sink.text, outcome.whole, outcome.finish) == ("hi!", None, Finish("stop", "stop"))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_refusal_with_a_good_status_is_classed_by_the_route(stream: bool) -> None:
    refusal = dumps({"status": "434", "message": "the key is no good"})
    outcome, sink, _ = await attempt(route_of(CHAT), [refusal], stream=stream)
    assert (outcome.error.cls, outcome.error.message) == ("auth_invalid", "the key is no good")
    assert (sink.bytes, sink.events) == (b"", [])


async def test_a_refusal_in_the_first_frame_is_classed_by_the_route() -> None:
    body = b": ping\n\n" + sse({"status": "434", "message": "no good"}, chunk("hi"))
    outcome, sink, _ = await attempt(route_of(CHAT), [Say([body[:9], body[9:]])], stream=True)
    assert (outcome.error.cls, outcome.error.message) == ("auth_invalid", "no good")
    assert not sink.committed


async def test_later_frames_are_not_held_against_the_rules() -> None:
    body = sse(chunk("hi"), chunk("!", status="434"), chunk(finish="stop"))
    outcome, _, _ = await attempt(route_of(CHAT), [body], stream=True)
    assert outcome.error is None


async def test_a_transform_may_class_what_passes_through() -> None:
    own = (
        '"""Classes."""\nAPI = 1\nclass Transform:\n    def classify(self, response):\n'
        "        return 'overloaded' if b'busy' in response.body else None\n"
    )
    route = route_of(CHAT + "transforms: [mine]\n", mine=own)
    assert route.passthrough
    for body, stream in ((sse(chunk("busy")), True), (dumps({"busy": 1}), False)):
        outcome, _, _ = await attempt(route, [body], stream=stream)
        assert outcome.error.cls == "overloaded"


@pytest.mark.parametrize(
    ("body", "end", "cls"),
    [
        ([], "eof", "empty_response"),
        ([b"\n\n"], "eof", "empty_response"),
        ([], "reset", "truncated"),
        ([sse(chunk("hi"), done=False)], "eof", "truncated"),
        ([sse(chunk("hi"), done=False)], "reset", "truncated"),
        ([sse(chunk("hi"), done=False)], "stall", "timeout"),
        ([b"data: nope\n\n"], "eof", "retryable"),
    ],
)
async def test_a_relayed_stream_that_fails_says_how(body: list[bytes], end: str, cls: str) -> None:
    outcome, _, _ = await attempt(route_of(CHAT), [Say(body, end=end)], stream=True)
    assert (outcome.error.cls, outcome.finish) == (cls, None)


# ---- the line ----


def test_a_secret_of_a_call_is_not_shown() -> None:
    call = call_of(route_of(CHAT), {"messages": [{"role": "user", "content": "hi"}]}, key="sk-1")
    assert call.client_key == Secret("sk-1")
    assert "sk-1" not in repr(call)
