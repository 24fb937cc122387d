"""Keys that stand in the wrong map: the map that they are at home in."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args, get_origin

from .fields import fields_of
from .nodes import Node

Steps = tuple[str, ...]  # the way to a map: `stream`, `events[]`; `<name>` is any name
_MOST = 2  # more homes than these are no help


def at_home(top: type, place: str, key: str) -> str:
    """`; it is a key of `auth``, if maps near by have the key; or nothing.

    Looked for around the place, then right inside of it, then in all of the file.
    """
    here = tuple(re.sub(r"\[\d+\]", "", place).split(".")) if place else ()
    homes = [home for home in _homes(top).get(key, ()) if not _same(home, here)]
    wide = [home for home in homes if len(home) < len(here) and _leads(home, here)]
    if around := [home for home in wide if home or len(here) == 1]:
        return _around(max(around, key=len), key)
    inside = [home for home in homes if len(home) == len(here) + 1 and _leads(here, home)]
    found = inside or ([home for home in homes if home] if here and len(homes) <= _MOST else [])
    nearest = [home for home in found if len(home) == min(map(len, found))]
    if len(nearest) > _MOST or not nearest:
        return ""
    names = [f"`{'.'.join(home)}`" for home in nearest]
    return f"; it is a key of {' or '.join(names)}"


def _around(home: Steps, key: str) -> str:
    if home:
        return f"; it is a key of `{'.'.join(home)}`"
    return f"; `{key}` stands at the top of the file: is it indented too far?"


def _same(home: Steps, here: Steps) -> bool:
    return len(home) == len(here) and _leads(home, here)


def _leads(one: Steps, other: Steps) -> bool:
    """Whether the way to one map begins as the way to another."""
    pairs = zip(one, other, strict=False)
    return all(a.removesuffix("[]") == b.removesuffix("[]") or "<name>" in (a, b) for a, b in pairs)


@cache
def _homes(top: type) -> Mapping[str, tuple[Steps, ...]]:
    """The ways to the maps that have a key, by that key."""
    found: dict[str, dict[Steps, None]] = {}
    for steps, kind in _maps(top, (), ()):
        for key in fields_of(kind):
            found.setdefault(key, {})[steps] = None
    return {key: tuple(ways) for key, ways in found.items()}


def _maps(kind: type, steps: Steps, around: tuple[type, ...]) -> Iterator[tuple[Steps, type]]:
    yield steps, kind
    for key, field in fields_of(kind).items():
        for inner, inside in _held(field.annotation, (*steps, key)):
            if inner not in (*around, kind):
                yield from _maps(inner, inside, (*around, kind))


def _held(annotation: Any, steps: Steps) -> Iterator[tuple[type, Steps]]:
    """The option dataclasses that values of a type hold, and the way to each."""
    if isinstance(annotation, type):
        if dataclasses.is_dataclass(annotation) and not _is_leaf(annotation):
            yield annotation, steps
        return
    origin = get_origin(annotation)
    if origin is list:
        steps = (*steps[:-1], f"{steps[-1].removesuffix('[]')}[]")
    elif origin is dict:
        steps = (*steps, "<name>")
    for inner in get_args(annotation):
        yield from _held(inner, steps)


def _is_leaf(kind: type) -> bool:
    """Whether it is one value, such as a path or a template."""
    return kind.__module__ == "engine.options" or issubclass(kind, Node)
