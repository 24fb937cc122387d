"""Replays in memory: what is played, what is judged."""

from __future__ import annotations

from typing import Any

import pytest

from engine.dialects import DIALECTS
from engine.replay.play import complaints, read_answer
from tests.replaying import ASKS, HI, fixture, judged, route, seen, sse

TEXT = """
request: { path: /talk, json: { q: "{{ req.prompt }}" } }
stream:
  format: sse
  events:
    - { match: { kind: word }, text: $.word }
    - { match: { kind: bye }, finish: stop, usage: { input: $.in, output: $.out } }
retry: { attempts: 2, backoff: { jitter: none } }
timeouts: { first_byte: 30s, idle: 10s, total: 100s }
"""
WORDS = route(TEXT)
WORD = {"kind": "word", "word": "Hi"}
BYE = {"kind": "bye", "in": 3, "out": 1}
GOOD = {"reply": {"body": sse(WORD, BYE)}}

PASSING = route("dialect: openai_chat")
CHOICE = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}
CHUNK = {"id": "u", "object": "chat.completion.chunk", "created": 1, "model": "m"}
SAYS = {**CHUNK, "choices": [CHOICE]}
STOPS = {**CHUNK, "choices": [{**CHOICE, "delta": {}, "finish_reason": "stop"}]}


async def test_a_fixture_that_holds_has_no_complaints() -> None:
    made = fixture(
        {"expect": {"method": "POST", "url": "https://made.example/talk", "json": {"q": "Hi"}}}
        | GOOD,
        expect={
            "text": "Hi",
            "finish": "stop",
            "usage": {"input": 3, "output": 1, "estimated": False},
            "tool_calls": [],
            "upstream_calls": 1,
        },
    )
    assert await judged(WORDS, made) == []


@pytest.mark.parametrize(
    ("expect", "complaint"),
    [
        ({"text": "Ho"}, "text should be 'Ho', is 'Hi'"),
        ({"finish": "length"}, "finish should be 'length', is 'stop'"),
        ({"status": 502}, "status should be 502, is 200"),
        ({"reasoning": "hm"}, "reasoning should be 'hm', is ''"),
        ({"usage": {"input": 4}}, "usage input should be 4, is 3"),
        ({"upstream_calls": 2}, "upstream calls should be 2, is 1"),
        ({"error": {"class": "stale"}}, "it should have failed"),
        ({"never_contains": ["H"]}, "'H' is in the answer"),
        ({"tool_calls": [{"name": "f"}]}, "tool calls should be [{'name': 'f'}], is []"),
    ],
)
async def test_what_the_client_should_have_seen_and_did_not_is_told(
    expect: dict[str, Any], complaint: str
) -> None:
    assert await judged(WORDS, fixture(GOOD, expect=expect)) == [complaint]


async def test_a_failure_that_was_not_expected_is_told() -> None:
    made = fixture({"reply": {"status": 401, "json": {"error": "who?"}}}, expect={"text": ""})
    assert await judged(WORDS, made) == [
        "status should be 200, is 502",
        "it failed with auth_invalid: who?",
    ]


async def test_fields_of_an_error_are_those_the_client_reads() -> None:
    failed = {"reply": {"status": 400, "json": {"error": {"message": "no", "code": "odd"}}}}
    shown = {"class": "invalid_request", "message": "/^n/", "code": "odd"}
    assert await judged(WORDS, fixture(failed, expect={"status": 400, "error": shown})) == []
    wrong = {**shown, "type": "server_error"}
    assert await judged(WORDS, fixture(failed, expect={"status": 400, "error": wrong})) == [
        "error type should be 'server_error', is 'invalid_request_error'"
    ]


async def test_a_request_that_nobody_expected_and_one_that_never_came_are_told() -> None:
    made = fixture({"expect": {"json": {"q": "Ho"}}} | GOOD)
    assert await judged(WORDS, made) == [
        "request 1 (POST https://made.example/talk): json.q should be 'Ho', is 'Hi'",
        "exchange 1 never happened: request",
        "status should be 200, is 502",
        "it failed with fatal: the fixture expects another request",
    ]


async def test_no_further_request_was_expected() -> None:
    made = fixture(GOOD, client={**ASKS, "times": 2})
    assert (await judged(WORDS, made))[0].endswith("no further request was expected")


