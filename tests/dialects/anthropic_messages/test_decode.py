from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chat import Citation, Opaque, Reasoning, Text, ToolCall
from engine.dialects.anthropic_messages.decode import (
    FINISHES,
    StreamDecoder,
    WholeDecoder,
    decode_whole,
    read_usage,
)
from engine.events import (
    ArgsDelta,
    CitationDelta,
    Close,
    End,
    ErrorEvent,
    Event,
    Finish,
    Open,
    ReasoningDelta,
    SignatureDelta,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
    fold,
)
from engine.wire import Record, dumps
from tests.grammar import check_events

NAME = "anthropic_messages"
COUNTS: dict[str, object] = {"input_tokens": 10, "output_tokens": 1}
STOP = {"type": "message_stop"}


def start(**usage: object) -> dict[str, Any]:
    message: dict[str, object] = {
        "id": "msg_1",
        "model": "up",
        "content": [],
        "usage": usage or COUNTS,
    }
    return {"type": "message_start", "message": message}


def begin(index: int, kind: str, **more: object) -> dict[str, Any]:
    block = {"type": kind, **more}
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, **more: object) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **more}}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ending(reason: object = "end_turn", **more: object) -> dict[str, Any]:
    usage = more.pop("usage", {"output_tokens": 5})
    return {"type": "message_delta", "delta": {"stop_reason": reason, **more}, "usage": usage}


def decode(*values: Any) -> list[Event]:
    """Events of a stream, held against the invariants."""
    made = StreamDecoder(("made_" + str(at) for at in itertools.count()).__next__)
    events: list[Event] = []
    for value in values:
        name = value.get("type", "") if isinstance(value, dict) else ""
        events += made.feed(Record(name if isinstance(name, str) else "", dumps(value), value))
    events += made.finish()
    check_events(events, source=True)
    return events


def said(*values: Any) -> list[Event]:
    """The events between Start, with its usage, and the finish."""
    events = decode(start(), *values, ending(), STOP)
    assert [Start("msg_1", "up"), UsageEvent(read_usage(COUNTS))] == events[:2]
    assert events[-1] == End()
    return events[2:-3]


def test_text() -> None:
    assert said(
        begin(0, "text", text=""), delta(0, "text_delta", text="Hé"),
        delta(0, "text_delta", text="llo"), stop(0),
    ) == [Open(0, Text("")), TextDelta(0, "Hé"), TextDelta(0, "llo"), Close(0)]  # fmt: skip


def test_row_6_an_empty_text_is_no_block() -> None:
    call = [begin(1, "tool_use", id="a", name="f", input={}), stop(1)]
    events = decode(start(), begin(0, "text", text=""), stop(0), *call, ending("tool_use"), STOP)
    assert [part for part in fold(events).parts] == [ToolCall("a", "f", "{}")]  # noqa: C416


def test_text_that_stands_in_the_start_counts() -> None:
    found = said(begin(0, "text", text="a"), delta(0, "text_delta", text="b"), stop(0))
    assert fold(found).text == "ab"


