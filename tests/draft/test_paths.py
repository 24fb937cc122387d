"""Leaves of JSON, and the paths by which a route finds them."""

from __future__ import annotations

from engine.draft.paths import bare, last, leaves
from engine.route.pick import compile_path

TREE = {"a": [{"b-c": "x"}, {"it's": 1}], "d": {"e": True}, "f": None}


def test_each_leaf_has_the_path_that_finds_it() -> None:
    found = dict(leaves(TREE))
    assert {
        "$.a[0]['b-c']": "x",
        "$.a[1]['it\\'s']": 1,
        "$.d.e": True,
        "$.f": None,
    } == found
    for path in ("$.a[0]['b-c']", "$.d.e"):
        assert found[path] == compile_path(path).first(TREE)


def test_the_name_at_the_end_and_the_form_of_selectors() -> None:
    assert ["e", "b-c", "a", ""] == [last(p) for p in ("$.d.e", "$.a[0]['b-c']", "$.a[1]", "$")]
    assert ["d.e", "$['x']"] == [bare("$.d.e"), bare("$['x']")]
