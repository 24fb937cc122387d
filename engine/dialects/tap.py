"""Watches a Chat Completions answer that is passed through: whole frames in, whole frames out.

What goes on is what came, byte for byte, with these exceptions: `id:` and `retry:` lines go; the
chunk that holds usage alone goes if the client did not ask for it; the model is renamed if it was
asked for; lone surrogates become U+FFFD. A frame that is not JSON ends the answer with an error,
an error frame ends it with its `type` made a string, nothing follows the terminator, and a missing
terminator is added after a finish. Every frame is decoded once: that is what proves it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from engine.events import ErrorEvent, Finish, Usage, UsageEvent, merge_usage
from engine.wire import JsonError, dumps, loads

from .openai_chat.decode import (
    FAILURES,
    FINISHES,
    bare_error,
    decode_whole,
    error_event,
    failed_finish,
    read_usage,
)
from .openai_chat.encode import DONE, stream_failure
from .outcomes import UpstreamError, classify_text, read_error

_LINES = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_NEWLINE = re.compile(rb"(?:\r\n|\r|\n)\Z")
_UNSENT = (b"", b"id", b"retry")
_CONTENT_KEYS = (
    "content", "reasoning_content", "reasoning", "reasoning_details", "tool_calls", "refusal",
    "function_call", "audio", "images",
)  # fmt: skip
Fields = dict[str, object]


@dataclass(slots=True)
class Observations:
    """What an answer has shown so far.

    content   some choice said something: text, reasoning, a call, a refusal
    finish    every choice that began has finished; reason and word of the last to do so
    error     the answer has failed: nothing of it goes on any more
    failure   the frames that tell a client of `error` once its answer has begun
    done      the terminator was seen
    body      the answer to hand on, where it is a whole one
    """

    content: bool = False
    usage: Usage | None = None
    finish: Finish | None = None
    error: ErrorEvent | None = None
    failure: bytes = b""
    done: bool = False
    body: bytes = b""


@dataclass(slots=True)
class _Frame:
    """A frame taken apart: what to send on, its event name, its data (None if it has none)."""

    raw: bytes
    event: bytes = b""
    data: bytes | None = None


class Tap(Observations):
    """One answer. What it has shown stands in the attributes of Observations.

    include_usage    the client asked for the usage chunk
    model            name that the chunks shall bear, None to leave the upstream's
    finish_optional  the terminator alone makes an answer whole
    """

    def __init__(
        self,
        include_usage: bool = True,
        *,
        model: str | None = None,
        finish_optional: bool = False,
    ) -> None:
        super().__init__()
        self._include_usage = include_usage
        self._model = model
        self._finish_optional = finish_optional
        self._open: set[int] = set()  # choices that have begun and not finished
        self._ended: set[int] = set()
        self._over = False

    def feed(self, frames: list[bytes]) -> bytes:
        """What to send on of some frames, each with the blank line that ends it."""
        out: list[bytes] = []
        for frame in frames:
            if self._over:
                break
            value = _quick(frame)
            if value is None:
                out.append(self._slow(frame))
            elif self.content and self._model is None and 0 in self._open and _goes_on(value):
                out.append(frame)
            else:
                out.append(self._look(frame, value))
        return b"".join(out)

    def end(self) -> bytes:
        """The upstream's stream is over: the terminator if it is missing, or `error` is set."""
        if self._over:
            return b""
        self._over = True
        if self.finish is not None:
            return DONE
        if self.content:
            error = ErrorEvent("truncated", "the upstream's answer ended before it was whole")
        else:
            error = ErrorEvent("empty_response", "the upstream's answer has no content")
        return self._fail(error)

    # ---- a frame ----

    def _look(self, frame: bytes, value: Fields) -> bytes:
        """What to send on of a chunk, after noting what it says."""
        if "error" in value or value.get("object") == "error":
            found = read_error(value)
            if found is not None:
                return self._refused(found)
        choices = value.get("choices")
        items = choices if isinstance(choices, list) else []
        spoken = [choice for choice in items if isinstance(choice, dict)]
        late = bool(spoken)
        for choice in spoken:
            raw = choice.get("finish_reason")
            if raw and isinstance(raw, str) and raw.lower() in FAILURES:
                return self._fail(failed_finish(raw))
            late = self._choice(choice, raw) and late
        usage = value.get("usage")
        if usage and isinstance(usage, dict):
            self.usage = merge_usage(self.usage, read_usage(usage))
        if late or (usage and not choices):
            if not usage or not self._include_usage:
                return b""
            if late:  # the usage came with a second finish, which must not go on
                frame = _frame({**value, "choices": []})
        return frame if self._model is None else self._renamed(frame, value)

    def _choice(self, choice: Fields, raw: object) -> bool:
        """Note what a choice says. True if it says it after its finish."""
        at = choice.get("index")
        index = at if isinstance(at, int) else 0
        delta = choice.get("delta")
        if index in self._ended:
            return bool(delta or raw)
        if not self.content:
            self.content = _says(delta)
        if not raw or not isinstance(raw, str):
            self._open.add(index)
            self.finish = None
            return False
        self._ended.add(index)
        self._open.discard(index)
        if not self._open:
            self.finish = Finish(FINISHES.get(raw.lower(), "other"), raw)
        return False

    def _renamed(self, frame: bytes, value: Fields) -> bytes:
        if "model" not in value:
            return frame
        old = b'"model":' + dumps(value["model"])
        if frame.count(old) == 1:
            return frame.replace(old, b'"model":' + dumps(self._model))
        return _frame({**value, "model": self._model})

    # ---- rare frames ----

    def _slow(self, frame: bytes) -> bytes:
        """What to send on of a frame that is not one plain `data:` line."""
        taken = _take_apart(frame)
        if taken is None:
            return self._fail(_junk(frame))
        if taken.data is None:
            return taken.raw
        data = taken.data.strip()
        if data == b"[DONE]":
            return self._terminate(taken.raw)
        value, exact = _decode(data) if data else (None, True)
        if isinstance(value, dict):
            if taken.event == b"error":
                return self._refused(read_error(value) or bare_error(value))
            return self._look(taken.raw if exact else _frame(value), value)
        if not data:
            return b""
        return self._fail(ErrorEvent("retryable", "the upstream sent a frame that is not JSON"))

    def _terminate(self, raw: bytes) -> bytes:
        self.done = True
        if self.finish is None and not self._finish_optional:
            return self.end()
        self._over = True
        return raw

    def _refused(self, found: UpstreamError) -> bytes:
        return self._fail(error_event(found), found.type)

    def _fail(self, error: ErrorEvent, type: str = "") -> bytes:
        """The answer ends here: with an error, or well if it had finished before."""
        self._over = True
        if self.finish is not None:
            return DONE
        self.error = error
        self.failure = stream_failure(error, type=type)
        return b""


