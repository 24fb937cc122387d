"""Watches a Messages answer that is passed through: whole frames in, whole frames out.

What goes on is what came, byte for byte, with these exceptions: `id:` and `retry:` lines go; a
frame without its `event:` line gets one, since clients drop it silently else; blocks that the
upstream left open are closed before the finish; lone surrogates become U+FFFD. After the finish
only message_stop follows, which is added if it is missing. A frame that is not JSON ends the
answer with an error, an error frame ends it with its own type. Every frame is decoded once.
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
from engine.events import ErrorEvent, Finish
from engine.wire import dumps

from .decode import FINISHES, decode_whole, merged_usage, read_usage
from .encode import STOP, stream_failure

Fields = dict[str, object]

_QUICK = b"event: content_block_delta\ndata: "
_BLOCKS = ("content_block_start", "content_block_delta", "content_block_stop")


class Tap(Tapping):
    """One answer. What it has shown stands in the attributes of Observations."""

    terminator = STOP

    def __init__(self, include_usage: bool = True, **how: Any) -> None:
        super().__init__(include_usage, **how)
        self._counts: Fields = {}
        self._open: list[object] = []  # indices of blocks that have begun and not ended

    def feed(self, frames: list[bytes]) -> bytes:
        """What to send on of some frames, each with the blank line that ends it."""
        out: list[bytes] = []
        for frame in frames:
            if self._over:
                break
            if self.content and self.finish is None and _is_delta(frame):
                out.append(frame)
            else:
                out.append(self._slow(frame))
        return b"".join(out)

    # ---- a frame ----

    def _slow(self, frame: bytes) -> bytes:
        taken = take_apart(frame)
        if taken is None:
            return self._fail(junk(frame))
        if taken.data is None:
            return taken.raw
        data = taken.data.strip()
        value, exact = decode(data) if data else (None, True)
        if not isinstance(value, dict):
            if not data or data == b"[DONE]":
                return b""
            return self._fail(NOT_JSON)
        kind = value.get("type")
        name = kind if isinstance(kind, str) and kind else taken.event.decode()
        if name == "error" or (not kind and "error" in value):
            return self._refused(read_error(value) or bare_error(value))
        if not exact or not taken.event:
            if not name.isidentifier():
                return b""  # nobody could tell what it is
            taken.raw = _frame(name, value)
        return self._look(name, taken.raw, value)

    def _look(self, name: str, frame: bytes, value: Fields) -> bytes:
        """What to send on of an event, after noting what it says."""
        if name == "message_stop":
            return self._terminate(frame)
        if name == "message_delta":
            return self._end(frame, value)
        if name == "message_start":
            return self._start(frame, value)
        if name not in _BLOCKS:
            return frame
        if self.finish is not None:
            return b""
        self._block(name, value)
        return frame

    def _start(self, frame: bytes, value: Fields) -> bytes:
        message = value.get("message")
        if isinstance(message, dict):
            self._count(message.get("usage"))
            if self._model is not None:
                return _frame(
                    "message_start", {**value, "message": {**message, "model": self._model}}
                )
        return frame

    def _block(self, name: str, value: Fields) -> None:
        index = value.get("index")
        if name == "content_block_start":
            self._open.append(index)
            self.content = self.content or _begins(value.get("content_block"))
        elif name == "content_block_stop":
            if index in self._open:
                self._open.remove(index)
        else:
            self.content = self.content or _says(value.get("delta"))

    def _end(self, frame: bytes, value: Fields) -> bytes:
        """A message_delta: usage, and why the answer ended."""
        self._count(value.get("usage"))
        if self.finish is not None:
            return b""  # a second one would take the reason back
        delta = value.get("delta")
        reason = delta.get("stop_reason") if isinstance(delta, dict) else None
        if not isinstance(reason, str) or not reason:
            return frame
        self.finish = Finish(FINISHES.get(reason, "other"), reason)
        stops = [_frame("content_block_stop", {"type": "content_block_stop", "index": index})
                 for index in self._open]  # fmt: skip
        return b"".join((*stops, frame))

    def _count(self, usage: object) -> None:
        if usage and isinstance(usage, dict):
            self._counts = merged_usage(self._counts, usage)
            self.usage = read_usage(self._counts)

    def failed(self, error: ErrorEvent, type: str) -> bytes:
        return stream_failure(error, type=type)


def _frame(name: str, value: Fields) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), dumps(value))


def _is_delta(frame: bytes) -> bool:
    """Whether a frame is exactly the two lines of a content_block_delta with an object."""
    payload = frame[len(_QUICK) : -2]
    if (
        not frame.startswith(_QUICK)
        or frame[-2:] != b"\n\n"
        or b"\n" in payload
        or b"\r" in payload
    ):
        return False
    try:
        value: Any = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return False
    return type(value) is dict and value.get("type") == "content_block_delta"


def _begins(block: object) -> bool:
    """Whether the start of a block is content by itself: a call, or thinking kept secret."""
    if not isinstance(block, dict):
        return False
    kind = block.get("type")
    return kind not in ("text", "thinking") or bool(block.get("text") or block.get("thinking"))


def _says(delta: object) -> bool:
    return isinstance(delta, dict) and any(value for name, value in delta.items() if name != "type")


# ---- whole answers ----


def check_whole(body: bytes) -> Observations:
    """What a whole answer says that is passed through."""
    return whole_answer(body, decode_whole, lambda value: bool(value["content"]))
