"""Server-sent events: records and whole frames."""

from __future__ import annotations

from typing import Any

from engine.wire import Record
from tests.parsers.case import BOM, TOO_LARGE, Case, line, rec


def _sse(module: Any) -> Any:
    return module.SseParser()


def _sse_frames(module: Any) -> Any:
    return module.SseFrames()


def _sse_16(module: Any) -> Any:
    return module.SseParser(limit=16)


def _frames_16(module: Any) -> Any:
    return module.SseFrames(limit=16)


AB = [rec(b"a", "x"), rec("é好😀".encode())]
AB_BODY = "event: x\ndata: a\n\ndata: é好😀\n\n".encode()


def _texts(module: Any) -> Any:
    return module.sse_parser(module.Sse(text=True))


SSE = [
    Case(
        "data that is text",
        _texts,
        AB_BODY,
        [Record("x", b"a", "a"), Record("", "é好😀".encode(), "é好😀")],
        frames=2,
        arrive=[18, 35],
    ),
    Case("the end of text", _texts, b"data: <a>\ndata: b", [line("<a>\nb")], frames=1),
    Case("line feeds", _sse, AB_BODY, AB, frames=2, arrive=[18, 35]),
    Case(
        "carriage return and line feed",
        _sse,
        AB_BODY.replace(b"\n", b"\r\n"),
        AB,
        frames=2,
        arrive=[21, 40],
    ),
    Case("carriage returns", _sse, AB_BODY.replace(b"\n", b"\r"), AB, frames=2, arrive=[18, 35]),
    Case(
        "mixed newlines",
        _sse,
        b"event: x\rdata: a\n\r\ndata: b\r\n\rdata: c\n\ndata: d\r\n\ndata: e\r\r\n",
        [rec(b"a", "x"), rec(b"b"), rec(b"c"), rec(b"d"), rec(b"e")],
        frames=5,
    ),
    Case("a mark at the start", _sse, BOM + b"data: a\n\ndata: b\n\n", [rec(b"a"), rec(b"b")]),
    Case(
        "a mark later is no mark",
        _sse,
        b"data: a\n\n" + BOM + b"data: b\n\ndata: c\n\n",
        [rec(b"a"), rec(b"c")],
        frames=3,
    ),
    Case("a mark and nothing", _sse, BOM, [], frames=0),
    Case("nothing", _sse, b"", [], frames=0),
    Case(
        "comments and pings count but give nothing",
        _sse,
        b": hi\n\n:\n\nevent: ping\n\n: c\ndata: a\n: d\n\nretry: 5\nid: 7\n\n",
        [rec(b"a")],
        frames=5,
    ),
    Case("blank lines", _sse, b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n\n", [rec(b"a"), rec(b"b")], 2),
    Case(
        "many data lines",
        _sse,
        b"data: a\ndata:b\ndata:  c\ndata:\ndata\n\n",
        [rec(b"a\nb\n c\n\n")],
        arrive=[36],
    ),
    Case(
        "ids and unknown fields are left out",
        _sse,
        b"id: 1\nfoo: x\ndatas: y\n data: z\nretry: 3\nevent:e\ndata:a:b\n\n",
        [rec(b"a:b", "e")],
    ),
    Case(
        "the name does not outlive its event",
        _sse,
        b"event: x\n\ndata: a\n\nevent: y\ndata: b\n\ndata: c\n\n",
        [rec(b"a"), rec(b"b", "y"), rec(b"c")],
    ),
    Case("empty data is data", _sse, b"event: close\ndata:\n\n", [rec(b"", "close")]),
    Case("no last blank line", _sse, b"data: a\n\ndata: b\n", [rec(b"a"), rec(b"b")], frames=2),
    Case("no last newline", _sse, b"data: a\r\n\r\ndata: b", [rec(b"a"), rec(b"b")], frames=2),
    Case("an end that waits for its line feed", _sse, b"data: a\r\n\r", [rec(b"a")], frames=1),
    Case(
        "[DONE] within JSON",
        _sse,
        b'data: {"tag":"final","content":"[DONE]"}\n\ndata: [DONE]\n\n',
        [rec(b'{"tag":"final","content":"[DONE]"}'), rec(b"[DONE]")],
    ),
    Case(
        "bytes that are no text stay as they are",
        _sse,
        b"event: \xff\ndata: \xff\x00\xe2\x80\xa8\n\n",
        [rec(b"\xff\x00\xe2\x80\xa8", "�")],
    ),
    Case(
        "a carriage return within a plain frame",
        _sse,
        b"data: a\rdata: b\n\ndata: c\n\n",
        [rec(b"a\nb"), rec(b"c")],
    ),
    Case(
        "lines that stand where blank ones would",
        _sse,
        b"data: a\nid: 1\ndata: b\n\ndata: c\n\n",
        [rec(b"a\nb"), rec(b"c")],
    ),
    Case(
        "plain frames and one that is not",
        _sse,
        b"data: a\n\ndata: b\ndata: c\n\ndata:d\n\n: e\n\ndata: f\n\n",
        [rec(b"a"), rec(b"b\nc"), rec(b"d"), rec(b"f")],
        frames=5,
    ),
    Case(
        "the frames before one that is too large",
        _sse_16,
        b"data: 45678901\n\ndata: 2\n\ndata: 456789012\n\ndata: 4\n\n",
        [rec(b"45678901"), rec(b"2")],
        fault=TOO_LARGE.format(16),
    ),
    Case("one line that never ends", _sse_16, b"d" * 40, [], fault=TOO_LARGE.format(16)),
    Case(
        "too large at once",
        _sse_16,
        b"data: 456789012\n\ndata: 4\n\n",
        [],
        fault=TOO_LARGE.format(16),
    ),
    Case(
        "pass-through, line feeds",
        _sse_frames,
        b"event: x\nid: 3\ndata: a\n\n: ping\n\n\ndata: b\n\n",
        [b"event: x\nid: 3\ndata: a\n\n", b": ping\n\n", b"data: b\n\n"],
        frames=3,
        arrive=[24, 32, 42],
    ),
    Case(
        "pass-through, both",
        _sse_frames,
        b"data: a\r\nid: 3\r\n\r\n\r\ndata: b\r\n\r\n",
        [b"data: a\r\nid: 3\r\n\r\n", b"data: b\r\n\r\n"],
        frames=2,
    ),
    Case(
        "pass-through, carriage returns",
        _sse_frames,
        b"data: a\rid: 3\r\r\rdata: b\r\r",
        [b"data: a\rid: 3\r\r", b"data: b\r\r"],
        arrive=[15, 25],
    ),
    Case(
        "pass-through, mixed",
        _sse_frames,
        b"a\n\r\nb\r\n\rc\r\r\nd\r\n\ne\n\rf\n\n",
        [b"a\n\r\n", b"b\r\n\r", b"c\r\r", b"d\r\n\n", b"e\n\r", b"f\n\n"],
    ),
    Case(
        "pass-through makes the last frame whole",
        _sse_frames,
        BOM + b"data: a\n\ndata: [DONE]\n",
        [b"data: a\n\n", b"data: [DONE]\n\n"],
    ),
    Case(
        "pass-through, too large",
        _frames_16,
        b": 1\n\ndata: 456789012\n\ndata: 4\n\n",
        [b": 1\n\n"],
        fault=TOO_LARGE.format(16),
    ),
]
