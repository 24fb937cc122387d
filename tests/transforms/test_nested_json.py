from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.route.transforms import instantiate, load
from engine.transform import Context, Record

PATH = Path(__file__).parents[2] / "transforms" / "nested_json.py"
SHIPPED = load("nested_json", PATH.read_bytes(), "transforms/nested_json.py")


def opened(value: Any, *at: str) -> Any:
    assert SHIPPED.options is not None
    transform = instantiate(SHIPPED, SHIPPED.options(at=list(at)), Context("route"))
    (record,) = transform.feed_record(Record("e", b"raw", value))
    assert ("e", b"raw") == (record.event, record.data)
    return record.value


@pytest.mark.parametrize(
    ("value", "at", "expected"),
    [
        ({"a": '{"b": 1}', "c": 2}, ["a"], {"a": {"b": 1}, "c": 2}),
        ({"a": {"b": '"x"'}}, ["$.a.b"], {"a": {"b": "x"}}),
        ({"a": '{"b": "[1]"}'}, ["a", "a.b"], {"a": {"b": [1]}}),
        ({"a": ["1", "2"]}, ["a.1"], {"a": ["1", 2]}),
        ({"a": ["1", "2"]}, ["a.*"], {"a": [1, 2]}),
        ({"a": {"x": "1", "y": "z"}}, ["a.*"], {"a": {"x": 1, "y": "z"}}),
        ({"a": "no JSON"}, ["a"], {"a": "no JSON"}),
        ({"a": 1}, ["a"], {"a": 1}),
        ({"a": 1}, ["b.c"], {"a": 1}),
        ([], ["x"], []),
    ],
)
def test_strings_are_opened_where_they_stand(value: Any, at: list[str], expected: Any) -> None:
    assert expected == opened(value, *at)


def test_the_record_that_came_is_left_alone() -> None:
    value = {"a": '{"b": 1}'}
    opened(value, "a")
    assert {"a": '{"b": 1}'} == value


def test_it_must_name_something() -> None:
    assert SHIPPED.options is not None
    with pytest.raises(ValueError, match="names nothing"):
        SHIPPED.options(at=[])
