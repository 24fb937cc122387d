"""The Clock port: wall time, monotonic time, sleep, and timers that cost little per event.

A `Timer` is lazy. `beat` stores a time stamp and nothing else; a callback of the event loop
looks at the stamp and either waits for the rest or cancels the task. Timers that are due later than
`SOON` share one callback, so that a request that is served in time costs none. The
context manager turns that cancellation into TimeoutError when the block is left, so code inside
the block sees CancelledError, and a cancellation from outside wins.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from math import inf
from time import monotonic
from types import TracebackType

from engine.ports import Watch

EARLY = 0.001  # seconds: event loops round timers to milliseconds, down as well as up
SOON = 2.0  # seconds: a timer that is due later waits among the others, without a callback
SWEEP = 0.5  # seconds between two looks at those that wait


class Waiting:
    """Timers that are not due soon. One callback of the event loop looks at all of them.

    loop: where that callback is, None while none waits
    """

    __slots__ = ("loop", "timers")

    def __init__(self) -> None:
        self.timers: set[Timer] = set()
        self.loop: asyncio.AbstractEventLoop | None = None

    def add(self, timer: Timer, loop: asyncio.AbstractEventLoop) -> None:
        self.timers.add(timer)
        if self.loop is not loop:
            self.loop = loop
            loop.call_later(SWEEP, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        soon = monotonic() + SOON
        for timer in [timer for timer in self.timers if timer.due <= soon]:
            self.timers.discard(timer)
            timer.look()
        if self.timers:
            loop.call_later(SWEEP, self._sweep, loop)
        else:
            self.loop = None


class Timer:
    """Raises TimeoutError at the end of its block when nothing beat for `seconds` (inf: never)."""

    __slots__ = (
        "_cancelling", "_due", "_fired", "_handle", "_last", "_loop", "_seconds", "_task",
        "_waiting", "paused",
    )  # fmt: skip

    def __init__(self, seconds: float, waiting: Waiting) -> None:
        self._waiting = waiting
        self._seconds = seconds
        self._last = self._due = inf
        self._fired = self.paused = False
        self._handle: asyncio.TimerHandle | None = None

    def beat(self) -> None:
        self._last = monotonic()

    def allow(self, seconds: float) -> None:
        """From now on silence may last so long; counted from now."""
        self._seconds = seconds
        self._last = last = monotonic()
        if last + seconds < self._due:
            if seconds > SOON and self._handle is None and self._due < inf:
                self._due = last + seconds  # it waits among the others already
            else:
                self._arm()

    def __enter__(self) -> Timer:
        self._loop = loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a watch needs a task")
        self._task, self._cancelling = task, task.cancelling()
        self._last = last = monotonic()
        if SOON < self._seconds < inf:
            self._due = last + self._seconds
            waiting = self._waiting
            if waiting.loop is loop:
                waiting.timers.add(self)
            else:
                waiting.add(self, loop)
        else:
            self._arm()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._waiting.timers.discard(self)
        self._due = -inf  # no callback from here on: nothing is due before that
        if not self._fired:
            return
        ours = self._task.uncancel() <= self._cancelling
        if ours and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._due = self._last + self._seconds
        wait = self._due - monotonic()
        if wait <= SOON:
            self._waiting.timers.discard(self)
            self._handle = self._loop.call_later(max(0.0, wait), self.look)
        elif wait < inf:
            self._waiting.add(self, self._loop)

    @property
    def due(self) -> float:
        """When the silence will have lasted too long, as things stand; monotonic."""
        return self._last + self._seconds

    def look(self) -> None:
        if self.paused:
            self.beat()
        if self._last + self._seconds - monotonic() > EARLY:
            self._arm()
            return
        self._handle, self._due = None, -inf  # it is no longer among those that wait
        self._fired = True
        self._task.cancel()


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self.watch: Callable[[float], AbstractContextManager[Watch]] = partial(
            Timer, waiting=Waiting()
        )

    # As they are, for a request asks seven times.
    now = staticmethod(time.time)  # noqa: TID251 (this is the Clock)
    monotonic = staticmethod(monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def deadline(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(None if seconds == inf else seconds)
