"""How far upstreams' clocks are from ours, for those who sign with a time.

Learned from the `Date` of answers (RFC 9110, section 6.6.1), which has whole seconds and is late by
the way it came: less than LEAST counts as nothing. An answer that a cache kept (`Age`) tells the
time of another request.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from engine.wire import HttpResponse

LEAST = 5.0  # seconds
MOST = 86_400.0  # a clock that far off is wrong in another way


@dataclass(slots=True)
class Skews:
    """Seconds by which a route's upstream is ahead of us."""

    known: dict[str, float] = field(default_factory=dict)

    def of(self, route: str) -> float:
        return self.known.get(route, 0.0)

    def learn(self, route: str, head: HttpResponse, now: float) -> bool:
        """Whether the answer says that what was signed had a wrong time."""
        date = head.header("date")
        if date is None or head.header("age") is not None:
            return False
        ahead = 0.0
        with contextlib.suppress(ValueError, OverflowError):
            ahead = parsedate_to_datetime(date).timestamp() - now
        if abs(ahead - self.of(route)) < LEAST or abs(ahead) > MOST:
            return False
        self.known[route] = ahead if abs(ahead) >= LEAST else 0.0
        return True
