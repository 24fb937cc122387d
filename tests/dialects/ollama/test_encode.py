from __future__ import annotations

import json
from typing import Any

import pytest

from engine.chat import ChatRequest, Message, Opaque, Part, Reasoning, Refusal, Text, ToolCall
from engine.dialects.ollama.decode import StreamDecoder, decode_whole
from engine.dialects.ollama.encode import (
    GENERATE,
    Encoder,
    failure,
    form_of,
    reply,
    stream_failure,
)
from engine.errors import ExchangeError
from engine.events import (
    ArgsDelta,
    Close,
    ErrorEvent,
    Event,
    Finish,
    Open,
    Ping,
    ReasoningDelta,
    RefusalDelta,
    Reply,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
    fold,
)
from engine.wire import Record, dumps
from tests.grammar import check_ollama_stream

TEXT: list[Event] = [Open(0, Text("")), TextDelta(0, "a"), TextDelta(0, "é"), Close(0)]
STOP = Finish("stop", seconds=2.5, waited=0.5)


def say(*events: Event, **more: Any) -> list[dict[str, Any]]:
    encoder = Encoder("m", 7, **more)
    data = encoder.feed([Start("req_1", "m", 7), *events]) + encoder.finish()
    return check_ollama_stream(data, generate="form" in more)


def test_a_text_and_its_counts() -> None:
    head = {"model": "m", "created_at": "1970-01-01T00:00:07Z"}
    assert say(*TEXT, UsageEvent(Usage(7, 3)), STOP) == [
        {**head, "message": {"role": "assistant", "content": "a"}, "done": False},
        {**head, "message": {"role": "assistant", "content": "é"}, "done": False},
        {
            **head, "message": {"role": "assistant", "content": ""}, "done": True,
            "done_reason": "stop", "total_duration": 2_500_000_000, "load_duration": 0,
            "prompt_eval_count": 7, "prompt_eval_duration": 500_000_000, "eval_count": 3,
            "eval_duration": 2_000_000_000,
        },
    ]  # fmt: skip


def test_the_durations_of_an_upstream_that_told_them() -> None:
    raw = {"total_duration": 5, "eval_duration": 4}
    last = say(*TEXT, UsageEvent(Usage(7, 3, raw=raw)), STOP)[-1]
    assert (last["total_duration"], last["eval_duration"]) == (5, 4)
    assert last["prompt_eval_duration"] == 500_000_000


def test_counts_that_nobody_told_are_marked() -> None:
    assert say(*TEXT, STOP)[-1]["penstock_estimated"] is True


def test_thinking() -> None:
    thought: list[Event] = [Open(0, Reasoning()), ReasoningDelta(0, "t"), Close(0)]
    assert say(*thought, STOP)[0]["message"] == {
        "role": "assistant", "content": "", "thinking": "t",
    }  # fmt: skip


def test_calls_go_out_whole_when_they_close() -> None:
    events: list[Event] = [
        Open(0, ToolCall("x", "f", "")), Open(1, ToolCall("y", "g", "")),
        ArgsDelta(0, '{"a"'), ArgsDelta(1, "{}"), ArgsDelta(0, ":1}"), Close(0), Close(1),
    ]  # fmt: skip
    one, two, last = say(*events, Finish("tool_calls"))
    assert [one["message"]["tool_calls"], two["message"]["tool_calls"]] == [
        [{"id": "x", "function": {"name": "f", "arguments": {"a": 1}}}],
        [{"id": "y", "function": {"name": "g", "arguments": {}}}],
    ]
    assert last["done_reason"] == "stop"


@pytest.mark.parametrize("args", ['{"a"', "[1]"])
def test_a_call_that_was_cut_off_is_left_out(args: str) -> None:
    events: list[Event] = [Open(0, ToolCall("x", "f", "")), ArgsDelta(0, args), Close(0)]
    (last,) = say(*events, Finish("length"))
    assert last["done_reason"] == "length"
    whole = json.loads(reply(Reply(parts=[ToolCall("x", "f", args)], finish="length"), "m", 7))
    assert "tool_calls" not in whole["message"]


def test_a_whole_call_without_an_object_is_an_error() -> None:
    events: list[Event] = [Open(0, ToolCall("x", "f", "")), ArgsDelta(0, "[1]"), Close(0)]
    (last,) = say(*events, Finish("tool_calls"))
    assert "no JSON object" in last["error"]
    with pytest.raises(ExchangeError, match="no JSON object"):
        reply(Reply(parts=[ToolCall("x", "f", "{")], finish="tool_calls"), "m", 7)


