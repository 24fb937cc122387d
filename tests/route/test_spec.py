"""The table of keys: what holds for every one of them."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

from engine.errors import OUTCOMES
from engine.options import key_of
from engine.route import answer_spec
from engine.route.fields import fields_of
from engine.route.spec import RouteSpec

YAML11 = {"on", "off", "yes", "no", "y", "n", "true", "false", "null", "~"}


def kinds(kind: Any, seen: set[Any]) -> Iterator[type]:
    """Every option dataclass that is reached from one."""
    for part in typing.get_args(kind):
        yield from kinds(part, seen)
    if not dataclasses.is_dataclass(kind) or kind in seen:
        return
    seen.add(kind)
    if any("doc" in item.metadata for item in dataclasses.fields(kind)):
        yield typing.cast("type", kind)
        for hint in typing.get_type_hints(kind).values():
            yield from kinds(hint, seen)


ALL = list(kinds(RouteSpec, set()))
FIELDS = [(kind, item) for kind in ALL for item in dataclasses.fields(kind)]


def test_every_key_is_documented_and_means_the_same_to_other_yaml_tools() -> None:
    for kind, item in FIELDS:
        key = key_of(item)
        where = f"{kind.__name__}.{key}"
        assert item.metadata["doc"], f"{where} says nothing"
        assert key not in YAML11, where
        assert key[0].isalpha(), where
        assert "_" not in (key[0], key[-1]), where


def test_rules_about_several_keys_name_keys_that_exist() -> None:
    for kind in ALL:
        known = fields_of(kind)
        for attribute in ("ONE_OF", "AT_MOST_ONE"):
            assert set(getattr(kind, attribute, ())) <= set(known), kind
        shorthand = getattr(kind, "SHORTHAND", None)
        assert shorthand is None or shorthand in known, kind


def test_outcome_classes_are_the_closed_set() -> None:
    assert set(answer_spec.CLASSES) == set(OUTCOMES)
