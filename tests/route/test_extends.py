"""A child over its parent: what is merged, replaced, removed and never inherited."""

from __future__ import annotations

from typing import Any

from engine.errors import Problem
from engine.route.compile import Compiled, Sources, compile_route
from engine.route.extends import expand
from engine.route.nodes import Node, read
from engine.route.references import Outside


def merged(child: str, *parents: str) -> tuple[Any, list[str]]:
    """The merged tree as plain values, and the codes of what was wrong."""
    node, problems = tree(child, *parents)
    return node.plain(), [problem.code for problem in problems]


def tree(child: str, *parents: str) -> tuple[Node, list[Problem]]:
    problems: list[Problem] = []
    root = read(child, "child.yaml", problems)
    assert root is not None

    def find(name: str, file: str) -> tuple[bytes, str] | str:
        at = int(name)
        if at >= len(parents):
            return f"no parent `{name}`"
        return parents[at].encode(), f"{name}.yaml"

    node, _ = expand(root, "child.yaml", find, problems)
    return node, problems


def test_maps_merge_and_everything_else_replaces() -> None:
    parent = "a: { x: 1, y: [1, 2], z: { p: 1 } }\nb: 1\n"
    plain, codes = merged("extends: '0'\na: { y: [3], z: { q: 2 } }\nb: { c: 1 }\n", parent)
    assert plain == {
        "extends": "0",
        "a": {"x": 1, "y": [3], "z": {"p": 1, "q": 2}},
        "b": {"c": 1},
    }
    assert codes == []


def test_null_removes_what_was_inherited_and_only_that() -> None:
    plain, _ = merged("extends: '0'\na: { x: null, n: null }\n", "a: { x: 1, y: 2 }\n")
    assert plain["a"] == {"y": 2, "n": None}


def test_inherit_stands_for_the_parents_items() -> None:
    plain, _ = merged("extends: '0'\na: [0, inherit, 9]\n", "a: [1, 2]\n")
    assert plain["a"] == [0, 1, 2, 9]


def test_inherit_in_quotes_is_text() -> None:
    plain, _ = merged("extends: '0'\na: ['inherit']\n", "a: [1]\n")
    assert plain["a"] == ["inherit"]


def test_inherit_from_what_is_no_list_gives_nothing() -> None:
    plain, _ = merged("extends: '0'\na: [inherit, 1]\n", "a: text\n")
    assert plain["a"] == [1]


def test_what_is_personal_to_a_route_is_not_inherited() -> None:
    parent = """name: p
models: [m]
abstract: true
description: d
enabled: false
priority: 3
auth: { from: { env: X }, bearer: b }
kept: { name: p }
"""
    plain, _ = merged("extends: '0'\nauth: { query: { a: b } }\nkept: { b: 1 }\n", parent)
    assert plain == {
        "extends": "0",
        "auth": {"bearer": "b", "query": {"a": "b"}},
        "kept": {"name": "p", "b": 1},
    }


def test_a_value_keeps_the_place_it_came_from() -> None:
    node, _ = tree("extends: '0'\na: { y: 2 }\n", "# a parent\na: { x: 1 }\n")
    inner = node.value["a"]
    assert (inner.value["x"].mark.file, inner.value["x"].mark.line) == ("0.yaml", 2)
    assert (inner.value["y"].mark.file, inner.keys["y"].line) == ("child.yaml", 2)


def test_generations_merge_from_the_oldest_down() -> None:
    plain, codes = merged(
        "extends: '0'\na: { x: 3 }\n", "extends: '1'\na: { y: 2 }\n", "a: { x: 1, y: 1, z: 1 }\n"
    )
    assert plain["a"] == {"x": 3, "y": 2, "z": 1}
    assert codes == []


def test_a_parent_that_is_no_map_is_a_problem_of_the_child() -> None:
    plain, codes = merged("extends: '0'\na: 1\n", "[1, 2]\n")
    assert plain == {"extends": "0", "a": 1}
    assert codes == ["E204"]


def test_a_parent_that_cannot_be_read_is_a_problem_of_both_files() -> None:
    node, problems = tree("extends: '0'\na: 1\n", "a: [1\n")
    assert node.plain()["a"] == 1
    assert [(problem.file, problem.code) for problem in problems] == [
        ("0.yaml", "E001"),
        ("child.yaml", "E204"),
    ]


