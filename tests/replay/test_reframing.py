"""Payloads in length-prefixed frames are changed, and lengths and checksums fit again."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable

import pytest

from engine.parsers import PARSERS, FramingError
from engine.parsers.aws_eventstream import aws_eventstream_parser
from engine.parsers.frames import Frames, frames_parser, framing
from engine.replay.reframing import reframer
from engine.route.compile import Sources, compile_route

ROUTE = """\
version: 1
base_url: https://example.com
models: [m]
request: { json: { q: "{{ req.prompt }}" } }
stream: { format: FORMAT, events: [ { text: $.t }, { finish: stop } ] }
"""


def changer(form: str) -> Callable[..., bytes]:
    found = compile_route(ROUTE.replace("FORMAT", form).encode(), "r.yaml", Sources())
    assert found.route is not None, found.problems
    refit = reframer(found.route)
    assert refit is not None
    return refit


def longer(data: bytes) -> bytes:
    return data.replace(b"secret", b"a long placeholder")


def aws(payload: bytes, value: bytes = b"chunk") -> bytes:
    headers = b"".join(
        bytes([len(name)]) + name + b"\x07" + struct.pack(">H", len(text)) + text
        for name, text in ((b":event-type", value), (b"x", b"secret"))
    )
    headers += b"\x01n\x04\0\0\0\x09"
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    made = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return made + struct.pack(">I", zlib.crc32(made))


def test_an_aws_frame_has_new_lengths_and_checksums() -> None:
    body = aws(b'{"t": "secret"}') + aws(b'{"t": "other"}', b"secret")
    made = changer("aws_eventstream")(body, longer)
    records = aws_eventstream_parser().feed(made)
    assert [
        ("chunk", b'{"t": "a long placeholder"}'),
        ("a long placeholder", b'{"t": "other"}'),
    ] == [(each.event, each.data) for each in records]
    assert b"secret" not in made
    assert body == changer("aws_eventstream")(body, bytes)


def test_half_a_frame_at_the_end_is_kept() -> None:
    half = aws(b"{}")[:9]
    assert aws(b"{}") + half == changer("aws_eventstream")(aws(b"{}") + half, bytes)


def test_what_is_in_no_frames_is_changed_as_it_is() -> None:
    body = b'{"error": "a document with a secret"}'
    assert longer(body) == changer("aws_eventstream")(body, longer)


def test_a_frame_whose_checksum_is_wrong_cannot_be_taken_apart() -> None:
    with pytest.raises(FramingError):
        changer("aws_eventstream")(aws(b"{}")[:-4] + b"none", longer)


@pytest.mark.parametrize("length", ["u32be", "u32le"])
@pytest.mark.parametrize("crc", [False, True])
def test_a_binary_frame_has_its_length_and_checksum(length: str, *, crc: bool) -> None:
    options = Frames(flags=True, length=length, crc=crc)  # type: ignore[arg-type]
    body = framing(options)(b"my secret") + framing(options)(b"plain")
    form = f"{{ frames: {{ flags: true, length: {length}, crc: {str(crc).lower()} }} }}"
    made = changer(form)(body, longer)
    records = frames_parser(options).feed(made)
    assert [b"my a long placeholder", b"plain"] == [each.data for each in records]


def test_a_packed_frame_is_looked_into_and_written_plain_only_if_it_changes() -> None:
    packed = [gzip.compress(text) for text in (b"my secret", b"plain")]
    body = b"".join(b"\x01" + struct.pack(">I", len(each)) + each for each in packed)
    made = changer("{ frames: { flags: true } }")(body, longer)
    records = frames_parser(Frames(flags=True)).feed(made)
    assert [b"my a long placeholder", b"plain"] == [each.data for each in records]
    assert made.endswith(packed[1])


def test_lengths_in_decimal_count_what_is_there_now() -> None:
    options = Frames(length="decimal-line")
    body = b")]}'\n\n" + b"11\nmy secret\n" + b"6\n\xc3\xa9t\xc3\xa9\xf0\x9f\x8c\x8d\n"
    assert [b"my secret", "été🌍".encode()] == [
        each.data for each in frames_parser(options).feed(body)
    ]
    made = changer("{ frames: { length: decimal-line } }")(body, longer)
    assert [b"my a long placeholder", "été🌍".encode()] == [
        each.data for each in frames_parser(options).feed(made)
    ]


def test_framings_without_lengths_are_left_alone() -> None:
    lengths = {"aws_eventstream", "frames"}
    for word in PARSERS.keys() - lengths - {"websocket"}:
        text = ROUTE.replace("FORMAT", word)
        found = compile_route(text.encode(), "r.yaml", Sources())
        assert found.route is None or reframer(found.route) is None