async def test_an_exchange_may_repeat_until_the_next_one_comes() -> None:
    ho = {"messages": [{"role": "user", "content": "Ho"}]}
    made = fixture(
        {"expect": {"json": {"q": "Hi"}}, "repeat": 5} | GOOD,
        {"expect": {"json": {"q": "Ho"}}} | GOOD,
        client={**ASKS, "times": 3, "then": [ho]},
        expect={"text": "Hi", "upstream_calls": 4},
    )
    assert await judged(WORDS, made) == []


async def test_in_any_order_an_exchange_may_also_never_happen() -> None:
    made = fixture({"expect": {"json": {"q": "Ho"}}} | GOOD, GOOD, any_order=True)
    assert await judged(WORDS, made) == []


# ---- how answers end ----


@pytest.mark.parametrize(
    ("end", "status", "cls", "message"),
    [
        ("stall", 504, "timeout", "the upstream did not answer in time"),
        ("reset", 502, "truncated", "the upstream broke off its answer"),
        ("eof", 502, "empty_response", "the upstream's answer was empty"),
    ],
)
async def test_an_answer_may_end_before_it_has_begun(
    end: str, status: int, cls: str, message: str
) -> None:
    made = fixture(
        {"reply": {"body": "", "end": end}, "repeat": 2},
        expect={
            "status": status,
            "error": {"class": cls, "message": message},
            "upstream_calls": 2,
        },
    )
    assert await judged(WORDS, made) == []


@pytest.mark.parametrize(
    ("end", "cls"), [("stall", "timeout"), ("reset", "truncated"), ("eof", "truncated")]
)
async def test_an_end_in_the_midst_is_an_error_in_the_stream(end: str, cls: str) -> None:
    made = fixture(
        {"reply": {"body": sse(WORD), "end": end}},
        expect={"text": "Hi", "finish": "", "error": {"class": cls}, "upstream_calls": 1},
    )
    (got,) = await seen(WORDS, made)
    assert complaints(made, [got]) == []
    assert got.raw.endswith(b"data: [DONE]\n\n")
    assert b'"error"' in got.raw


@pytest.mark.parametrize("end", ["stall", "reset", "eof"])
async def test_after_the_finish_any_end_is_good(end: str) -> None:
    made = fixture(
        {"reply": {"body": sse(WORD, BYE), "end": end}},
        expect={"text": "Hi", "finish": "stop", "usage": {"input": 3}, "upstream_calls": 1},
    )
    assert await judged(WORDS, made) == []


async def test_the_total_time_ends_an_exchange_however_many_attempts_are_left() -> None:
    patient = route(TEXT.replace("attempts: 2", "attempts: 9").replace("30s", "60s"))
    made = fixture(
        {"reply": {"body": "", "end": "stall"}, "repeat": 9},
        expect={
            "status": 504,
            "error": {"message": "no whole answer within 100 s"},
            "upstream_calls": 2,
        },
    )
    assert await judged(patient, made) == []


# ---- passed through, or as a whole ----


async def test_an_answer_that_is_passed_through_is_read_as_a_client_would() -> None:
    made = fixture(
        {"expect": {"url": "/chat/completions"}, "reply": {"body": sse(SAYS, STOPS, "[DONE]")}},
        expect={"text": "Hi", "finish": "stop"},
    )
    (got,) = await seen(PASSING, made)
    assert complaints(made, [got]) == []
    assert got.raw == sse(SAYS, STOPS, "[DONE]").encode()


async def test_a_passed_answer_that_breaks_off_is_an_error_after_its_text() -> None:
    made = fixture(
        {"reply": {"body": sse(SAYS)}},
        expect={"text": "Hi", "error": {"class": "truncated", "code": "bad_gateway"}},
    )
    assert await judged(PASSING, made) == []


