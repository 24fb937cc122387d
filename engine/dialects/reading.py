"""Typed reading of a client's JSON: what `parse` of every dialect takes fields with.

A field is popped from its object, so that what is left over is what nobody knew. A field of the
wrong type raises RequestError(bad_request) that names the field as the client would.
"""

from __future__ import annotations

from typing import TypeVar

from engine.chat import Extras
from engine.errors import RequestError
from engine.wire import JsonError, loads

_T = TypeVar("_T")

NAMES: dict[type, str] = {
    str: "a string", bool: "true or false", int: "an integer", float: "a number",
    list: "a list", dict: "an object", type(None): "null",
}  # fmt: skip


def read_body(body: bytes) -> object:
    """The body, decoded."""
    try:
        return loads(body)
    except JsonError as error:
        raise RequestError("bad_request", f"the request body is {error}") from None


def body_fields(value: object) -> Extras:
    """A copy of the body's fields, for them to be taken from."""
    if not isinstance(value, dict):
        got = NAMES[type(value)]
        raise RequestError("bad_request", f"the request body: expected an object, got {got}")
    return dict(value)


def mismatch(where: str, wanted: str, got: str) -> RequestError:
    return RequestError("bad_request", f"{where}: expected {wanted}, got {got}", param=where)


def wrong(where: str, kind: type, value: object) -> RequestError:
    return mismatch(where, NAMES[kind], NAMES[type(value)])


def take(rest: Extras, name: str, kind: type[_T], where: str = "") -> _T | None:
    """Pop a field that is absent, null, or of this type; float takes integers too."""
    value = rest.pop(name, None)
    if value is None or type(value) is kind or (kind is float and type(value) is int):
        return value  # type: ignore[return-value] # `cast` would cost more than all the rest
    raise wrong(where + name, kind, value)


def need(rest: Extras, name: str, kind: type[_T], where: str = "") -> _T:
    """`take`, but absent and null are errors."""
    value = take(rest, name, kind, where)
    if value is None:
        raise mismatch(where + name, NAMES[kind], "nothing")
    return value


def fields(value: object, where: str) -> Extras:
    """A copy of an object, for its fields to be taken from."""
    if not isinstance(value, dict):
        raise wrong(where, dict, value)
    return dict(value)


def model_of(rest: Extras) -> str:
    model = need(rest, "model", str)
    if not model:
        raise RequestError("bad_request", "model: must not be empty", param="model")
    return model


def words(rest: Extras, name: str) -> list[str]:
    """A list of strings, empty if it is absent."""
    found = take(rest, name, list) or []
    for at, word in enumerate(found):
        if not isinstance(word, str):
            raise wrong(f"{name}[{at}]", str, word)
    return list(found)
