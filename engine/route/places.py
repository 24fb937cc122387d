"""Where things stand in a route's tree, found by the keys and indexes that lead to them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from engine.options import Condition, Template, Tree

from .fields import fields_of, may_hold
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
    """(way, names it reads) of every template, condition and tree inside an option, in order."""
    waiting: list[tuple[Any, Way]] = [(value, way)]
    while waiting:
        item, place = waiting.pop()
        kind: type = type(item)
        parts = parts_of_kind(kind)
        if parts is None:
            yield place, item.mentions
        elif kind is dict:
            waiting += [(part, (*place, key)) for key, part in reversed(item.items())]
        elif kind is list:
            waiting += [(part, (*place, at)) for at, part in reversed([*enumerate(item)])]
        else:
            waiting += [(getattr(item, name), (*place, key)) for name, key in reversed(parts)]


@cache
def parts_of_kind(kind: type) -> tuple[tuple[str, str], ...] | None:
    """(name, key in YAML) of the fields of an option dataclass that may hold expressions.

    (): values of this kind hold none, or are no dataclass. None: they are expressions themselves,
    with `mentions`.
    """
    if issubclass(kind, Template | Condition | Tree):
        return None
    if not dataclasses.is_dataclass(kind) or issubclass(kind, Node):
        return ()
    return tuple(
        (field.name, key) for key, field in fields_of(kind).items() if may_hold(field.annotation)
    )


def mention_mark(tree: Node, way: Way, name: str) -> Mark:
    """The scalar below a way that mentions a dotted name."""
    word = re.compile(rf"\b{re.escape(name.partition('.')[0])}\b")
    top = find(tree, way)
    texts = (node for node in top.walk() if node.kind == "str" and word.search(node.value))
    return next(texts, top).mark


def dotted(way: Way) -> str:
    """A way as messages write it: `models[0].id`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in way)[1:]
