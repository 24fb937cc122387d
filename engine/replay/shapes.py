"""The shape of JSON: which paths there are, of what type, and the words that tell kinds apart.

Values are merged into one shape, items of lists among them, so that a field counts as there if one
of them has it. Texts, ids and numbers leave nothing behind but their type; only short words under
names such as `type` are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.wire import JsonError, dumps, loads

ITEM = "[*]"  # of a list; also a key that is an id
INSIDE = "{}"  # what a text holds as JSON
MOST_PATHS, MOST_WORDS, DEEPEST = 4000, 32, 40
NAMING = frozenset({"type", "kind", "object", "event"})

_HOLDING = frozenset({"object", "array"})
_WORD = re.compile(r"[A-Za-z][\w.:/-]{0,59}")
_ID = re.compile(r"\d+|(?=.*\d)[0-9a-fA-F-]{12,}|(?=(?:.*\d){4})[\w-]{16,}", re.ASCII)
_PLAIN = re.compile(r"[^\W\d]\w*")

Way = tuple[str, ...]
Opens = Callable[[Way], bool]


def is_id(text: str) -> bool:
    """Whether a name is one that was made up: a number, a UUID, a long text with digits."""
    return _ID.fullmatch(text) is not None


def word(value: object) -> str:
    """A value as the name of a kind; empty if it is none."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""


def said(way: Way) -> str:
    """A way as a route writes it."""
    return "$" + "".join(map(_step, way))


def _step(step: str) -> str:
    if step in (ITEM, INSIDE):
        return step
    return f".{step}" if _PLAIN.fullmatch(step) else f"['{step}']"


@dataclass(slots=True)
class Spot:
    """What stands at a path. filled: a list or map there has something in it, at least once."""

    types: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    filled: bool = False

    @property
    def told(self) -> str:
        """Its types in words."""
        return " or ".join(sorted(self.types)) or "nothing"


class Shape:
    """Merged from values that were decoded from JSON. Paths beyond 4000 are not noted.

    opens: whether texts at a path are looked into, as JSON
    """

    def __init__(self, opens: Opens = lambda way: False) -> None:
        self.spots: dict[Way, Spot] = {}
        self._opens = opens

    def add(self, value: object) -> None:
        waiting: list[tuple[Way, Any]] = [((), value)]
        while waiting:
            way, item = waiting.pop()
            spot = self.spots.get(way)
            if spot is None:
                if len(self.spots) >= MOST_PATHS:
                    continue
                spot = self.spots[way] = Spot()
            spot.types.add(type_of(item))
            if isinstance(item, dict | list):
                spot.filled = spot.filled or bool(item)
                waiting += reversed(_below(way, item)) if len(way) < DEEPEST else ()
            elif isinstance(item, str) and self._opens(way):
                waiting += [((*way, INSIDE), value) for value in _held(item)]
            elif way and way[-1] in NAMING and word(item) and len(spot.words) < MOST_WORDS:
                spot.words.add(item)


def type_of(value: object) -> str:
    """A type of JSON; whole numbers and others are one."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    return "string" if isinstance(value, str) else "number"


def _held(text: str) -> list[Any]:
    """The JSON in a text, if there is any."""
    try:
        return [loads(text)]
    except JsonError:
        return []


def _below(way: Way, item: dict[str, Any] | list[Any]) -> list[tuple[Way, Any]]:
    if isinstance(item, list):
        return [((*way, ITEM), value) for value in item]
    return [((*way, ITEM if is_id(key) else key), value) for key, value in item.items()]


@dataclass(frozen=True, slots=True)
class Change:
    """What differs at a path.

    vanished   it never has a value any more; open: nothing says that it should, since the list or
               map around it is empty now
    retyped    it has a value of another type
    appeared   it had none before
    renamed    a word that was not there before; `after` is the word
    """

    what: Literal["vanished", "retyped", "appeared", "renamed"]
    way: Way
    before: str
    after: str
    open: bool = False


def changes(old: Shape, new: Shape) -> Iterator[Change]:
    """What differs, by path. Of what hangs together only the top is told."""
    for way, spot in old.spots.items():
        there = new.spots.get(way)
        if there is None:
            around = new.spots.get(way[:-1])
            if around is not None and (around.types & _HOLDING or way[-1] == INSIDE):
                yield Change("vanished", way, spot.told, "nothing", not _filled(around))
            continue
        yield from _at(way, spot, there)
    for way, spot in new.spots.items():
        around = old.spots.get(way[:-1])
        if way not in old.spots and around is not None and around.types & _HOLDING:
            yield Change("appeared", way, "nothing", spot.told)


def _at(way: Way, old: Spot, new: Spot) -> Iterator[Change]:
    before, after = old.types - {"null"}, new.types - {"null"}
    if before and not after:
        yield Change("vanished", way, old.told, "null")
    elif after - before and before:
        yield Change("retyped", way, old.told, new.told)
    elif after and not before:
        yield Change("appeared", way, "null", new.told)
    for found in sorted(new.words - old.words):
        yield Change("renamed", way, ", ".join(sorted(old.words)) or "no such word", found)


def _filled(around: Spot) -> bool:
    return around.filled or "string" in around.types


def without(value: Any, way: Way) -> Any:
    """The value with nothing at that path."""
    if not way:
        return None
    step, rest = way[0], way[1:]
    if isinstance(value, str) and step == INSIDE:
        held = [without(each, rest) for each in _held(value)] if rest else []
        return dumps(held[0]).decode() if held else ""
    if isinstance(value, list) and step == ITEM:
        return [without(item, rest) for item in value] if rest else []
    if isinstance(value, dict):
        keys = [key for key in value if key == step or (step == ITEM and is_id(key))]
        made = {key: without(value[key], rest) for key in keys} if rest else {}
        return {key: made.get(key, item) for key, item in value.items() if rest or key not in keys}
    return value
