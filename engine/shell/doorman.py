"""Accounts that are out until somebody logs in: let in again as soon as somebody has.

Their tokens are looked at now and then, where they are kept. Nothing is asked of anybody while they
are the ones that were given up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from engine.accounts.keyring import Keyring
from engine.auth.accounts import Account
from engine.auth.pool import LOGIN
from engine.route.route import Route

LOOK = 5.0  # seconds between looks

Kept = Mapping[str, object]


class Doorman:
    """routes: those that serve now and have accounts that log in."""

    def __init__(self, routes: Callable[[], Iterable[Route]], keyring: Keyring) -> None:
        self._routes = routes
        self._keyring = keyring
        self._seen: dict[str, Kept | None] = {}

    async def tend(self) -> None:
        """For ever."""
        while True:
            await self._keyring.ports.clock.sleep(LOOK)
            await self.look()

    async def look(self) -> None:
        waiting = list(self._waiting())
        places = {place for _, _, place, _ in waiting}
        self._seen = {place: kept for place, kept in self._seen.items() if place in places}
        for route, account, place, refused in waiting:
            kept = await self._keyring.ports.tokens.load(place)
            before = self._keyring.given_up(route, account) if refused else kept
            if kept != self._seen.setdefault(place, before):
                self._seen[place] = kept
                self._keyring.log_in(route, (account,))

    def _waiting(self) -> Iterator[tuple[Route, Account, str, bool]]:
        """Who is out, the place of the tokens, and whether it was the login that was refused."""
        now = self._keyring.ports.clock.monotonic()
        for route in self._routes():
            places = {login.digest: login.place for login in route.logins}
            for seat in self._keyring.pools.of(route).parked(now):
                place, why = places.get(seat.account.digest), seat.health.why
                if place is not None and why in (LOGIN, "auth_invalid"):
                    yield route, seat.account, place, why == LOGIN
