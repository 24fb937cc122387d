from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chat import Reasoning, Text, ToolCall
from engine.dialects.ollama.decode import StreamDecoder, WholeDecoder, decode_whole, read_usage
from engine.events import (
    Close,
    End,
    ErrorEvent,
    Event,
    Finish,
    Open,
    ReasoningDelta,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
    fold,
)
from engine.wire import Record, dumps, loads
from tests.dialects.openai_chat.bodies import json_values
from tests.grammar import check_events

COUNTS: dict[str, Any] = {"prompt_eval_count": 7, "eval_count": 3, "total_duration": 9}
TOLD = UsageEvent(Usage(7, 3, raw=COUNTS))


def line(content: str = "", done: bool = False, **more: object) -> dict[str, Any]:
    names = ("thinking", "tool_calls")
    message = {"role": "assistant", "content": content}
    message |= {name: more.pop(name) for name in names if name in more}  # type: ignore[misc]
    return {"model": "up", "created_at": "t", "message": message, "done": done, **more}


END = line(done=True, done_reason="stop", **COUNTS)


def read(*values: object) -> list[Event]:
    made = count()
    decoder = StreamDecoder(lambda: f"made_{next(made)}")
    records = [Record("", dumps(value), value) for value in values]
    events = [event for record in records for event in decoder.feed(record)]
    check_events(events, source=True)
    return events + decoder.finish()


def test_thinking_and_text() -> None:
    assert read(line(thinking="t"), line("a"), line("b"), END) == [
        Start(model="up"),
        Open(0, Reasoning("")), ReasoningDelta(0, "t"), Close(0),
        Open(1, Text("")), TextDelta(1, "a"), TextDelta(1, "b"), Close(1),
        TOLD, Finish("stop", "stop"), End(),
    ]  # fmt: skip


def test_calls_come_whole_and_get_ids() -> None:
    calls = [
        {"function": {"name": "f", "arguments": {"a": "ü"}}},
        {"id": "given", "function": {"name": "g", "arguments": {}}},
    ]
    found = fold(read(line("a"), line(tool_calls=calls), END))
    assert found.calls == [ToolCall("made_0", "f", '{"a":"ü"}'), ToolCall("given", "g", "{}")]
    assert (found.finish, found.raw_finish, found.text) == ("tool_calls", "stop", "a")


def test_calls_in_several_lines() -> None:
    one = line(tool_calls=[{"function": {"name": "f", "arguments": {}}}])
    ids = [call.id for call in fold(read(one, one, END)).calls]
    assert ids == ["made_0", "made_1"]


def test_what_is_no_call_is_passed_over() -> None:
    odd = [{"function": {}}, "x", {"function": "f"}]
    assert fold(read(line(tool_calls=odd), line("a"), END)).parts == [Text("a")]
    strange = line(tool_calls=[{"function": {"name": "f", "arguments": '{"a":1}'}}])
    assert fold(read(strange, END)).calls[0].args == '{"a":1}'


@pytest.mark.parametrize(
    ("raw", "reason"),
    [("stop", "stop"), ("length", "length"), ("load", "stop"), ("weird", "other"), (None, "stop")],
)
def test_reasons(raw: str | None, reason: str) -> None:
    (*_, finish, _) = read(line("a"), line(done=True, done_reason=raw))
    assert finish == Finish(reason, raw or "")


def test_length_stays_length_though_a_tool_was_called() -> None:
    call = line(tool_calls=[{"function": {"name": "f", "arguments": {}}}])
    assert fold(read(call, line(done=True, done_reason="length"))).finish == "length"


def test_a_stream_that_breaks_off_has_no_finish() -> None:
    assert read(line("a")) == [Start(model="up"), Open(0, Text("")), TextDelta(0, "a")]


def test_an_error_ends_the_answer() -> None:
    assert read({"error": "no room"}, line("a")) == [ErrorEvent("retryable", "no room")]
    events = read(line("a"), {"error": "model 'x' not found"}, END)
    assert events[-1] == ErrorEvent("model_not_found", "model 'x' not found")
    assert isinstance(read([1])[0], ErrorEvent)


def test_usage() -> None:
    assert read_usage({"done": True}) is None
    assert read_usage({"eval_count": 3}) == Usage(None, 3, raw={"eval_count": 3})
    assert read_usage({"prompt_eval_count": -1, "eval_count": 1e99}) == Usage(
        0, 2**53, raw={"prompt_eval_count": -1, "eval_count": 1e99}
    )


def test_log_probabilities() -> None:
    found = fold(read(line("a", logprobs=[{"token": "a", "logprob": -1}]), END))
    assert found.logprobs == [{"content": [{"token": "a", "logprob": -1}]}]


def test_a_whole_answer() -> None:
    body = dumps({**line("a", thinking="t"), **END, "message": line("a", thinking="t")["message"]})
    found = fold(WholeDecoder(str).feed(Record("", body, loads(body))))
    assert (found.text, found.reasoning, found.finish) == ("a", "t", "stop")
    assert found.usage == TOLD.usage


def test_whole_answers_that_are_none() -> None:
    assert decode_whole({"error": "no"}, str) == [ErrorEvent("retryable", "no")]
    (event,) = decode_whole(line("a"), str)
    assert isinstance(event, ErrorEvent)
    assert event.cls == "truncated"
    assert isinstance(decode_whole([], str)[0], ErrorEvent)
    assert isinstance(decode_whole({}, str)[0], ErrorEvent)
    assert isinstance(WholeDecoder(str).feed(Record("", b"<html>"))[0], ErrorEvent)
    assert WholeDecoder(str).finish() == []


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["message", "done", "error", "done_reason", "logprobs"]), json_values
        )
        | json_values,
        max_size=4,
    )
)
@settings(max_examples=60)
def test_any_lines_keep_the_order_of_events(values: list[object]) -> None:
    read(*values)
