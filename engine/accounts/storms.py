"""Against storms: an upstream that is down gets few further attempts, or none at all for a while.

Budget: of the requests of the last seconds only a share may be tried again for the upstream's sake.
Breaker: after so many failures in a row a route is out; from time to time one request looks whether
the upstream is back, and the first piece of a good answer says so. Both outlive a reload.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.errors import OUTCOMES, ExchangeError
from engine.ports import Clock, Observer
from engine.route.route import Route

SPAN = 5.0  # seconds of one of the two spans that are counted


@dataclass(slots=True)
class Weather:
    """How it is around one route.

    span      of time, that the counts are of
    requests  in it and in the one before; again: further attempts likewise
    failures  in a row
    probe     when a request may look again, monotonic; None: the route serves
    """

    span: int = 0
    requests: int = 0
    requests_before: int = 0
    again: int = 0
    again_before: int = 0
    failures: int = 0
    probe: float | None = None

    def move(self, now: float) -> None:
        span = int(now // SPAN)
        if span == self.span:
            return
        follows, self.span = span - self.span == 1, span
        self.requests_before, self.requests = self.requests if follows else 0, 0
        self.again_before, self.again = self.again if follows else 0, 0


@dataclass(slots=True)
class Storms:
    clock: Clock
    observer: Observer
    weather: dict[str, Weather] = field(default_factory=dict)

    def enter(self, route: Route) -> Callable[[], None] | None:
        """A request begins. Raises ExchangeError while the route is out.

        Gives what to call at the first piece of an answer, None if it makes no difference.
        """
        now, around = self.clock.monotonic(), self._around(route)
        around.move(now)
        around.requests += 1
        breaker = route.spec.breaker
        if around.probe is None or breaker is None:
            return None
        if now < around.probe:
            left = around.probe - now
            message = "the upstream is down and left alone for a moment"
            raise ExchangeError("unavailable", message, retry_after=left)
        around.probe = now + float(breaker.probe)
        return lambda: self.alive(route)

    def calm(self, route: Route) -> bool:
        """Whether an attempt may be made again for the upstream's sake."""
        around, budget = self._around(route), route.spec.retry.budget
        if around.probe is not None and route.spec.breaker is not None:
            return False
        around.move(self.clock.monotonic())
        requests = around.requests + around.requests_before
        most = max(budget.least * 2 * SPAN, budget.share * requests)
        if around.again + around.again_before + 1 <= most:
            return True
        self.observer.saw("retry_refused", route=route.name)
        return False

    def again(self, route: Route) -> None:
        """An attempt is made again."""
        around = self._around(route)
        around.move(self.clock.monotonic())
        around.again += 1

    def report(self, route: Route, cls: str | None) -> None:
        """How an attempt ended. What is not the upstream's fault says nothing of it."""
        breaker = route.spec.breaker
        if breaker is None or (cls is not None and OUTCOMES[cls].fault != "upstream"):
            return
        if cls is None:
            self.alive(route)
            return
        around = self._around(route)
        around.failures += 1
        if around.failures >= breaker.after and around.probe is None:
            around.probe = self.clock.monotonic() + float(breaker.probe)
            self.observer.saw("breaker", route=route.name, open=True)

    def alive(self, route: Route) -> None:
        """An answer has begun: the route serves."""
        around = self._around(route)
        around.failures = 0
        if around.probe is not None:
            around.probe = None
            self.observer.saw("breaker", route=route.name, open=False)

    def _around(self, route: Route) -> Weather:
        around = self.weather.get(route.name)
        if around is None:
            around = self.weather[route.name] = Weather()
        return around
