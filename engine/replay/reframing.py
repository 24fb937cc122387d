"""Answers in length-prefixed frames with other bytes in their payloads: lengths, checksums anew.

Frames whose payload stays are left as they came. One that was compressed and changes is written
plain, with its bit taken off. What follows the last whole frame is changed as it is.
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial

from engine.parsers.aws_eventstream import aws_eventstream_parser
from engine.parsers.frames import Frames, frames_parser, utf16_units
from engine.route.route import Route

Change = Callable[[bytes], bytes]
Refit = Callable[[bytes, Change], bytes]  # one whole frame
Cut = Callable[[bytes], Iterator[bytes]]  # a body to frames, the rest last
_U32, _U16 = struct.Struct(">I"), struct.Struct(">H")
_PRELUDE, _STRING = 12, 7
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # of an AWS header's value, by type
_GZIP = b"\x1f\x8b"


def reframer(route: Route) -> Callable[[bytes, Change], bytes] | None:
    """Changes the payloads in a body of the route's stream; None if it has no such frames.

    The function raises FramingError where a body cannot be taken apart.
    """
    stream = route.spec.stream
    form = stream.format if stream is not None else None
    if form is None or form.name not in ("aws_eventstream", "frames"):
        return None
    if form.name == "aws_eventstream":
        return partial(_changed, _aws_frames, _aws)
    options = form.frames or Frames()
    refit = _decimal if options.length == "decimal-line" else _binary
    return partial(_changed, partial(_frames, options), partial(refit, options))


def _changed(cut: Cut, refit: Refit, body: bytes, change: Change) -> bytes:
    *frames, rest = cut(body)
    return b"".join([refit(frame, change) for frame in frames]) + change(rest)


def _aws_frames(body: bytes) -> Iterator[bytes]:
    at = 0
    while len(body) >= at + _PRELUDE and len(body) >= at + (size := _U32.unpack_from(body, at)[0]):
        frame = body[at : at + size]
        aws_eventstream_parser().feed(frame)  # says whether it is one
        yield frame
        at += size
    yield body[at:]


def _aws(frame: bytes, change: Change) -> bytes:
    (head,) = _U32.unpack_from(frame, 4)
    headers = b"".join(_headers(frame[_PRELUDE : _PRELUDE + head], change))
    payload = change(frame[_PRELUDE + head : -4])
    prelude = _U32.pack(_PRELUDE + len(headers) + len(payload) + 4) + _U32.pack(len(headers))
    made = prelude + _U32.pack(zlib.crc32(prelude)) + headers + payload
    return made + _U32.pack(zlib.crc32(made))


def _headers(block: bytes, change: Change) -> Iterator[bytes]:
    at = 0
    while at < len(block):
        value = at + 1 + block[at] + 1
        kind = block[value - 1]
        if kind in _SIZES:
            end = value + _SIZES[kind]
            yield block[at:end]
        else:
            begin = value + 2
            end = begin + _U16.unpack_from(block, value)[0]
            text = change(block[begin:end]) if kind == _STRING else block[begin:end]
            yield block[at:value] + _U16.pack(len(text)) + text
        at = end


def _frames(options: Frames, body: bytes) -> Iterator[bytes]:
    """Whole frames, found by the parser: it is fed byte by byte, and counts them."""
    parser, begin = frames_parser(options), 0
    for at in range(len(body)):
        before = parser.frames
        parser.feed(body[at : at + 1])
        if parser.frames > before:
            yield body[begin : at + 1]
            begin = at + 1
    yield body[begin:]


def _binary(options: Frames, frame: bytes, change: Change) -> bytes:
    u32 = struct.Struct(">I" if options.length == "u32be" else "<I")
    begin, end = int(options.flags) + 4, len(frame) - 4 * options.crc
    head, payload = frame[: int(options.flags)], frame[begin:end]
    packed = bool(head) and head[0] & 1 and payload.startswith(_GZIP)
    plain = gzip.decompress(payload) if packed else payload
    new = change(plain)
    if new == plain:
        return frame
    flags = bytes([head[0] & ~1]) if packed else head
    made = flags + u32.pack(len(new)) + new
    return made + u32.pack(zlib.crc32(made)) if options.crc else made


def _decimal(options: Frames, frame: bytes, change: Change) -> bytes:
    """The length is on the last line before the payload that has digits alone."""
    hit = re.match(rb"(?:\s*|\)\]\}')*?\s*(\d+)\s*?\n", frame)
    if hit is None:
        return change(frame)
    payload = frame[hit.end() :]
    new = change(payload)
    size = int(hit[1]) + utf16_units(new) - utf16_units(payload)
    return frame[: hit.start(1)] + b"%d" % size + frame[hit.end(1) : hit.end()] + new