# ---- what is inherited as it is ----


def child(
    parent: str, name: str, own: str = "", file: str = "./p.yaml", secret: str = ""
) -> Compiled:
    text = f"""
version: 1
extends: {file}
name: {name}
dialect: openai_chat
base_url: https://{name}.test
models: [{name}]
{own}
"""
    sources = Sources(Outside(env={"S": secret}), lambda name, file: (parent.encode(), "p.yaml"))
    return compile_route(text.encode(), f"{name}.yaml", sources)


def test_what_is_inherited_as_it_is_is_one_value_for_all_routes() -> None:
    parent = "version: 1\nabstract: true\nprofile: { stop_max: 2 }\nlimits: { request: 9KiB }\n"
    one, two = (child(parent, name).spec for name in ("one", "two"))
    assert one is not None
    assert two is not None
    assert one.profile is two.profile
    own = child(parent, "own", "profile: { stop_max: 3 }\nlimits: { answer: 8KiB }").spec
    assert own is not None
    assert (own.profile.stop_max, own.limits.request, own.limits.answer) == (3, 9216, 8192)
    assert (one.profile.stop_max, one.limits.answer) == (2, two.limits.answer)


def test_what_one_generation_laid_over_another_follows_both() -> None:
    middle = b"version: 1\nabstract: true\nextends: ./top.yaml\nlimits: { request: 8KiB }\n"
    text = (
        b"version: 1\nextends: ./m.yaml\ndialect: ollama\nbase_url: https://a.test\nmodels: [m]\n"
    )
    found = []
    for event in (7, 6):
        top = f"version: 1\nabstract: true\nlimits: {{ request: 9KiB, event: {event}KiB }}\n"
        files = {"./top.yaml": (top.encode(), "top.yaml"), "./m.yaml": (middle, "m.yaml")}
        sources = Sources(parent=lambda name, file, files=files: files[name])  # type: ignore[misc]
        spec = compile_route(text, "a.yaml", sources).spec
        assert spec is not None
        found.append((spec.limits.request, spec.limits.event))
    assert found == [(8192, 7168), (8192, 6144)]


def test_an_inherited_expression_is_held_against_the_variables_of_each_route() -> None:
    parent = "version: 1\nabstract: true\nrequest: { headers: { X: '{{ vars.tier }}' } }\n"
    good, bad = child(parent, "good", "vars: { tier: a }"), child(parent, "bad", "vars: { b: a }")
    assert good.route is not None
    assert bad.route is None
    assert [problem.code for problem in bad.problems] == ["E302"]


def test_an_inherited_text_is_held_against_the_names_of_each_route() -> None:
    parent = "version: 1\nabstract: true\nrequest: { headers: { X: vars.tier } }\n"
    told = [
        [problem.code for problem in child(parent, name, own).problems]
        for name, own in (("without", ""), ("with", "vars: { tier: a }"))
    ]
    assert told == [[], ["W511"]]


def test_an_inherited_condition_is_held_against_the_variables_of_each_route() -> None:
    parent = "version: 1\nabstract: true\nerrors: { rules: [{ when: vars.a == 1, as: fatal }] }\n"
    good, bad = child(parent, "good", "vars: { a: 1 }"), child(parent, "bad", "vars: { b: 1 }")
    assert good.route is not None
    assert bad.route is None


def test_an_inherited_reference_is_looked_up_for_each_route() -> None:
    parent = "version: 1\nabstract: true\nlimits: { request: '${env:S}' }\n"
    specs = [child(parent, size, secret=size).spec for size in ("1KiB", "2KiB")]
    assert [spec.limits.request for spec in specs if spec is not None] == [1024, 2048]


def test_an_inherited_secret_is_known_to_each_route() -> None:
    parent = (
        "version: 1\nabstract: true\nupstream: { proxy: 'http://u:secret-pass@proxy.test:1' }\n"
    )
    known = [
        sorted(map(repr, made.route.references.values()))
        for made in (child(parent, "a"), child(parent, "b"))
        if made.route is not None
    ]
    assert len(known) == 2
    assert known[0] == known[1] != []


def test_an_inherited_mistake_is_told_of_each_route() -> None:
    parent = "version: 1\nabstract: true\nprofile: { stop_max: many }\n"
    told = [[p.code for p in child(parent, name).problems] for name in ("a", "b")]
    assert told == [["E102"], ["E102"]]
