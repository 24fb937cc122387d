"""Chat answers -> events.

A stream's lines are messages of a few words each, and the last one is `done`; a whole answer is one
line that says everything and is done. Tool calls come whole, most without an id, and get one.
`done_reason` says stop for them too. Durations stay in `Usage.raw`.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.chat import Media, Reasoning, Text, ToolCall
from engine.dialects.filetypes import right_type
from engine.dialects.outcomes import classify_text, error_event, read_error
from engine.events import (
    ArgsDelta,
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
)
from engine.wire import Record, dumps

MakeId = Callable[[], str]
Fields = dict[str, object]

FINISHES: dict[str, str] = {
    "": "stop", "stop": "stop", "length": "length", "load": "stop", "unload": "stop",
}  # fmt: skip
DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
_COUNTS = ("prompt_eval_count", "eval_count")
_MOST = 2**53  # a count beyond it is nonsense; JSON may even hold an infinite one


def read_usage(value: Fields) -> Usage | None:
    """Counts of a `done` line, None if it tells none. Without a prompt's count it was cached."""
    raw = {name: value[name] for name in (*_COUNTS, *DURATIONS) if name in value}
    read, written = (_count(value.get(name)) for name in _COUNTS)
    if read is None and written is None:
        return None
    estimated = value.get("penstock_estimated") is True
    return Usage(input=read, output=written, estimated=estimated, raw=raw)


def finish_of(value: Fields, called: bool) -> Finish:
    raw = _text(value.get("done_reason"))
    reason = FINISHES.get(raw, "other")
    if called and reason in ("stop", "other"):
        reason = "tool_calls"
    return Finish(reason, raw)


def _count(value: object) -> int | None:
    if not isinstance(value, int | float):
        return None
    return int(min(max(value, 0), _MOST))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


class StreamDecoder:
    """Lines of one answer -> events. make_id gives an id to a tool call that comes without."""

    def __init__(self, make_id: MakeId) -> None:
        self._make_id = make_id
        self._started = False
        self._over = False  # error or end: nothing counts any more
        self._called = False
        self._next = 0
        self._kind: type[Text] | type[Reasoning] | None = None  # of the open block of prose
        self._at = -1  # its number

    def feed(self, record: Record) -> list[Event]:
        value = record.value
        if self._over or not record.data.strip():
            return []
        if not isinstance(value, dict):
            return self._fail(ErrorEvent("retryable", "the upstream sent a line that is no object"))
        found = read_error(value)
        if found is not None:
            return self._fail(error_event(found))
        return self.line(value)

    def finish(self) -> list[Event]:
        return []

    def line(self, value: Fields) -> list[Event]:
        """Events of one line that is no error."""
        out: list[Event] = []
        if not self._started:
            self._started = True
            out.append(Start(model=_text(value.get("model"))))
        message = value.get("message")
        if isinstance(message, dict):
            self._message(message, value.get("logprobs"), out)
        if value.get("done") is True:
            self._done(value, out)
        return out

    def _message(self, message: Fields, logprobs: object, out: list[Event]) -> None:
        thought, text = _text(message.get("thinking")), _text(message.get("content"))
        if thought:
            out.append(ReasoningDelta(self._prose(Reasoning, out), thought))
        if text:
            notes = {"content": logprobs} if logprobs and isinstance(logprobs, list) else None
            out.append(TextDelta(self._prose(Text, out), text, notes))
        pictures = message.get("images")
        for data in pictures if isinstance(pictures, list) else ():
            self._show(data, out)
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict):
                self._call(call, out)

    def _prose(self, kind: type[Text] | type[Reasoning], out: list[Event]) -> int:
        """The number of the open block of this kind; opened if need be."""
        if self._kind is not kind:
            self._close(out)
            self._kind, self._at = kind, self._take()
            out.append(Open(self._at, kind("")))
        return self._at

    def _show(self, data: object, out: list[Event]) -> None:
        if isinstance(data, str) and data:
            self._close(out)
            block, mime = self._take(), right_type(data, "image/png")
            out += [Open(block, Media("image", mime, data)), Close(block)]

    def _call(self, call: Fields, out: list[Event]) -> None:
        function = call.get("function")
        inner: Fields = function if isinstance(function, dict) else {}
        name = _text(inner.get("name"))
        if not name:
            return
        self._close(out)
        self._called = True
        block, ident = self._take(), _text(call.get("id")) or self._make_id()
        args = inner.get("arguments")
        text = args if isinstance(args, str) else dumps(args or {}).decode()
        out += (Open(block, ToolCall(ident, name, "")), ArgsDelta(block, text or "{}"))
        out.append(Close(block))

    def _close(self, out: list[Event]) -> None:
        if self._kind is not None:
            out.append(Close(self._at))
            self._kind = None

    def _take(self) -> int:
        self._next += 1
        return self._next - 1

    def _done(self, value: Fields, out: list[Event]) -> None:
        self._over = True
        self._close(out)
        usage = read_usage(value)
        if usage is not None:
            out.append(UsageEvent(usage))
        out += (finish_of(value, self._called), End())

    def _fail(self, error: ErrorEvent) -> list[Event]:
        self._over = True
        return [error]


class WholeDecoder:
    """A whole answer, one record, as a Decoder."""

    def __init__(self, make_id: MakeId) -> None:
        self._make_id = make_id

    def feed(self, record: Record) -> list[Event]:
        if record.value is None:
            return [ErrorEvent(*classify_text(record.data))]
        return decode_whole(record.value, self._make_id)

    def finish(self) -> list[Event]:
        return []


def decode_whole(value: object, make_id: MakeId) -> list[Event]:
    """Events of a whole answer: always one Finish or one ErrorEvent at the end."""
    if not isinstance(value, dict):
        return [ErrorEvent("retryable", "the upstream's answer is not an object")]
    found = read_error(value)
    if found is not None:
        return [error_event(found)]
    if not isinstance(value.get("message"), dict):
        return [ErrorEvent("retryable", "the upstream's answer holds no message")]
    if value.get("done") is False:
        return [ErrorEvent("truncated", "the upstream's answer is not whole: it is not done")]
    events = StreamDecoder(make_id).line({**value, "done": True})
    return [event for event in events if not isinstance(event, End)]
