from __future__ import annotations

import pytest

from engine.dialects.reading import body_fields, fields, model_of, need, read_body, take, words
from engine.errors import RequestError


def test_a_field_is_taken_out_of_its_object() -> None:
    rest: dict[str, object] = {"a": 1, "b": None, "c": 2}
    assert (1, None, 2.0) == (take(rest, "a", int), take(rest, "b", str), take(rest, "c", float))
    assert rest == {}


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (True, int, "x.a: expected an integer, got true or false"),
        (1.5, int, "x.a: expected an integer, got a number"),
        ("1", float, "x.a: expected a number, got a string"),
        ([], dict, "x.a: expected an object, got a list"),
    ],
)
def test_a_field_of_another_type_is_refused(value: object, kind: type, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        take({"a": value}, "a", kind, "x.")
    assert ("bad_request", message, "x.a") == (
        caught.value.kind, caught.value.message, caught.value.param,
    )  # fmt: skip


def test_what_is_needed_and_absent_is_refused() -> None:
    with pytest.raises(RequestError, match="a: expected a string, got nothing"):
        need({"a": None}, "a", str)


def test_objects_are_copied() -> None:
    given = {"a": 1}
    fields(given, "x").clear()
    body_fields(given).clear()
    assert given == {"a": 1}


@pytest.mark.parametrize("body", [b"{", b"", b"\xff"])
def test_a_body_that_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="the request body is not JSON"):
        read_body(body)


def test_a_body_with_a_number_that_would_not_arrive_is_refused() -> None:
    with pytest.raises(RequestError, match="the request body is JSON with a number too large"):
        read_body(b'{"model":"m","x":-1e999}')


def test_a_body_that_is_no_object_is_refused() -> None:
    with pytest.raises(RequestError, match="expected an object, got null"):
        body_fields(None)


def test_a_model_has_a_name() -> None:
    assert model_of({"model": "m"}) == "m"
    with pytest.raises(RequestError, match="must not be empty"):
        model_of({"model": ""})


def test_lists_of_words() -> None:
    assert (["a"], []) == (words({"a": ["a"]}, "a"), words({}, "a"))
    with pytest.raises(RequestError, match=r"a\[1\]: expected a string, got null"):
        words({"a": ["a", None]}, "a")
