"""A store that may be down, and what is done meanwhile: a circuit around the Store port.

After OPENS failures in a row nobody asks the store any more: a spare one in memory serves at once,
so that no request waits for what does not answer. `tend` tries the store every PROBE seconds and
goes back to it when it answers; what the spare held is then forgotten. The failures that open the
circuit are StoreErrors to who asked, and counted there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from engine.ports import Clock, Observer, Store, StoreError

from .store_memory import MemoryStore

OPENS = 3  # failures in a row
PROBE = 1.0  # seconds between two tries while the store is down

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Health:
    """How a store is: since is epoch seconds, why the last failure of one that is down."""

    name: str
    up: bool
    since: float
    failures: int
    why: str


class GuardedStore:
    """The Store port over another one that is called `name` in log and metrics."""

    def __init__(self, inner: Store, name: str, clock: Clock, observer: Observer) -> None:
        self.name = name
        self._inner = inner
        self._spare = MemoryStore(clock.monotonic)
        self._clock = clock
        self._observer = observer
        self._up = True
        self._since = clock.now()
        self._in_a_row = 0
        self._failures = 0
        self._why = ""
        observer.saw("store_state", store=name, up=True)

    @property
    def health(self) -> Health:
        return Health(self.name, self._up, self._since, self._failures, self._why)

    async def get(self, key: str) -> bytes | None:
        return await self._do(lambda store: store.get(key))

    async def put(self, key: str, value: bytes, ttl: float | None = None) -> None:
        await self._do(lambda store: store.put(key, value, ttl))

    async def delete(self, key: str) -> None:
        await self._do(lambda store: store.delete(key))

    async def trim(self, prefix: str, most: int) -> int:
        return await self._do(lambda store: store.trim(prefix, most))

    async def add(self, key: str, by: int, ttl: float | None = None) -> int:
        return await self._do(lambda store: store.add(key, by, ttl))

    async def swap(
        self, key: str, old: bytes | None, new: bytes | None, ttl: float | None = None
    ) -> bool:
        return await self._do(lambda store: store.swap(key, old, new, ttl))

    async def keys(self, prefix: str, most: int = 10_000) -> list[str]:
        return await self._do(lambda store: store.keys(prefix, most))

    async def tend(self, *, at_once: bool = False) -> None:
        """While the store is down, try it now and then; for ever. at_once: and once at the start,
        so that the log says early that it is down."""
        if at_once:
            await self.probe()
        while True:
            if not self._up:
                await self.probe()
            await asyncio.sleep(PROBE)

    async def probe(self) -> bool:
        """Ask the store for something, whatever its state; whether it answered."""
        try:
            await self._inner.get("probe")
        except StoreError as error:
            self._failed(error, most=1)
            return False
        self._in_a_row = 0
        if not self._up:
            await self._spare.close()
            self._turn(up=True)
        return True

    async def _do(self, ask: Callable[[Store], Awaitable[T]]) -> T:
        if not self._up:
            return await ask(self._spare)
        try:
            found = await ask(self._inner)
        except StoreError as error:
            self._failed(error, most=OPENS)
            raise
        self._in_a_row = 0
        return found

    def _failed(self, error: StoreError, most: int) -> None:
        self._failures += 1
        self._in_a_row += 1
        self._why = str(error)
        if self._up and self._in_a_row >= most:
            self._turn(up=False)

    def _turn(self, *, up: bool) -> None:
        now = self._clock.now()
        lasted, self._since, self._up = now - self._since, now, up
        self._why = "" if up else self._why
        self._observer.saw(
            "store_state", store=self.name, up=up, lasted=round(lasted, 1), error=self._why
        )