def test_a_call_of_free_text() -> None:
    events: list[Event] = [Open(0, ToolCall("x", "f", "", "custom")), ArgsDelta(0, "{"), Close(0)]
    call = say(*events, Finish("tool_calls"))[0]["message"]["tool_calls"][0]
    assert call["function"]["arguments"] == {"input": "{"}


def test_what_begins_with_text_and_what_has_no_form() -> None:
    events: list[Event] = [
        Open(0, Text("a")), Close(0), Open(1, Reasoning("t")), Close(1),
        Open(2, Refusal("")), RefusalDelta(2, "no"), Close(2),
        Open(3, Opaque("gemini", "toolCall", {})), Close(3), Ping(),
    ]  # fmt: skip
    said = [value["message"] for value in say(*events, Finish("content_filter"))]
    assert [turn["content"] for turn in said] == ["a", "", "no", ""]
    assert said[1]["thinking"] == "t"


def test_log_probabilities() -> None:
    notes = {"content": [{"token": "a", "logprob": -1}], "refusal": None}
    events: list[Event] = [Open(0, Text("")), TextDelta(0, "a", notes), Close(0)]
    assert say(*events, STOP)[0]["logprobs"] == [{"token": "a", "logprob": -1}]
    whole = json.loads(reply(fold([*events, STOP]), "m", 7))
    assert whole["logprobs"] == [{"token": "a", "logprob": -1}]


def test_an_answer_to_a_prompt() -> None:
    thought: list[Event] = [Open(0, Reasoning()), ReasoningDelta(0, "t"), Close(0)]
    text: list[Event] = [Open(1, Text("")), TextDelta(1, "a"), Close(1)]
    one, two, last = say(*thought, *text, STOP, form=GENERATE)
    assert (one["response"], one["thinking"], two["response"]) == ("", "t", "a")
    assert (last["response"], last["done"]) == ("", True)
    whole = json.loads(reply(fold([*thought, *text, STOP]), "m", 7, GENERATE))
    assert (whole["response"], whole["thinking"], whole["done"]) == ("a", "t", True)
    assert "message" not in whole


def test_which_form_an_answer_has() -> None:
    asked = ChatRequest("ollama", "m", [Message("user", [])], extras={"generate": True})
    assert form_of(asked) is GENERATE
    assert form_of(None) is not GENERATE


def test_nothing_follows_the_end_and_nothing_fills_a_silence() -> None:
    encoder = Encoder("m", 7)
    assert encoder.ping() is None
    encoder.feed([*TEXT, STOP])
    assert encoder.feed(TEXT) == b""


def test_errors() -> None:
    assert say(*TEXT, ErrorEvent("overloaded", "busy"))[-1] == {"error": "busy"}
    assert stream_failure(ErrorEvent("auth_invalid", "key sk-1")) == (
        b'{"error":"upstream credential rejected"}\n'
    )
    error = ExchangeError("invalid_request", "bad", status=422)
    assert failure("invalid_request", "bad", "req_1", error) == (422, b'{"error":"bad"}')
    assert failure("model_not_found", "no model x")[0] == 404


def test_a_whole_answer_says_everything() -> None:
    answer = Reply(
        parts=[Reasoning("t"), Text("a"), Refusal("b"), ToolCall("x", "f", '{"a":1}')],
        finish="tool_calls", usage=Usage(7, 3), seconds=1.0,
    )  # fmt: skip
    whole = json.loads(reply(answer, "m", 7))
    assert whole["message"] == {
        "role": "assistant", "content": "ab", "thinking": "t",
        "tool_calls": [{"id": "x", "function": {"name": "f", "arguments": {"a": 1}}}],
    }  # fmt: skip
    counts = (whole["prompt_eval_count"], whole["eval_count"], whole["total_duration"])
    assert counts == (7, 3, 1_000_000_000)


def test_what_is_said_is_what_is_read() -> None:
    parts: list[Part] = [Reasoning("t"), Text("a"), ToolCall("x", "f", '{"a":1}')]
    events: list[Event] = []
    for at, part in enumerate(parts):
        events += [Open(at, part), Close(at)]
    data = Encoder("m", 7).feed([Start(), *events, UsageEvent(Usage(7, 3)), Finish("tool_calls")])
    decoder = StreamDecoder(str)
    values = check_ollama_stream(data)
    found = fold([e for value in values for e in decoder.feed(Record("", dumps(value), value))])
    assert (found.parts, found.finish) == (parts, "tool_calls")
    whole = reply(Reply(parts=list(parts), finish="tool_calls", usage=Usage(7, 3)), "m", 7)
    again = fold(decode_whole(json.loads(whole), str))
    assert (again.parts, again.finish) == (parts, "tool_calls")
