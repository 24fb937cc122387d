"""What routes have in common, made and kept once: thousands of them may say the same.

A route that shares its parts is small, and what a request reads of it was read a moment ago for
another route. Everything shared is immutable.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")
KEPT = 256  # results of a maker: those of routes that are gone make room

_PLAIN = (str, int, float, type(None))
NOTHING: Mapping[str, Any] = {}


def once(make: Callable[P, T]) -> Callable[P, T]:
    """A maker that gives the very same result for the very same arguments.

    Texts and numbers are the same when they are equal, all else when it is one object.
    """
    made: dict[tuple[object, ...], tuple[object, T]] = {}

    @wraps(make)
    def maker(*args: P.args, **kwargs: P.kwargs) -> T:
        named = [(name, _mark(value)) for name, value in kwargs.items()]
        key = (*map(_mark, args), *named)
        found = made.get(key)
        if found is None:
            if len(made) >= KEPT:
                made.clear()
            # With the arguments, so that no id comes twice.
            found = made[key] = (args, kwargs), make(*args, **kwargs)
        return found[1]

    return maker


def _mark(arg: object) -> object:
    return (type(arg), arg) if isinstance(arg, _PLAIN) else id(arg)


@lru_cache(maxsize=4096, typed=True)
def alike(value: Any) -> Any:
    """The first of all values that are equal to this one."""
    return value


def alike_map(values: Mapping[str, T]) -> Mapping[str, T]:
    """The first of all maps of texts and numbers that are equal to this one; others themselves."""
    if not values:
        return NOTHING
    if not all(isinstance(value, _PLAIN) for value in values.values()):
        return values
    return _map(tuple([(name, type(value), value) for name, value in values.items()]))


@lru_cache(maxsize=4096)
def _map(items: tuple[tuple[str, type, Hashable], ...]) -> Mapping[str, Any]:
    return {name: value for name, _, value in items}
