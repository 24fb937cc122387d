"""What somebody wants of a value, and what there is of it: the keyring's bookkeeping."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.auth.accounts import NOBODY
from engine.errors import ExchangeError
from engine.ports import Line
from engine.route.route import Route
from engine.route.values import Found, ValuePlan

from .cleanups import Try

FIRST_WAIT, LONGEST_WAIT = 0.25, 30.0  # seconds between fetches that fail
LONGEST_ASKED = 600.0  # seconds that a service may ask to be left alone
MAX_SLOTS = 16_384  # values kept


@dataclass(slots=True)
class Slot:
    """One value in one scope. expires is monotonic; failures and misses count in a row.

    kept      what was fetched last, even if it is no longer good
    refused   what a request found to be no longer good: the store may still hold it
    due       when it is fetched anew, monotonic
    dead      tokens with which nothing was to be had
    waiting   requests that wait for the flight, which `task` is
    """

    found: Found | None = None
    kept: str | dict[str, str] | None = field(default=None, repr=False)
    refused: str | dict[str, str] | None = field(default=None, repr=False)
    dead: Mapping[str, object] | None = field(default=None, repr=False)
    expires: float | None = None
    due: float | None = None
    flight: asyncio.Future[Found | ExchangeError] | None = None
    task: asyncio.Task[None] | None = None
    waiting: int = 0
    error: ExchangeError | None = None
    wait_until: float = 0.0
    failures: int = 0
    misses: int = 0

    def good(self, now: float) -> Found | None:
        return self.found if self.expires is None or now < self.expires else None

    def failed(self, error: ExchangeError, now: float) -> None:
        """A fetch has failed: for a moment no other one is begun."""
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(self.failures, 10))
        wait = max(wait, min(error.retry_after or 0.0, LONGEST_ASKED))
        self.error, self.failures = error, self.failures + 1
        self.wait_until = now + wait

    def drop(self) -> None:
        """What there is is no longer good."""
        assert self.found is not None
        self.refused, self.found, self.misses = self.found.content, None, 0
        if self.flight is None:
            self.error, self.wait_until = None, 0.0

    def abandon(self) -> None:
        """Nobody waits for the flight any more: it ends, and who comes next begins another."""
        if self.task is not None:
            self.task.cancel()
        self.flight = self.task = None


class Slots(OrderedDict[str, Slot]):
    """Slots by the names of their values; the least recently used go first, unless one is busy."""

    def of(self, key: str) -> Slot:
        slot = self.setdefault(key, Slot())
        self.move_to_end(key)
        if len(self) > MAX_SLOTS:
            oldest = next(iter(self))
            if self[oldest].flight is None:
                del self[oldest]
        return slot


@dataclass(frozen=True, slots=True)
class Wish:
    """A value that somebody wants: what it is, and what its requests are made with.

    part: which one it is, of a value that has one for each part of a request
    """

    route: Route
    plan: ValuePlan
    env: dict[str, object] = field(repr=False)
    line: Line
    scopes: Mapping[str, str]
    part: str = ""

    @property
    def key(self) -> str:
        return key_of(self.route, self.plan, self.scopes[self.plan.scope], self.part)

    @property
    def attempt(self) -> Try:
        return Try(self.env, self.scopes, NOBODY)


def key_of(route: Route, plan: ValuePlan, scope: str, part: str = "") -> str:
    """The name of a value in one scope, also in the store."""
    whole = f"{scope}|{part}" if part else scope
    scoped = hashlib.sha256(whole.encode()).hexdigest()[:16] if whole else ""
    return f"{route.name}/{plan.name}/{plan.fingerprint}/{scoped}"


def again(error: ExchangeError) -> ExchangeError:
    """The error of a fetch, to be raised once more: exceptions gather the frames they pass."""
    after = error.retry_after
    told = ExchangeError(
        error.cls, error.message, status=error.status, code=error.code, retry_after=after
    )
    told.__cause__ = error.__cause__
    return told
