"""How much one account or one client uses: calls in the last minute, and calls under way."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Limit:
    """The most calls per minute and at once; None: no limit."""

    rpm: int | None = None
    concurrency: int | None = None

    def __bool__(self) -> bool:
        return self.rpm is not None or self.concurrency is not None


@dataclass(slots=True)
class Meter:
    """Times are monotonic seconds. `recent` is kept only where calls per minute are limited.

    others   calls that other replicas began in a minute that ends at others_until
    """

    in_use: int = 0
    recent: deque[float] = field(default_factory=deque)
    others: int = 0
    others_until: float = 0.0

    def wait(self, limit: Limit, now: float) -> float:
        """Seconds until another call may begin; infinite: when one that is under way ends."""
        if limit.concurrency is not None and self.in_use >= limit.concurrency:
            return inf
        if limit.rpm is None:
            return 0.0
        while self.recent and self.recent[0] <= now - MINUTE:
            self.recent.popleft()
        room = limit.rpm - (self.others if now < self.others_until else 0)
        if room <= 0:
            return self.others_until - now
        if len(self.recent) < room:
            return 0.0
        return self.recent[-room] + MINUTE - now

    def take(self, limit: Limit, now: float) -> None:
        self.in_use += 1
        if limit.rpm is not None:
            self.recent.append(now)

    def release(self) -> None:
        self.in_use -= 1
