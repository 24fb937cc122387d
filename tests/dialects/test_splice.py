from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dialects import splice as module
from engine.dialects.splice import LONG, Scan, scan, splice
from tests.dialects.openai_chat.bodies import nested

OPTIONS = {"include_usage": True}


@pytest.fixture(autouse=True, scope="module", params=["msgspec", "orjson"])
def decoder(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both ways to decode: with the extra `fast` and without."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "orjson":
            patch.setattr(module, "_decode", orjson.loads)
        yield request.param


def found(body: bytes) -> Scan:
    result = scan(body)
    assert result is not None
    return result


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","messages":[]}',
        b' {\n "messages" : [ ] ,\t"model"\r\n:  "m" , "temperature": 1.0 }\n',
        b'{"messages":[{"role":"user","content":"say \\"model\\":\\"x\\""}],"model":"m"}',
        b'{"tools":[{"properties":{"model":{"type":"string"}},"required":["model"]}],"model":"m"}',
        b'{"model":"m","tools":[{"properties":{"model":"x"},"enum":["model"]}],"a":"model"}',
        b'{"x\\"model":"v","y":"\\\\","model":"m"}',
        b'{"big":123456789012345678901234567890,"model":"m"}',
    ],
)
def test_nothing_but_the_model_changes(body: bytes) -> None:
    at = body.rindex(b'"m"')
    result = found(body)
    assert ("m", at, at + 3) == (result.model, result.start, result.end)
    assert splice(body, result, "other") == body[:at] + b'"other"' + body[at + 3 :]


def test_the_same_model_leaves_the_body_as_it_is() -> None:
    body = b'{"model":"m"}'
    assert splice(body, found(body), "m") is body


def test_models_of_any_characters() -> None:
    body = '{"model":"a\\"b\\u00e9é"}'.encode()
    assert found(body).model == 'a"béé'
    assert orjson.loads(splice(body, found(body), 'x"y\n')) == {"model": 'x"y\n'}


@pytest.mark.parametrize(
    ("fields", "stream", "usage"),
    [
        ({}, False, False),
        ({"stream": False}, False, False),
        ({"stream": None}, False, False),
        ({"stream": True}, True, False),
        ({"stream": True, "stream_options": OPTIONS}, True, True),
        ({"stream_options": {}}, False, False),
        ({"messages": [{"stream": True, "stream_options": OPTIONS}]}, False, False),
    ],
)
def test_stream_and_usage_are_read_at_the_top(
    fields: dict[str, Any], stream: bool, usage: bool
) -> None:
    result = found(orjson.dumps({"model": "m", **fields}))
    assert (stream, usage) == (result.stream, result.include_usage)
    assert (fields.get("stream") is False) == result.declines


def test_a_stream_is_made_to_end_with_its_usage() -> None:
    body = b'{"messages":[],"model": "m","stream":true}'
    assert splice(body, found(body), "n") == (
        b'{"messages":[],"stream_options":{"include_usage":true},"model": "n","stream":true}'
    )
    assert splice(body, found(body), "m", include_usage=False) is body


def test_a_stream_that_asks_for_usage_itself_needs_nothing() -> None:
    body = orjson.dumps({"model": "m", "stream": True, "stream_options": OPTIONS})
    assert splice(body, found(body), "m") is body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b'["model"]',
        b"{}",
        b'{"model":5}',
        b'{"model":null}',
        b'{"model":{"model":"m"}}',
        b'{"a":{"model":"m"}}',
        b'{"a":[{"model":"m"}]}',
        b'{"model":"m"',
        b'{"model":"m"}}',
        b'{"model":"m","a":NaN}',
        b'{"model":"m","a":"\xff"}',
        b'{"model":"m","a":"\\ud800"}',
        b'{"model":"m","model":"n"}',
        b'{"model":"m","model":"m"}',
        b'{"model":"m","mod\\u0065l":"n"}',
        b'{"mod\\u0065l":"n","model":"m"}',
        b'{"mod\\u0065l":"m"}',
        b'{"model":"m","messages":[{"model":"a"},{"model":"b"}],"mod\\u0065l":"n"}',
        b'{"model":"m","stream":1.5}',
        b'{"model":"m","stream":"yes"}',
        b'{"model":"m","stream":true,"stream_options":{"include_obfuscation":false}}',
        b'{"model":"m","stream":true,"stream_options":null}',
    ],
)
def test_what_is_odd_is_left_to_the_careful_road(body: bytes) -> None:
    assert scan(body) is None


def test_a_model_hidden_behind_many_others_is_left_to_the_careful_road() -> None:
    nested = b",".join(b'{"model":"x"}' for _ in range(50))
    body = b'{"a":[' + nested + b'],"model":"m","b":[' + nested + b"]}"
    assert scan(body) is None


keys = st.sampled_from(["model", "stream", "stream_options", "messages", "a", 'mod"el', "\\", "é"])
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(['"model":"x"', '{"model":"y"}', "model", '\\"model', "你好", "\\", ""])
)
values = nested(leaves, keys, most=3)
bodies = st.builds(
    lambda head, model, tail: {**head, **model, **tail},
    st.dictionaries(keys, values, max_size=3),
    st.just({}) | st.fixed_dictionaries({"model": st.sampled_from(["m", "ü", 'a"b'])}),
    st.dictionaries(keys, values, max_size=3),
)


@given(bodies, st.sampled_from([None, 1]), st.booleans())
@settings(max_examples=600, deadline=None)
def test_a_splice_says_what_decoding_and_encoding_would_say(
    value: dict[str, Any], indent: int | None, ascii: bool
) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii).encode()
    result = scan(body)
    if result is None:
        return
    assert value["model"] == result.model
    assert (value.get("stream") is True) == result.stream
    expected = {**value, "model": "new"}
    if result.stream and not result.include_usage:
        expected["stream_options"] = OPTIONS
    assert expected == json.loads(splice(body, result, "new"))


@given(st.lists(st.tuples(keys, values), max_size=5))
@settings(max_examples=300, deadline=None)
def test_repeated_keys_are_never_spliced(pairs: list[tuple[str, Any]]) -> None:
    items = ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in pairs)
    result = scan(f"{{{items}}}".encode())
    models = [value for key, value in pairs if key == "model"]
    assert result is None or models == [result.model]
    if len(models) == 1 and isinstance(models[0], str) and "stream" not in dict(pairs):
        assert result is not None or items.count('"model"') > 2


def test_a_long_body_need_not_be_utf_8_where_nobody_reads_it(decoder: str) -> None:
    long = b'{"model":"m","a":"' + b"x" * LONG + b'\xff"}'
    assert (scan(long) is None) == (decoder == "orjson")
    assert scan(long[:-2] + b'"') is None
    assert scan(long.replace(b'"m"', b'"\xff"')) is None


def test_ordinary_requests_are_spliced() -> None:
    request = {"messages": [{"role": "user", "content": "x" * 5000}], "model": "m"}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"model": "string"}}}]
    for body in (request, {"model": "m", **request}, {**request, "tools": tools}):
        assert found(orjson.dumps({**body, "stream": True})).model == "m"
