"""Requests, responses and records as values; JSON both ways without loss."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire import (
    Headers,
    HttpRequest,
    HttpResponse,
    JsonError,
    TooTight,
    TornText,
    Unpacker,
    dumps,
    find_header,
    loads,
    loads_frame,
    mend,
)

REQUEST = HttpRequest("POST", "https://a.example/x", (("Accept", "*/*"), ("X-A", "1")))


def test_headers_are_found_without_regard_to_case_and_the_first_wins() -> None:
    pairs = (("X-One", "1"), ("x-one", "2"))
    assert find_header(pairs, "X-ONE") == "1"
    assert find_header(pairs, "x-two") is None
    assert REQUEST.header("accept") == "*/*"
    assert HttpResponse(200, pairs).header("x-ONE") == "1"


def test_headers_that_are_set_replace_those_of_their_name_and_keep_the_others() -> None:
    assert REQUEST.with_headers({"x-a": "2", "Y": "3"}).headers == (
        ("Accept", "*/*"),
        ("x-a", "2"),
        ("Y", "3"),
    )
    assert REQUEST.headers == (("Accept", "*/*"), ("X-A", "1"))


def test_a_clients_headers_come_from_a_map_or_from_pairs() -> None:
    assert Headers.of({"X-A": "1"}).get("x-a") == "1"
    assert Headers.of([("X-A", "1"), ("x-a", "2")]).get("X-A") == "1"
    assert Headers().get("x-a") == ""
    assert Headers().get("x-a", "none") == "none"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", 2**64),
        ("-9223372036854775808", -(2**63)),
        ("-9223372036854775809", -(2**63) - 1),
        ('{"a":123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        ("0.12345678901234567890123", 0.12345678901234568),
        (r'"\ud800x"', "\ufffdx"),
        (r'"\ud83d\ude00"', "😀"),
        ('"é"', "é"),
        (" [1] ", [1]),
    ],
)
def test_decoding_loses_nothing(text: str, value: object) -> None:
    found = loads(text)
    assert found == value
    assert type(found) is type(value)
    assert loads(text.encode()) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"NaN",
        b"[Infinity]",
        b"[1,]",
        b'"\xff"',
        b"\xef\xbb\xbf{}",
        b"{'a':1}",
        b"[1] [2]",
        b"[" * 100_000,
        b"[" * 990 + b"12345678901234567890123" + b"]" * 990,
        b"1" * 5000,
    ],
)
def test_what_is_not_json_or_nested_without_end_is_a_json_error(data: bytes) -> None:
    with pytest.raises(JsonError):
        loads(data)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" * 310 + ".0"])
@pytest.mark.parametrize("read", [loads, loads_frame])
def test_a_number_too_large_to_keep_is_refused_and_does_not_become_nothing(
    read: Callable[[bytes], object], number: str
) -> None:
    with pytest.raises(JsonError, match=f"too large to keep: {number[:40]}"):
        read(f'{{"a":[{number}]}}'.encode())


def test_a_lone_surrogate_in_text_is_replaced() -> None:
    assert loads('"a\ud800"') == "a\ufffd"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None, 1.5]}, b'{"b":1,"a":[true,null,1.5]}'),
        (2**70, b"1180591620717411303424"),
        ("a\ud800", '"a\ufffd"'.encode()),
        ({"\ud800": ["\udfff"]}, '{"\ufffd":["\ufffd"]}'.encode()),
        ("é\n", '"é\\n"'.encode()),
        ({1: 2}, b'{"1":2}'),
    ],
)
def test_encoding_is_compact_and_keeps_the_order(value: object, text: bytes) -> None:
    assert dumps(value) == text


def test_deep_values_are_encoded_where_the_fast_encoder_gives_up() -> None:
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    assert dumps(deep) == b"[" * 301 + b"]" * 301


def test_what_json_cannot_hold_is_a_type_error() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for value in (object(), {"a": {1, 2}}, [2**70, float("nan")], endless):
        with pytest.raises(TypeError):
            dumps(value)


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_is_encoded_is_decoded_to_the_same(value: object) -> None:
    assert loads(dumps(value)) == value


@given(st.binary())
def test_decoding_raises_nothing_but_json_errors(data: bytes) -> None:
    with contextlib.suppress(JsonError):
        loads(data)


def test_halves_of_a_character_are_moved_together() -> None:
    torn, rest = rb'{"a":"x\ud83d"}', rb'{"b":1,"a":"\ude00y"}'
    assert mend(torn, rest) == (rb'{"a":"x"}', rb'{"b":1,"a":"\ud83d\ude00y"}')
    for other in (b"", rb'{"a":"y"}', rb'{"a":"y\ude00"}'):
        assert mend(torn, other) == (torn, other)
    for decode in (loads_frame, partial(loads, torn=True)):
        with pytest.raises(TornText):
            decode(torn)
    assert loads_frame(torn, torn=False) == {"a": "x\ufffd"}
    assert loads_frame(rb'{"a":"\ud83d x"}') == {"a": "\ufffd x"}


def unpacked(*pieces: bytes, most: int = 1000) -> bytes:
    unpacker = Unpacker()
    return b"".join(unpacker.feed(piece, most) for piece in pieces)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_members_are_unpacked_one_after_the_other_however_they_are_cut(
    pack: Callable[[bytes], bytes],
) -> None:
    data = pack(b"one,") + bytes(3) + pack(b"two") + pack(b"") + bytes(2)
    assert b"one,two" == unpacked(data)
    assert b"one,two" == unpacked(*(data[at : at + 1] for at in range(len(data))))
    for at in range(len(data)):
        assert b"one,two" == unpacked(data[:at], data[at:])


@pytest.mark.parametrize("tail", [b"junk", b"\0\0junk", b"\x1f\x8bjunk"])
def test_what_follows_a_member_is_packed_too(tail: bytes) -> None:
    with pytest.raises(zlib.error):
        unpacked(gzip.compress(b"one") + tail + b"more")


def test_only_so_much_is_unpacked_at_once() -> None:
    member = gzip.compress(b"0" * 600)
    assert 600 == len(unpacked(member))
    for data in (gzip.compress(b"0" * 1001), member + member):
        with pytest.raises(TooTight):
            unpacked(data)
