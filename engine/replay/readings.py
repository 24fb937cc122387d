"""Which lines of a route read a path of an answer: rules, error rules, extracts, polls.

It is told from the text of the route, so it names what a dialect or a transform reads not at all;
`engine/replay/ablation.py` finds that out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from engine.route.nodes import Node
from engine.route.pick import Foreign, PathError, Star, parse
from engine.route.places import dotted

from .shapes import INSIDE, ITEM, Way, is_id

_SELECTORS = ("match", "not")
_FETCHED = ("values", "discover", "auth", "media")  # what is about answers to fetches
_CALLED = ("stream", "response")  # what is about answers to calls
Pattern = tuple[object, ...]  # names, indexes, Star and Foreign


@dataclass(frozen=True, slots=True)
class Reading:
    """A place in a route that reads something. place: as messages write it."""

    place: str
    file: str
    line: int


class Readings:
    """What a route's tree reads, path by path."""

    def __init__(self, tree: Node) -> None:
        self.tree = tree
        found = _sections(tree)
        self._found = [(part, list(_walk(node, (part,), ()))) for part, node in found]
        patterns = (pattern for _, all_read in self._found for pattern, _ in all_read)
        self._opened = {pattern[:at] for pattern in patterns for at in _insides(pattern)}

    def of(self, way: Way, *, fetched: bool) -> list[Reading]:
        """What reads the path, or something below it, in answers of that sort."""
        others = _CALLED if fetched else _FETCHED
        return [
            reading
            for part, all_read in self._found
            if part not in others
            for pattern, reading in all_read
            if _covers(way, pattern)
        ]

    def opens(self, way: Way) -> bool:
        """Whether the route looks into texts at the path, as JSON."""
        return any(len(each) == len(way) and _covers(way, each) for each in self._opened)

    def at(self, place: str, index: int) -> Reading | None:
        """The item of a list of rules (`stream.events`)."""
        node: Node | None = self.tree
        for step in place.split("."):
            node = node.get(step) if node is not None else None
        if node is None or node.kind != "list" or index >= len(node.value):
            return None
        mark = node.value[index].mark
        return Reading(f"{place}[{index}]", mark.file, mark.line)


def _sections(tree: Node) -> Iterator[tuple[str, Node]]:
    if tree.kind == "map":
        yield from tree.value.items()


def _walk(
    node: Node, way: tuple[str | int, ...], base: Pattern
) -> Iterator[tuple[Pattern, Reading]]:
    """Each path below a node; one beside `each` begins where that ends."""
    if node.kind == "list":
        for at, item in enumerate(node.value):
            yield from _walk(item, (*way, at), base)
    elif node.kind == "map":
        each = node.get("each")
        if each is not None and each.kind == "str":
            yield from _read(each, (*way, "each"), base, selector=False)
            inner = _steps(each.value, selector=False)
            base = (*base, *inner) if inner is not None else base
        for key, child in node.value.items():
            if key in _SELECTORS and child.kind == "map":
                yield from _selected(child, (*way, key), base)
            elif key != "each":
                yield from _walk(child, (*way, key), base)
    elif node.kind == "str":
        yield from _read(node, way, base, selector=False)


def _selected(
    node: Node, way: tuple[str | int, ...], base: Pattern
) -> Iterator[tuple[Pattern, Reading]]:
    for key in node.value:
        steps = _steps(key, selector=True)
        mark = node.keys.get(key, node.mark)
        if steps is not None:
            yield (*base, *steps), Reading(dotted(way), mark.file, mark.line)


def _read(
    node: Node, way: tuple[str | int, ...], base: Pattern, *, selector: bool
) -> Iterator[tuple[Pattern, Reading]]:
    steps = _steps(node.value, selector=selector)
    if steps is not None:
        yield (*base, *steps), Reading(dotted(way), node.mark.file, node.mark.line)


def _steps(text: str, *, selector: bool) -> Pattern | None:
    """The steps of a path; None if the text is none."""
    if not selector and not text.startswith("$"):
        return None
    try:
        found = parse(text, selector=selector)
    except PathError:
        return None
    return (*found.steps, INSIDE) if "from_json" in found.pipe else found.steps


def _insides(pattern: Pattern) -> Iterator[int]:
    return (at for at, step in enumerate(pattern) if step == INSIDE)


def _covers(way: Way, pattern: Pattern) -> bool:
    """Whether a pattern leads to the way, or below it."""
    at = 0
    for step in pattern:
        if at == len(way):
            return True
        if isinstance(step, Foreign) and step.text.startswith(".."):
            return _deep(way[at:], step)
        if not _fits(way[at], step):
            return False
        at += 1
    return at == len(way)


def _fits(name: str, step: object) -> bool:
    if isinstance(step, Star):
        return True
    return name == (step if isinstance(step, str) and not is_id(step) else ITEM)


def _deep(rest: Way, step: Foreign) -> bool:
    wanted = step.text.removeprefix("..").strip("[]'\"")
    return wanted == "*" or rest[-1] == wanted
