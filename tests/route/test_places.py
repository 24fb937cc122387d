"""Where things stand in a tree, and what reads which names."""

from __future__ import annotations

from engine.errors import Problem
from engine.options import Condition, Template
from engine.route.http_spec import HttpSpec
from engine.route.nodes import Node, read
from engine.route.places import dotted, expressions, find, key_mark, mention_mark
from engine.route.spec import PatchSpec

TEXT = "a:\n  b: [ { c: x }, y ]\n  d: |\n    {{ values.n }}\ne: 1\n"


def tree() -> Node:
    problems: list[Problem] = []
    node = read(TEXT, "a.yaml", problems)
    assert node is not None
    return node


def test_a_way_leads_to_a_node_or_as_far_as_there_are_any() -> None:
    assert find(tree(), ("a", "b", 0, "c")).value == "x"
    assert find(tree(), ("a", "b", 1)).value == "y"
    assert find(tree(), ("a", "b", 7, "c")).kind == "list"
    assert find(tree(), ("a", 0)).kind == "map"
    assert find(tree(), ("nope",)).kind == "map"
    assert find(tree(), ()).kind == "map"


def test_a_key_has_its_own_place() -> None:
    assert (key_mark(tree(), ("a", "b")).line, key_mark(tree(), ("a", "b")).column) == (2, 3)
    assert key_mark(tree(), ("a", "b", 1)).column == 18
    assert key_mark(tree(), ("a", "nope")).line == 2


def test_expressions_are_found_with_the_way_to_them() -> None:
    template = Template("…", lambda env: "", frozenset({"req.user"}))
    spec = HttpSpec(path=template, headers={"A": template})
    assert list(expressions(spec, ("request",))) == [
        (("request", "path"), frozenset({"req.user"})),
        (("request", "headers", "A"), frozenset({"req.user"})),
    ]
    condition = Condition("…", lambda env: True, frozenset({"vars.x"}))
    assert list(expressions([PatchSpec(when=condition)])) == [((0, "when"), frozenset({"vars.x"}))]


def test_the_scalar_that_mentions_a_name_is_found() -> None:
    assert mention_mark(tree(), ("a",), "values.n").line == 3
    assert mention_mark(tree(), ("e",), "values.n").line == 5


def test_ways_are_written_with_dots_and_brackets() -> None:
    assert dotted(("a", "b", 0, "c")) == "a.b[0].c"
    assert dotted(("a",)) == "a"
