"""One client request, one or several attempts, exactly one end."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import ExchangeError
from engine.events import Finish, Usage
from engine.wire import HttpRequest, dumps
from tests.kit import FakeSink, Say, World, route_of, sse

CUSTOM = """
version: 1
base_url: https://a.example
models: [m]
request: { path: /x, json: { q: "{{ req.prompt }}" } }
stream:
  format: sse
  events: [ { text: $.x, finish: $.f, set: { chat: $.c } } ]
response: { events: [ { text: $.text, finish: stop, set: { chat: $.c } } ] }
errors:
  message: [$.msg]
  rules:
    - { match: { ok: false }, as: stale }
    - { match: { lost: true }, as: session_lost }
    - { status: 401, as: auth_expired }
    - { status: 429, as: rate_limited }
    - { status: 5xx, as: overloaded }
retry: { attempts: 3, backoff: { initial: 1s, factor: 2, jitter: none } }
"""
GOOD = b'{"text":"hi","c":"chat1"}'
BUSY = Say(b'{"msg":"busy"}', 503)


def error_of(sink: FakeSink) -> ExchangeError:
    assert sink.error is not None
    return sink.error


# ---- attempts ----


async def test_a_good_answer_is_delivered_at_once() -> None:
    async with World([GOOD]) as world:
        sink = await world.ask(route_of(CUSTOM))
        assert (sink.text, sink.finished) == ("hi", Finish("stop", "stop"))
        assert (world.report.attempts, world.report.error, world.clock.sleeps) == (1, None, [])


async def test_what_may_pass_is_tried_again_after_a_pause() -> None:
    async with World([BUSY, BUSY, GOOD]) as world:
        sink = await world.ask(route_of(CUSTOM))
        assert (sink.text, sink.restarts) == ("hi", 2)
        assert world.clock.sleeps == [1.0, 2.0]
        assert world.report.attempts == 3
        told = [(note["outcome"], note["status"]) for note in world.notes.of("attempt")]
        assert told == [("overloaded", 503), ("overloaded", 503), ("ok", 200)]


async def test_after_the_last_attempt_the_client_is_told() -> None:
    async with World([BUSY, BUSY, BUSY]) as world:
        sink = await world.ask(route_of(CUSTOM))
        assert (error_of(sink).cls, error_of(sink).message) == ("overloaded", "busy")
        assert world.report.error is not None
        assert world.report.error.status == 503


@pytest.mark.rows("IB-5")
async def test_what_cannot_pass_is_not_tried_again() -> None:
    async with World([Say(b'{"msg":"no"}', 400)]) as world:
        assert error_of(await world.ask(route_of(CUSTOM))).cls == "invalid_request"


async def test_nothing_is_tried_again_once_the_client_has_content() -> None:
    broken = Say([sse({"x": "hi"}, done=False)], end="reset")
    async with World([broken]) as world:
        sink = await world.ask(route_of(CUSTOM), stream=True)
        assert (sink.text, error_of(sink).cls, sink.restarts) == ("hi", "truncated", 0)


async def test_a_beginning_without_content_is_tried_again() -> None:
    beginnings: list[Say | bytes] = [Say([b": ping\n\n"], end="reset"), Say(b"")]
    async with World([*beginnings, sse({"x": "hi"}, {"f": "stop"}, done=False)]) as world:
        sink = await world.ask(route_of(CUSTOM), stream=True)
        assert (sink.text, sink.finished) == ("hi", Finish("stop", "stop"))


async def test_a_whole_answer_can_be_tried_again_to_its_end() -> None:
    text = CUSTOM.replace("stream:", "stream:\n  use: always")
    broken = Say([sse({"x": "half"}, done=False)], end="reset")
    async with World([broken, sse({"x": "whole"}, {"f": "stop"}, done=False)]) as world:
        assert (await world.ask(route_of(text))).text == "whole"


@pytest.mark.parametrize(("hold", "stream"), [("", False), ("hold: full\n", True)])
async def test_a_stream_that_is_kept_until_it_is_whole_is_bounded(hold: str, stream: bool) -> None:
    text = CUSTOM.replace("stream:", "stream:\n  use: always") + hold
    text += "limits: { answer: 1KiB }\n"
    long = [sse({"x": "half"}, done=False)] * 80
    async with World([Say([*long, sse({"f": "stop"}, done=False)])] * 3) as world:
        sink = await world.ask(route_of(text), stream=stream)
        assert (None, "retryable") == (sink.finished, error_of(sink).cls)
        assert "larger" in error_of(sink).message


async def test_each_attempt_is_rendered_anew() -> None:
    text = CUSTOM.replace('q: "{{ req.prompt }}"', 'id: "{{ uuid4() }}", at: "{{ now_ms() }}"')
    async with World([BUSY, GOOD]) as world:
        await world.ask(route_of(text))
        first, second = world.upstream.bodies
        assert first["id"] != second["id"]
        assert second["at"] - first["at"] == 1000


async def test_what_is_computed_once_stays_over_all_attempts() -> None:
    text = CUSTOM.replace('q: "{{ req.prompt }}"', 'id: "{{ let.id }}"')
    async with World([BUSY, GOOD]) as world:
        await world.ask(route_of(text + 'let: { id: "{{ uuid4() }}" }\n'))
        first, second = world.upstream.bodies
        assert first == second


ATTEMPTS = '''"""Says which attempt it is."""
from dataclasses import replace
from engine.transform import Context, Text
API = 1

class Transform:
    def __init__(self, options: object, context: Context) -> None:
        self.context = context

    def shape(self, request):
        text = f"{self.context.attempt} {self.context.previous}"
        message = replace(request.messages[-1], parts=[Text(text)])
        return replace(request, messages=[message])
'''


async def test_transforms_know_which_attempt_they_serve() -> None:
    async with World([BUSY, Say(status=429), GOOD]) as world:
        await world.ask(route_of(CUSTOM + "transforms: [says]\n", says=ATTEMPTS))
        assert [body["q"] for body in world.upstream.bodies] == [
            "1 None",
            "2 overloaded",
            "3 rate_limited",
        ]


async def test_a_refusal_of_a_transform_is_the_clients_answer() -> None:
    own = (
        '"""Refuses."""\nfrom engine.transform import Refuse\nAPI = 1\nclass Transform:\n'
        "    def shape(self, request): raise Refuse('the last message must be yours')\n"
    )
    async with World([]) as world:
        sink = await world.ask(route_of(CUSTOM + "transforms: [mine]\n", mine=own))
        assert (error_of(sink).cls, error_of(sink).message) == (
            "invalid_request",
            "the last message must be yours",
        )


# ---- time ----


async def test_a_wait_the_upstream_asked_for_is_kept() -> None:
    async with World([Say(status=429, headers={"Retry-After": "30"}), GOOD]) as world:
        assert (await world.ask(route_of(CUSTOM))).text == "hi"
        assert world.clock.sleeps == [30.0]


async def test_a_wait_that_does_not_fit_is_handed_to_the_client() -> None:
    async with World([Say(status=429, headers={"Retry-After": "700"})]) as world:
        sink = await world.ask(route_of(CUSTOM))
        assert (error_of(sink).cls, error_of(sink).retry_after) == ("rate_limited", 700.0)
        assert world.clock.sleeps == []


async def test_the_total_time_covers_waits_and_attempts() -> None:
    text = CUSTOM + "timeouts: { total: 5s }\n"
    slow = Say(status=429, headers={"Retry-After": "3"})
    async with World([slow, slow]) as world:
        sink = await world.ask(route_of(text))
        assert error_of(sink).cls == "rate_limited"
        assert world.clock.sleeps == [3.0]


async def test_when_the_total_time_is_over_the_answer_is() -> None:
    text = CUSTOM + "timeouts: { total: 5s }\n"
    async with World([Say(end="stall")]) as world:
        sink = await world.ask(route_of(text))
        assert (error_of(sink).cls, error_of(sink).message) == (
            "timeout",
            "no whole answer within 5 s",
        )
        assert world.clock.now() - 1_700_000_000 == 5.0


async def test_a_timeout_of_one_attempt_leaves_time_for_another() -> None:
    text = CUSTOM + "timeouts: { first_byte: 5s, connect: 1s }\n"
    async with World([Say(end="stall"), GOOD]) as world:
        assert (await world.ask(route_of(text))).text == "hi"


# ---- renewal ----

VALUED = (
    CUSTOM.replace('q: "{{ req.prompt }}"', 'key: "{{ values.key }}"')
    + """
