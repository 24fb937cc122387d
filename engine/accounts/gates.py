"""The way to a service that gives values: how many fetch at once, and whether it answers at all.

A pool of hundreds of accounts whose tokens run out together must not storm the service that gives
new ones. Through the gate of a value go `parallel` fetches at a time; when several in a row got no
answer that was about them, the gate is shut for a while and whoever comes is told so at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from engine.errors import ExchangeError
from engine.ports import Clock

SHUT_AFTER = 3  # fetches in a row without a proper answer
FIRST_SHUT, LONGEST_SHUT = 1.0, 30.0  # seconds
REFUSALS = ("auth_invalid", "invalid_request", "quota_exhausted")  # answers: the service is there


@dataclass(slots=True)
class Gate:
    """One value's. until is monotonic; error: why it is shut."""

    room: asyncio.Semaphore
    failures: int = 0
    until: float = 0.0
    error: ExchangeError | None = None


@dataclass(slots=True)
class Gates:
    clock: Clock
    gates: dict[str, Gate] = field(default_factory=dict)

    @asynccontextmanager
    async def through(self, name: str, parallel: int) -> AsyncIterator[None]:
        """Around one fetch. Raises ExchangeError without fetching while the gate is shut."""
        gate = self.gates.setdefault(name, Gate(asyncio.Semaphore(parallel)))
        async with gate.room:
            if gate.error is not None and self.clock.monotonic() < gate.until:
                raise ExchangeError(gate.error.cls, gate.error.message, status=gate.error.status)
            try:
                yield
            except ExchangeError as error:
                self._failed(gate, error)
                raise
            gate.failures, gate.error = 0, None

    def _failed(self, gate: Gate, error: ExchangeError) -> None:
        if error.cls in REFUSALS:
            gate.failures, gate.error = 0, None
            return
        now = self.clock.monotonic()
        if now < gate.until:  # it was under way when the gate was shut
            return
        gate.failures += 1
        if gate.failures >= SHUT_AFTER:
            shut = min(LONGEST_SHUT, FIRST_SHUT * 2.0 ** min(gate.failures - SHUT_AFTER, 8))
            gate.until, gate.error = now + shut, error
