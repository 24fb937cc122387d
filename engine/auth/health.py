"""What is known of the accounts of a route, kept over reloads of its file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from .accounts import Account
from .meter import Meter


@dataclass(slots=True)
class Health:
    """What is known of one account. until: when it may be used again; why: what parked it."""

    until: float = 0.0
    why: str = ""
    failures: int = 0
    calls: int = 0
    failed: int = 0
    last_error: str = ""
    last_used: float = 0.0
    meter: Meter = field(default_factory=Meter)
    turn: float = 0.0  # of `pick: weighted`


@dataclass(slots=True)
class Bench:
    """The health of a route's accounts by digest, shared by all versions of the route.

    streak  accounts that failed one after the other
    turn    whose turn it is
    """

    healths: dict[str, Health] = field(default_factory=dict)
    streak: dict[str, Account] = field(default_factory=dict)
    turn: int = 0

    def keep(self, digests: Collection[str]) -> None:
        """Forget accounts that are gone and idle."""
        for digest in [name for name in self.healths if name not in digests]:
            if not self.healths[digest].meter.in_use:
                del self.healths[digest]
        self.streak = {name: each for name, each in self.streak.items() if name in digests}


@dataclass(frozen=True, slots=True)
class Seat:
    """An account of a pool with its health."""

    account: Account
    health: Health
