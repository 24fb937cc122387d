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
from tests.grammar import (
    check_chat_stream,
    check_events,
    check_messages_stream,
    check_ollama_stream,
)

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


# ---- Messages ----


def named(*values: dict[str, Any], end: bytes = b"") -> bytes:
    frames = (f"event: {v['type']}\ndata: {json.dumps(v)}\n\n".encode() for v in values)
    return b"".join(frames) + end


def block(index: int, kind: str, **more: Any) -> dict[str, Any]:
    part = {"type": kind, **more}
    return {"type": "content_block_start", "index": index, "content_block": part}


def piece(index: int, kind: str, **more: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **more}}


def shut(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def over(reason: str | None) -> dict[str, Any]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 1}}


MESSAGE: dict[str, Any] = {
    "id": "m", "type": "message", "role": "assistant", "model": "m", "content": [],
    "stop_reason": None, "usage": {"input_tokens": 1, "output_tokens": 1},
}  # fmt: skip
FIRST: dict[str, Any] = {"type": "message_start", "message": MESSAGE}
LAST: dict[str, Any] = {"type": "message_stop"}
PING: dict[str, Any] = {"type": "ping"}
SAID = [block(0, "text", text=""), piece(0, "text_delta", text="a"), shut(0)]
USED = [block(0, "tool_use", id="i", name="f", input={}),
        piece(0, "input_json_delta", partial_json="{}"), shut(0)]  # fmt: skip
THOUGHT = [block(0, "thinking", thinking="", signature=""),
           piece(0, "thinking_delta", thinking="a"),
           piece(0, "signature_delta", signature=""), shut(0)]  # fmt: skip
FAILED = {"type": "error", "error": {"type": "api_error", "message": "m"}}
ENDED, CALLED = over("end_turn"), over("tool_use")


@pytest.mark.parametrize(
    "values",
    [
        [FIRST, *SAID, ENDED, LAST],
        [PING, FIRST, PING, *SAID, ENDED, PING, LAST],
        [FIRST, *USED, CALLED, LAST],
        [FIRST, *USED[:1], shut(0), over("max_tokens"), LAST],
        [FIRST, *THOUGHT, ENDED, LAST],
        [FIRST, block(0, "redacted_thinking", data="d"), shut(0), ENDED, LAST],
        [FIRST, ENDED, LAST],
        [FIRST, *SAID[:2], FAILED],
        [FAILED],
    ],
)
def test_good_messages_pass(values: list[dict[str, Any]]) -> None:
    found = check_messages_stream(named(*values))
    assert found == [value for value in values if value is not PING]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        named(FIRST),
        named(*SAID, ENDED, LAST),
        named(FIRST, FIRST, ENDED, LAST),
        named(FIRST, *SAID, LAST),
        named(FIRST, *SAID, ENDED),
        named(FIRST, *SAID, ENDED, ENDED, LAST),
        named(FIRST, *SAID, ENDED, LAST, PING, LAST),
        named(FIRST, *SAID, ENDED, *SAID, LAST),
        named(FIRST, *SAID, ENDED, FAILED),
        named(FIRST, FAILED, LAST),
        named(FIRST, *SAID[:2], ENDED, LAST),
        named(FIRST, SAID[0], shut(0), ENDED, LAST),
        named(FIRST, SAID[0], piece(0, "text_delta", text=""), shut(0), ENDED, LAST),
        named(FIRST, SAID[1], ENDED, LAST),
        named(FIRST, shut(0), ENDED, LAST),
        named(FIRST, SAID[0], block(1, "text", text=""), ENDED, LAST),
        named(FIRST, *SAID, *SAID, ENDED, LAST),
        named(FIRST, SAID[0], piece(1, "text_delta", text="a"), shut(0), ENDED, LAST),
        named(FIRST, *SAID[:2], shut(1), ENDED, LAST),
        named(FIRST, SAID[0], piece(0, "thinking_delta", thinking="a"), shut(0), ENDED, LAST),
        named(FIRST, *THOUGHT[:2], shut(0), ENDED, LAST),
        named(FIRST, *THOUGHT[:3], THOUGHT[1], shut(0), ENDED, LAST),
        named(FIRST, *USED, ENDED, LAST),
        named(FIRST, *SAID, CALLED, LAST),
        named(FIRST, block(0, "tool_use", id="", name="f", input={}), shut(0), CALLED, LAST),
        named(FIRST, block(0, "tool_use", id="i", name="", input={}), shut(0), CALLED, LAST),
        named(FIRST, block(0, "tool_use", id="i", name="f", input={"a": 1}), shut(0), CALLED, LAST),
        named(
            FIRST, *USED, block(1, "tool_use", id="i", name="f", input={}), shut(1), CALLED, LAST
        ),
        named(
            FIRST, USED[0], piece(0, "input_json_delta", partial_json="["), shut(0), CALLED, LAST
        ),
        named(
            FIRST, USED[0], piece(0, "input_json_delta", partial_json="[]"), shut(0), CALLED, LAST
        ),
        named(FIRST, *SAID, over(None), LAST),
        named(FIRST, *SAID, over("tired"), LAST),
        named({"type": "message_start", "message": {**MESSAGE, "stop_reason": "end_turn"}}, LAST),
        named(FIRST, *SAID, ENDED, LAST).replace(b"event: message_stop\n", b""),
        named(FIRST, *SAID, ENDED, LAST).replace(b"event: message_stop", b"event: stop"),
        named(FIRST, *SAID, ENDED, LAST).replace(b"\n\n", b"\n\n\n", 1),
        named(FIRST, *SAID, ENDED, LAST)[:-1],
        named(FIRST, *SAID, ENDED, LAST, end=b"data: [DONE]\n\n"),
        b"\n" + named(FIRST, *SAID, ENDED, LAST),
    ],
)
def test_broken_messages_are_refused(data: bytes) -> None:
    with pytest.raises((AssertionError, ValueError, KeyError)):
        check_messages_stream(data)


LINE = {
    "model": "m", "created_at": "t", "done": False,
    "message": {"role": "assistant", "content": "a"},
}  # fmt: skip
LAST = {
    **LINE, "done": True, "done_reason": "stop", "total_duration": 1, "load_duration": 1,
    "prompt_eval_count": 1, "prompt_eval_duration": 1, "eval_count": 1, "eval_duration": 1,
}  # fmt: skip


def lines(*values: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def test_good_lines_of_ollama() -> None:
    assert check_ollama_stream(lines(LINE, LAST)) == [LINE, LAST]
    assert check_ollama_stream(lines(LINE, {"error": "no"}))[-1] == {"error": "no"}


@pytest.mark.parametrize(
    "data",
    [
        lines(LINE),
        lines(LAST, LINE),
        lines(LINE, {"error": {"message": "no"}}),
        lines(LINE) + b"\n" + lines(LAST),
        lines(LINE, LAST)[:-1],
        lines({**LINE, "model": "n"}, LAST),
        lines({**LINE, "message": {"role": "user", "content": "a"}}, LAST),
        lines({**LAST, "done_reason": "tool_calls"}),
        lines({**LINE, "message": {"role": "assistant", "content": "", "tool_calls": [
            {"function": {"name": "f", "arguments": "{}"}}]}}, LAST),
    ],
)  # fmt: skip
def test_broken_lines_of_ollama(data: bytes) -> None:
    with pytest.raises(AssertionError):
        check_ollama_stream(data)
