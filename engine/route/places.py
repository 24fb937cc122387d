"""Where things stand in a route's tree, found by the keys and indexes that lead to them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from engine.options import Condition, Template, Tree, key_of

from .nodes import Mark, Node

Way = tuple[str | int, ...]


def find(tree: Node, way: Way) -> Node:
    """The node that a way of keys and indexes leads to, or the last one on it that is there."""
    for step in way:
        child: Node | None = None
        if isinstance(step, str):
            child = tree.get(step)
        elif tree.kind == "list" and step < len(tree.value):
            child = tree.value[step]
        if child is None:
            break
        tree = child
    return tree


def key_mark(tree: Node, way: Way) -> Mark:
    """Where the last key of a way stands; the mark of the value if that is an item of a list."""
    parent, key = find(tree, way[:-1]), way[-1]
    if isinstance(key, str) and key in parent.keys:
        return parent.keys[key]
    return find(tree, way).mark


def expressions(value: object, way: Way = ()) -> Iterator[tuple[Way, frozenset[str]]]:
    """(way, names it reads) of every template, condition and tree inside an option."""
    if isinstance(value, Template | Condition | Tree):
        yield way, value.mentions
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from expressions(item, (*way, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from expressions(item, (*way, at))
    elif dataclasses.is_dataclass(value) and not isinstance(value, Node):
        for field in dataclasses.fields(value):
            yield from expressions(getattr(value, field.name), (*way, key_of(field)))


def mention_mark(tree: Node, way: Way, name: str) -> Mark:
    """The scalar below a way that mentions a dotted name."""
    word = re.compile(rf"\b{re.escape(name.partition('.')[0])}\b")
    top = find(tree, way)
    texts = (node for node in top.walk() if node.kind == "str" and word.search(node.value))
    return next(texts, top).mark


def dotted(way: Way) -> str:
    """A way as messages write it: `models[0].id`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in way)[1:]
