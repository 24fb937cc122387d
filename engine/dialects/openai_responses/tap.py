"""Watches a Responses answer that is passed through: whole frames in, whole frames out.

What goes on is what came, byte for byte, with these exceptions: `id:` and `retry:` lines go; a
frame without its `event:` line gets one, since clients may go by it; lone surrogates become
U+FFFD; a terminator of other APIs goes. After the last response nothing follows. A frame that is
not JSON ends the answer with an error. Before anything was said an error is the answer's own; after
that it goes on in the upstream's words. Every frame is decoded once.
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
from engine.dialects.outcomes import message_for, read_error
from engine.events import ErrorEvent
from engine.wire import dumps

from . import answer
from .decode import TERMINAL, bare_event, decode_whole, read_finish, read_usage
from .encode import stream_failure

Fields = dict[str, object]

_KIND = "response.output_text.delta"
_DELTA = b"event: %b\ndata: " % _KIND.encode()


class Tap(Tapping):
    """One answer. What it has shown stands in the attributes of Observations."""

    def __init__(self, include_usage: bool = True, **how: Any) -> None:
        super().__init__(include_usage, **how)
        self._response: Fields = {}
        self._number = -1  # sequence number of the last event

    def feed(self, frames: list[bytes]) -> bytes:
        """What to send on of some frames, each with the blank line that ends it."""
        out: list[bytes] = []
        for frame in frames:
            if self._over:
                break
            value = _quick(frame) if self.content else None
            if value is None:
                out.append(self._slow(frame))
            else:
                self._count(value)
                out.append(frame)
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
        if name == "error" or (not name.startswith("response.") and read_error(value)):
            return self._fail(bare_event(value))
        if not exact or not taken.event:
            taken.raw = _frame(name, value)
        return self._look(name, taken.raw, value)

    def _look(self, name: str, frame: bytes, value: Fields) -> bytes:
        """What to send on of an event, after noting what it says."""
        self._count(value)
        response = value.get("response")
        if isinstance(response, dict):
            self._response, self.kept = response, _kept(response)
            if name in TERMINAL:
                return self._end(name, frame, value, response)
            return self._renamed(name, frame, value, response)
        self.content = self.content or _says(name, value)
        return frame

    def _end(self, name: str, frame: bytes, value: Fields, response: Fields) -> bytes:
        usage = response.get("usage")
        if isinstance(usage, dict):
            self.usage = read_usage(usage)
        status = {"status": name.removeprefix("response."), **response}
        found = read_finish(status, _called(response.get("output")))
        if isinstance(found, ErrorEvent):
            return self._failed(found, frame)
        self._over = self.done = True
        self.finish = found
        self.content = self.content or bool(response.get("output"))
        return self._renamed(name, frame, value, response)

    def _renamed(self, name: str, frame: bytes, value: Fields, response: Fields) -> bytes:
        if self._model is None:
            return frame
        return _frame(name, {**value, "response": {**response, "model": self._model}})

    def _count(self, value: Fields) -> None:
        number = value.get("sequence_number")
        if isinstance(number, int):
            self._number = number

    def _failed(self, error: ErrorEvent, frame: bytes) -> bytes:
        """The upstream says that it failed: in its own words, unless they are about its key."""
        same = message_for(error.cls, error.message, status=error.status) == error.message
        self._fail(error)
        self.failure = frame if same else self.failure
        return b""

    def failed(self, error: ErrorEvent, type: str) -> bytes:
        return self.broken(error)

    def broken(self, error: ErrorEvent) -> bytes:
        """A response that failed, under the id that the client knows."""
        if not self._response:
            return stream_failure(error)
        response = answer.failed(self._response, error, [])
        value = {"sequence_number": self._number + 1, "response": response}
        return _frame("response.failed", {"type": "response.failed", **value})


def _frame(name: str, value: Fields) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), dumps(value))


def _quick(frame: bytes) -> Any:
    """The value of a frame that is exactly the two lines of a text delta, else None."""
    payload = frame[len(_DELTA) : -2]
    plain = frame.startswith(_DELTA) and frame[-2:] == b"\n\n"
    if not plain or b"\n" in payload or b"\r" in payload:
        return None
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    return value if type(value) is dict and value.get("type") == _KIND else None


def _says(name: str, value: Fields) -> bool:
    """Whether an event is content: a delta, or an item that is a call or done."""
    if name.endswith(".delta"):
        return bool(value.get("delta"))
    item = value.get("item")
    kind = item.get("type") if isinstance(item, dict) else None
    return name == "response.output_item.done" or (kind is not None and kind not in _QUIET)


_QUIET = ("message", "reasoning")


def _kept(response: Fields) -> str:
    ident = response.get("id")
    return ident if isinstance(ident, str) and response.get("store") is not False else ""


def _called(output: object) -> bool:
    items = output if isinstance(output, list) else []
    kinds = [item.get("type") for item in items if isinstance(item, dict)]
    return "function_call" in kinds or "custom_tool_call" in kinds


# ---- whole answers ----


def check_whole(body: bytes) -> Observations:
    """An answer that is made in the background is passed on, though it is not there yet."""
    return whole_answer(body, decode_whole, lambda value: bool(value["output"]), _name)


def _name(value: Fields, seen: Observations) -> bool:
    """Note the answer's id; all else is still to be looked at."""
    seen.kept = _kept(value)
    return False
