"""The Clock of a replay: time stands, but for waits, which return at once and move it on.

An upstream that says nothing any more (`stall`) moves it to the timer that runs out first, as it
would in the end. The code inside that timer's block sees CancelledError, as with the real clock.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from math import inf

from engine.ports import Watch


class StagedClock:
    """Stands at `now` (epoch seconds). Whatever runs under its timers must stall by `stall`."""

    def __init__(self, now: float) -> None:
        self._now = now
        self.timers: list[Timer] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        until = self._now + max(0.0, seconds)
        self._fire(until)
        self._now = until
        await asyncio.sleep(0)

    async def stall(self) -> None:
        """Never returns. Without any timer it is TimeoutError: nothing would end the wait."""
        if not self._fire(inf):
            raise TimeoutError
        await asyncio.Event().wait()

    def _fire(self, before: float) -> bool:
        """End the block whose timer runs out first, if one does before that time."""
        due = [timer for timer in self.timers if timer.due < before]
        if not due:
            return False
        first = min(due, key=lambda timer: timer.due)
        self._now = max(self._now, first.due)
        first.fire()
        return True

    def watch(self, seconds: float) -> AbstractContextManager[Watch]:
        return Timer(self, seconds)

    def deadline(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return Timer(self, seconds)


class Timer:
    """Watch and deadline in one: TimeoutError when the block was ended by this timer."""

    paused = False

    def __init__(self, clock: StagedClock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._task = asyncio.current_task()
        self._fired = False
        self.due = inf

    def beat(self) -> None:
        self.due = self._clock.now() + self._seconds

    def allow(self, seconds: float) -> None:
        self._seconds = seconds
        self.beat()

    def fire(self) -> None:
        assert self._task is not None
        self._fired = True
        self._task.cancel()

    def __enter__(self) -> Timer:
        self.beat()
        self._clock.timers.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._clock.timers.remove(self)
        if self._fired and self._task is not None:
            self._task.uncancel()
            if kind is asyncio.CancelledError:
                raise TimeoutError

    async def __aenter__(self) -> Timer:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.__exit__(kind, *rest)
