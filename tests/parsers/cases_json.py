"""JSON documents: one a body, or the elements of one array."""

from __future__ import annotations

from typing import Any

from tests.parsers.case import BOM, TOO_LARGE, Case, rec


def _json(module: Any) -> Any:
    return module.JsonParser()


def _json_8(module: Any) -> Any:
    return module.JsonParser(limit=8)


JSON = [
    Case(
        "a document",
        _json,
        ' {"a":\r\n"é好😀"} '.encode(),
        [rec(' {"a":\r\n"é好😀"} '.encode())],
        1,
    ),
    Case("a mark", _json, BOM + b"{}", [rec(b"{}")]),
    Case("a blank body", _json, b" \r\n ", [], frames=0),
    Case("nothing", _json, b"", [], frames=0),
    Case("just small enough", _json_8, b"[1, 2, ]", [rec(b"[1, 2, ]")], arrive=[9]),
    Case("too large", _json_8, b"[1, 2, 3]", [], fault=TOO_LARGE.format(8)),
]


def _array(module: Any) -> Any:
    return module.JsonArrayParser()


def _array_8(module: Any) -> Any:
    return module.JsonArrayParser(limit=8)


def recs(*elements: str) -> list[Any]:
    return [rec(element.encode()) for element in elements]


JSON_ARRAY = [
    Case(
        "as Gemini sends it",
        _array,
        '[{"a": "é好😀"}\n,\r\n{"b": [1, {"c": []}]}\n]\n'.encode(),
        recs('{"a": "é好😀"}', '{"b": [1, {"c": []}]}'),
        frames=2,
        arrive=[19, 44],
    ),
    Case(
        "brackets, quotes and backslashes in strings",
        _array,
        rb'[{"a":"]}"},{"b":"\"}]"},{"c\\":"\\"},"]\"[", "\\", {"d":"\\\"}{"}]',
        recs(
            r'{"a":"]}"}', r'{"b":"\"}]"}', r'{"c\\":"\\"}', r'"]\"["', r'"\\"', r'{"d":"\\\"}{"}'
        ),
    ),
    Case(
        "bare values and nested arrays",
        _array,
        b' [1 , -2.5e3,true\n,null,"", [], [[2],[3]], {} ,4] ',
        recs("1", "-2.5e3", "true", "null", '""', "[]", "[[2],[3]]", "{}", "4"),
        frames=9,
    ),
    Case("a comma after the last", _array, b'[{"a":1},\r\n]', recs('{"a":1}')),
    Case("an object instead", _array, b'\r\n{"a":[1,{}]}\n', recs('{"a":[1,{}]}'), arrive=[14]),
    Case("a bare value instead", _array, b"12", recs("12")),
    Case(
        "several at the top",
        _array,
        b'{"a":1}{"b":2}\n[{"c":3}][4]',
        recs('{"a":1}', '{"b":2}', '{"c":3}', "4"),
    ),
    Case("a mark", _array, BOM + b"[1]", recs("1")),
    Case("nothing", _array, b"", [], frames=0),
    Case("an empty array", _array, b"[ ]", [], frames=0),
    Case("cut off in an object", _array, b'[{"a":1},{"a":[', recs('{"a":1}')),
    Case("cut off in a string", _array, b'["a","b\\', recs('"a"')),
    Case("cut off before the bracket", _array, b"[1,2", recs("1", "2")),
    Case("something else", _array, b"<html> }", recs("<html>")),
    Case(
        "the elements before one that is too large",
        _array_8,
        b'[{"a":12}, [3], {"a":123}, 4]',
        recs('{"a":12}', "[3]"),
        fault=TOO_LARGE.format(8),
    ),
    Case("a string too large", _array_8, b'["abcdefg"]', [], fault=TOO_LARGE.format(8)),
    Case(
        "a bare value too large",
        _array_8,
        b"[12345678, 123456789]",
        recs("12345678"),
        fault=TOO_LARGE.format(8),
    ),
    Case("never ending", _array_8, b'[{"a":"bcdefghijk', [], fault=TOO_LARGE.format(8)),
]
