from __future__ import annotations

from engine.route.alike import KEPT, NOTHING, alike, alike_map, once


def test_the_very_same_arguments_give_the_very_same_result() -> None:
    make = once(lambda *parts: list(parts))
    one, like = [1], [1]
    assert make(one, "a" + str(1)) is make(one, "a1")
    assert make(one, "a1") is not make(like, "a1")
    assert make(one, 1) is not make(one, True)
    assert make(one, 1) is not make(one, 1.0)
    assert make(one, None) == [[1], None]


def test_names_of_arguments_count() -> None:
    make = once(lambda **parts: dict(parts))
    assert make(a=1) is make(a=1)
    assert make(a=1) != make(b=1)


def test_an_argument_that_is_gone_is_never_mistaken_for_a_new_one() -> None:
    make = once(lambda part: part[0])
    assert [make([number]) for number in range(KEPT * 3)] == list(range(KEPT * 3))


def test_equal_values_are_one_and_kinds_are_told_apart() -> None:
    first, second = frozenset(["a", "b"]), frozenset(["b", "a"])
    assert alike(first) is first
    assert alike(second) is first
    assert [type(alike(value)) for value in (1, True, 1.0)] == [int, bool, float]


def test_equal_maps_of_plain_values_are_one() -> None:
    assert alike_map({"a": 1}) is alike_map({"a": 1})
    assert alike_map({"a": True})["a"] is True
    assert alike_map({"a": 1.0}) is not alike_map({"a": 1})
    assert list(alike_map({"b": 1, "a": 2})) == ["b", "a"]
    assert alike_map({}) is NOTHING
    listed = {"a": [1]}
    assert alike_map(listed) is listed
