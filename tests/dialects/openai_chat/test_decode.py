from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chat import Citation, Opaque, Reasoning, Refusal, Text, ToolCall
from engine.dialects.openai_chat.decode import (
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
    RefusalDelta,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
    fold,
)
from engine.wire import Record, dumps, loads
from tests.grammar import check_events

START = Start("c1", "m1", 7)


def maker() -> Any:
    numbers = count()
    return lambda: f"made_{next(numbers)}"


def chunk(delta: object = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m1"}
    return {**head, "choices": [choice], **more}


def record(value: object) -> Record:
    return Record("", dumps(value), value)


def decode(*items: object) -> list[Event]:
    """Events of chunks; bytes stand for payloads that are not JSON."""
    decoder = StreamDecoder(maker())
    events: list[Event] = []
    for item in items:
        raw = isinstance(item, bytes)
        events += decoder.feed(Record("", item, None) if raw else record(item))  # type: ignore[arg-type]
    events += decoder.finish()
    check_events(events, source=True)
    return events


def call(index: object = 0, id: object = None, name: object = None, args: object = None) -> Any:
    inner = {"name": name, "arguments": args}
    found = {"function": {key: value for key, value in inner.items() if value is not None}}
    known = {"index": index, "id": id}
    return found | {key: value for key, value in known.items() if value is not None}


def calls(*fragments: Any) -> dict[str, Any]:
    return chunk({"tool_calls": list(fragments)})


STOP = chunk({}, "stop")
TOOLS = chunk({}, "tool_calls")


def test_a_plain_answer() -> None:
    assert decode(
        chunk({"role": "assistant", "content": "", "refusal": None}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        STOP,
        {**chunk(), "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
        b"[DONE]",
    ) == [
        START,
        Open(0, Text("")),
        TextDelta(0, "Hel"),
        TextDelta(0, "lo"),
        Close(0),
        Finish("stop", "stop"),
        UsageEvent(Usage(3, 2, raw={"prompt_tokens": 3, "completion_tokens": 2})),
        End(),
    ]


def test_an_answer_without_an_end_gets_none() -> None:
    events = decode(chunk({"content": "a"}))
    assert [START, Open(0, Text("")), TextDelta(0, "a")] == events


def test_row_18_the_end_marker_ends_the_answer_once() -> None:
    events = decode(chunk({"content": "a"}), STOP, b"[DONE]", b"[DONE]", chunk({"content": "b"}))
    assert [Close(0), Finish("stop", "stop"), End()] == events[-3:]


def test_an_end_marker_without_a_finish_is_only_that() -> None:
    events = decode(chunk({"content": "a"}), b" [DONE] ")
    assert [TextDelta(0, "a"), Close(0), End()] == events[-3:]


@pytest.mark.parametrize(
    "odd",
    [
        chunk({}),
        chunk(None),
        {**chunk(), "choices": []},
        {"id": "c1", "choices": None},
        {"object": "ping"},
        chunk({"content": None}),
        chunk({"role": "assistant"}),
        b"",
        b"  ",
    ],
)
def test_row_5_empty_chunks_are_skipped(odd: object) -> None:
    plain = decode(chunk({"content": "a"}), chunk({"content": "b"}), STOP)
    assert plain == decode(chunk({"content": "a"}), odd, chunk({"content": "b"}), STOP)


def test_a_first_chunk_without_choices_does_not_start_the_answer() -> None:
    azure = {"id": "", "model": "", "choices": [], "prompt_filter_results": []}
    assert decode(azure, chunk({"content": "a"}))[0] == START


def test_row_60_an_empty_finish_is_none() -> None:
    events = decode(chunk({"content": "a"}, ""), chunk({"role": "assistant", "content": "b"}), STOP)
    assert fold(events).text == "ab"


@pytest.mark.parametrize(
    "nothing", [{"tool_calls": []}, {"tool_calls": None}, {"function_call": None}]
)
def test_row_7_text_beside_an_empty_call_is_text(nothing: dict[str, Any]) -> None:
    assert fold(decode(chunk({"content": "hi", **nothing}), STOP)).text == "hi"


# ---- tool calls ----


def test_row_1_parallel_calls_keep_their_fragments_apart() -> None:
    events = decode(
        chunk({"content": "text first"}),
        calls(call(0, "a", "f", "")),
        calls(call(1, "b", "g", "")),
        calls(call(0, args='{"x"')),
        calls(call(1, args='{"y"')),
        calls(call(0, args=":1}"), call(1, args=":2}")),
        TOOLS,
    )
    assert [ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", '{"y":2}')] == fold(events).calls
    opened = [event.block for event in events if isinstance(event, Open)]
    assert opened == [0, 1, 2]


def test_row_3_a_whole_call_in_one_fragment_keeps_its_arguments() -> None:
    assert decode(calls(call(0, "a", "f", '{"x":1}')), TOOLS) == [
        START,
        Open(0, ToolCall("a", "f", "")),
        ArgsDelta(0, '{"x":1}'),
        Close(0),
        Finish("tool_calls", "tool_calls"),
    ]


@pytest.mark.parametrize("args", ["", None])
def test_row_9_a_call_without_arguments_gets_an_empty_object(args: str | None) -> None:
    events = decode(calls(call(0, "a", "f", args)), TOOLS)
    assert [ToolCall("a", "f", "{}")] == fold(events).calls


def test_row_63_a_call_cut_off_by_the_limit_stays_as_it_is() -> None:
    events = decode(calls(call(0, "a", "f", "")), chunk({}, "length"))
    assert [ToolCall("a", "f", "")] == fold(events).calls
    assert Finish("length", "length") == events[-1]
    cut = decode(calls(call(0, "a", "f", '{"x":')), chunk({}, "length"))
    assert [ToolCall("a", "f", '{"x":')] == fold(cut).calls


@pytest.mark.parametrize("raw", ["stop", "end_turn", "weird"])
def test_row_11_a_stop_after_calls_is_tool_calls(raw: str) -> None:
    events = decode(calls(call(0, "a", "f", "{}")), chunk({}, raw))
    assert Finish("tool_calls", raw) == events[-1]


@pytest.mark.parametrize("raw", ["tool_calls", "function_call"])
def test_tool_calls_without_a_call_is_a_stop(raw: str) -> None:
    assert Finish("stop", raw) == decode(chunk({"content": "a"}), chunk({}, raw))[-1]


@pytest.mark.parametrize("id", [None, ""])
def test_row_12_a_missing_id_is_made_once(id: str | None) -> None:
    events = decode(calls(call(0, id, "f", "{")), calls(call(0, id, None, "}")), TOOLS)
    assert [ToolCall("made_0", "f", "{}")] == fold(events).calls


def test_row_12_an_id_that_is_repeated_or_emptied_later_does_not_matter() -> None:
    events = decode(
        calls(call(0, "a", "f", "")),
        calls(call(0, "a", "f", "{")),
        calls(call(0, "", "", "}")),
        TOOLS,
    )
    assert [ToolCall("a", "f", "{}")] == fold(events).calls


def test_whole_calls_without_index_and_id_are_separate_calls() -> None:
    fragments = [call(None, None, "f", "{}"), call(None, None, "g", '{"x":1}')]
    reply = fold(decode(calls(*fragments), STOP))
    assert [ToolCall("made_0", "f", "{}"), ToolCall("made_1", "g", '{"x":1}')] == reply.calls
    assert reply.finish == "tool_calls"


def test_fragments_without_index_go_on_with_the_last_call() -> None:
    events = decode(
        calls(call(None, "a", "f", '{"x"')), calls(call(None, None, None, ":1}")),
        calls(call(None, "b", "g", "{")), calls(call(None, "b", None, "}")), TOOLS,
    )  # fmt: skip
    assert [ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", "{}")] == fold(events).calls


def test_calls_that_are_all_numbered_zero_are_told_apart_by_their_ids() -> None:
    events = decode(calls(call(0, "a", "f", "{}")), calls(call(0, "b", "g", "{}")), TOOLS)
    assert [ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}")] == fold(events).calls


def test_whole_calls_that_are_all_numbered_zero_and_have_no_ids_are_separate_calls() -> None:
    def named(name: str, args: object) -> dict[str, Any]:
        return {"index": 0, "id": "", "function": {"name": name, "arguments": args}}

    whole = calls(
        named("f", '{"a":1}'), named("f", ' {"a":2}'), named("g", ""), named("f", {"b": 3})
    )
    found = fold(decode(whole, TOOLS)).calls
    expected = [("f", '{"a":1}'), ("f", ' {"a":2}'), ("g", "{}"), ("f", '{"b":3}')]
    assert expected == [(call.name, call.args) for call in found]
    pieces = [calls(named("f", piece)) for piece in ("", '{"a":', '{"b"', ":{}", ',"c":1}}')]
    (one,) = fold(decode(*pieces, TOOLS)).calls
    assert '{"a":{"b":{},"c":1}}' == one.args


def test_null_in_quotes_is_no_finish() -> None:
    said = [chunk({"content": "a"}, "null"), chunk({"content": "b"}, "null"), STOP]
    reply = fold(decode(*said))
    assert ("ab", "stop", "stop") == (reply.text, reply.finish, reply.raw_finish)


def test_a_call_is_held_back_until_its_name_is_known() -> None:
    decoder = StreamDecoder(maker())
    assert decoder.feed(record(calls(call(0, "a", None, '{"x"')))) == [START]
    assert [Open(0, ToolCall("a", "f", "")), ArgsDelta(0, '{"x":1')] == (
        decoder.feed(record(calls(call(0, None, "f", ":1"))))
    )
    assert [ArgsDelta(0, "}")] == decoder.feed(record(calls(call(0, None, None, "}"))))


def test_a_call_whose_name_never_comes_is_no_call() -> None:
    events = decode(calls(call(0, "a", None, "{}")), chunk({"content": "x"}), TOOLS)
    reply = fold(events)
    assert (reply.calls, reply.finish) == ([], "stop")


def test_arguments_that_come_as_an_object_become_text() -> None:
    events = decode(calls(call(0, "a", "f", {"x": [1]})), TOOLS)
    assert [ToolCall("a", "f", '{"x":[1]}')] == fold(events).calls


def test_custom_calls_keep_their_free_text() -> None:
    first = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "patch", "input": ""}}
    more = {"index": 0, "custom": {"input": "*** Begin"}}
    empty = {"index": 1, "id": "b", "type": "custom", "custom": {"name": "patch"}}
    reply = fold(decode(calls(first), calls(more), calls(empty), TOOLS))
    assert reply.calls == [
        ToolCall("a", "patch", "*** Begin", "custom"),
        ToolCall("b", "patch", "", "custom"),
    ]


def test_a_legacy_function_call_is_a_tool_call() -> None:
    events = decode(
        chunk({"function_call": {"name": "f", "arguments": ""}}),
        chunk({"function_call": {"arguments": "{}"}}),
        chunk({}, "function_call"),
    )
    assert [ToolCall("made_0", "f", "{}")] == fold(events).calls
    assert Finish("tool_calls", "function_call") == events[-1]


@pytest.mark.parametrize("odd", [5, "x", {"index": {}, "function": 3}, {"index": [0]}, None])
def test_nonsense_among_the_calls_is_skipped(odd: object) -> None:
    assert Finish("stop", "stop") == decode(chunk({"tool_calls": [odd]}), STOP)[-1]


# ---- prose ----


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"reasoning_content": None, "reasoning": "hm"},
        {"reasoning_content": "hm", "reasoning": "hm"},
        {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"reasoning_details": [{"text": "h"}, {"summary": "m"}, {"format": "x"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
        {"content": [{"type": "thinking", "thinking": "hm"}]},
    ],
)
def test_row_16_reasoning_is_read_once_from_any_field(delta: dict[str, Any]) -> None:
    origin = "openai_chat" if "reasoning_details" in delta else ""
    assert decode(chunk(delta), chunk({"content": "a"}), STOP) == [
        START,
        Open(0, Reasoning("", origin=origin)),
        ReasoningDelta(0, "hm"),
        Close(0),
        Open(1, Text("")),
        TextDelta(1, "a"),
        Close(1),
        Finish("stop", "stop"),
    ]


def test_reasoning_and_text_of_one_chunk_come_in_that_order() -> None:
    reply = fold(decode(chunk({"content": "a", "reasoning_content": "hm"}), STOP))
    assert [Reasoning("hm"), Text("a")] == reply.parts


def test_reasoning_between_texts_makes_blocks_of_their_own() -> None:
    events = decode(
        chunk({"content": "a"}), chunk({"reasoning": "hm"}), chunk({"content": "b"}), STOP
    )
    assert [Text("a"), Reasoning("hm"), Text("b")] == fold(events).parts


def test_text_after_a_call_is_a_block_of_its_own() -> None:
    events = decode(
        chunk({"content": "a"}), calls(call(0, "i", "f", "{}")), chunk({"content": "b"}), TOOLS
    )
    assert [Text("a"), ToolCall("i", "f", "{}"), Text("b")] == fold(events).parts


def test_an_empty_thinking_part_is_nothing() -> None:
    delta = {"content": [{"type": "thinking", "thinking": []}, {"type": "thinking"}]}
    assert [START, Finish("stop", "stop")] == decode(chunk(delta), STOP)


def test_content_may_be_a_list_of_texts() -> None:
    delta = {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, 5]}
    assert fold(decode(chunk(delta), STOP)).text == "ab"


def test_a_refusal_is_a_block_of_its_own() -> None:
    assert decode(chunk({"refusal": "no"}), STOP)[1:4] == [
        Open(0, Refusal("")),
        RefusalDelta(0, "no"),
        Close(0),
    ]


def test_log_probabilities_stay_with_their_text() -> None:
    probable = {"content": [{"token": "a"}], "refusal": None}
    value = chunk({"content": "a"})
    value["choices"][0]["logprobs"] = probable
    assert TextDelta(0, "x") in decode(chunk({"content": "x"}), value)
    assert TextDelta(0, "a", probable) == decode(chunk({"content": "x"}), value)[-1]


def test_citations_belong_to_the_text_if_one_is_open() -> None:
    inner = {"url": "https://a", "title": "A", "start_index": 1, "end_index": 2}
    note = {"type": "url_citation", "url_citation": inner}
    events = decode(chunk({"annotations": [note]}), chunk({"content": "a", "annotations": [note]}))
    cited = Citation("url_citation", "https://a", "A", None, 1, 2, note)
    found = [event for event in events if isinstance(event, CitationDelta)]
    assert [CitationDelta(-1, cited), CitationDelta(0, cited)] == found


def test_references_among_the_texts_are_citations_of_the_text_before_them() -> None:
    part = {"type": "reference", "reference_ids": [1]}
    said = [{"type": "text", "text": "a"}, part, {"type": "text", "text": "b"}]
    found = decode(chunk({"content": said}))
    cited = CitationDelta(0, Citation("reference", raw=part))
    assert [TextDelta(0, "a"), cited, TextDelta(0, "b")] == found[2:]


def test_a_refusal_among_the_parts_is_one() -> None:
    said = [{"type": "refusal", "refusal": "no"}]
    assert [RefusalDelta(0, "no")] == decode(chunk({"content": said}))[2:]


def test_parts_that_nobody_knows_are_kept_one_of_each_kind() -> None:
    part = {"type": "document_url", "document_url": "https://a.example/b.pdf"}
    found = decode(chunk({"content": [part, {}, {"type": "text"}]}), chunk({"content": [part]}))
    assert [Open(0, Opaque("", "document_url", part)), Close(0)] == found[1:]


def test_what_vendors_tell_beside_an_answer_is_read() -> None:
    last = {**STOP, "citations": ["https://a"], "service_tier": "flex", "system_fingerprint": "fp"}
    tool = {"index": 0, "type": "search", "arguments": "{}"}
    found = decode(chunk({"content": "a"}), chunk({"executed_tools": [tool]}), last)
    assert [
        Close(0), Open(1, Opaque("openai_chat", "executed_tools", tool)), Close(1),
        CitationDelta(0, Citation("web", "https://a")),
        Finish("stop", "stop", tier="flex", fingerprint="fp"),
    ] == found[3:]  # fmt: skip


def test_only_choice_zero_is_read() -> None:
    two = chunk({"content": "a"})
    two["choices"].insert(0, {"index": 1, "delta": {"content": "other"}})
    lone = chunk({"content": "other"})
    lone["choices"][0]["index"] = 1
    assert fold(decode(two, chunk({"content": "x"}), lone, two, STOP)).text == "axa"


def test_a_whole_answer_in_one_frame_is_read() -> None:
    value = chunk()
    value["choices"] = [{"message": {"content": "a"}, "finish_reason": "stop"}]
    assert fold(decode(value)).text == "a"


def test_the_message_that_repeats_a_finished_stream_is_not_read_again() -> None:
    last = chunk({}, "stop")
    last["choices"][0]["message"] = {"content": "a"}
    assert fold(decode(chunk({"content": "a"}), last)).text == "a"


# ---- usage ----


def test_row_51_usage_in_the_finish_chunk_is_seen() -> None:
    events = decode(chunk({"content": "a"}), chunk({}, "stop", usage={"prompt_tokens": 4}))
    assert [Finish("stop", "stop"), UsageEvent(Usage(4, raw={"prompt_tokens": 4}))] == events[-2:]


def test_usage_inside_the_choice_is_seen() -> None:
    value = chunk({"content": "a"})
    value["choices"][0]["usage"] = {"completion_tokens": 4}
    assert UsageEvent(Usage(None, 4, raw={"completion_tokens": 4})) in decode(value)


def test_row_48_usage_on_every_chunk_is_absolute() -> None:
    one, two = {"completion_tokens": 1}, {"completion_tokens": 2}
    events = decode(
        chunk({"content": "a"}, usage=one), chunk({"content": "b"}, usage=one),
        chunk({"content": "c"}, usage=two), chunk({}, "stop", usage=two),
    )  # fmt: skip
    assert sum(isinstance(event, UsageEvent) for event in events) == 2
    reply = fold(events)
    assert (Usage(None, 2, raw=two), "abc") == (reply.usage, reply.text)


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(10, 5, 4, 2, 3),
        ),
        (  # as xAI counts: thinking beside the completion
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            Usage(32, 103, reasoning=94),
        ),
        ({"prompt_tokens": 10, "prompt_cache_hit_tokens": 6}, Usage(10, None, 6)),
        ({"prompt_tokens": 10, "cached_tokens": 6}, Usage(10, None, 6)),
        ({"input_tokens": 1, "output_tokens": 2}, Usage(1, 2)),
        ({"prompt_tokens": -5, "completion_tokens": None}, Usage(0)),
        ({"prompt_tokens": 1, "penstock_estimated": True}, Usage(1, estimated=True)),
        ({"prompt_tokens_details": None}, Usage()),
        ({"prompt_tokens": float("inf"), "completion_tokens": 2.0}, Usage(2**53, 2)),
    ],
)
def test_usage_in_all_its_forms(raw: dict[str, Any], usage: Usage) -> None:
    usage.raw = raw
    assert usage == read_usage(raw)


