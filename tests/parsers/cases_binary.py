"""Framings that tell their lengths beforehand."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from typing import Any, Literal

from engine.parsers.aws_eventstream import AwsEventstream
from engine.parsers.frames import Frames
from engine.parsers.websocket import Websocket
from engine.wire import FailureRecord, Record
from tests.parsers.case import TOO_LARGE, Case, rec
from tests.parsers.wire_forms import (
    ALL_TYPES,
    aws,
    aws_event,
    connect,
    crc,
    decimal,
    header,
    text_header,
    u32,
)

BAD_SUM = "FramingError: the checksum of a frame does not fit"
BAD_PRELUDE = "FramingError: the checksum of a prelude does not fit"
BAD_SIZES = "FramingError: the lengths of a frame contradict each other"
BAD_HEADERS = "FramingError: the headers of a frame cannot be read"
NO_LENGTH = "FramingError: a frame does not begin with its length"
TOO_LONG = "FramingError: a frame is longer than its length says"


def socket(limit: int = 1000, *, text: bool = False) -> Callable[[Any], Any]:
    return lambda module: module.websocket_parser(Websocket(text=text), limit=limit)


def message(payload: bytes, *, text: bool = True) -> bytes:
    return connect(payload, 0x81 if text else 0x82)


def frames(
    length: Literal["u32be", "u32le", "decimal-line"] = "u32be",
    *,
    flags: bool = False,
    crc: bool = False,
    limit: int = 1000,
) -> Callable[[Any], Any]:
    options = Frames(length=length, flags=flags, crc=crc)
    return lambda module: module.frames_parser(options, limit=limit)


def spoiled(frame: bytes, at: int) -> bytes:
    """The frame with one bit of the byte at this place turned."""
    place = at % len(frame)
    return frame[:place] + bytes([frame[place] ^ 1]) + frame[place + 1 :]


JSON_A = '{"a":"é好"}'.encode()

SOCKET = [
    Case(
        "text and binary",
        socket(),
        message(JSON_A) + message(b"") + message(b"\x81\x00", text=False),
        [rec(JSON_A, "text"), rec(b"", "text"), rec(b"\x81\x00", "binary")],
        frames=3,
        arrive=[18, 23, 30],
    ),
    Case(
        "text that is not opened",
        socket(text=True),
        message(JSON_A) + message(b"42[]"),
        [Record("text", JSON_A, JSON_A.decode()), Record("text", b"42[]", "42[]")],
    ),
    Case("cut off", socket(), message(b"ab") + message(b"cd")[:-1], [rec(b"ab", "text")], frames=1),
    Case(
        "no frame of a websocket",
        socket(),
        message(b"ab") + b"<html>",
        [rec(b"ab", "text")],
        fault="FramingError: the upstream did not open a websocket",
    ),
    Case(
        "too large",
        socket(3),
        message(b"abc") + message(b"abcd")[:5],
        [rec(b"abc", "text")],
        fault=TOO_LARGE.format(3),
    ),
]

PACKED = gzip.compress(JSON_A, mtime=0)
BAD_GZIP = "FramingError: a compressed frame cannot be unpacked"

FRAMES = [
    Case(
        "compressed frames, the last of them too",
        frames(flags=True),
        connect(PACKED, 1) + connect(gzip.compress(b"{}", mtime=0), 3),
        [rec(JSON_A, "0"), rec(b"{}", "2")],
        frames=2,
    ),
    Case(
        "a flag of the same bit and no gzip",
        frames(flags=True),
        connect(b"{}", 1) + connect(PACKED, 2),
        [rec(b"{}", "1"), rec(PACKED, "2")],
    ),
    Case("gzip without flags", frames(), u32(PACKED), [rec(PACKED)]),
    Case(
        "gzip that is broken",
        frames(flags=True),
        connect(b"{}") + connect(PACKED[:12] + b"\xff\xff" + PACKED[14:], 1),
        [rec(b"{}", "0")],
        fault=BAD_GZIP,
    ),
    Case("gzip that is cut", frames(flags=True), connect(PACKED[:-9], 1), [], fault=BAD_GZIP),
    Case(
        "gzip that is as large as a frame may be",
        frames(flags=True, limit=100),
        connect(gzip.compress(b"x" * 100, mtime=0), 1),
        [rec(b"x" * 100, "0")],
    ),
    Case(
        "gzip that is larger",
        frames(flags=True, limit=100),
        connect(gzip.compress(b"x" * 101, mtime=0), 1),
        [],
        fault=TOO_LARGE.format(100),
    ),
    Case(
        "Connect-RPC",
        frames(flags=True),
        connect(JSON_A) + connect(b"") + connect(b"{}", 128),
        [rec(JSON_A, "0"), rec(b"", "0"), rec(b"{}", "128")],
        frames=3,
        arrive=[18, 23, 30],
    ),
    Case("no flags", frames(), u32(b"a") + u32(b"bc"), [rec(b"a"), rec(b"bc")], arrive=[5, 11]),
    Case(
        "little end first",
        frames("u32le"),
        u32(b"a" * 9, "<") + u32(b"b", "<"),
        [rec(b"a" * 9), rec(b"b")],
    ),
    Case(
        "checksums",
        frames(crc=True),
        u32(b"abc", check=True) + u32(b"", check=True),
        [rec(b"abc"), rec(b"")],
        frames=2,
        arrive=[11, 19],
    ),
    Case(
        "checksums, little end first",
        frames("u32le", crc=True),
        u32(b"abc", "<", check=True),
        [rec(b"abc")],
    ),
    Case(
        "a bad checksum after good ones",
        frames(crc=True),
        u32(b"a", check=True)
        + u32(b"b", check=True)
        + spoiled(u32(b"c", check=True), 4)
        + u32(b"d", check=True),
        [rec(b"a"), rec(b"b")],
        fault=BAD_SUM,
    ),
    Case(
        "cut off",
        frames(flags=True),
        connect(b"a") + connect(b"bcd")[:-1],
        [rec(b"a", "0")],
        frames=1,
    ),
    Case("cut off in the length", frames(), u32(b"a") + b"\0\0\0", [rec(b"a")]),
    Case("nothing", frames(), b"", [], frames=0),
    Case("just small enough", frames(limit=4), u32(b"abcd"), [rec(b"abcd")]),
    Case(
        "too large",
        frames(limit=4),
        u32(b"a") + u32(b"abcde"),
        [rec(b"a")],
        fault=TOO_LARGE.format(4),
    ),
    Case("a length like text", frames(), b"<html>", [], fault=TOO_LARGE.format(1000)),
]

PAYLOADS = ['[["é好😀😀"]]', "[1,\n2]", '{"a":"\\n"}']
DECIMAL_RECORDS = [rec(payload.encode()) for payload in PAYLOADS]

DECIMAL = [
    Case(
        "both line ends counted, as Gemini's web page has it",
        frames("decimal-line"),
        b")]}'\n\n" + "".join(decimal(p).decode() for p in PAYLOADS).encode(),
        DECIMAL_RECORDS,
        frames=3,
    ),
    Case(
        "the last line end counted",
        frames("decimal-line"),
        b"".join(decimal(p, 1) for p in PAYLOADS),
        DECIMAL_RECORDS,
        frames=3,
    ),
    Case(
        "no line end counted",
        frames("decimal-line"),
        b"".join(decimal(p, 0) for p in PAYLOADS),
        DECIMAL_RECORDS,
        frames=3,
    ),
    Case(
        "prompt",
        frames("decimal-line"),
        b"4\n[]\n\n4\n{}\n",
        [rec(b"[]"), rec(b"{}")],
        arrive=[5, 11],
    ),
    Case(
        "both newlines", frames("decimal-line"), b"4\r\n[]\r\n4\r\n{}\r\n", [rec(b"[]"), rec(b"{}")]
    ),
    Case(
        "no last newline",
        frames("decimal-line"),
        b"4\n[]\n9\n[1,2,3]",
        [rec(b"[]"), rec(b"[1,2,3]")],
    ),
    Case("cut off", frames("decimal-line"), b"4\n[]\n9\n[1,2,", [rec(b"[]")]),
    Case("cut off in the length", frames("decimal-line"), b"4\n[]\n9", [rec(b"[]")]),
    Case("nothing", frames("decimal-line"), b"", [], frames=0),
    Case("a page", frames("decimal-line"), b"4\n[]\n<html>\n", [rec(b"[]")], fault=NO_LENGTH),
    Case("a line without end", frames("decimal-line"), b"1" * 70, [], fault=NO_LENGTH),
    Case(
        "more than it says",
        frames("decimal-line"),
        b"4\n[]\n3\n[1,2]\n",
        [rec(b"[]")],
        fault=TOO_LONG,
    ),
    Case(
        "too large",
        frames("decimal-line", limit=8),
        b"4\n[]\n99\n[1,2,3,4,5]\n",
        [rec(b"[]")],
        fault=TOO_LARGE.format(8),
    ),
    Case("just small enough", frames("decimal-line", limit=8), b"9\n[1,2,3]\n", [rec(b"[1,2,3]")]),
]


def _aws(module: Any) -> Any:
    return module.aws_eventstream_parser()


def _aws_100(module: Any) -> Any:
    return module.aws_eventstream_parser(limit=100)


def _aws_named(module: Any) -> Any:
    return module.aws_eventstream_parser(AwsEventstream(event_from="kind"))


PUBLISHED = bytes.fromhex(
    "000000100000000005c248eb7d98c8ff0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936"
)
EXCEPTION = aws(
    text_header(":message-type", "exception")
    + text_header(":exception-type", "throttlingException"),
    b'{"message":"slow"}',
)
ERROR = aws(
    text_header(":message-type", "error")
    + text_header(":error-code", "Broken")
    + text_header(":error-message", "it broke"),
    b"",
)


def _with_prelude(total: int, headers: int) -> bytes:
    sizes = struct.pack(">II", total, headers)
    return sizes + crc(sizes) + bytes(8)


AWS = [
    Case(
        "published samples",
        _aws,
        PUBLISHED,
        [rec(b""), rec(b"{'foo':'bar'}")],
        frames=2,
        arrive=[16, 45],
    ),
    Case(
        "events",
        _aws,
        aws_event("messageStart", b'{"role":"assistant"}') + aws_event("δ", JSON_A),
        [rec(b'{"role":"assistant"}', "messageStart"), rec(JSON_A, "δ")],
        frames=2,
    ),
    Case("headers of every type", _aws, aws(ALL_TYPES, b"{}"), [rec(b"{}", "last")]),
    Case(
        "another header names the event",
        _aws_named,
        aws(text_header("kind", "x"), b"{}"),
        [rec(b"{}", "x")],
    ),
    Case(
        "an exception",
        _aws,
        EXCEPTION,
        [
            FailureRecord("throttlingException", b'{"message":"slow"}'),
        ],
    ),
    Case("an error", _aws, ERROR, [FailureRecord("Broken", b'{"message":"it broke"}')]),
    Case("cut off", _aws, aws(b"", b"a") + aws(b"", b"b")[:-1], [rec(b"a")], frames=1),
    Case("nothing", _aws, b"", [], frames=0),
    Case(
        "a bad prelude",
        _aws,
        aws(b"", b"a") + spoiled(aws(b"", b"b"), 9),
        [rec(b"a")],
        fault=BAD_PRELUDE,
    ),
    Case(
        "a bad payload",
        _aws,
        aws(b"", b"a") + spoiled(aws(b"", b"b"), 12),
        [rec(b"a")],
        fault=BAD_SUM,
    ),
    Case("a bad checksum", _aws, spoiled(aws(b"", b"b"), -1), [], fault=BAD_SUM),
    Case("headers longer than all", _aws, _with_prelude(20, 5), [], fault=BAD_SIZES),
    Case("an unknown type", _aws, aws(header("x", 10, b""), b"{}"), [], fault=BAD_HEADERS),
    Case("a value that runs out", _aws, aws(header("x", 4, b"\0"), b"{}"), [], fault=BAD_HEADERS),
    Case("a length that runs out", _aws, aws(header("x", 7, b"\0"), b"{}"), [], fault=BAD_HEADERS),
    Case("a name that runs out", _aws, aws(b"\x05x", b"{}"), [], fault=BAD_HEADERS),
    Case(
        "too large",
        _aws_100,
        aws(b"", b"a" * 84) + aws(b"", b"b" * 85),
        [rec(b"a" * 84)],
        fault=TOO_LARGE.format(100),
    ),
]
