from __future__ import annotations

from typing import Any

import pytest

from engine.chat import Citation, Opaque, Reasoning, Refusal, Text, ToolCall
from engine.dialects.openai_responses.answer import failure, reply
from engine.dialects.openai_responses.encode import PING, Encoder, stream_failure
from engine.dialects.openai_responses.parse import parse_value
from engine.dialects.provenance import unseal
from engine.errors import ExchangeError, RequestError
from engine.events import (
    ArgsDelta,
    CitationDelta,
    Close,
    ErrorEvent,
    Event,
    Finish,
    Open,
    Ping,
    ReasoningDelta,
    RefusalDelta,
    SignatureDelta,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
    fold,
)
from engine.wire import loads
from tests.grammar import check_events, check_responses_stream, named_payloads
from tests.specs import check_response

TEXT: list[Event] = [Open(0, Text("")), TextDelta(0, "Hi "), TextDelta(0, "好"), Close(0)]
CALL: list[Event] = [
    Open(0, ToolCall("call_1", "f", "")), ArgsDelta(0, '{"a"'), ArgsDelta(0, ":1}"), Close(0),
]  # fmt: skip
USAGE = UsageEvent(Usage(input=9, output=4, cache_read=3, cache_write=2, reasoning=1))
STOP, TOOLS = Finish("stop", seconds=2.5), Finish("tool_calls", seconds=2.5)