values:
  key: { request: { path: /key }, extract: [ { json: $.key } ], refresh_for: [stale, auth_expired] }
"""
)


def keys(*answers: Say | bytes) -> Any:
    """A script: each fetch of the key gives a new one, calls are answered in turn."""
    left, count = list(answers), iter(range(1, 100))

    def script(request: HttpRequest) -> Say:
        if request.url.endswith("/key"):
            return Say(dumps({"key": f"k{next(count)}"}))
        say = left.pop(0)
        return Say(say) if isinstance(say, bytes) else say

    return script


def sent_keys(world: World) -> list[str]:
    posts = [request for request in world.upstream.requests if request.method == "POST"]
    return [request.body.decode() for request in posts]


async def test_a_stale_value_is_renewed_once_with_no_pause() -> None:
    async with World(keys(b'{"ok":false}', GOOD)) as world:
        assert (await world.ask(route_of(VALUED))).text == "hi"
        assert sent_keys(world) == ['{"key":"k1"}', '{"key":"k2"}']
        assert world.clock.sleeps == []


async def test_a_value_that_does_not_help_is_not_renewed_again() -> None:
    async with World(keys(b'{"ok":false}', b'{"ok":false,"msg":"still"}')) as world:
        sink = await world.ask(route_of(VALUED))
        assert (error_of(sink).cls, error_of(sink).message) == ("stale", "still")
        assert len(world.upstream.requests) == 4


async def test_each_class_is_renewed_once_and_attempts_are_counted_apart() -> None:
    async with World(keys(b'{"ok":false}', BUSY, Say(status=401), BUSY, GOOD)) as world:
        assert (await world.ask(route_of(VALUED))).text == "hi"
        assert len(set(sent_keys(world))) == 3
        assert world.clock.sleeps == [1.0, 2.0]


async def test_the_next_request_uses_the_renewed_value() -> None:
    async with World(keys(b'{"ok":false}', GOOD, GOOD)) as world:
        route = route_of(VALUED)
        await world.ask(route)
        await world.ask(route)
        assert sent_keys(world)[-1] == '{"key":"k2"}'
        assert len(world.upstream.requests) == 5


async def test_an_expired_credential_that_nothing_renews_is_invalid() -> None:
    async with World([Say(b'{"msg":"expired"}', 401)]) as world:
        assert error_of(await world.ask(route_of(CUSTOM))).cls == "auth_invalid"


async def test_a_value_that_cannot_be_had_is_unavailable() -> None:
    async with World(lambda request: Say(status=500)) as world:
        sink = await world.ask(route_of(VALUED))
        assert error_of(sink).cls == "unavailable"
        assert error_of(sink).message == "value `key` could not be fetched: status 500"


async def test_the_clients_own_faults_do_not_count_against_a_value() -> None:
    text = VALUED.replace("refresh_for: [stale, auth_expired]", "refresh_after: 2")
    bad = Say(b'{"msg":"bad"}', 400)
    async with World(keys(bad, bad, bad, GOOD)) as world:
        route = route_of(text)
        for _ in range(4):
            await world.ask(route)
        assert set(sent_keys(world)) == {'{"key":"k1"}'}


async def test_failures_in_a_row_renew_a_value() -> None:
    text = VALUED.replace("refresh_for: [stale, auth_expired]", "refresh_after: 2")
    async with World(keys(BUSY, BUSY, GOOD)) as world:
        assert (await world.ask(route_of(text))).text == "hi"
        assert sent_keys(world) == ['{"key":"k1"}', '{"key":"k1"}', '{"key":"k2"}']


# ---- sessions ----

SESSION = (
    CUSTOM.replace(
        'q: "{{ req.prompt }}"',
        'id: "{{ session.upstream }}", chat: "{{ session.chat }}", '
        'turns: "{{ req.messages | as_openai }}"',
    )
    + 'session: { key: [req.user], state: { upstream: "{{ uuid4() }}" }, history: server }\n'
)


def turns(body: Any) -> list[str]:
    return [turn["content"] for turn in body["turns"]]


async def test_a_session_goes_on_over_several_requests() -> None:
    async with World([GOOD, GOOD]) as world:
        route = route_of(SESSION)
        await world.ask(route, "one", user="u")
        await world.ask(route, "two", user="u")
        first, second = world.upstream.bodies
        assert first["id"] == second["id"]
        assert (first.get("chat"), second["chat"]) == (None, "chat1")
        assert (turns(first), turns(second)) == (["one"], ["one", "hi", "two"])


async def test_nothing_is_remembered_of_a_request_that_failed() -> None:
    refused = Say(b'{"msg":"no"}', 400)
    async with World([GOOD, refused, GOOD]) as world:
        route = route_of(SESSION)
        for prompt in ("one", "two", "three"):
            await world.ask(route, prompt, user="u")
        assert turns(world.upstream.bodies[2]) == ["one", "hi", "three"]


async def test_a_broken_stream_is_not_remembered() -> None:
    broken = Say([sse({"x": "half", "c": "other"}, done=False)], end="reset")
    async with World([broken, GOOD]) as world:
        route = route_of(SESSION)
        await world.ask(route, "one", user="u", stream=True)
        await world.ask(route, "two", user="u")
        body = world.upstream.bodies[1]
        assert (turns(body), body.get("chat")) == (["two"], None)


async def test_a_lost_session_begins_anew_once_with_our_turns() -> None:
    lost = b'{"lost":true}'
    async with World([GOOD, lost, GOOD, GOOD]) as world:
        route = route_of(SESSION)
        for prompt in ("one", "two", "three"):
            await world.ask(route, prompt, user="u")
        first, second, third, fourth = world.upstream.bodies
        assert first["id"] == second["id"] != third["id"] == fourth["id"]
        assert (second["chat"], third.get("chat")) == ("chat1", None)
        assert turns(third) == ["one", "hi", "two"]
        assert turns(fourth) == ["one", "hi", "two", "hi", "three"]


async def test_a_session_that_is_lost_twice_is_an_error() -> None:
    lost = b'{"lost":true,"msg":"gone"}'
    async with World([lost, lost]) as world:
        sink = await world.ask(route_of(SESSION), user="u")
        assert (error_of(sink).cls, error_of(sink).message) == ("session_lost", "gone")


async def test_sessions_of_different_clients_do_not_meet() -> None:
    async with World([GOOD, GOOD, GOOD]) as world:
        route = route_of(SESSION)
        for client in ("alice", "bob", "alice"):
            await world.ask(route, "x", user="u", key=client)
        ids = [body["id"] for body in world.upstream.bodies]
        assert ids[0] == ids[2] != ids[1]
        assert [len(turns(body)) for body in world.upstream.bodies] == [1, 1, 3]


async def test_without_a_name_nothing_is_remembered() -> None:
    async with World([GOOD, GOOD]) as world:
        route = route_of(SESSION)
        await world.ask(route, "one")
        await world.ask(route, "two")
        first, second = world.upstream.bodies
        assert first["id"] != second["id"]
        assert turns(second) == ["two"]


async def test_a_client_that_remembers_still_teaches_the_session() -> None:
    conversation = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": "two"},
    ]
    text = SESSION.replace("history: server", "history: client")
    async with World([GOOD, GOOD]) as world:
        route = route_of(text)
        await world.ask(route, conversation, user="u")
        await world.ask(route, conversation, user="u")
        assert world.upstream.bodies[1]["chat"] == "chat1"


# ---- before any attempt ----


@pytest.mark.parametrize(
    "more",
    [
        'let: { a: "x{{ req.user }}" }\n',
        'session: { key: [req.session_id], state: { a: "x{{ req.user }}" } }\n',
    ],
)
async def test_a_route_that_cannot_be_rendered_is_fatal(more: str) -> None:
    async with World([]) as world:
        sink = await world.ask(route_of(CUSTOM + more))
        assert error_of(sink).cls == "fatal"
        assert error_of(sink).message.startswith("the route cannot be rendered: ")
        assert world.report.attempts == 0


# ---- on bytes ----

CHAT = """
version: 1
extends: openai
base_url: https://a.example/v1
models: [m]
retry: { attempts: 2, backoff: { initial: 1s, jitter: none } }
"""


def chunk(text: str = "", finish: str | None = None) -> dict[str, Any]:
    delta = {"content": text} if text else {}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


@pytest.mark.rows("IB-5", "KB-4")
async def test_a_relayed_stream_is_tried_again_before_its_content() -> None:
    body = sse(chunk("hi"), chunk(finish="stop"))
    async with World([Say(status=503), Say(sse(chunk(), done=False)), body]) as world:
        sink = await world.ask(route_of(CHAT.replace("attempts: 2", "attempts: 3")), stream=True)
        assert (sink.bytes, sink.error) == (body, None)


@pytest.mark.rows("IB-5")
async def test_a_relayed_stream_is_not_tried_again_after_its_content() -> None:
    body = sse(chunk("hi"), done=False)
    async with World([Say([body], end="reset")]) as world:
        sink = await world.ask(route_of(CHAT), stream=True)
        assert sink.bytes.startswith(body)
        assert error_of(sink).cls == "truncated"


async def test_a_whole_answer_is_handed_on_as_it_came() -> None:
    body = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}], "odd": 1}'
    async with World([Say(status=503), body]) as world:
        sink = await world.ask(route_of(CHAT))
        assert sink.document == body


async def test_usage_of_a_delivered_answer_is_reported() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    body = sse(chunk("hi"), chunk(finish="stop"), usage)
    async with World([body]) as world:
        await world.ask(route_of(CHAT), stream=True)
        found = world.report.outcome.usage
        assert found is not None
        assert (found.input, found.output) == (Usage(3, 4).input, 4)


# ---- what is told beside the answer ----


async def test_the_clients_answer_names_the_upstreams_request() -> None:
    good = Say(GOOD, headers={"x-request-id": "up-1", "set-cookie": "a=b"})
    async with World([good]) as world:
        assert {"x-upstream-request-id": "up-1"} == (await world.ask(route_of(CUSTOM))).told


async def test_answers_in_order_break_no_rule_of_it() -> None:
    async with World([GOOD]) as world:
        await world.ask(route_of(CUSTOM))
        assert [{}] == [note["broken"] for note in world.notes.of("attempt")]


# ---- answers in parts ----

GOES_ON = CUSTOM + "continuation: { max: 5 }\n"
IN_PARTS = GOES_ON.replace(
    'json: { q: "{{ req.prompt }}" }',
    'json: { turns: "{{ req.messages | as_text_messages }}", most: "{{ req.max_tokens }}" }',
).replace("text: $.x", "text: $.x, usage: { input: $.i, output: $.o }")


def cut(text: str, **more: object) -> bytes:
    return sse({"x": text}, {"f": "length", **more}, done=False)


@pytest.mark.rows("IF-14", "IB-4")
async def test_an_answer_that_was_cut_off_goes_on() -> None:
    parts: list[Say | bytes] = [
        cut("AB", i=7, o=2),
        cut("CD", i=9, o=2),
        sse({"x": "E"}, {"f": "stop", "i": 11, "o": 1}, done=False),
    ]
    async with World(parts) as world:
        sink = await world.ask(route_of(IN_PARTS), stream=True)
        assert ("ABCDE", Finish("stop", "stop")) == (sink.text, sink.finished)
        assert Usage(7, 5) == sink.usage
        asked = [[turn["content"] for turn in body["turns"]] for body in world.upstream.bodies]
        assert [["Hello"], ["Hello", "AB"], ["Hello", "ABCD"]] == asked


async def test_it_goes_on_for_a_whole_answer_too() -> None:
    text = IN_PARTS.replace("stream:", "stream:\n  use: always")
    async with World([cut("AB"), sse({"x": "C"}, {"f": "stop"}, done=False)]) as world:
        assert "ABC" == (await world.ask(route_of(text))).text


async def test_it_goes_on_only_so_often_and_says_that_it_was_cut_off() -> None:
    text = IN_PARTS.replace("max: 5", "max: 2")
    async with World([cut("A"), cut("B"), cut("C")]) as world:
        sink = await world.ask(route_of(text), stream=True)
        assert ("ABC", Finish("length", "length")) == (sink.text, sink.finished)


async def test_it_ends_when_nothing_new_comes() -> None:
    long = "a sentence that is long enough to be known again"
    async with World([cut(long), cut(long)]) as world:
        sink = await world.ask(route_of(IN_PARTS), stream=True)
        assert (long, Finish("length", "length")) == (sink.text, sink.finished)


async def test_the_clients_own_limit_is_kept() -> None:
    async with World([cut("AB", o=6), cut("CD", o=4)]) as world:
        sink = await world.ask(route_of(IN_PARTS), stream=True, max_tokens=10)
        assert ("ABCD", "length") == (sink.text, sink.finished and sink.finished.reason)
        assert [10, 4] == [body["most"] for body in world.upstream.bodies]


async def test_a_continuation_that_fails_at_once_is_tried_again() -> None:
    async with World([cut("AB"), BUSY, sse({"x": "C"}, {"f": "stop"}, done=False)]) as world:
        assert "ABC" == (await world.ask(route_of(IN_PARTS), stream=True)).text


async def test_what_cannot_be_continued_ends_as_it_was() -> None:
    async with World([cut("AB", o=2), Say(b'{"msg":"no"}', 400)]) as world:
        sink = await world.ask(route_of(IN_PARTS), stream=True)
        assert ("AB", Finish("length", "length")) == (sink.text, sink.finished)
        assert None is sink.error


async def test_a_continuation_that_breaks_off_is_an_error() -> None:
    broken = Say([sse({"x": "C"}, done=False)], end="reset")
    async with World([cut("AB"), broken]) as world:
        sink = await world.ask(route_of(IN_PARTS), stream=True)
        assert ("ABC", "truncated") == (sink.text, error_of(sink).cls)


# ---- answers held whole ----


async def test_an_answer_that_is_held_can_be_tried_again_at_any_point() -> None:
    broken = Say([sse({"x": "half"}, done=False)], end="reset")
    async with World([broken, sse({"x": "whole"}, {"f": "stop"}, done=False)]) as world:
        sink = await world.ask(route_of(CUSTOM + "hold: full\n"), stream=True)
        assert ("whole", 1) == (sink.text, sink.restarts)
