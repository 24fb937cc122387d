"""The outer seam: what crosses routes. A request that one route could not serve goes to the next.

Only before anything reached the client; `hold: full` makes that last until the answer is whole. No
route is asked twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from engine.dialects.openai_responses import kept
from engine.dialects.openai_responses.parse import CONTINUED
from engine.errors import OUTCOMES, RequestError
from engine.events import ErrorEvent
from engine.exchange.attempt import Call
from engine.route.book import RouteBook
from engine.route.route import Offer, Route
from engine.route.spec import FallbackSpec


def next_route(
    book: RouteBook,
    asked: Sequence[Route],
    call: Call,
    error: ErrorEvent,
    able: Callable[[Route, Call], bool] = lambda route, call: True,
) -> tuple[Route, Call] | None:
    """Who takes over from this error, and what it is asked.

    asked: the routes that have had the request, the one that failed last: its own `fallback` is
    looked at first, then what is left of those before it. Routes that do not serve are passed over,
    and so are those that are not `able`.
    """
    if call.errand is not None or _is_bound(call):
        return None  # it is addressed to the route it was made for, or that has what goes before
    names = {route.name for route in asked}
    for fallback in (fallback for route in reversed(asked) for fallback in route.spec.fallback):
        target = book.routes.get(fallback.to)
        if target is None or target.name in names or not _for(fallback, error.cls):
            continue
        offer = _offer(target, fallback, call.offer)
        if offer is None:
            continue
        turned = replace(call, offer=offer, bound="")
        if any(map(keeps_turns, asked)) or (call.continues and CONTINUED in call.asked.chat.extras):
            turned.splice = None  # the client's own bytes lack what goes before
        if able(target, turned):
            return target, turned
    return None


def keeps_turns(route: Route) -> bool:
    """Whether the conversation is kept here, and clients send its newest turn alone."""
    return route.session is not None and route.session.server_history


def _is_bound(call: Call) -> bool:
    """Whether it goes on from an answer that only its upstream has."""
    try:
        return call.continues and kept.previous(call.asked.chat) is not None
    except RequestError:
        return True  # bytes that only the upstream can tell


def _for(fallback: FallbackSpec, cls: str) -> bool:
    if fallback.for_ is not None:
        return cls in fallback.for_
    return OUTCOMES[cls].fault != "client"


def _offer(target: Route, fallback: FallbackSpec, wanted: Offer) -> Offer | None:
    if fallback.model is not None:
        return target.offers.get(fallback.model)
    same = target.offers.get(wanted.model.id)
    return same or next(iter(target.offers.values()), None)
