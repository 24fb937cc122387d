"""Framings by line, and raw text."""

from __future__ import annotations

from typing import Any

from engine.wire import Record
from tests.parsers.case import BOM, TOO_LARGE, Case, line, rec


def _ndjson(module: Any) -> Any:
    return module.NdjsonParser()


def _lines(module: Any) -> Any:
    return module.LinesParser()


NDJSON = [
    Case(
        "values",
        _ndjson,
        '{"a":"é好😀"}\n{"b":2}\n'.encode(),
        [rec('{"a":"é好😀"}'.encode()), rec(b'{"b":2}')],
        frames=2,
        arrive=[18, 26],
    ),
    Case(
        "blank lines, spaces, both newlines, no last one",
        _ndjson,
        BOM + b'\r\n{"a":1}\r\n\n  \n{"b":2}\n\n\r{"c":3}',
        [rec(b'{"a":1}'), rec(b'{"b":2}'), rec(b'{"c":3}')],
        frames=8,
    ),
    Case("nothing", _ndjson, b"", [], frames=0),
]

LINES = [
    Case(
        "all three ends",
        _lines,
        "a\nb\r\nc\rd é好😀\n\n\r\n\r\re".encode(),
        [line(text) for text in ("a", "b", "c", "d é好😀", "", "", "", "", "e")],
        frames=9,
    ),
    Case("carriage returns are prompt", _lines, b"a\rb\r", [line("a"), line("b")], arrive=[2, 4]),
    Case("both halves of an end", _lines, b"a\r\nb\r\n", [line("a"), line("b")], arrive=[2, 5]),
    Case("a mark", _lines, BOM + b"a\n" + BOM + b"b", [line("a"), line("\ufeffb")]),
    Case("a mark and nothing", _lines, BOM, []),
    Case(
        "other separators are text",
        _lines,
        "a\u2028b\x85c\x0bd\x1ce\n".encode(),
        [line("a\u2028b\x85c\x0bd\x1ce")],
    ),
    Case(
        "bad bytes",
        _lines,
        b"a\xffb\xe5\xa5\nc",
        [Record("", b"a\xffb\xe5\xa5", "a�b�"), line("c")],
    ),
    Case(
        "the lines before one that is too large",
        lambda module: module.LinesParser(limit=4),
        b"1234\n12\n12345\n1\n",
        [line("1234"), line("12")],
        fault=TOO_LARGE.format(4),
    ),
    Case(
        "too large at the end",
        lambda module: module.LinesParser(limit=4),
        b"1\n12345",
        [line("1")],
        fault=TOO_LARGE.format(4),
    ),
    Case(
        "too large at once",
        lambda module: module.LinesParser(limit=4),
        b"12345\n1\n",
        [],
        fault=TOO_LARGE.format(4),
    ),
]


def _joined(records: list[Record]) -> list[Record]:
    data = b"".join(record.data for record in records)
    return [Record("", data, "".join(str(record.value) for record in records))]


def _text(module: Any) -> Any:
    return module.TextParser()


TEXT = [
    Case("characters", _text, "aé好😀\n\r\n b".encode(), [line("aé好😀\n\r\n b")], fold=_joined),
    Case("a mark", _text, BOM + b"a", [line("a")], fold=_joined),
    Case(
        "bad bytes and a character cut off",
        _text,
        b"a\xffb\xc3\xa9\xe5\xa5",
        [Record("", b"a\xffb\xc3\xa9\xe5\xa5", "a�bé�")],
        fold=_joined,
    ),
    Case("nothing", _text, b"", [line("")], frames=0, fold=_joined),
]


def _whole_text(module: Any) -> Any:
    return module.WholeTextParser(limit=20)


WHOLE_TEXT = [
    Case(
        "a page", _whole_text, BOM + "<a>\né好</a>\n".encode(), [line("<a>\né好</a>\n")], frames=1
    ),
    Case("a character cut off", _whole_text, b"a\xe5\xa5", [Record("", b"a\xe5\xa5", "a\ufffd")]),
    Case("blank", _whole_text, b" \n", [], frames=0),
    Case("too large", _whole_text, b"x" * 21, [], fault=TOO_LARGE.format(20)),
]