async def test_a_whole_answer_is_passed_through_as_well() -> None:
    message = {"role": "assistant", "content": "Hi"}
    body = {
        **CHUNK,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
    made = fixture(
        {"reply": {"json": body}},
        client={"json": {"model": "m", "messages": HI}},
        expect={"text": "Hi", "finish": "stop"},
    )
    assert await judged(PASSING, made) == []


@pytest.mark.parametrize("more", [{}, {"stream": True, "stream_options": {"include_usage": True}}])
async def test_usage_is_estimated_where_the_upstream_counts_nothing(more: dict[str, Any]) -> None:
    plain = route(
        """
        request: { path: /, json: {} }
        response: { events: [{ text: $.say, finish: stop }] }
        """
    )
    made = fixture(
        {"reply": {"json": {"say": "Hello"}}},
        client={"json": {"model": "m", "messages": HI, **more}},
        expect={"text": "Hello", "usage": {"estimated": True, "input": 5, "output": 2}},
    )
    assert await judged(plain, made) == []


async def test_the_key_of_the_client_is_the_account_where_the_route_says_so() -> None:
    keyed = route(TEXT + 'auth: { from: { client_key: true }, bearer: "{{ account.key }}" }\n')
    made = fixture(
        {"expect": {"headers": {"authorization": "Bearer k-7"}}} | GOOD,
        client={**ASKS, "headers": {"Authorization": "Bearer k-7"}},
    )
    assert await judged(keyed, made) == []


async def test_a_transform_runs_only_for_requests_its_condition_fits() -> None:
    text = 'request: { path: /, json: { m: "{{ req.messages | as_openai }}" } }\n'
    text += "response: { events: [{ text: $.say, finish: stop }] }\n"
    text += "transforms: [{ system_prompt: { prepend: Be brief. }, when: req.user }]\n"
    asks = {"model": "m", "messages": HI}
    said_before = {"role": "system", "content": "Be brief."}
    made = fixture(
        {"expect": {"json": {"m": HI}}, "reply": {"json": {"say": "Hi"}}},
        {"expect": {"json": {"m": [said_before, *HI]}}, "reply": {"json": {"say": "Hi"}}},
        client={"json": asks, "then": [{"user": "ann"}]},
    )
    assert await judged(route(text), made) == []


# ---- sessions over several requests ----

KEPT = route(
    """
    session: { key: [req.user], history: server }
    request:
      path: /
      json: { messages: "{{ req.messages | as_openai }}", id: "{{ session.talk or 'none' }}" }
    stream:
      format: sse
      events:
        - { match: { kind: word }, text: $.word, set: { talk: $.talk } }
        - { match: { kind: bye }, finish: stop }
    """
)
LEARNED = {"reply": {"body": sse({**WORD, "talk": "t1"}, BYE)}}


def said(*texts: str) -> list[dict[str, str]]:
    """Turns of user and assistant."""
    roles = ("user", "assistant")
    return [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]


async def test_kept_turns_are_sent_on_a_route_without_any_transform() -> None:
    asks = {**ASKS["json"], "user": "ann", "messages": said("one")}
    made = fixture(
        {"expect": {"json": {"messages": said("one"), "id": "none"}}} | LEARNED,
        {"expect": {"json": {"messages": said("one", "Hi", "two"), "id": "t1"}}} | LEARNED,
        client={"json": asks, "then": [{"messages": said("two")}]},
    )
    assert await judged(KEPT, made) == []


async def test_what_an_answer_taught_is_kept_for_a_client_that_remembers_its_turns() -> None:
    asks = {**ASKS["json"], "user": "ann", "messages": said("one", "two", "three")}
    made = fixture(
        {"expect": {"json": {"id": "none"}}} | LEARNED,
        {"expect": {"json": {"id": "t1"}}} | LEARNED,
        client={"json": asks, "times": 2},
    )
    assert await judged(KEPT, made) == []


# ---- what a client reads ----


@pytest.mark.parametrize(
    ("status", "raw", "stream", "shown"),
    [
        (502, b'{"error":{"message":"no","code":"x"}}', False, ("no", "x")),
        (502, b"<html>", False, ("the answer is not JSON", "")),
        (502, b"{}", False, ("no error is told", "")),
        (200, b'data: {"error":{"message":"no","code":"x"}}\n\n', True, ("no", "x")),
    ],
)
def test_an_error_is_read_as_a_client_would(
    status: int, raw: bytes, stream: bool, shown: tuple[str, str]
) -> None:
    found: Any = read_answer(DIALECTS["openai_chat"], status, raw, stream=stream).shown
    assert (found.message, found.code) == shown
