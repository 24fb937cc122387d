"""Values that a route wants before the first request: fetched when the route comes in.

A fetch that fails is only noted: the first request tries again.
"""

from __future__ import annotations

from engine.keyring import Keyring
from engine.lines import line_of
from engine.route.route import Route

_SCOPES = {"route": "", "account": "", "session": "", "request": ""}


def prefetch(keyring: Keyring, route: Route) -> None:
    """Start the fetches of a route's `prefetch: true` values; they go on by themselves."""
    names = [name for name in route.wanted if route.values[name].prefetch]
    if names:
        env: dict[str, object] = {
            "account": route.account or {},
            "values": {},
            "vars": route.spec.vars,
            "_ref": route.references,
            "_now": keyring.ports.clock.now(),
            "_random": keyring.ports.random,
        }
        keyring.ahead(route, names, env, line_of(route, _SCOPES))
