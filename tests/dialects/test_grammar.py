"""The checkers of tests/grammar.py refuse what is broken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.chat import Text, ToolCall
from engine.events import (
    ArgsDelta,
    Close,
    End,
    ErrorEvent,
    Event,
    Finish,
    Open,
    Ping,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
)
from tests.grammar import check_chat_stream, check_events

START, STOP, TOOLS = Start(), Finish("stop"), Finish("tool_calls")
TEXT: list[Event] = [Open(0, Text("")), TextDelta(0, "a"), Close(0)]
CALL: list[Event] = [Open(0, ToolCall("i", "f", "")), ArgsDelta(0, "{}"), Close(0)]


@pytest.mark.parametrize(
    "events",
    [
        [START, *TEXT, STOP],
        [START, *CALL, UsageEvent(Usage()), TOOLS],
        [ErrorEvent("timeout", "")],
        [START, TEXT[0], ErrorEvent("truncated", "")],
        [Ping(), START, STOP, Ping()],
        [START, CALL[0], Close(0), Finish("length")],
    ],
)
def test_good_answers_pass(events: list[Event]) -> None:
    check_events(events)


@pytest.mark.parametrize(
    "events",
    [
        [],
        [START],
        [*TEXT, STOP],
        [START, START, STOP],
        [START, STOP, STOP],
        [START, STOP, UsageEvent(Usage())],
        [START, *TEXT, *TEXT, STOP],
        [START, Open(1, Text("")), Close(1), STOP],
        [START, TextDelta(0, "a"), STOP],
        [START, *TEXT, TextDelta(0, "a"), STOP],
        [START, TEXT[0], TextDelta(0, ""), Close(0), STOP],
        [START, TEXT[0], STOP],
        [START, Close(0), STOP],
        [START, *TEXT, TOOLS],
        [START, *CALL, STOP],
        [START, CALL[0], Close(0), TOOLS],
        [START, Open(0, ToolCall("", "f", "{}")), Close(0), TOOLS],
        [START, Open(0, ToolCall("i", "", "{}")), Close(0), TOOLS],
        [START, TEXT[0], ArgsDelta(0, "{}"), Close(0), STOP],
        [START, Finish("done")],
    ],
)
def test_broken_answers_are_refused(events: list[Event]) -> None:
    with pytest.raises(AssertionError):
        check_events(events)


def test_a_decoder_may_stop_short_and_tell_usage_late() -> None:
    check_events([START, *TEXT, STOP, UsageEvent(Usage()), End()], source=True)
    check_events([START, TEXT[0]], source=True)
    with pytest.raises(AssertionError):
        check_events([START, *TEXT, STOP, *TEXT], source=True)


def chunk(delta: object, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**head, "choices": [choice], **more}


ROLE, END = chunk({"role": "assistant"}), chunk({}, "stop")
COUNTS = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
USAGE = {**chunk({}), "choices": [], "usage": COUNTS}
ERROR = {"error": {"message": "m", "type": "t", "param": None, "code": None}}
DONE = b"data: [DONE]\n\n"


def stream(*chunks: dict[str, Any], end: bytes = DONE) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(item).encode() for item in chunks) + end


def begin(index: int, id: str = "i", name: str = "f") -> dict[str, Any]:
    inner = {"name": name, "arguments": ""}
    return chunk(
        {"tool_calls": [{"index": index, "id": id, "type": "function", "function": inner}]}
    )


def test_good_streams_pass() -> None:
    check_chat_stream(b": hi\n\n" + stream(ROLE, chunk({"content": "a"}), END))
    check_chat_stream(stream(ROLE, END, USAGE), usage=True)
    check_chat_stream(stream(ROLE, ERROR), usage=True)
    check_chat_stream(stream(ERROR))
    check_chat_stream(stream(ROLE, begin(0), begin(1, "j"), chunk({}, "tool_calls")))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        DONE,
        stream(ROLE, END, end=b""),
        stream(ROLE, END)[:-1],
        stream(ROLE),
        stream(END),
        stream(ROLE, ROLE, END),
        stream(ROLE, END, END),
        stream(ROLE, END, chunk({"content": "a"})),
        stream(ROLE, END, ERROR),
        stream(ROLE, ERROR, END),
        stream(ROLE, USAGE, END),
        stream(ROLE, {**END, "id": "other"}),
        stream(ROLE, {**END, "usage": COUNTS}),
        stream(ROLE, {"error": {"message": "m", "type": None, "param": None, "code": None}}),
        stream(ROLE, {"error": {"message": "m"}}),
        stream(ROLE, chunk({}, "done")),
        stream(ROLE, chunk({}, "tool_calls")),
        stream(ROLE, begin(1), END),
        stream(ROLE, begin(0), begin(0), END),
        stream(ROLE, begin(0), begin(1), END),
        stream(ROLE, begin(0, ""), END),
        stream(ROLE, begin(0, "i", ""), END),
        stream(ROLE, END).replace(b"data: ", b"data:", 1),
        stream(ROLE, END).replace(b"\n\n", b"\n\n\n", 1),
        stream(ROLE, END).replace(b"\n", b"\r\n"),
        b"\n" + stream(ROLE, END),
        b"event: x\n" + stream(ROLE, END),
    ],
)
def test_broken_streams_are_refused(data: bytes) -> None:
    with pytest.raises(AssertionError):
        check_chat_stream(data)


def test_a_usage_chunk_must_come_exactly_if_it_was_asked_for() -> None:
    with pytest.raises(AssertionError):
        check_chat_stream(stream(ROLE, END), usage=True)
    with pytest.raises(AssertionError):
        check_chat_stream(stream(ROLE, END, USAGE))
