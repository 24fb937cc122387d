"""The fields of option dataclasses, ready to be read; each class is looked at once."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, get_args

from engine.options import Condition, Template, Tree, key_of

from .nodes import Node


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One key of an option dataclass, ready to be read."""

    key: str
    name: str
    annotation: Any
    required: bool
    default: Any
    metadata: Mapping[str, Any]


_SHAPES: dict[type, dict[str, Field]] = {}


def fields_of(kind: type) -> dict[str, Field]:
    """The fields of an option dataclass by YAML key; hints are resolved once per class."""
    if kind not in _SHAPES:
        hints = typing.get_type_hints(kind)
        _SHAPES[kind] = {
            key_of(item): Field(
                key_of(item),
                item.name,
                hints[item.name],
                item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING,
                _default(item),
                item.metadata,
            )
            for item in dataclasses.fields(kind)
            if item.init
        }
    return _SHAPES[kind]


@cache
def required_of(kind: type) -> tuple[str, ...]:
    """The keys that a map of an option dataclass has to have."""
    return tuple(key for key, field in fields_of(kind).items() if field.required)


@cache
def rivals_of(kind: type) -> tuple[tuple[tuple[str, ...], int], ...]:
    """Sets of keys of which at most one is written, each with how many are at least."""
    sets = ((getattr(kind, "ONE_OF", ()), 1), (getattr(kind, "AT_MOST_ONE", ()), 0))
    return tuple((rivals, least) for rivals, least in sets if rivals)


def _default(item: dataclasses.Field[Any]) -> Any:
    """The default of a dataclass's field, None if it has none."""
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return None if item.default is dataclasses.MISSING else item.default


def may_hold(annotation: Any, around: tuple[type, ...] = ()) -> bool:
    """Whether an expression may be in a value of this type; `around`: the types that it is in."""
    if annotation is Any or annotation is object:
        return True
    if inner := get_args(annotation):
        return any(may_hold(each, around) for each in inner)
    if not isinstance(annotation, type) or annotation in around:
        return False
    if issubclass(annotation, Template | Condition | Tree):
        return True
    if not dataclasses.is_dataclass(annotation) or issubclass(annotation, Node):
        return annotation in (dict, list)
    fields = fields_of(annotation).values()
    return any(may_hold(field.annotation, (*around, annotation)) for field in fields)
