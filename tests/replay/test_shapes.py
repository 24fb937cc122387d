"""Shapes of JSON: what is merged, what differs, what is left out."""

from __future__ import annotations

from typing import Any

from engine.replay.shapes import MOST_PATHS, Change, Shape, changes, is_id, said, without, word


def shape(*values: Any) -> Shape:
    made = Shape()
    for value in values:
        made.add(value)
    return made


def differ(old: list[Any], new: list[Any]) -> list[tuple[str, str, str, str]]:
    found = changes(shape(*old), shape(*new))
    return [(each.what, said(each.way), each.before, each.after) for each in found]


def test_items_of_lists_and_records_are_merged_into_one_shape() -> None:
    made = shape({"a": [{"x": 1}, {"y": "t"}]}, {"a": [], "b": None})
    assert {
        "$": {"object"},
        "$.a": {"array"},
        "$.a[*]": {"object"},
        "$.a[*].x": {"number"},
        "$.a[*].y": {"string"},
        "$.b": {"null"},
    } == {said(way): spot.types for way, spot in made.spots.items()}


def test_values_may_differ_and_whole_numbers_become_others() -> None:
    assert [] == differ(
        [{"id": 1, "text": "a", "on": True}], [{"id": 2.5, "text": "", "on": False}]
    )


def test_a_field_that_one_item_lacks_is_there() -> None:
    assert [] == differ([{"a": 1, "b": 2}, {"a": 1}], [{"a": 1}, {"a": 1}, {"a": 3, "b": 1}])


def test_of_what_is_lost_or_new_only_the_top_is_told() -> None:
    assert [
        ("vanished", "$.old", "object", "nothing"),
        ("appeared", "$['new-one']", "nothing", "array"),
    ] == differ([{"old": {"x": {"y": 1}}}], [{"new-one": [{"z": 1}]}])


def test_another_type_and_a_field_that_is_always_null_are_told() -> None:
    assert [
        ("retyped", "$.n", "number", "string"),
        ("vanished", "$.t", "string", "null"),
        ("appeared", "$.u", "null", "object"),
    ] == differ([{"n": 1, "t": "x", "u": None}], [{"n": "1", "t": None, "u": {"v": 1}}])


def test_what_an_empty_list_would_hold_is_open() -> None:
    (found,) = changes(shape({"a": [{"x": 1}]}), shape({"a": []}))
    assert Change("vanished", ("a", "[*]"), "object", "nothing", open=True) == found


def test_what_a_field_that_became_null_held_is_told_once() -> None:
    assert [("vanished", "$.a", "object", "null")] == differ([{"a": {"x": 1}}], [{"a": None}])


def test_words_that_name_kinds_are_compared_and_texts_are_not() -> None:
    old, new = {"type": "text", "title": "One"}, {"type": "image", "title": "Two"}
    assert [("renamed", "$.type", "text", "image")] == differ([old], [new])
    assert [] == differ([{"type": "Long ago"}], [{"type": "There was a secret"}])


def test_keys_that_are_ids_are_one() -> None:
    uuid = "0b9c7f3a-5b7e-4b1a-9a51-1a5b9c7f3a5b"
    assert [] == differ([{"jobs": {uuid: {"ok": True}}}], [{"jobs": {"8812": {"ok": False}}}])
    made_up = (uuid, "17", "resp_68a1b2c3d4e5f6a7")
    names = ("gpt-4o-mini", "completions", "sha256", "input_tokens_details_v2", "facade")
    assert [True] * 3 == list(map(is_id, made_up))
    assert [False] * 5 == list(map(is_id, names))


def test_a_word_is_short_and_has_no_blank() -> None:
    assert ["a.b/c:d-e", "", "", ""] == [word(each) for each in ("a.b/c:d-e", "a b", 7, "x" * 70)]


def test_a_shape_has_bounds() -> None:
    made = shape({f"k{at}x": 1 for at in range(2 * MOST_PATHS)})
    assert MOST_PATHS == len(made.spots)
    deep: Any = 1
    for _ in range(900):
        deep = {"d": deep}
    assert 50 > len(shape(deep).spots)


def test_a_field_is_taken_out_wherever_its_path_leads() -> None:
    value = {"a": [{"x": 1, "y": 2}, {"x": 3}], "b": 4}
    assert {"a": [{"y": 2}, {}], "b": 4} == without(value, ("a", "[*]", "x"))
    assert {"a": [], "b": 4} == without(value, ("a", "[*]"))
    assert {"b": 4} == without(value, ("a",))
    assert value == without(value, ("c", "d"))
    assert None is without(value, ())


def test_a_text_is_looked_into_only_where_that_is_wanted() -> None:
    value = {"wire": '{"a": [1]}', "other": '{"b": 1}', "bad": "{"}
    made = Shape(lambda way: way != ("other",))
    made.add(value)
    assert ["$.wire{}", "$.wire{}.a", "$.wire{}.a[*]"] == [
        said(way) for way in made.spots if "{}" in way
    ]
    assert {**value, "wire": "{}"} == without(value, ("wire", "{}", "a"))
    assert {**value, "wire": ""} == without(value, ("wire", "{}"))
