"""Watches a generateContent answer that is passed through: whole frames in, whole frames out.

What goes on is what came, byte for byte, with these exceptions: only `data: ` lines go on, since
clients stumble over comments, `event:` lines and `[DONE]`; lone surrogates become U+FFFD. A frame
that is not JSON ends the answer with an error, an error frame ends it with its own status. There is
no terminator: a stream whose candidates have not all said their finishReason was cut off.
"""

from __future__ import annotations

from typing import Any

import orjson

from engine.dialects.frames import (
    NOT_JSON,
    Observations,
    Tapping,
    decode,
    junk,
    take_apart,
    whole_answer,
)
from engine.dialects.outcomes import error_event, read_error
from engine.events import ErrorEvent, Finish
from engine.wire import dumps

from .decode import FINISHES, decode_whole, read_usage
from .encode import stream_failure

Fields = dict[str, Any]


class Tap(Tapping):
    """One answer. What it has shown stands in the attributes of Observations."""

    def __init__(self, include_usage: bool = True, **how: Any) -> None:
        super().__init__(include_usage, **how)
        self._open: set[object] = set()  # indices of candidates that have begun and not finished
        self._called = False

    def feed(self, frames: list[bytes]) -> bytes:
        """What to send on of some frames, each with the blank line that ends it."""
        out: list[bytes] = []
        for frame in frames:
            if self._over:
                break
            value = _quick(frame)
            out.append(self._slow(frame) if value is None else self._look(frame, value))
        return b"".join(out)

    def _look(self, frame: bytes, value: Fields) -> bytes:
        """What to send on of a chunk, after noting what it says."""
        if "error" in value:
            found = read_error(value)
            if found is not None:
                return self._fail(error_event(found), found.type)
        candidates = value.get("candidates")
        for candidate in candidates if isinstance(candidates, list) else ():
            if isinstance(candidate, dict):
                self._candidate(candidate)
        feedback = value.get("promptFeedback")
        blocked = feedback.get("blockReason") if isinstance(feedback, dict) else None
        if isinstance(blocked, str) and blocked:
            self.finish = Finish("content_filter", blocked)
        usage = value.get("usageMetadata")
        if usage and isinstance(usage, dict):
            self.usage = read_usage(usage)
        if self._model is not None and "modelVersion" in value:
            return _frame({**value, "modelVersion": self._model})
        return frame

    def _candidate(self, candidate: Fields) -> None:
        index, raw = candidate.get("index") or 0, candidate.get("finishReason")
        self.content = self.content or _says(candidate)
        self._called = self._called or _calls(candidate)
        if not raw or not isinstance(raw, str):
            self._open.add(index)
            self.finish = None
            return
        self._open.discard(index)
        if not self._open:
            reason = FINISHES.get(raw, "other")
            self.finish = Finish("tool_calls" if self._called and reason == "stop" else reason, raw)

    def _slow(self, frame: bytes) -> bytes:
        """What to send on of a frame that is not one plain `data: ` line."""
        taken = take_apart(frame)
        if taken is None:
            return self._fail(junk(frame))
        data = (taken.data or b"").strip()
        if not data or data == b"[DONE]":
            return b""
        value, exact = decode(data)
        if not isinstance(value, dict):
            return self._fail(NOT_JSON)
        if exact and b"\n" not in data and b"\r" not in data:
            return self._look(b"data: %b\n\n" % data, value)
        return self._look(_frame(value), value)

    def failed(self, error: ErrorEvent, type: str) -> bytes:
        return stream_failure(error, type=type)


def _frame(value: Fields) -> bytes:
    return b"data: %b\n\n" % dumps(value)


def _quick(frame: bytes) -> Fields | None:
    """The value of a frame that is exactly one `data: {…}` line, else None."""
    payload = frame[6:].rstrip(b"\r\n")
    if frame[:6] != b"data: " or b"\n" in payload or b"\r" in payload:
        return None
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    return value if type(value) is dict else None


def _parts(candidate: Fields) -> list[Fields]:
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _says(candidate: Fields) -> bool:
    return any(
        any(value for name, value in part.items() if name != "thought")
        for part in _parts(candidate)
    )


def _calls(candidate: Fields) -> bool:
    return any("functionCall" in part for part in _parts(candidate))


# ---- whole answers ----


def check_whole(body: bytes) -> Observations:
    """What a whole answer says that is passed through."""
    return whole_answer(body, decode_whole, _candidates_say)


def _candidates_say(value: dict[str, Any]) -> bool:
    found = value.get("candidates")
    return isinstance(found, list) and any(isinstance(c, dict) and _says(c) for c in found)
