"""What replicas tell one another of a route's accounts: who is out, and how much each was used.

Over the shared store, once in SYNC seconds, never on the way of a request: until then each replica
goes by what it knows. Of two things that are said of one account the later one holds. A store that
fails is counted, and the replicas are on their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf, isinf
from typing import Any

from engine.auth.health import Seat
from engine.auth.meter import MINUTE
from engine.auth.pool import Pool
from engine.ports import Ports, StoreError
from engine.route.route import Route
from engine.wire import JsonError, dumps, loads

from .pools import Pools

SYNC = 1.0
REMEMBERED = 86_400.0  # seconds that is kept of who is out
TRIES = 3  # at writing while others write, too

Said = dict[
    str, list[Any]
]  # digest -> [until (epoch; None: for ever; 0: in), why, said at (epoch)]


@dataclass(slots=True)
class Known:
    """What was last said of an account, by whom ever. until is monotonic."""

    until: float = 0.0
    at: float = 0.0


@dataclass(slots=True)
class Used:
    """Calls with an account: all so far, those told, and in the window those of this replica."""

    told: int = 0
    window: int = -1
    own: int = 0


class Parking:
    """`tend` it where the store is shared."""

    def __init__(self, ports: Ports, pools: Pools) -> None:
        self.ports = ports
        self.pools = pools
        self._known: dict[tuple[str, str], Known] = {}
        self._used: dict[tuple[str, str], Used] = {}

    async def tend(self, routes: Callable[[], Iterable[Route]]) -> None:
        """Tell and hear, for ever."""
        while True:
            await self.ports.clock.sleep(SYNC)
            for route in [each for each in routes() if each.roster.accounts]:
                await self.sync(route)

    async def sync(self, route: Route) -> None:
        """Tell and hear about the accounts of one route. Never raises for the store."""
        pool = self.pools.of(route)
        try:
            await self._parked(route, pool)
            if pool.rules.limit.rpm is not None:
                for seat in pool.seats:
                    await self._calls(route, seat)
        except StoreError:
            self.ports.observer.saw("store_error", store="accounts", op="sync")

    # ---- who is out ----

    async def _parked(self, route: Route, pool: Pool) -> None:
        key, store = f"parked/{route.name}", self.ports.store
        for _ in range(TRIES):
            raw = await store.get(key)
            said = _read(raw)
            self._hear(route, pool, said)
            news = self._news(route, pool)
            if not news:
                return
            fresh = {name: each for name, each in said.items() if self._lasts(each)}
            if await store.swap(key, raw, dumps({**fresh, **news}), REMEMBERED):
                for digest, (_, _, at) in news.items():
                    seat = pool.seat(digest)
                    assert seat is not None
                    self._known[route.name, digest] = Known(seat.health.until, at)
                return

    def _hear(self, route: Route, pool: Pool, said: Said) -> None:
        woken = False
        for digest, (until, why, at) in said.items():
            seat = pool.seat(digest)
            known = self._known.get((route.name, digest), Known())
            if seat is None or at <= known.at or self._is_newer(seat, known):
                continue
            if until == 0:
                pool.revive(digest)
                woken = True
            else:
                seat.health.until, seat.health.why = self._here(until), why
            self._known[route.name, digest] = Known(seat.health.until, at)
        if woken:
            self.pools.wake(route.name)

    def _news(self, route: Route, pool: Pool) -> Said:
        """What has changed here and was not told yet."""
        now, news = self.ports.clock.now(), Said()
        for seat in pool.seats:
            digest, health = seat.account.digest, seat.health
            known = self._known.get((route.name, digest), Known())
            if self._is_newer(seat, known):
                until = None if isinf(health.until) else health.until and self._there(health.until)
                news[digest] = [until, health.why, now]
        return news

    def _is_newer(self, seat: Seat, known: Known) -> bool:
        """Whether this replica knows something that was not said."""
        now = self.ports.clock.monotonic()
        out, was_out = seat.health.until > now, known.until > now
        return seat.health.until != known.until and (out or was_out)

    def _lasts(self, said: list[Any]) -> bool:
        until, _, at = said
        now = self.ports.clock.now()
        return until is None or max(until, at + REMEMBERED / 24) > now

    def _here(self, until: float | None) -> float:
        clock = self.ports.clock
        return inf if until is None else clock.monotonic() + until - clock.now()

    def _there(self, until: float) -> float:
        clock = self.ports.clock
        return clock.now() + until - clock.monotonic()

    # ---- how much was used ----

    async def _calls(self, route: Route, seat: Seat) -> None:
        """Add the calls of this replica in this minute to those of all, and hear of the rest."""
        clock, health = self.ports.clock, seat.health
        if clock.monotonic() - health.last_used > MINUTE or not health.calls:
            return
        used = self._used.setdefault((route.name, seat.account.digest), Used())
        window, into = divmod(clock.now(), MINUTE)
        if used.window != window:
            used.window, used.own = int(window), 0
        new, used.told = health.calls - used.told, health.calls
        used.own += new
        key = f"calls/{route.name}/{seat.account.digest}/{used.window}"
        total = await self.ports.store.add(key, new, 2 * MINUTE)
        health.meter.others = max(0, total - used.own)
        health.meter.others_until = clock.monotonic() + MINUTE - into


def _read(raw: bytes | None) -> Said:
    try:
        found: Any = loads(raw) if raw is not None else {}
    except JsonError:
        return {}
    return {name: each for name, each in found.items() if _is_said(each)} if _is_map(found) else {}


def _is_map(found: object) -> bool:
    return isinstance(found, dict)


def _is_said(each: object) -> bool:
    match each:
        case [None | int() | float(), str(), int() | float()]:
            return True
    return False
