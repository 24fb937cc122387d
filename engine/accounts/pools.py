"""Live pools: the health of accounts, kept outside the routes so that a reload does not lose it.

Health is kept under the route's name and the account's digest: editing `timeouts` changes nothing,
editing one credential touches that one. Each version of a route chooses among its own accounts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

from engine.auth import union
from engine.auth.accounts import NOBODY, Account
from engine.auth.health import Bench
from engine.auth.pool import Pool, Wait
from engine.errors import ExchangeError
from engine.options import Secret
from engine.ports import Ports
from engine.route.route import Route

from .waiting import Waiters

AGAIN = 30.0  # seconds between logins of accounts that are out, while requests find none

LogIn = Callable[[Route, tuple[Account, ...]], None]


@dataclass(slots=True)
class Hold:
    """An account in use, one among so many. `release` it, once or more often.

    lone: no other will do
    """

    account: Account
    pool: Pool | None = None
    wake: Callable[[], None] = lambda: None
    among: int = 1
    lone: bool = False

    def release(self) -> None:
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.release(self.account)
            self.wake()


class Pools:
    """The pools of all routes. log_in starts logins that nobody waits for."""

    def __init__(self, ports: Ports, log_in: LogIn) -> None:
        self.ports = ports
        self.log_in = log_in
        self._benches: dict[str, Bench] = {}
        self._pools: WeakKeyDictionary[Route, Pool] = WeakKeyDictionary()
        self._waiters = Waiters(ports.clock)
        self._again: dict[str, float] = {}
        self.added: dict[str, tuple[Account, ...]] = {}  # by hand, by the route's name

    def of(self, route: Route) -> Pool:
        """The pool of one version of a route."""
        pool = self._pools.get(route)
        if pool is None:
            bench = self._benches.setdefault(route.name, Bench())
            accounts = route.roster.accounts
            if accounts:  # else nothing says what an account is
                accounts = union((*accounts, *self.added.get(route.name, ())))
            pool = Pool(accounts, route.roster.rules, bench)
            self._pools[route] = pool
        return pool

    def extend(self, name: str, accounts: tuple[Account, ...]) -> None:
        """These accounts were added to the route by hand, instead of those added before."""
        self.added[name] = accounts
        for route in [route for route in self._pools if route.name == name]:
            del self._pools[route]

    def adopt(self, route: Route) -> None:
        """This version of the route serves now: accounts that it has not are forgotten."""
        pool = self.of(route)
        pool.bench.keep({seat.account.digest for seat in pool.seats})
        self.wake(route.name)

    def wake(self, name: str) -> None:
        """An account of the route may be free."""
        self._waiters.wake(name)

    # ---- taking ----

    async def take(
        self,
        route: Route,
        key: Secret | None,
        session: str = "",
        tried: Collection[str] = (),
        left: float = 0.0,
        only: str = "",
    ) -> Hold:
        """An account of the route for one attempt.

        key: the client's own; session: its conversation; tried: accounts to take only if no other
        is free; left: seconds the request has; only: digest of the one account that will do.
        Raises ExchangeError when none is free in time.
        """
        roster = route.roster
        if roster.client:
            return Hold(_own(key))
        if not roster.accounts:
            return Hold(NOBODY)
        pool, clock = self.of(route), self.ports.clock
        choice = _lone(pool, only) if only else pool
        until = clock.monotonic() + min(left, roster.rules.wait)
        while True:
            found = choice.choose(clock.monotonic(), self.ports.random, session, tried)
            if isinstance(found, Account):
                wake = partial(self.wake, route.name)
                return Hold(found, pool, wake, len(pool.seats), lone=bool(only))
            self._log_in(route, found)
            rest = until - clock.monotonic()
            if rest <= 0 or (found.seconds > rest and not self._may_be_freed(pool, found)):
                raise _none_free(found)
            seconds = min(found.seconds, rest)
            await self._waiters.pause(route.name, seconds, woken=_busy(pool))

    def _log_in(self, route: Route, wait: Wait) -> None:
        """Accounts that are out for their token alone are logged in again when none is left."""
        now = self.ports.clock.monotonic()
        if wait.logins and now >= self._again.get(route.name, now):
            self._again[route.name] = now + AGAIN
            self.log_in(route, wait.logins)

    def _may_be_freed(self, pool: Pool, wait: Wait) -> bool:
        return bool(wait.logins) or _busy(pool)

    def counts(self, routes: Iterable[Route]) -> dict[str, tuple[int, int]]:
        """Of each route with accounts: how many may be used, how many are parked."""
        found, now = dict[str, tuple[int, int]](), self.ports.clock.monotonic()
        for route in routes:
            if route.roster.accounts:
                pool = self.of(route)
                parked = sum(1 for _ in pool.parked(now))
                found[route.name] = (len(pool.seats) - parked, parked)
        return found

    # ---- outcomes ----

    def report(
        self,
        route: Route,
        hold: Hold,
        cls: str | None,
        *,
        retry_after: float | None = None,
        login: bool = False,
    ) -> None:
        """Count how an attempt ended, and start what follows."""
        account, pool = hold.account, hold.pool
        if pool is None:
            return
        now = self.ports.clock.monotonic()
        work = pool.report(account, cls, now, retry_after=retry_after, login=login)
        if work.parked:
            seconds = round(work.until - now, 1)
            self.ports.observer.saw(
                "account_parked",
                route=route.name,
                account=account.id,
                why=work.parked,
                seconds=seconds,
            )
        if work.refresh:
            self.log_in(route, work.refresh)

    def others(self, route: Route, hold: Hold, tried: Collection[str]) -> bool:
        """Whether an account is free that the request has not tried."""
        if hold.pool is None or hold.lone:
            return False
        return hold.pool.others({*tried, hold.account.digest}, self.ports.clock.monotonic())

    def refused(self, route: Route, account: Account, cls: str) -> None:
        """A login that nobody waited for failed."""
        if self.of(route).seat(account.digest) is not None:
            self.report(route, Hold(account, self.of(route)), cls, login=True)

    def revive(self, route: Route, account: Account) -> None:
        """The account is good again: its login went well, or an operator says so."""
        pool = self.of(route)
        if pool.seat(account.digest) is not None:
            pool.revive(account.digest)
            self.wake(route.name)


def _own(key: Secret | None) -> Account:
    if key is None:
        raise ExchangeError("auth_invalid", "this route needs the client's own key")
    digest = hashlib.sha256(key.reveal().encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Account("client", {"key": key}, digest)


def _lone(pool: Pool, digest: str) -> Pool:
    """One account of a pool. Raises ExchangeError where it is gone."""
    seat = pool.seat(digest)
    if seat is None:
        raise ExchangeError("unavailable", "the account that this answer belongs to is gone")
    return Pool((seat.account,), pool.rules, pool.bench)


def _busy(pool: Pool) -> bool:
    return any(seat.health.meter.in_use for seat in pool.seats)


def _none_free(wait: Wait) -> ExchangeError:
    why = {
        "rate_limited": "every account of this route is at its limit",
        "quota_exhausted": "no account of this route has quota left",
    }.get(wait.cls, "no account of this route is usable now")
    asked = wait.seconds if wait.seconds < 1e9 else None
    return ExchangeError(wait.cls, why, retry_after=asked)
