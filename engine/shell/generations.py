"""How many versions of each route are in use: the one that serves, and those requests still hold.

An old version goes when its last request ends; nothing here holds one. Versions that pile up are
told once, never forced out.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engine.route.route import Route

MANY = 4  # generations of one route that may be in use without a warning
LONG = 600.0  # seconds an old generation may be in use without a warning


@dataclass(frozen=True, slots=True)
class Notice:
    """Something for the observer."""

    name: str
    fields: dict[str, object]


@dataclass(slots=True)
class _Generation:
    """One route that served."""

    alive: weakref.KeyedRef[str, Route]
    transforms: frozenset[str]
    replaced: float | None = None
    warned: bool = False


class Generations:
    """Counts the routes of each name, and those that are in use: serving, or held by a request.

    Names of which there may be something to tell are kept apart: of thousands they are a few.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._held: dict[str, list[_Generation]] = {}
        self._told: dict[str, int] = {}
        self._restless: set[str] = set()

    def begin(self, route: Route, transforms: Iterable[str], now: float) -> int:
        held = self._held.setdefault(route.name, [])
        for old in held:
            old.replaced = now if old.replaced is None else old.replaced
        held.append(
            _Generation(weakref.KeyedRef(route, self._gone, route.name), frozenset(transforms))
        )
        self._restless.add(route.name)
        self._counts[route.name] = self._counts.get(route.name, 0) + 1
        return self._counts[route.name]

    def _gone(self, ref: weakref.KeyedRef[str, Route]) -> None:
        self._restless.add(ref.key)

    def live(self, name: str) -> int:
        held = self._held.get(name, [])
        held[:] = [generation for generation in held if generation.alive() is not None]
        return len(held)

    def transforms(self) -> set[str]:
        """Digests of the transforms of every generation in use."""
        held = (each for name in self._held if self.live(name) for each in self._held[name])
        return {digest for generation in held for digest in generation.transforms}

    def tell(self, now: float) -> Iterator[Notice]:
        """Counts that have changed, and a warning, once, of what piles up."""
        names, self._restless = self._restless, set()
        for name in sorted(names):
            if self.live(name) > 1 and _unwarned(self._held[name], now):
                gc.collect()  # what an ended request leaves holds its route until it is collected
            count = self.live(name)
            if count != self._told.get(name, 0):
                self._told[name] = count
                yield Notice("generations", {"route": name, "count": count})
            held = self._held[name]
            causes = _unwarned(held, now)
            if causes and count > 1:
                age = max(now - each.replaced for each in held if each.replaced is not None)
                fields = {"route": name, "count": count, "oldest": round(age), "level": "warning"}
                yield Notice("generations_piled", fields)
            for each in causes:
                each.warned = True
            if count > 1:
                self._restless.add(name)


def _unwarned(held: list[_Generation], now: float) -> list[_Generation]:
    """Those that make a pile and were not told: old ones, and the newest one of too many."""
    late = [each for each in held if each.replaced is not None and now - each.replaced > LONG]
    causes = [*late, held[-1]] if len(held) > MANY else late
    return [each for each in causes if not each.warned]