def test_thinking_and_its_signature() -> None:
    assert said(
        begin(0, "thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="hm"),
        delta(0, "signature_delta", signature="s"),
        stop(0),
    ) == [
        Open(0, Reasoning(origin=NAME)),
        ReasoningDelta(0, "hm"),
        SignatureDelta(0, "s"),
        Close(0),
    ]


def test_row_14_thinking_of_a_signature_alone_is_kept() -> None:
    found = said(begin(0, "thinking"), delta(0, "signature_delta", signature="s"), stop(0))
    assert [Reasoning("", signature="s", origin=NAME)] == fold(found).parts


def test_row_45_redacted_thinking() -> None:
    found = said(begin(0, "redacted_thinking", data="d"), stop(0))
    assert [Open(0, Reasoning(encrypted="d", origin=NAME)), Close(0)] == found


def call(index: int, *pieces: str, id: str = "a", **more: object) -> list[dict[str, Any]]:
    block = {"id": id, "name": "f", "input": {}, **more}
    return [
        begin(index, "tool_use", **block),
        *(delta(index, "input_json_delta", partial_json=piece) for piece in pieces),
        stop(index),
    ]


def test_row_8_the_empty_input_of_the_start_is_no_argument() -> None:
    events = decode(start(), *call(0, "", '{"a"', ":1}"), ending("tool_use"), STOP)
    expected: list[Event] = [
        Open(0, ToolCall("a", "f", "")), ArgsDelta(0, '{"a"'), ArgsDelta(0, ":1}"), Close(0),
    ]  # fmt: skip
    assert expected == events[2:-3]


def test_row_9_a_call_without_arguments_has_an_empty_object() -> None:
    (made,) = fold(decode(start(), *call(0), ending("tool_use"))).calls
    assert made.args == "{}"


def test_row_3_arguments_that_stand_in_the_start_count() -> None:
    (made,) = fold(decode(start(), *call(0, input={"a": 1}), ending("tool_use"))).calls
    assert made.args == '{"a":1}'


def test_row_12_a_call_without_id_gets_one() -> None:
    (made,) = fold(decode(start(), *call(0, "{}", id=""), ending("tool_use"))).calls
    assert made.id == "made_0"


def test_row_10_blocks_are_numbered_without_gaps() -> None:
    events = decode(
        start(),
        begin(0, "thinking"), delta(0, "thinking_delta", thinking="hm"), stop(0),
        begin(1, "text", text=""), stop(1),
        *call(5, "{}"),
        begin(7, "text", text=""), delta(7, "text_delta", text="x"), stop(7),
        ending("tool_use"),
    )  # fmt: skip
    assert [0, 1, 2] == [event.block for event in events if isinstance(event, Open)]


def test_row_53_blocks_of_the_providers_tools_are_opaque_and_no_calls() -> None:
    result = {"tool_use_id": "s", "content": [{"type": "web_search_result", "url": "https://a"}]}
    found = said(
        begin(0, "server_tool_use", id="s", name="web_search", input={}),
        delta(0, "input_json_delta", partial_json='{"q":"x"}'), stop(0),
        begin(1, "web_search_tool_result", **result), stop(1),
    )  # fmt: skip
    one = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": "x"}}
    two = {"type": "web_search_tool_result", **result}
    assert found == [
        Open(0, Opaque(NAME, "server_tool_use", one)), Close(0),
        Open(1, Opaque(NAME, "web_search_tool_result", two)), Close(1),
    ]  # fmt: skip


def test_a_provider_tools_input_that_broke_off_is_left_as_it_began() -> None:
    raw = {"type": "server_tool_use", "id": "s", "name": "w", "input": {}}
    found = said(
        {"type": "content_block_start", "index": 0, "content_block": raw},
        delta(0, "input_json_delta", partial_json='{"q'), stop(0),
    )  # fmt: skip
    assert Open(0, Opaque(NAME, "server_tool_use", raw)) == found[0]


def test_citations() -> None:
    link = {"type": "web_search_result_location", "url": "https://a", "title": "A",
            "cited_text": "c", "encrypted_index": "e"}  # fmt: skip
    page = {"type": "page_location", "document_title": "D", "cited_text": ""}
    found = said(
        begin(0, "text", text=""), delta(0, "citations_delta", citation=link),
        delta(0, "text_delta", text="a"), delta(0, "citations_delta", citation=link),
        delta(0, "citations_delta", citation=page), stop(0),
    )  # fmt: skip
    early = Citation("web_search_result_location", "https://a", "A", "c", raw=link)
    assert [event.citation for event in found if isinstance(event, CitationDelta)] == [
        early, early, Citation("page_location", None, "D", None, raw=page),
    ]  # fmt: skip
    textless = said(begin(0, "text", text="", citations=[link]), stop(0))
    assert [CitationDelta(-1, early)] == textless


# ---- ends ----


@pytest.mark.parametrize(("raw", "reason"), FINISHES.items())
def test_why_an_answer_ended(raw: str, reason: str) -> None:
    blocks = call(0, "{}") if raw == "tool_use" else []
    events = decode(start(), *blocks, ending(raw), STOP)
    assert [Finish(reason, raw), End()] == events[-2:]


def test_an_unknown_reason_keeps_its_word() -> None:
    assert Finish("other", "tired") == decode(start(), ending("tired"))[-1]


@pytest.mark.parametrize("raw", ["end_turn", "pause_turn", "tool_use"])
def test_row_11_calls_decide_the_reason(raw: str) -> None:
    called = decode(start(), *call(0, "{}"), ending(raw))[-1]
    assert Finish("tool_calls", raw) == called
    assert Finish("stop", "tool_use") == decode(start(), ending("tool_use"))[-1]


def test_the_stop_sequence_and_the_details_of_a_refusal() -> None:
    stopped = decode(start(), ending("stop_sequence", stop_sequence="END"))[-1]
    assert Finish("stop", "stop_sequence", "END") == stopped
    details = {"type": "refusal", "category": "bio", "explanation": None}
    refused = decode(start(), ending("refusal", stop_details=details))[-1]
    assert Finish("content_filter", "refusal", None, details) == refused


def test_blocks_left_open_are_closed_by_the_finish() -> None:
    events = decode(start(), begin(0, "text"), delta(0, "text_delta", text="a"), ending())
    assert [Close(0), UsageEvent] == [events[-2], type(events[-3])]


def test_f9_nothing_of_content_counts_after_the_finish() -> None:
    late = [
        begin(1, "text", text="x"),
        delta(0, "text_delta", text="x"),
        stop(0),
        ending("refusal"),
    ]
    events = decode(start(), ending(usage=None), *late[:3], STOP, late[3])
    assert [Start, UsageEvent, Finish, End] == [type(event) for event in events]


def test_a_cut_answer_has_no_finish() -> None:
    events = decode(start(), begin(0, "text"), delta(0, "text_delta", text="a"))
    assert not any(isinstance(event, Finish | ErrorEvent) for event in events)


def test_a_stream_that_begins_in_the_middle_has_its_start() -> None:
    assert Start() == decode(begin(0, "text", text="a"), stop(0), ending(usage=None))[0]


def test_a_second_start_only_counts() -> None:
    events = decode(start(), start(input_tokens=20), ending())
    assert 1 == sum(isinstance(event, Start) for event in events)
    assert fold(events).usage == Usage(20, 5, raw={"input_tokens": 20, "output_tokens": 5})


# ---- usage ----


def counted(first: dict[str, object], last: dict[str, object]) -> Usage:
    found = fold(decode(start(**first), ending(usage=last))).usage
    assert found is not None
    found.raw = None
    return found


def test_row_49_input_counts_what_came_from_the_cache_and_went_there() -> None:
    usage = read_usage(
        {
            "input_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20,
            "output_tokens": 7, "output_tokens_details": {"thinking_tokens": 4},
            "cache_creation": {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5},
        }
    )  # fmt: skip
    usage.raw = None
    assert usage == Usage(123, 7, cache_read=100, cache_write=20, reasoning=4, cache_write_1h=5)


def test_row_48_the_last_count_holds_and_none_is_added() -> None:
    found = counted({"input_tokens": 10, "output_tokens": 1}, {"output_tokens": 5})
    assert Usage(10, 5) == found


def test_the_end_may_tell_the_input_alone_without_its_cache() -> None:
    first = {"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 1}
    found = counted(dict(first), {"input_tokens": 11, "output_tokens": 5})
    assert Usage(101, 5, cache_read=90) == found


def test_a_zero_at_the_end_does_not_undo_the_input() -> None:
    assert Usage(10, 5) == counted(
        {"input_tokens": 10, "output_tokens": 1}, {"input_tokens": 0, "output_tokens": 5}
    )
    assert Usage(8, 5) == counted(
        {"input_tokens": 0, "output_tokens": 0}, {"input_tokens": 8, "output_tokens": 5}
    )


def test_an_estimate_stays_one() -> None:
    assert read_usage({"input_tokens": 1, "penstock_estimated": True}).estimated


# ---- errors ----

ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}


def test_f7_an_error_event() -> None:
    text = [begin(0, "text"), delta(0, "text_delta", text="a")]
    for more in ([], [start()], [start(), *text]):
        events = decode(*more, ERROR, delta(0, "text_delta", text="b"), STOP)
        assert ErrorEvent("overloaded", "busy") == events[-1]


@pytest.mark.parametrize(
    ("type", "cls"),
    [
        ("overloaded_error", "overloaded"),
        ("rate_limit_error", "rate_limited"),
        ("api_error", "retryable"),
        ("invalid_request_error", "invalid_request"),
        ("authentication_error", "auth_expired"),
        ("timeout_error", "retryable"),
    ],
)
def test_errors_by_their_type(type: str, cls: str) -> None:
    error = {"type": "error", "error": {"type": type, "message": "m"}}
    assert [ErrorEvent(cls, "m")] == decode(error)


def test_errors_of_other_makes() -> None:
    assert [ErrorEvent("retryable", "m")] == decode({"error": {"message": "m"}})
    named = StreamDecoder(str).feed(Record("error", b"{}", {"message": "m"}))
    assert [ErrorEvent("retryable", "m")] == named


def test_an_error_after_the_finish_changes_nothing() -> None:
    assert isinstance(decode(start(), ending(usage=None), ERROR)[-1], Finish)


def test_f15_a_frame_that_is_not_json_is_an_error() -> None:
    (found,) = StreamDecoder(str).feed(Record("", b"oops", None))
    assert found == ErrorEvent("retryable", "the upstream sent a frame that is not JSON")
    assert [] == StreamDecoder(str).feed(Record("", b" ", None))


def test_pings_and_events_nobody_knows_say_nothing() -> None:
    assert [] == decode({"type": "ping"}, {"type": "x_new"}, {"x": 1}, {"type": 5})


# ---- whole answers ----


def whole(*content: object, **fields: object) -> list[Event]:
    value = {"id": "msg_1", "type": "message", "model": "up", "content": list(content),
             "stop_reason": "end_turn", "usage": COUNTS, **fields}  # fmt: skip
    events = decode_whole(value, lambda: "made")
    check_events(events)
    return events


def test_a_whole_answer() -> None:
    used = {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}
    answer = fold(
        whole(
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "Hé", "citations": [{"type": "char_location"}]},
            {"type": "text", "text": ""},
            {"type": "web_search_tool_result", "content": []},
            used,
            stop_reason="tool_use",
        )
    )
    result = {"type": "web_search_tool_result", "content": []}
    assert answer.parts == [
        Reasoning("hm", signature="s", origin=NAME),
        Text("Hé", [Citation("char_location", raw={"type": "char_location"})]),
        Opaque(NAME, "web_search_tool_result", result),
        ToolCall("a", "f", '{"x":1}'),
    ]
    assert ("msg_1", "up", "tool_calls", Usage(10, 1, raw=COUNTS)) == (
        answer.id, answer.model, answer.finish, answer.usage,
    )  # fmt: skip


