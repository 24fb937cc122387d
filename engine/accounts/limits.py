"""`limits.per_client`: how often and how many at once one client key may call a route."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import inf

from engine.auth.meter import Limit, Meter
from engine.errors import ExchangeError
from engine.ports import Ports
from engine.route.route import Route

from .waiting import Waiters

MOST = 16_384  # clients known; the one that was away longest is forgotten


def _nothing() -> None:
    """Nothing was taken."""


class Clients:
    """What each client uses of each route, kept over reloads."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._waiters = Waiters(ports.clock)
        self._meters: OrderedDict[str, Meter] = OrderedDict()

    async def enter(self, route: Route, client: str, left: float) -> Callable[[], None]:
        """Begin a request of a client; call what is returned at its end.

        client: a digest of its key; left: seconds the request has. Raises ExchangeError
        `rate_limited` when it would have to wait longer than `auth.wait`.
        """
        limit = route.roster.per_client
        if not limit:
            return _nothing
        name = f"{route.name}|{client}"
        meter, clock = self._meter(name), self._ports.clock
        until = clock.monotonic() + min(left, route.roster.rules.wait)
        while (seconds := meter.wait(limit, clock.monotonic())) > 0:
            rest = until - clock.monotonic()
            if rest <= 0 or rest < seconds < inf:
                raise _too_many(limit, seconds)
            await self._waiters.pause(name, min(seconds, rest), woken=seconds == inf)
        meter.take(limit, clock.monotonic())

        def leave() -> None:
            meter.release()
            self._waiters.wake(name)

        return leave

    def _meter(self, name: str) -> Meter:
        meter = self._meters.setdefault(name, Meter())
        self._meters.move_to_end(name)
        if len(self._meters) > MOST:
            oldest = next(iter(self._meters))
            if not self._meters[oldest].in_use:
                del self._meters[oldest]
        return meter


def _too_many(limit: Limit, seconds: float) -> ExchangeError:
    what = "calls at once" if seconds == inf else "calls in a minute"
    most = limit.concurrency if seconds == inf else limit.rpm
    asked = None if seconds == inf else seconds
    return ExchangeError(
        "rate_limited", f"this key may make {most} {what} of this route", retry_after=asked
    )
