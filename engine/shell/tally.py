"""Statistics of routes that outlive the process, so that an operator need not count anew.

Written every half minute if they changed, and at the end; read at the start. Replicas that share a
store would overwrite one another's, so there each counts for itself: metrics are for that.
"""

from __future__ import annotations

from typing import Any

from engine.ports import Ports, StoreError
from engine.wire import JsonError, dumps, loads

from .metrics import Metrics, Totals

EVERY = 30.0  # seconds
KEY = "statistics/routes"


class Tally:
    """Keeps what `metrics` counts for operators in the durable store."""

    def __init__(self, metrics: Metrics, ports: Ports) -> None:
        self._metrics = metrics
        self._ports = ports
        self._saved: Totals = {}

    async def load(self) -> None:
        """A store that fails is told, and done without."""
        try:
            kept = _read(await self._ports.durable.get(KEY))
        except StoreError:
            self._ports.observer.saw("store_error", store="statistics", op="get")
            return
        self._metrics.go_on_from(kept)
        self._saved = kept

    async def tend(self) -> None:
        while True:
            await self._ports.clock.sleep(EVERY)
            await self.save()

    async def save(self) -> None:
        totals = self._metrics.counted()
        if totals == self._saved:
            return
        try:
            await self._ports.durable.put(KEY, dumps(totals))
            self._saved = totals
        except StoreError:
            self._ports.observer.saw("store_error", store="statistics", op="put")


def _read(raw: bytes | None) -> Totals:
    try:
        kept: Any = loads(raw) if raw else {}
        return {
            name: (float(a), float(b), float(c), float(d)) for name, (a, b, c, d) in kept.items()
        }
    except (JsonError, AttributeError, TypeError, ValueError):
        return {}