def _frame(value: Fields) -> bytes:
    return b"data: %b\n\n" % dumps(value)


def _quick(frame: bytes) -> dict[str, Any] | None:
    """The value of a frame that is exactly one `data: {…}` line, else None."""
    payload = frame[6:-2]
    if frame[:6] != b"data: " or frame[-2:] != b"\n\n" or b"\n" in payload or b"\r" in payload:
        return None
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    return value if type(value) is dict else None


def _goes_on(value: dict[str, Any]) -> bool:
    """Whether a chunk only says more of choice 0, as nearly all do."""
    try:
        (choice,) = value["choices"]
        return not (
            choice.get("finish_reason")
            or choice.get("index")
            or value.get("usage")
            or "error" in value
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def _take_apart(frame: bytes) -> _Frame | None:
    """None if the frame is not UTF-8, or none of its lines belongs to an event stream."""
    taken = _Frame(b"")
    kept: list[bytes] = []
    data: list[bytes] = []
    strange = False
    for line in _LINES.findall(frame.removeprefix(b"\xef\xbb\xbf")):
        name, _, value = line.rstrip(b"\r\n").partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif name == b"event":
            taken.event = value.strip()
        elif name or not value:
            strange = strange or name not in _UNSENT
            continue
        kept.append(line)
    whole = b"".join(kept)
    if (strange and not kept) or not _is_text(whole):
        return None
    if data:
        taken.data = b"\n".join(data)
    if data or b":" in {line[:1] for line in kept}:
        taken.raw = whole + (_NEWLINE.search(whole) or [b"\n\n"])[0]
    return taken


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _decode(data: bytes) -> tuple[object, bool]:
    """The value, and whether its bytes may go on as they are; None if it is not JSON."""
    try:
        return orjson.loads(data), True
    except orjson.JSONDecodeError:
        pass
    try:
        return loads(data), False
    except JsonError:
        return None, False


def _junk(frame: bytes) -> ErrorEvent:
    """The error of what is no frame of an event stream: a page, a whole answer, bytes."""
    value, _ = _decode(frame)
    if value is None:
        cls, message = classify_text(frame)
        return ErrorEvent(cls, message)
    found = read_error(value)
    if found is not None:
        return error_event(found)
    return ErrorEvent("retryable", "the upstream answered as a whole where a stream was asked for")


# ---- whole answers ----


def check_whole(body: bytes) -> Observations:
    """What a whole answer says that is passed through: an error for everything that is not one.

    Its `body` is the answer as it came, but for lone surrogates.
    """
    seen = Observations(done=True, body=body)
    value, exact = _decode(body)
    if value is None:
        seen.error = ErrorEvent(*classify_text(body))
        return seen
    if isinstance(value, dict) and exact and _plain(value, seen):
        return seen
    for event in decode_whole(value, str):
        if isinstance(event, ErrorEvent):
            seen.error = event
        elif isinstance(event, Finish):
            seen.finish = event
        elif isinstance(event, UsageEvent):
            seen.usage = event.usage
    if seen.error is None and isinstance(value, dict):
        choices = value["choices"]
        seen.content = any(isinstance(c, dict) and _says(c.get("message")) for c in choices)
    if not exact:
        seen.body = dumps(value)
    return seen


def _plain(value: Fields, seen: Observations) -> bool:
    """The common case, seen at a glance: one choice that said something and finished as usual."""
    choices, usage = value.get("choices"), value.get("usage")
    if "error" in value or not isinstance(choices, list) or len(choices) != 1:
        return False
    choice = choices[0]
    reason = choice.get("finish_reason") if isinstance(choice, dict) else None
    if reason not in ("stop", "length", "tool_calls") or not _says(choice.get("message")):
        return False
    seen.content = True
    seen.finish = Finish(reason, reason)
    seen.usage = read_usage(usage) if isinstance(usage, dict) else None
    return True


def _says(delta: object) -> bool:
    return isinstance(delta, dict) and any(delta.get(key) for key in _CONTENT_KEYS)