# ---- errors ----


@pytest.mark.parametrize(
    ("value", "event"),
    [
        (
            {"error": {"message": "busy", "type": "overloaded_error"}},
            ErrorEvent("overloaded", "busy"),
        ),
        (
            {"error": {"message": "slow", "type": None, "code": 429}},
            ErrorEvent("rate_limited", "slow", 0, "429"),
        ),
        ({"error": "broken"}, ErrorEvent("retryable", "broken")),
        (
            {"object": "error", "message": "bad", "code": 400},
            ErrorEvent("invalid_request", "bad", 0, "400"),
        ),
        (chunk({}, "error", error={"message": "x"}), ErrorEvent("retryable", "x")),
        (
            chunk({}, "network_error"),
            ErrorEvent(
                "retryable",
                "the upstream ended its answer with 'network_error'",
                0,
                "network_error",
            ),
        ),
        ([1], ErrorEvent("retryable", "the upstream sent a frame that is not JSON")),
        (b"<html>", ErrorEvent("retryable", "the upstream sent a frame that is not JSON")),
    ],
)
def test_row_19_an_error_ends_the_answer(value: object, event: ErrorEvent) -> None:
    events = decode(chunk({"content": "a"}), value, chunk({"content": "b"}), STOP, b"[DONE]")
    assert [TextDelta(0, "a"), event] == events[-2:]


