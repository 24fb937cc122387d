"""Watches a Chat Completions answer that is passed through: whole frames in, whole frames out.

What goes on is what came, byte for byte, with these exceptions: `id:` and `retry:` lines go; the
chunk that holds usage alone goes if the client did not ask for it; the model is renamed if it was
asked for; lone surrogates become U+FFFD. A frame that is not JSON ends the answer with an error,
an error frame ends it with its `type` made a string, nothing follows the terminator, and a missing
terminator is added after a finish. Every frame is decoded once: that is what proves it.
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
from engine.dialects.outcomes import (
    bare_error,
    read_error,
)
from engine.events import ErrorEvent, Finish, merge_usage
from engine.wire import dumps

from .decode import FAILURES, FINISHES, decode_whole, failed_finish, finish_word, read_usage
from .encode import DONE, stream_failure

_CONTENT_KEYS = (
    "content", "reasoning_content", "reasoning", "reasoning_details", "tool_calls", "refusal",
    "function_call", "audio", "images",
)  # fmt: skip
Fields = dict[str, object]


class Tap(Tapping):
    """One answer. What it has shown stands in the attributes of Observations."""

    terminator = DONE

    def __init__(self, include_usage: bool = True, **how: Any) -> None:
        super().__init__(include_usage, **how)
        self._open: set[int] = set()  # choices that have begun and not finished
        self._ended: set[int] = set()

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
            raw = finish_word(choice)
            if raw.lower() in FAILURES:
                return self._fail(failed_finish(raw))
            late = self._choice(choice, raw) and late
            self._count(choice.get("usage"))
        usage = value.get("usage")
        self._count(usage)
        if late or (usage and not choices):
            if not usage or not self._include_usage:
                return b""
            if late:  # the usage came with a second finish, which must not go on
                frame = _frame({**value, "choices": []})
        return frame if self._model is None else self._renamed(frame, value)

    def _count(self, usage: object) -> None:
        if usage and isinstance(usage, dict):
            self.usage = merge_usage(self.usage, read_usage(usage))

    def _choice(self, choice: Fields, raw: str) -> bool:
        """Note what a choice says. True if it says it after its finish."""
        at = choice.get("index")
        index = at if isinstance(at, int) else 0
        delta = choice.get("delta")
        if index in self._ended:
            return bool(delta or raw)
        if not self.content:
            self.content = _says(delta)
        if not raw:
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
        taken = take_apart(frame)
        if taken is None:
            return self._fail(junk(frame))
        if taken.data is None:
            return taken.raw
        data = taken.data.strip()
        if data == b"[DONE]":
            return self._terminate(DONE if b"\n" in taken.data else taken.raw)
        value, exact = decode(data) if data else (None, True)
        if isinstance(value, dict):
            if taken.event == b"error":
                return self._refused(read_error(value) or bare_error(value))
            return self._look(taken.raw if exact else _frame(value), value)
        if not data:
            return b""
        return self._fail(NOT_JSON)

    def failed(self, error: ErrorEvent, type: str) -> bytes:
        return stream_failure(error, type=type)


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


# ---- whole answers ----


def check_whole(body: bytes) -> Observations:
    """What a whole answer says that is passed through."""
    return whole_answer(body, decode_whole, _choices_say, _plain)


def _choices_say(value: dict[str, Any]) -> bool:
    return any(isinstance(c, dict) and _says(c.get("message")) for c in value["choices"])


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
    if not isinstance(delta, dict):
        return False
    return bool(delta.get("content")) or any(delta.get(key) for key in _CONTENT_KEYS)
