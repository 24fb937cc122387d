"""A pool: which account is taken next, and what an outcome means for the one that was.

Pure state. Time (monotonic seconds) and chance come in as arguments; what has to follow (a wait, a
new login) goes out as a value, and the keyring does it. Only outcomes that are the account's fault
(`engine/errors.py`) count against it: a broken stream or a busy upstream never parks a credential.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import inf
from random import Random

from engine.errors import OUTCOMES

from .accounts import Account
from .health import Bench, Health, Seat
from .meter import Limit
from .picks import PICKS

FIRST_COOLING, LONGEST_COOLING = 5.0, 60.0  # seconds after `rate_limited` without a time of its own
QUOTA = 3600.0  # seconds after `quota_exhausted` without a time of its own
LONGEST = 86_400.0  # the most an upstream may ask for
LOGIN = "login"  # parked: its login was refused
OPERATOR = "operator"  # parked by hand

_COOLING = ("rate_limited", "quota_exhausted")


@dataclass(frozen=True, slots=True)
class Rules:
    """How a pool behaves.

    after, rest        so many failures in a row park an account for so many seconds
    refused            seconds after which a refused credential is tried again
    refresh, min_pool  so many accounts failing in a row are logged in anew, in a pool of that size
    wait               the longest a request waits for an account
    """

    pick: str = "round_robin"
    after: int | None = None
    rest: float = 600.0
    refused: float = inf
    refresh: int | None = None
    min_pool: int = 1
    wait: float = 30.0
    limit: Limit = Limit()


@dataclass(frozen=True, slots=True)
class Roster:
    """The accounts of a route as its file has them, and what each client may use of it.

    client: the client's own key is the account.
    """

    accounts: tuple[Account, ...] = ()
    rules: Rules = Rules()
    client: bool = False
    per_client: Limit = Limit()


@dataclass(frozen=True, slots=True)
class Wait:
    """No account is free: the soonest is in so many seconds (infinite: who knows).

    cls     the outcome class of a request that does not wait
    logins  accounts that are out for a credential that a login could renew
    """

    seconds: float
    cls: str
    logins: tuple[Account, ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """What follows an outcome. parked: the account is out until then; refresh: log these in."""

    parked: str = ""
    until: float = 0.0
    refresh: tuple[Account, ...] = ()


NOTHING = Work()


class Pool:
    """Accounts to choose from. Several pools (versions of a route) may share a bench."""

    def __init__(self, accounts: tuple[Account, ...], rules: Rules, bench: Bench) -> None:
        self.rules = rules
        self.bench = bench
        self.seats = [
            Seat(each, bench.healths.setdefault(each.digest, Health())) for each in accounts
        ]
        self._by_digest = {seat.account.digest: seat for seat in self.seats}

    def seat(self, digest: str) -> Seat | None:
        return self._by_digest.get(digest)

    # ---- taking ----

    def choose(
        self, now: float, random: Random, session: str = "", tried: Collection[str] = ()
    ) -> Account | Wait:
        """An account, taken (`release` it), or how long none is free.

        tried: digests of accounts that are only taken when no other is free.
        """
        seat = self._pick(now, random, session, tried)
        if seat is None and tried:
            seat = self._pick(now, random, session, ())
        if seat is None:
            return self._wait(now)
        health = seat.health
        health.meter.take(self.rules.limit, now)
        health.calls += 1
        health.last_used = now
        return seat.account

    def _pick(
        self, now: float, random: Random, session: str, tried: Collection[str]
    ) -> Seat | None:
        def free(seat: Seat) -> bool:
            return seat.account.digest not in tried and self._left(seat, now) <= 0

        return PICKS[self.rules.pick](self.seats, self.bench, free, random, session)

    def _left(self, seat: Seat, now: float) -> float:
        parked = seat.health.until - now
        return parked if parked > 0 else seat.health.meter.wait(self.rules.limit, now)

    def _wait(self, now: float) -> Wait:
        seconds, reasons, logins = inf, set[str](), list[Account]()
        for seat in self.seats:
            parked = seat.health.until > now
            reasons.add(seat.health.why if parked else "rate_limited")
            seconds = min(seconds, self._left(seat, now))
            if parked and seat.health.why.startswith("auth_"):
                logins.append(seat.account)
        cooling = bool(reasons) and reasons <= set(_COOLING)
        cls = "unavailable" if not cooling else min(reasons, key=_COOLING.index)
        return Wait(seconds, cls, tuple(logins))

    def others(self, tried: Collection[str], now: float) -> bool:
        """Whether an account that was not tried is free."""
        return any(
            seat.account.digest not in tried and self._left(seat, now) <= 0 for seat in self.seats
        )

    def release(self, account: Account) -> None:
        self.bench.healths[account.digest].meter.release()

    # ---- outcomes ----

    def report(
        self,
        account: Account,
        cls: str | None,
        now: float,
        *,
        retry_after: float | None = None,
        login: bool = False,
    ) -> Work:
        """Count how a call with the account ended; cls None: well. login: its login was refused."""
        health = self.bench.healths.setdefault(account.digest, Health())
        if cls is None:
            health.failures = 0
            self.bench.streak.clear()
            return NOTHING
        if OUTCOMES[cls].fault != "account":
            return NOTHING
        health.failures += 1
        health.failed += 1
        health.last_error = LOGIN if login else cls
        self.bench.streak[account.digest] = account
        rest, why = self._rest(health, cls, retry_after), LOGIN if login else cls
        parked = rest > 0 and now + rest > health.until
        if parked:
            health.until, health.why = now + rest, why
        return Work(why if parked else "", health.until if parked else 0.0, self._refresh())

    def _rest(self, health: Health, cls: str, retry_after: float | None) -> float:
        """For how long an account that failed is out; one that is alone only as `park` says."""
        rules = self.rules
        rest = rules.rest if rules.after and health.failures >= rules.after else 0.0
        if len(self.seats) < 2:
            return rest
        asked = None if retry_after is None else min(retry_after, LONGEST)
        if cls == "auth_invalid":
            return rules.refused
        if cls == "quota_exhausted":
            return max(rest, QUOTA if asked is None else asked)
        if cls == "rate_limited":
            cooling = min(LONGEST_COOLING, FIRST_COOLING * 2.0 ** min(health.failures - 1, 8))
            return max(rest, cooling if asked is None else asked)
        return rest

    def _refresh(self) -> tuple[Account, ...]:
        streak, after = self.bench.streak, self.rules.refresh
        if after is None or len(self.seats) < self.rules.min_pool or len(streak) < after:
            return ()
        failed = tuple(streak.values())
        streak.clear()
        return failed

    # ---- by hand ----

    def park(self, digest: str, until: float = inf) -> None:
        health = self._by_digest[digest].health
        health.until, health.why = until, OPERATOR

    def revive(self, digest: str) -> None:
        """Back into the pool, its failures forgotten."""
        health = self._by_digest[digest].health
        health.until, health.why, health.failures = 0.0, "", 0
        self.bench.streak.pop(digest, None)

    def parked(self, now: float) -> Iterator[Seat]:
        return (seat for seat in self.seats if seat.health.until > now)
