"""An answer on its way from the upstream to the client, chunk by chunk.

`take` is given each chunk as it arrives, in the callback of the read, and says True when the
reading has to stop: the answer is `done`, or the client reads more slowly than the upstream writes.
The upstream's silence is timed from here; while it is the client that is waited for, none is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    suppress,
)
from typing import Protocol

from engine.dialects.frames import Tap
from engine.errors import ExchangeError
from engine.events import Event
from engine.invariants import Invariants
from engine.kept.recall import Keeper
from engine.ports import Answer, Sink, Watch
from engine.route.pipeline import Pipeline
from engine.route.route import Splitter

LINGER = 1.0  # seconds to wait for usage after the finish
ERROR_BODY = 1024**2  # bytes of an error answer that are read


class Reading(Protocol):
    """done: nothing of the answer is wanted any more."""

    done: bool

    def take(self, data: bytes) -> bool: ...


async def pour(answer: Answer, reading: Reading, sink: Sink, watch: Watch) -> None:
    """Read an answer to its end, at the pace of the client."""
    while await answer.pump(reading.take) and not reading.done:
        watch.paused = True
        await sink.drained()
        watch.paused = False
        watch.beat()  # how long the client was waited for is no silence of the upstream's


async def words_of(answer: Answer, most: int) -> bytes:
    """What an answer says that refuses, as far as it can be read: its status says most of it."""
    parts, left = list[bytes](), most
    with suppress(ExchangeError):
        async for chunk in answer:
            parts.append(chunk[:left])
            left -= len(chunk)
            if left <= 0:
                break
    return b"".join(parts)


class Events:
    """Through the model: bytes to events to the client.

    most  bytes of an answer that is kept until it is whole; None where it is not
    """

    __slots__ = (
        "_idle",
        "_keeper",
        "_left",
        "_life",
        "_order",
        "_over",
        "_pipeline",
        "_say",
        "_sink",
        "_watch",
        "done",
    )

    def __init__(
        self,
        pipeline: Pipeline,
        order: Invariants,
        keeper: Keeper | None,
        sink: Sink,
        watch: Watch,
        idle: float,
        most: int | None = None,
    ) -> None:
        self._pipeline, self._order, self._keeper = pipeline, order, keeper
        self._sink, self._watch, self._idle = sink, watch, idle
        say: Callable[[int, str], bool] | None = getattr(sink, "say", None)
        self._say = say if keeper is None else None
        self._life, self._left = 0, most
        self.done = self._over = False

    def take(self, data: bytes) -> bool:
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise ExchangeError("retryable", "the upstream's answer is larger than it may be")
        pipeline, say = self._pipeline, self._say
        if say is not None:
            text = pipeline.text(data)
            if text:  # nearly always
                self._watch.beat()
                return say(pipeline.block, text)
        events = pipeline.feed(data)
        slow = bool(events) and self.tell(events)
        if pipeline.error is not None or (pipeline.over and pipeline.ended):
            self.done = True
            return True
        if self._over:
            return slow
        if pipeline.over:
            self._over = True
            self._watch.allow(LINGER)  # usage and the end marker may follow, but not for long
            return slow
        life = pipeline.parser.frames
        if life != self._life:
            if self._life == 0:
                self._watch.allow(self._idle)
            self._life = life
            self._watch.beat()
        return slow

    def tell(self, events: list[Event]) -> bool:
        """Give events to the client, and to those who watch them. True: it is to be waited for."""
        if self._keeper is not None:
            self._keeper.feed(events)
        self._order.feed(events)
        return self._sink.send(events)


class Frames:
    """On bytes: frames of the client's own dialect, passed on as they came, watched by a tap.

    refused  holds the first frame against the error rules, and raises; False: it has no record
    linger   seconds to wait for more after a finish
    """

    __slots__ = (
        "_idle",
        "_judged",
        "_linger",
        "_over",
        "_refused",
        "_sink",
        "_watch",
        "done",
        "splitter",
        "tap",
    )

    def __init__(
        self,
        tap: Tap,
        splitter: Splitter,
        refused: Callable[[bytes], bool],
        sink: Sink,
        watch: Watch,
        idle: float,
        linger: float = LINGER,
    ) -> None:
        self.tap, self.splitter, self._refused = tap, splitter, refused
        self._sink, self._watch, self._idle, self._linger = sink, watch, idle, linger
        self._over: bool | None = None
        self.done = self._judged = False

    def take(self, data: bytes) -> bool:
        tap, slow = self.tap, False
        frames = self.splitter.feed(data)
        if not self._judged:
            self._judged = any(map(self._refused, frames))
        if not frames:
            return False
        out = tap.feed(frames)
        if out:
            slow = self._sink.forward(out, tap.content)
        over = tap.finish is not None
        if tap.done or tap.error is not None:
            self.done = True
            return True
        if over is not self._over:
            self._over = over
            self._watch.allow(self._linger if over else self._idle)
        elif not over:
            self._watch.beat()
        return slow


class Begun:
    """An answer whose first bytes were read: they come again, then the rest."""

    def __init__(self, answer: Answer, first: bytes) -> None:
        self.head, self.reused = answer.head, answer.reused
        self._first = first
        self._rest = answer

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, b""
        return first or await anext(aiter(self._rest))

    async def pump(self, take: Callable[[bytes], bool]) -> bool:
        first, self._first = self._first, b""
        return (bool(first) and take(first)) or await self._rest.pump(take)

    async def read(self, limit: int) -> bytes:
        """The rest, whole; the first bytes were bounded by who read them."""
        return b"".join([chunk async for chunk in self])


@asynccontextmanager
async def limited(
    made: AbstractAsyncContextManager[Answer], limit: AbstractContextManager[Watch]
) -> AsyncIterator[Answer]:
    """The call and its answer, which together may take no longer than `limit` (`timeout`)."""
    with limit:
        async with made as answer:
            yield answer