def test_an_error_event_without_an_error_key_is_an_error() -> None:
    decoder = StreamDecoder(maker())
    value = {"message": "gone", "code": "model_not_found"}
    event = ErrorEvent("model_not_found", "gone", 0, "model_not_found")
    assert [event] == decoder.feed(Record("error", b"", value))


def test_an_error_after_the_finish_does_not_undo_it() -> None:
    events = decode(chunk({"content": "a"}), STOP, {"error": "late"}, b"junk")
    assert Finish("stop", "stop") == events[-1]


def test_an_error_that_is_null_is_none() -> None:
    assert fold(decode(chunk({"content": "a"}, error=None), STOP)).text == "a"


def test_a_second_finish_and_text_after_the_finish_are_ignored() -> None:
    events = decode(chunk({"content": "a"}), STOP, chunk({"content": "b"}), chunk({}, "length"))
    assert (Finish("stop", "stop"), "a") == (events[-1], fold(events).text)


# ---- whole answers ----


def whole(message: dict[str, Any], finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": "c1", "created": 7, "model": "m1", "choices": [choice], **more}


def test_a_whole_answer() -> None:
    message = {
        "role": "assistant",
        "content": "text",
        "reasoning_content": "hm",
        "tool_calls": [call(None, "a", "f", ""), call(None, None, "g", '{"x":1}')],
    }
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    events = decode_whole(whole(message, "stop", usage=usage), maker())
    check_events(events)
    reply = fold(events)
    assert reply.parts == [
        Reasoning("hm"),
        Text("text"),
        ToolCall("a", "f", "{}"),
        ToolCall("made_0", "g", '{"x":1}'),
    ]
    assert (reply.id, reply.model, reply.created, reply.finish) == ("c1", "m1", 7, "tool_calls")
    assert Usage(1, 2, raw=usage) == reply.usage


def test_a_whole_answer_that_does_not_say_why_it_ended_is_whole() -> None:
    assert Finish("stop", "") == decode_whole(whole({"content": "a"}, None), maker())[-1]


def test_a_choice_without_a_message_says_nothing() -> None:
    value = {"id": "c1", "choices": [{"finish_reason": "stop"}]}
    assert [Start("c1", "", 0), Finish("stop", "stop")] == decode_whole(value, maker())


@pytest.mark.parametrize(
    ("value", "cls", "message"),
    [
        ({"error": {"message": "no", "code": "insufficient_quota"}}, "quota_exhausted", "no"),
        ({"id": "x"}, "retryable", "the upstream's answer has no choices"),
        ({"choices": []}, "empty_response", "the upstream's answer has no choices"),
        (
            {"code": 500, "msg": "rate limit reached", "success": False},
            "rate_limited",
            "the upstream's answer has no choices: rate limit reached",
        ),
        ("text", "retryable", "the upstream's answer is not an object"),
    ],
)
def test_f5_what_is_no_answer_is_an_error(value: object, cls: str, message: str) -> None:
    (event,) = decode_whole(value, maker())
    assert isinstance(event, ErrorEvent)
    assert (cls, message) == (event.cls, event.message)


def test_the_decoder_of_whole_answers() -> None:
    decoder = WholeDecoder(maker())
    assert fold(decoder.feed(record(whole({"content": "a"})))).text == "a"
    assert decoder.finish() == []
    page = Record("", b"<html>", None)
    error = ErrorEvent("retryable", "the upstream answered with a page, not JSON")
    assert [error] == decoder.feed(page)


# ---- properties ----

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
odd_values: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | words | st.just([]) | st.just({})
)
fragments = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, 2) | odd_values,
        "id": st.sampled_from(["a", "b", ""]) | odd_values,
        "function": st.fixed_dictionaries(
            {}, optional={"name": words | odd_values, "arguments": words | odd_values}
        )
        | odd_values,
    },
)
deltas = st.fixed_dictionaries(
    {},
    optional={
        "content": words | odd_values,
        "reasoning_content": words | odd_values,
        "refusal": words | odd_values,
        "tool_calls": st.lists(fragments | odd_values, max_size=2) | odd_values,
        "annotations": st.lists(odd_values, max_size=1),
    },
)
finishes = st.sampled_from([None, None, None, "", "stop", "tool_calls", "length"])
chunks = st.builds(chunk, deltas | odd_values, finishes)


@given(st.lists(chunks | odd_values | st.dictionaries(words, odd_values), max_size=8))
@settings(max_examples=500, deadline=None)
def test_any_chunks_give_events_in_order(values: list[Any]) -> None:
    decode(*values)


@given(st.lists(st.tuples(st.sampled_from(["content", "reasoning"]), words), max_size=8))
def test_no_text_is_lost(pieces: list[tuple[str, str]]) -> None:
    reply = fold(decode(*(loads(dumps(chunk({name: text}))) for name, text in pieces), STOP))
    assert "".join(text for name, text in pieces if name == "content") == reply.text
    assert "".join(text for name, text in pieces if name == "reasoning") == reply.reasoning
