"""Frames of event streams that pass through untouched, and what a tap notes of an answer.

A tap (one per dialect) sees each frame whole, with the blank line that ends it, and says what goes
on of it. What it shares with others of its kind stands here: taking an odd frame apart, decoding
it, and judging what is no frame at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from engine.events import ErrorEvent, Event, Finish, Usage, UsageEvent
from engine.wire import JsonError, dumps, loads

from .outcomes import UpstreamError, classify_text, error_event, read_error

_LINES = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_NEWLINE = re.compile(rb"(?:\r\n|\r|\n)\Z")
BOM = b"\xef\xbb\xbf"
_UNSENT = (b"", b"id", b"retry")

CUT = "the upstream's answer ended before it was whole"
EMPTY = "the upstream's answer has no content"
NOT_JSON = ErrorEvent("retryable", "the upstream sent a frame that is not JSON")


@dataclass(slots=True)
class Observations:
    """What an answer has shown so far.

    content   some choice said something: text, reasoning, a call, a refusal
    finish    every choice that began has finished; reason and word of the last to do so
    error     the answer has failed: nothing of it goes on any more
    failure   the frames that tell a client of `error` once its answer has begun
    done      the terminator was seen
    body      the answer to hand on, where it is a whole one
    kept      the id under which the upstream keeps the answer, where it does
    """

    content: bool = False
    usage: Usage | None = None
    finish: Finish | None = None
    error: ErrorEvent | None = None
    failure: bytes = b""
    done: bool = False
    body: bytes = b""
    kept: str = ""

    def broken(self, error: ErrorEvent) -> bytes:
        """The frames that tell of an error which the tap has not seen; b"": the dialect's usual."""
        return b""


class Tapping(Observations):
    """What the taps of all dialects share: how an answer ends, and what is then left to say.

    include_usage    the client asked for usage
    model            name that the answer shall bear, None to leave the upstream's
    finish_optional  an answer is whole without a finish: its terminator, or its end, is enough
    """

    terminator = b""  # what follows a finish in this dialect

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
        self._over = False

    def failed(self, error: ErrorEvent, type: str) -> bytes:
        """The frames of an error; type: the upstream's own word for it, or ""."""
        raise NotImplementedError

    def end(self) -> bytes:
        """The upstream's stream is over: the terminator if it is missing, or `error` is set."""
        if self._over:
            return b""
        self._over = True
        if self.finish is not None:
            return self.terminator
        if self._finish_optional and self.content and not self.terminator:
            self.finish = Finish("stop")
            return b""
        if self.content:
            return self._fail(ErrorEvent("truncated", CUT))
        return self._fail(ErrorEvent("empty_response", EMPTY))

    def _terminate(self, frame: bytes) -> bytes:
        """The terminator came."""
        self.done = True
        if self.finish is None and not self._finish_optional:
            return self.end()
        self._over = True
        return frame

    def _fail(self, error: ErrorEvent, type: str = "") -> bytes:
        """The answer ends here: with an error, or well if it had finished before."""
        self._over = True
        if self.finish is not None:
            return self.terminator
        self.error = error
        self.failure = self.failed(error, type)
        return b""

    def _refused(self, found: UpstreamError) -> bytes:
        return self._fail(error_event(found), found.type)


class Tap(Protocol):
    """Watches one answer that passes through; what it has shown stands in its attributes.

    feed   what to send on of some frames, each with the blank line that ends it
    broken frames that tell of an error which the tap has not seen, b"" for the dialect's usual
    end    the upstream's stream is over: the terminator if it is missing, or `error` is set
    """

    content: bool
    usage: Usage | None
    finish: Finish | None
    error: ErrorEvent | None
    failure: bytes
    done: bool
    kept: str

    def broken(self, error: ErrorEvent) -> bytes: ...
    def feed(self, frames: list[bytes]) -> bytes: ...
    def end(self) -> bytes: ...


@dataclass(slots=True)
class Frame:
    """A frame taken apart: what to send on, its event name, its data (None if it has none)."""

    raw: bytes
    event: bytes = b""
    data: bytes | None = None


def take_apart(frame: bytes) -> Frame | None:
    """None if the frame is not UTF-8, or none of its lines belongs to an event stream."""
    taken = Frame(b"")
    kept: list[bytes] = []
    data: list[bytes] = []
    strange = False
    for line in _LINES.findall(frame.removeprefix(BOM)):
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


def decode(data: bytes) -> tuple[object, bool]:
    """The value, and whether its bytes may go on as they are; None if it is not JSON."""
    try:
        return orjson.loads(data), True
    except orjson.JSONDecodeError:
        pass
    try:
        return loads(data), False
    except JsonError:
        return None, False


def junk(frame: bytes) -> ErrorEvent:
    """The error of what is no frame of an event stream: a page, a whole answer, bytes."""
    value, _ = decode(frame)
    if value is None:
        cls, message = classify_text(frame)
        return ErrorEvent(cls, message)
    found = read_error(value)
    if found is not None:
        return error_event(found)
    return ErrorEvent("retryable", "the upstream answered as a whole where a stream was asked for")


def whole_answer(
    body: bytes,
    events_of: Callable[[object, Callable[..., str]], Iterable[Event]],
    says: Callable[[dict[str, Any]], bool],
    glance: Callable[[dict[str, Any], Observations], bool] | None = None,
) -> Observations:
    """What a whole answer says that is passed through: an error for everything that is not one.

    Its `body` is the answer as it came, but for lone surrogates and a byte order mark.

    events_of   the dialect's reading of a decoded answer
    says        whether a good answer holds anything
    glance      sees the common case; True: nothing is left to look at
    """
    body = body.removeprefix(BOM)
    seen = Observations(done=True, body=body)
    value, exact = decode(body)
    if value is None:
        seen.error = ErrorEvent(*classify_text(body))
        return seen
    if glance is not None and exact and isinstance(value, dict) and glance(value, seen):
        return seen
    for event in events_of(value, str):
        if isinstance(event, ErrorEvent):
            seen.error = event
        elif isinstance(event, Finish):
            seen.finish = event
        elif isinstance(event, UsageEvent):
            seen.usage = event.usage
    seen.content = seen.error is None and isinstance(value, dict) and says(value)
    if not exact:
        seen.body = dumps(value)
    return seen
