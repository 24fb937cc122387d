"""The book: the immutable table of all routes now serving.

A model is always found as `route/model`. Its bare id belongs to the route with the higher
`priority`; at a tie the one that was there first keeps it, and the newcomer has a Problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from engine.errors import Problem

from .route import Offer, Route


@dataclass(frozen=True, slots=True)
class RouteBook:
    """routes by name; offers by every name a client may use; `listed` for the models list.

    behind_logins: the routes whose accounts log in
    """

    routes: Mapping[str, Route] = field(default_factory=dict)
    offers: Mapping[str, tuple[Route, Offer]] = field(default_factory=dict)
    listed: tuple[tuple[str, Route, Offer], ...] = ()
    behind_logins: tuple[Route, ...] = ()

    def find(self, model: str) -> tuple[Route, Offer] | None:
        return self.offers.get(model)


def clashes(route: Route, others: Iterable[Route]) -> list[Problem]:
    """What keeps a route out of a book that holds the others: a model of equal priority."""
    problems = []
    for other in others:
        if other.name == route.name or other.priority != route.priority:
            continue
        for model in sorted(set(route.offers) & set(other.offers)):
            message = (
                f"model `{model}` is also offered by route `{other.name}` ({other.file}) with the "
                f"same priority {route.priority}: give one of them a higher `priority`"
            )
            problems.append(Problem(route.file, 0, 0, "E501", message))
    return problems


def make_book(
    routes: Iterable[Route], found: Mapping[str, Mapping[str, Offer]] | None = None
) -> RouteBook:
    """A book of these routes, in the order in which they were loaded.

    found: models that routes found out, by the route's name. None of them takes a name from a
    model that is written down.
    """
    table: dict[str, Route] = {}
    offers: dict[str, tuple[Route, Offer]] = {}
    for route in routes:
        table[route.name] = route
        for name, offer in route.offers.items():
            offers[f"{route.name}/{name}"] = (route, offer)
    bare: dict[str, tuple[Route, Offer]] = {}
    for route in table.values():
        for name, offer in route.offers.items():
            holder = bare.get(name)
            if holder is None or holder[0].priority < route.priority:
                bare[name] = (route, offer)
    for name, more in (found or {}).items():
        route = table[name]
        for ident, offer in more.items():
            offers.setdefault(f"{name}/{ident}", (route, offer))
            bare.setdefault(ident, (route, offer))
    listed = tuple(
        (name, route, offer) for name, (route, offer) in bare.items() if name == offer.model.id
    )
    behind_logins = tuple(route for route in table.values() if route.logins)
    return RouteBook(table, {**offers, **bare}, listed, behind_logins)
