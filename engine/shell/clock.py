"""The Clock port: wall time, monotonic time, sleep, and timers that cost little per event.

A `Timer` is lazy. `beat` stores a time stamp and nothing else; one callback of the event loop per
block looks at the stamp when it fires and either waits for the rest or cancels the task. The
context manager turns that cancellation into TimeoutError when the block is left, so code inside
the block sees CancelledError, and a cancellation from outside wins.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from math import inf
from time import monotonic
from types import TracebackType

from engine.ports import Watch

EARLY = 0.001  # seconds: event loops round timers to milliseconds, down as well as up


class Timer:
    """Raises TimeoutError at the end of its block when nothing beat for `seconds` (inf: never)."""

    __slots__ = (
        "_cancelling", "_due", "_fired", "_handle", "_last", "_loop", "_seconds", "_task", "paused",
    )  # fmt: skip

    def __init__(self, seconds: float) -> None:
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
            self._arm()

    def __enter__(self) -> Timer:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a watch needs a task")
        self._task, self._cancelling = task, task.cancelling()
        self._loop = asyncio.get_running_loop()
        self.beat()
        self._arm()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._disarm()
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
        if self._due < inf:
            self._handle = self._loop.call_later(max(0.0, self._due - monotonic()), self._look)

    def _disarm(self) -> None:
        """No callback from here on: nothing is due before minus infinity."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._due = -inf

    def _look(self) -> None:
        if self.paused:
            self.beat()
        if self._last + self._seconds - monotonic() > EARLY:
            self._arm()
            return
        self._disarm()
        self._fired = True
        self._task.cancel()


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        return time.time()  # noqa: TID251 (this is the Clock)

    def monotonic(self) -> float:
        return monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def watch(self, seconds: float) -> AbstractContextManager[Watch]:
        return Timer(seconds)

    def deadline(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(None if seconds == inf else seconds)


class Still:
    """The watch of a clock that stands: it never fires."""

    paused = False

    def beat(self) -> None:
        """Nothing to push back."""

    def allow(self, seconds: float) -> None:
        """Silence may last for ever anyway."""


class FrozenClock:
    """Stands at `now` (epoch seconds) but for sleeps, which return at once and move it on."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self._now += max(0.0, seconds)

    def watch(self, seconds: float) -> AbstractContextManager[Watch]:
        return nullcontext(Still())

    def deadline(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return nullcontext()
