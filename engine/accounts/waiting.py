"""Requests that wait for something to become free: woken when it may be, or when time is up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from engine.ports import Clock

SLICE = 1.0  # seconds after which a request looks again though nobody woke it


@dataclass(slots=True)
class Waiters:
    """Who waits, by name, in the order of coming."""

    clock: Clock
    waiting: dict[str, list[asyncio.Future[None]]] = field(default_factory=dict)

    async def pause(self, name: str, seconds: float, *, woken: bool) -> None:
        """Until `wake` is called for the name, at most so long.

        woken: something that is under way will wake us. Else only time can help, or an operator.
        """
        if not woken:
            await self.clock.sleep(min(seconds, SLICE))
            return
        call = asyncio.get_running_loop().create_future()
        self.waiting.setdefault(name, []).append(call)
        try:
            async with self.clock.deadline(seconds):
                await call
        except TimeoutError:
            pass
        finally:
            calls = self.waiting.get(name, [])
            if call in calls:
                calls.remove(call)
            if not calls:
                self.waiting.pop(name, None)

    def wake(self, name: str) -> None:
        """All who wait under the name look again, the first one first."""
        for call in self.waiting.pop(name, ()):
            if not call.done():
                call.set_result(None)
