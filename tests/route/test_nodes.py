"""YAML text becomes a bounded tree with places; whatever is wrong is a Problem, never a crash."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import Problem
from engine.route.nodes import MAX_BYTES, MAX_DEPTH, Node, read, resolve


def tree(text: str | bytes) -> tuple[Node | None, list[Problem]]:
    problems: list[Problem] = []
    return read(text, "a.yaml", problems), problems


def codes(text: str | bytes) -> list[str]:
    return [f"{problem.line}:{problem.column} {problem.code}" for problem in tree(text)[1]]


def root(text: str) -> Node:
    node, problems = tree(text)
    assert node is not None, problems
    return node


def test_nodes_know_where_they_stand() -> None:
    node = root("a: 1\nb:\n  - x\n  - { c: 'd' }\n")
    item = node.value["b"].value[1]
    assert (item.mark.line, item.mark.column) == (4, 5)
    assert (item.keys["c"].line, item.keys["c"].column) == (4, 7)
    inner = item.get("c")
    assert (inner.mark.column, inner.mark.length, inner.mark.excerpt) == (10, 3, "  - { c: 'd' }")
    assert node.plain() == {"a": 1, "b": ["x", {"c": "d"}]}
    assert len(list(node.walk())) == node.size == 6
    assert node.depth == 4


def test_only_maps_have_keys() -> None:
    assert root("[a]").get("a") is None
    assert root("a: 1").get("b") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (".INF", float("inf")),
        ("-.Inf", float("-inf")),
        ("+.inf", float("inf")),
        ("0x" + "f" * 5, 0xFFFFF),
        ("+12", 12),
        ("1" * 5000, "1" * 5000),
        ("1" * 300, int("1" * 300)),
    ],
)
def test_odd_numbers_are_read_or_left_as_text(text: str, value: object) -> None:
    assert resolve(text)[1] == value


def test_quotes_make_text_of_anything() -> None:
    node = root("a: '1'\nb: \"true\"\nc: |\n  on\n")
    assert node.plain() == {"a": "1", "b": "true", "c": "on\n"}
    assert all(child.quoted for child in node.value.values())


def test_words_that_other_tools_read_as_booleans_are_warned_of() -> None:
    _, problems = tree("a: yes\nb: 'no'\noff: 1\n")
    assert [(p.line, p.code, p.severity) for p in problems] == [(1, "W004", "warning")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["1:1 E001"]),
        ("# nothing\n", ["1:1 E001"]),
        ("a: ]", ["1:4 E001"]),
        ("a: 1\na: 2\n", ["2:1 E007"]),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", ["3:3 E008"]),
        ("a: !!python/object:x 1\n", ["1:4 E006"]),
        ("a: 1\n---\nb: 2\n", ["2:1 E009"]),
        ("[a]: 1\n", ["1:1 E010"]),
        ("a: {{ x }}\n", ["1:5 E010"]),
        ("a: *nowhere\n", ["1:4 E005"]),
        ("a: &x [*x]\n", ["1:8 E005"]),
        (b"a: \xff\n", ["1:4 E001"]),
        (b"a: 1\nbc: \xff\n", ["2:5 E001"]),
        ("a: \x07\n", ["1:1 E001"]),
    ],
)
def test_mistakes_are_told_with_their_place(text: str | bytes, found: list[str]) -> None:
    assert codes(text) == found


def test_several_mistakes_are_told_at_once() -> None:
    assert codes("a: 1\na: 2\nb: !x 1\nb: 3\n") == ["2:1 E007", "3:4 E006", "4:1 E007"]


def test_a_file_that_is_too_large_is_not_even_decoded() -> None:
    assert codes(b"\xff" * (MAX_BYTES + 1)) == ["1:1 E002"]
    assert codes("#" * (MAX_BYTES + 1)) == ["1:1 E002"]


def test_a_byte_order_mark_is_passed_over() -> None:
    node, _ = tree(b"\xef\xbb\xbfa: 1\n")
    assert node is not None
    assert node.plain() == {"a": 1}


BOMBS = {
    "brackets": ("[" * 100_000, "E003"),
    "braces": ("{a: " * 10_000, "E003"),
    "indent": ("".join(f"{'  ' * n}a:\n" for n in range(100)), "E003"),
    "aliases in aliases": (
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 7)),
        "E004",
    ),
    "many aliases": ("a: &a 1\nb: [" + "*a, " * 501 + "]\n", "E005"),
    "many values": ("[" + "1, " * 20_001 + "]", "E004"),
    "many keys": ("".join(f"k{n}: 1\n" for n in range(20_001)), "E004"),
    "deep by aliases": (
        "a0: &a0 " + "[" * 55 + "]" * 55 + "\n"
        + "".join(f"a{n}: &a{n} {'[' * 55}*a{n - 1}{']' * 55}\n" for n in range(1, 24)),
        "E003",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_once(name: str) -> None:
    text, code = BOMBS[name]
    began = time.perf_counter()
    node, problems = tree(text)
    assert node is None
    assert [problem.code for problem in problems] == [code]
    assert time.perf_counter() - began < 2


def test_what_is_as_deep_as_allowed_is_read() -> None:
    assert tree("[" * MAX_DEPTH + "]" * MAX_DEPTH)[1] == []
    assert codes("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)) == [f"1:{MAX_DEPTH + 1} E003"]
    half = MAX_DEPTH // 2
    deep = f"a: &a {'[' * half}{']' * half}\nb: {'[' * (half - 1)}*a{']' * (half - 1)}\n"
    assert tree(deep)[1] == []


def test_an_alias_is_the_value_it_stands_for() -> None:
    node = root("a: &x { b: 1 }\nc: *x\n")
    assert node.plain() == {"a": {"b": 1}, "c": {"b": 1}}
    assert node.size == 5


@settings(deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@`#?, \n\t0~é<", max_size=60))
def test_any_text_gives_a_tree_or_a_problem(text: str) -> None:
    node, problems = tree(text)
    assert node is not None or problems


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_give_a_tree_or_a_problem(data: bytes) -> None:
    node, problems = tree(data)
    assert node is not None or problems
