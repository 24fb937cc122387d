from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.dialects.embedding import Embedding, pack, read_request, unpack
from engine.errors import ExchangeError, RequestError
from engine.events import Usage
from engine.wire import dumps

NUMBERS: list[object] = [0.5, -1.25, 3.0]
PACKED = "AAAAPwAAoL8AAEBA"


def asked(**fields: Any) -> Embedding:
    return read_request(dumps({"model": "m", "input": "a", **fields}))


def answer(*vectors: object, **more: object) -> bytes:
    data = [{"object": "embedding", "index": at, "embedding": v} for at, v in enumerate(vectors)]
    return dumps({"object": "list", "data": data, "model": "up", **more})


def test_the_form_is_what_was_asked_for() -> None:
    assert (asked().form, asked(encoding_format="float").form) == ("float", "float")
    assert (asked(encoding_format=None).form, asked(encoding_format="base64").form) == (
        "float", "base64",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"encoding_format": 7}, "encoding_format"),
        ({"model": ""}, "model"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        asked(**fields)
    assert (caught.value.kind, caught.value.param) == ("bad_request", param)


def test_the_clients_bytes_go_on_with_another_model() -> None:
    body = b'{ "input": [1, 2],\n "model" : "m", "dimensions": 12345678901234567890123 }'
    assert read_request(body).body("up", True) == body.replace(b'"m"', b'"up"')
    assert read_request(body).body("up", False) == body.replace(b'"m"', b'"up"')


def test_an_upstream_that_must_not_be_told_the_form() -> None:
    found = asked(encoding_format="base64", user="u")
    assert json.loads(found.body("up", True))["encoding_format"] == "base64"
    assert json.loads(found.body("up", False)) == {"model": "up", "input": "a", "user": "u"}


@pytest.mark.rows("TR-58")
@pytest.mark.parametrize(("form", "vector"), [("float", NUMBERS), ("base64", PACKED)])
def test_vectors_in_the_wanted_form_stay_as_they_came(form: str, vector: object) -> None:
    body = answer(vector, usage={"prompt_tokens": 4, "total_tokens": 4}).replace(b",", b" , ")
    said, usage = asked(encoding_format=form).read(body)
    assert said == body
    assert usage == Usage(4, 0, raw={"prompt_tokens": 4, "total_tokens": 4})


@pytest.mark.rows("TR-58")
@pytest.mark.parametrize(
    ("form", "given", "wanted"), [("float", PACKED, NUMBERS), ("base64", NUMBERS, PACKED)]
)
def test_vectors_in_the_other_form_are_written_anew(
    form: str, given: object, wanted: object
) -> None:
    said, usage = asked(encoding_format=form).read(answer(given, given, x=1))
    assert json.loads(said) == json.loads(answer(wanted, wanted, x=1))
    assert usage is None


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=5))
def test_what_is_packed_is_unpacked(numbers: list[float]) -> None:
    assert unpack(pack(list(numbers))) == numbers


@pytest.mark.parametrize(
    ("body", "cls"),
    [
        (b"<html>", "retryable"),
        (b"[]", "retryable"),
        (b"{}", "retryable"),
        (answer(None), "retryable"),
        (answer("§§"), "retryable"),
        (answer("AAAA"), "retryable"),
        (b'{"error":{"message":"no such model","code":"model_not_found"}}', "model_not_found"),
    ],
)
def test_what_holds_no_vectors_is_an_error(body: bytes, cls: str) -> None:
    with pytest.raises(ExchangeError) as caught:
        asked().read(body)
    assert caught.value.cls == cls


def test_what_is_no_list_of_numbers_cannot_be_packed() -> None:
    for vector in (["a"], [1e99]):
        with pytest.raises(ExchangeError):
            asked(encoding_format="base64").read(answer(vector))
