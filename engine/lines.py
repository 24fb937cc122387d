"""How an upstream is reached: the connections, cookies and proxy of one route and account."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from .ports import Line
from .route.route import Route

_LINES: WeakKeyDictionary[Route, Line] = WeakKeyDictionary()


def line_of(route: Route, scopes: Mapping[str, str]) -> Line:
    """How this route's upstream is reached for one request."""
    line = _LINES.get(route)
    if line is None:
        line = _LINES[route] = _line(route)
    account, cookies = scopes["account"], route.spec.upstream.cookies
    if not account and cookies == "none":
        return line
    jar = "" if cookies == "none" else f"{route.name}|{scopes[cookies]}"
    return dataclasses.replace(line, pool=f"{route.name}|{account}", jar=jar)


def _line(route: Route) -> Line:
    upstream = route.spec.upstream
    return Line(
        pool=f"{route.name}|",
        proxy=upstream.proxy.reveal() if upstream.proxy else None,
        verify=upstream.tls.verify,
        ca=upstream.tls.ca,
        reuse=upstream.reuse,
        connect=float(route.spec.timeouts.connect),
        sniff=upstream.sniff,
    )