def answer(*events: Event, **asked: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The events of a stream and the whole answer, both valid, their items the same."""
    given: list[Event] = [Start(), *events]
    check_events(given)
    request = parse_value({"model": "m", "input": "hi", **asked})
    encoder = Encoder("req_ab", "m", 7, request)
    data = b"".join(encoder.feed([event]) for event in given)
    assert data == Encoder("req_ab", "m", 7, request).feed(given)
    found = check_responses_stream(data)
    folded = fold(given)
    if folded.error is not None:
        return found, found[-1]["response"]
    whole: Any = loads(reply(folded, "req_ab", "m", 7, request))
    check_response(whole)
    assert encoder.document == found[-1]["response"]
    if folded.finish != "length":
        assert found[-1]["response"] == whole
    return found, whole


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_a_text_is_a_message_with_every_event_of_the_grammar() -> None:
    events, whole = answer(*TEXT, USAGE, STOP)
    assert [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta",
        "output_text.delta", "output_text.done", "content_part.done", "output_item.done",
        "completed",
    ] == kinds(events)  # fmt: skip
    part = {"type": "output_text", "text": "Hi 好", "annotations": [], "logprobs": []}
    (item,) = whole["output"]
    assert {
        "id": "msg_ab00", "type": "message", "status": "completed", "role": "assistant",
        "content": [part],
    } == item  # fmt: skip
    assert ("resp_ab", 7, 9) == (whole["id"], whole["created_at"], whole["completed_at"])
    assert {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 13,
    } == whole["usage"]


def test_row_21_calls_are_whole_in_their_last_event_and_in_the_response() -> None:
    more: list[Event] = [Open(1, ToolCall("call_2", "g", "")), ArgsDelta(1, "{}")]
    events, whole = answer(CALL[0], *more, *CALL[1:], Close(1), TOOLS)
    assert {
        "id": "fc_ab00", "type": "function_call", "status": "completed", "call_id": "call_1",
        "name": "f", "arguments": '{"a":1}',
    } == whole["output"][0]  # fmt: skip
    assert ["fc_ab00", "fc_ab01"] == [item["id"] for item in whole["output"]]
    assert whole["status"] == "completed"
    done = [event["item"] for event in events if event["type"].endswith("output_item.done")]
    assert whole["output"] == done


def test_a_call_that_has_no_arguments_gets_an_empty_object() -> None:
    encoder = Encoder("req_ab", "m", 7)
    given = [Start(), CALL[0], Close(0), TOOLS]
    events = check_responses_stream(encoder.feed(given))
    assert events[-1]["response"]["output"][0]["arguments"] == "{}"


# ---- thinking ----

THOUGHT: list[Event] = [
    Open(0, Reasoning(origin="anthropic_messages")), ReasoningDelta(0, "well, "),
    ReasoningDelta(0, "so"), SignatureDelta(0, "sig"), Close(0),
]  # fmt: skip


def test_text_beside_a_summary_does_not_say_the_summary_again() -> None:
    both: list[Event] = [
        Open(0, Reasoning(origin="openai_responses")),
        ReasoningDelta(0, "in short", 0),
        ReasoningDelta(0, "at length"),
        Close(0),
    ]
    _, whole = answer(*both, STOP)
    (item,) = whole["output"]
    assert [{"type": "summary_text", "text": "in short"}] == item["summary"]
    assert [{"type": "reasoning_text", "text": "at length"}] == item["content"]


def test_thinking_is_text_or_as_the_client_asks_a_summary() -> None:
    events, whole = answer(*THOUGHT, STOP)
    (item,) = whole["output"]
    assert [{"type": "reasoning_text", "text": "well, so"}] == item["content"]
    assert [] == item["summary"]
    assert "reasoning_text.delta" in kinds(events)
    events, whole = answer(*THOUGHT, STOP, reasoning={"summary": "auto"})
    (item,) = whole["output"]
    assert [{"type": "summary_text", "text": "well, so"}] == item["summary"]
    assert "content" not in item
    assert [
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.delta", "reasoning_summary_text.done",
        "reasoning_summary_part.done", "output_item.done",
    ] == kinds(events)[2:-1]  # fmt: skip


def test_a_signature_of_another_api_comes_back_as_it_went() -> None:
    _, whole = answer(*THOUGHT, STOP, reasoning={"summary": "auto"})
    sealed = whole["output"][0]["encrypted_content"]
    assert "penstock/anthropic_messages/sig" == sealed
    back = parse_value({"model": "m", "input": [*whole["output"]]}).messages[0].parts[0]
    assert isinstance(back, Reasoning)
    assert ("well, so", "sig", "anthropic_messages") == (back.text, back.signature, back.origin)
    assert unseal(sealed, Reasoning()).signature == "sig"


def test_thinking_of_this_api_keeps_its_id_its_parts_and_its_secret() -> None:
    part = Reasoning(id="rs_1", origin="openai_responses")
    events, whole = answer(
        Open(0, part), ReasoningDelta(0, "a", 0), ReasoningDelta(0, "\n\nb", 1),
        ReasoningDelta(0, "c", 1), SignatureDelta(0, encrypted="secret"), Close(0), STOP,
    )  # fmt: skip
    (item,) = whole["output"]
    texts = [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "bc"}]
    assert {"id": "rs_1", "type": "reasoning", "summary": texts,
            "encrypted_content": "secret"} == item  # fmt: skip
    assert [0, 1, 1] == [e["summary_index"] for e in events if e["type"].endswith("text.delta")]


def test_thinking_that_is_all_secret_is_an_item() -> None:
    part = Reasoning(encrypted="secret", origin="openai_responses")
    _, whole = answer(Open(0, part), Close(0), STOP)
    assert [[], "secret"] == [whole["output"][0][name] for name in ("summary", "encrypted_content")]


# ---- what a text may carry ----


def test_annotations_and_log_probabilities() -> None:
    token = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": [
        {"token": "Ho", "logprob": -1.5, "bytes": None}]}  # fmt: skip
    link = Citation("url_citation", url="https://a", title="A", start=1, end=2)
    events, whole = answer(
        Open(0, Text("")), TextDelta(0, "Hi", {"content": [token]}), CitationDelta(0, link),
        CitationDelta(0, Citation("page", text="x")), TextDelta(0, "!"), Close(0), STOP,
    )  # fmt: skip
    (part,) = whole["output"][0]["content"]
    assert {"type": "url_citation", "url": "https://a", "title": "A", "start_index": 1,
            "end_index": 2} == part["annotations"][0]  # fmt: skip
    assert 1 == len(part["annotations"])
    top = [{"token": "Ho", "logprob": -1.5, "bytes": []}]
    assert [{**token, "top_logprobs": top}] == part["logprobs"]
    told = next(event for event in events if event["type"] == "response.output_text.delta")
    assert part["logprobs"] == told["logprobs"]


def test_a_text_that_is_over_cites_no_more_in_a_stream() -> None:
    late = CitationDelta(0, Citation("url_citation", url="https://a"))
    said: list[Event] = [Open(0, Text("")), TextDelta(0, "Hi"), Close(0)]
    encoder = Encoder("req_1", "m", 1)
    encoder.feed([Start("", "m", 1), *said])
    assert b"" == encoder.feed([late])


def test_the_tier_that_served_is_told() -> None:
    _, whole = answer(*TEXT, Finish("stop", tier="flex"))
    assert "flex" == whole["service_tier"]


def test_a_refusal_is_a_part_and_a_blocked_answer_is_incomplete() -> None:
    _, whole = answer(
        Open(0, Refusal("")),
        RefusalDelta(0, "No."),
        Close(0),
        Finish("content_filter", seconds=2.5),
    )
    assert [{"type": "refusal", "refusal": "No."}] == whole["output"][0]["content"]
    assert whole["status"] == "completed"
    _, whole = answer(*TEXT, Finish("content_filter"))
    assert {"reason": "content_filter"} == whole["incomplete_details"]


def test_the_phase_of_a_message_stays() -> None:
    _, whole = answer(
        Open(0, Text("", extras={"phase": "commentary"})), TextDelta(0, "a"), Close(0), STOP
    )
    assert whole["output"][0]["phase"] == "commentary"


def test_an_answer_cut_off_by_its_length_is_incomplete() -> None:
    events, whole = answer(*TEXT, Finish("length"))
    assert ("incomplete", {"reason": "max_output_tokens"}, None) == (
        whole["status"], whole["incomplete_details"], whole["completed_at"],
    )  # fmt: skip
    assert events[-1]["type"] == "response.incomplete"
    assert whole["output"][0]["status"] == "incomplete"


def test_what_only_this_api_knows_goes_out_as_it_came_and_the_rest_not() -> None:
    raw = {"type": "web_search_call", "id": "ws_1", "status": "completed",
           "action": {"type": "search", "query": "q"}}  # fmt: skip
    _, whole = answer(
        Open(0, Opaque("openai_responses", "web_search_call", raw)), Close(0),
        Open(1, Opaque("anthropic_messages", "server_tool_use", {})), Close(1),
        Open(2, Text("")), TextDelta(2, "a"), Close(2), STOP,
    )  # fmt: skip
    assert [raw, "msg_ab01"] == [whole["output"][0], whole["output"][1]["id"]]


# ---- tools ----

SPACE = {"type": "namespace", "name": "files", "description": "d",
         "tools": [{"type": "function", "name": "read", "parameters": {}}]}  # fmt: skip
PATCH = {"type": "custom", "name": "patch", "description": "p",
         "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}}  # fmt: skip


def test_a_call_of_a_namespace_gets_its_name_back() -> None:
    call = ToolCall("call_1", "files__read", "")
    events, whole = answer(Open(0, call), ArgsDelta(0, "{}"), Close(0), TOOLS, tools=[SPACE])
    assert ("files", "read") == (whole["output"][0]["namespace"], whole["output"][0]["name"])
    assert [SPACE] == whole["tools"]
    assert events[2]["item"]["name"] == "read"


def test_a_custom_call_is_given_out_as_it_is_said() -> None:
    call = ToolCall("call_1", "patch", "", "custom")
    events, whole = answer(
        Open(0, call), ArgsDelta(0, "*** "), ArgsDelta(0, "x"), Close(0), TOOLS, tools=[PATCH]
    )
    assert {"id": "ctc_ab00", "type": "custom_tool_call", "call_id": "call_1", "name": "patch",
            "input": "*** x"} == whole["output"][0]  # fmt: skip
    deltas = [e["delta"] for e in events if e["type"] == "response.custom_tool_call_input.delta"]
    assert ["*** ", "x"] == deltas


# ---- the request comes back ----


def test_what_was_asked_stands_in_the_answer() -> None:
    asked: dict[str, Any] = {
        "instructions": "be brief", "temperature": 0.5, "max_output_tokens": 99, "store": False,
        "metadata": {"a": "b"}, "parallel_tool_calls": False, "tool_choice": "required",
        "reasoning": {"effort": "low", "summary": None}, "truncation": "auto",
        "text": {"format": {"type": "text"}, "verbosity": "low"}, "prompt_cache_key": "k",
        "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True,
                   "description": None}],
    }  # fmt: skip
    _, whole = answer(*TEXT, STOP, **asked)
    assert asked == {name: whole[name] for name in asked}


# ---- ends ----


def test_an_answer_that_breaks_off_fails_with_what_was_said() -> None:
    events, whole = answer(*TEXT[:2], ErrorEvent("truncated", "it broke"))
    assert {"code": "server_error", "message": "it broke"} == whole["error"]
    assert "Hi " == whole["output"][0]["content"][0]["text"]
    assert whole["output"][0]["status"] == "incomplete"
    assert events[-1]["type"] == "response.failed"


@pytest.mark.parametrize(
    ("event", "code", "message"),
    [
        (ErrorEvent("context_length", "too long"), "context_length_exceeded", "too long"),
        (ErrorEvent("quota_exhausted", "none left"), "insufficient_quota", "none left"),
        (
            ErrorEvent("rate_limited", "Slow down.", retry_after=2.5),
            "rate_limit_exceeded",
            "Slow down. Please try again in 3s.",
        ),
        (ErrorEvent("invalid_request", "bad", 400), "invalid_prompt", "bad"),
        (ErrorEvent("auth_expired", "key sk-1"), "server_error", "upstream credential rejected"),
    ],
)
def test_codex_learns_why(event: ErrorEvent, code: str, message: str) -> None:
    _, whole = answer(event)
    assert {"code": code, "message": message} == whole["error"]


def test_an_answer_without_a_beginning_gets_one() -> None:
    data = Encoder("req_ab", "m", 7).feed([Finish("stop")])
    assert ["created", "in_progress", "completed"] == kinds(check_responses_stream(data))


def test_pings_are_comments_and_nothing_follows_the_end() -> None:
    encoder = Encoder("req_ab", "m", 7)
    assert PING == encoder.ping()
    assert PING == encoder.feed([Ping()])
    check_responses_stream(encoder.feed([Start()]) + PING + encoder.feed([*TEXT, STOP]))
    assert encoder.ping() is None
    assert b"" == encoder.feed(TEXT) == encoder.finish()


def test_a_stream_that_passed_through_can_still_fail() -> None:
    ((name, value),) = named_payloads(stream_failure(ErrorEvent("timeout", "silence")))
    assert ("response.failed", "silence") == (name, value["response"]["error"]["message"])


def test_failures_have_all_four_keys() -> None:
    error = RequestError("bad_request", "input: no", param="input")
    status, body = failure("bad_request", "input: no", "req_1", error)
    found: Any = loads(body)
    assert 400 == status
    assert {
        "message": "input: no", "type": "invalid_request_error", "param": "input", "code": None,
    } == found["error"]  # fmt: skip
    status, body = failure("context_length", "long", "", ExchangeError("context_length", "long"))
    found = loads(body)
    assert (400, "context_length_exceeded") == (status, found["error"]["code"])
