"""Values that a route wants before the first request: fetched when the route comes in.

A fetch that fails is only noted: the first request tries again.
"""

from __future__ import annotations

from contextlib import suppress

from engine.accounts.keyring import Keyring
from engine.errors import ExchangeError
from engine.lines import line_of
from engine.route.route import Route
from engine.route.template import RenderError

_SCOPES = {"route": "", "account": "", "session": "", "request": ""}


def prefetch(keyring: Keyring, route: Route) -> None:
    """Start the fetches of a route's `prefetch: true` values; they go on by themselves."""
    names = [name for name in route.wanted if route.values[name].prefetch]
    if names:
        now, random = keyring.ports.clock.now(), keyring.ports.random
        env = route.unasked(route.account or {}, now, random)
        with suppress(ExchangeError, RenderError):  # its line: who asks is told
            keyring.ahead(route, names, env, line_of(route, _SCOPES, env))
    if any(route.values[name].scope == "account" for name in names):
        keyring.log_in(route, route.roster.accounts, missing=True)