def test_a_whole_answer_without_a_reason_has_ended_well() -> None:
    text = {"type": "text", "text": "a"}
    assert Finish("stop", "end_turn") == whole(text, stop_reason=None)[-1]


def test_a_whole_answer_that_was_stopped() -> None:
    found = whole({"type": "text", "text": "a"}, stop_reason="stop_sequence", stop_sequence="X")
    assert Finish("stop", "stop_sequence", "X") == found[-1]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ([], ErrorEvent("retryable", "the upstream's answer is not an object")),
        ({"id": "x"}, ErrorEvent("retryable", "the upstream's answer has no content")),
        (ERROR, ErrorEvent("overloaded", "busy")),
    ],
)
def test_f5_what_is_no_answer_is_an_error(value: object, error: ErrorEvent) -> None:
    assert [error] == WholeDecoder(str).feed(Record("", dumps(value), value))


def test_f5_a_page_is_an_error() -> None:
    (found,) = WholeDecoder(str).feed(Record("", b"<html>", None))
    assert found == ErrorEvent("retryable", "the upstream answered with a page, not JSON")
    assert [] == WholeDecoder(str).finish()


# ---- properties ----

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
odd: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-1, 3) | words | st.just([]) | st.just({})
)
kinds = st.sampled_from(
    ["text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "x"]
)
pieces = st.fixed_dictionaries(
    {"type": st.sampled_from(["text_delta", "thinking_delta", "signature_delta",
                              "input_json_delta", "citations_delta", "x"]) | odd},
    optional={"text": words | odd, "thinking": words | odd, "signature": words | odd,
              "partial_json": words | odd, "citation": odd},
)  # fmt: skip
blocks = st.fixed_dictionaries(
    {"type": kinds | odd}, optional={"text": words | odd, "id": words | odd, "input": odd}
).map(lambda block: {"name": "f", **block})
values = st.one_of(
    st.just(start()),
    st.builds(lambda i, b: {"type": "content_block_start", "index": i, "content_block": b},
              st.integers(0, 2) | odd, blocks | odd),
    st.builds(lambda i, d: {"type": "content_block_delta", "index": i, "delta": d},
              st.integers(0, 2) | odd, pieces | odd),
    st.builds(stop, st.integers(0, 2)),
    st.builds(ending, st.sampled_from([None, "", "end_turn", "tool_use"]) | odd),
    st.just(STOP),
    odd,
)  # fmt: skip


@given(st.lists(values, max_size=10))
@settings(max_examples=600, deadline=None)
def test_any_events_give_events_in_order(given: list[Any]) -> None:
    decode(*given)


@given(st.lists(blocks | odd, max_size=3), odd)
@settings(max_examples=300, deadline=None)
def test_any_content_gives_a_whole_answer(content: list[Any], reason: Any) -> None:
    check_events(decode_whole({"content": content, "stop_reason": reason}, lambda: "made"))
