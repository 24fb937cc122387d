"""What the fields of option dataclasses say of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from engine.options import Condition, Duration, Template, Tree, option
from engine.route.fields import fields_of, may_hold, required_of, rivals_of
from engine.route.nodes import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    name: str
    inner: Inner | None = None
    wait: Duration = Duration(1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    for_: list[str] = option(doc="who", name="for")
    items: list[Inner] = option([], "some")
    when: dict[str, Condition | None] = option({}, "tests")


class Rivals:
    ONE_OF = ("a", "b")
    AT_MOST_ONE = ("c", "d")


def test_a_field_is_found_by_its_key() -> None:
    fields = fields_of(Outer)
    assert ["for", "items", "when"] == list(fields)
    assert ("for_", list[str], True, None) == (
        fields["for"].name, fields["for"].annotation, fields["for"].required, fields["for"].default,
    )  # fmt: skip
    assert (False, []) == (fields["items"].required, fields["items"].default)
    assert "who" == fields["for"].metadata["doc"]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [(Template, True), (Condition | None, True), (dict[str, Tree], True), (Outer, True),
     (list[Outer] | None, True), (Any, True), (dict, True), (str, False), (Inner, False),
     (list[Inner], False), (Node, False), (Duration | None, False)],
)  # fmt: skip
def test_expressions_may_be_where_the_types_say(annotation: Any, expected: bool) -> None:
    assert expected == may_hold(annotation)


def test_what_a_map_needs_and_what_excludes_what_is_known_of_its_class() -> None:
    assert required_of(Outer) == ("for",)
    assert required_of(Inner) == ("name",)
    assert rivals_of(Outer) == ()
    assert rivals_of(Rivals) == ((("a", "b"), 1), (("c", "d"), 0))
