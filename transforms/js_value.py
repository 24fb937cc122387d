"""Take the object or array literal that an inline script assigns to a name.

The literal is parsed, never run: strings in any quotes, bare keys, trailing commas, comments,
numbers in every notation. Expressions (calls, names, `${}`) are not literals, so that place is
passed over. The page is read up to 2 MiB, and the work on it is bounded.
"""

import re
from dataclasses import dataclass
from types import MappingProxyType

from engine.transform import Context, HttpResponse, Path, dumps, option

API = 1
MAX_BODY = 2 * 1024 * 1024
MAX_DEPTH = 64
MAX_TOKENS = 200_000  # over all places where the name is assigned
MAX_READ = 2 * MAX_BODY  # characters, over all these places

GAP = re.compile(r"(?:\s++|//[^\r\n]*+|/\*(?s:.*?)(?:\*/|\Z))*+")
TOKEN = re.compile(
    r"""
      (?P<string> "[^"\\\r\n]*+ (?: \\(?:\r\n|(?s:.)) [^"\\\r\n]*+ )*+ "
                | '[^'\\\r\n]*+ (?: \\(?:\r\n|(?s:.)) [^'\\\r\n]*+ )*+ ' )
    | (?P<template> `[^`\\$]*+ (?: (?: \\(?s:.) | \$(?!\{) ) [^`\\$]*+ )*+ ` )
    | (?P<number> [+-]? (?: 0[xX][0-9a-fA-F]++ | 0[oO][0-7]++ | 0[bB][01]++
                | (?: [0-9][0-9_]*+ (?:\.[0-9_]*+)?+ | \.[0-9]++ ) (?:[eE][+-]?[0-9]++)?+
                ) n? (?![\w$]) )
    | (?P<word> ![01] | void[ ]0 | [^\W\d][\w$]*+ | \$[\w$]*+ )
    | (?P<mark> [\[\]{}:,] )
    """,
    re.VERBOSE,
)
ESCAPE = re.compile(
    r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r\n|(?s:.)))"
)
WORDS = MappingProxyType(
    {
        "true": True,
        "false": False,
        "null": None,
        "undefined": None,
        "NaN": None,
        "Infinity": None,
        "void 0": None,
        "!0": True,
        "!1": False,
    }
)
PLAIN = MappingProxyType(
    {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
)
LINE_ENDS = ("\n", "\r", "\r\n", "\u2028", "\u2029")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    name: str = option(doc="the name it is assigned to", example="kimi_ajax")
    read: Path | None = option(
        None, "what to take of it; left out: the whole literal as JSON text", example="$.nonce"
    )

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\S+", self.name):
            raise ValueError("`name` must not be empty or hold spaces")


class Transform:
    def __init__(self, options: Options, context: Context) -> None:
        self.options = options

    def extract(self, response: HttpResponse) -> str | None:
        text = response.body[:MAX_BODY].decode("utf-8", "replace")
        reader = _Reader(text)
        for place in _assignments(self.options.name).finditer(text):
            if reader.spent():
                return None
            try:
                value = reader.literal(place.end())
            except _NotLiteral:
                continue
            found = self.options.read.first(value) if self.options.read else value
            if found is not None:
                return found if isinstance(found, str) else dumps(found).decode()
        return None


def _assignments(name: str) -> re.Pattern[str]:
    """`name =`, `x.name =`, `x["name"] =`, `name:` and `"name":`, but no comparison or arrow."""
    return re.compile(rf"""(?<![\w$]){re.escape(name)}["']?\]?\s*+(?:=(?![=>])|:)""")


class _NotLiteral(Exception):
    """What stands here is not a literal that can be read."""


class _Reader:
    """Reads one literal after another from a text, within one budget for all."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._tokens = MAX_TOKENS
        self._read = MAX_READ

    def spent(self) -> bool:
        return self._tokens <= 0 or self._read <= 0

    def literal(self, at: int) -> object:
        """The object or array that starts at `at`. Raises _NotLiteral."""
        self._at = at
        try:
            kind, text = self._next()
            if kind != "mark":
                raise _NotLiteral
            return self._value(kind, text, 0)
        finally:
            self._read -= self._at - at

    def _next(self) -> tuple[str, str]:
        self._tokens -= 1
        gap = GAP.match(self._text, self._at)
        self._at = gap.end() if gap else self._at
        found = TOKEN.match(self._text, self._at)
        if not found or self._tokens < 0:
            raise _NotLiteral
        self._at = found.end()
        return found.lastgroup or "", found[0]

    def _value(self, kind: str, text: str, depth: int) -> object:
        if kind in ("string", "template"):
            return _unquoted(text)
        if kind == "number":
            return _number(text)
        if kind == "word" and text in WORDS:
            return WORDS[text]
        if depth < MAX_DEPTH and text == "{":
            return self._object(depth + 1)
        if depth < MAX_DEPTH and text == "[":
            return self._array(depth + 1)
        raise _NotLiteral

    def _object(self, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        kind, text = self._next()
        while text != "}" or kind != "mark":
            key = _key(kind, text)
            self._expect(":")
            found[key] = self._value(*self._next(), depth)
            if self._expect(",", "}") == "}":
                break
            kind, text = self._next()
        return found

    def _array(self, depth: int) -> list[object]:
        found: list[object] = []
        kind, text = self._next()
        while text != "]" or kind != "mark":
            found.append(self._value(kind, text, depth))
            if self._expect(",", "]") == "]":
                break
            kind, text = self._next()
        return found

    def _expect(self, *marks: str) -> str:
        kind, text = self._next()
        if kind != "mark" or text not in marks:
            raise _NotLiteral
        return text


def _key(kind: str, text: str) -> str:
    if kind == "string":
        return _unquoted(text)
    if kind == "number":
        return str(_number(text))
    if kind == "word" and text[0] != "!" and " " not in text:
        return text
    raise _NotLiteral


def _number(text: str) -> int | float:
    digits = text.removesuffix("n").replace("_", "")
    try:
        if digits.lstrip("+-")[:2].lower() in ("0x", "0o", "0b"):
            return int(digits, 0)
        return float(digits) if re.search(r"[.eE]", digits) else int(digits)
    except ValueError:  # thousands of digits
        raise _NotLiteral from None


def _unquoted(text: str) -> str:
    inner = text[1:-1]
    if "\\" not in inner:
        return inner
    # Two escapes may be the halves of one character: UTF-16 joins them.
    return (
        ESCAPE.sub(_unescaped, inner).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )


def _unescaped(found: re.Match[str]) -> str:
    code = found[1] or found[2] or found[3]
    if code:
        return chr(int(code, 16)) if int(code, 16) <= 0x10FFFF else "\ufffd"
    if found[4] in LINE_ENDS:
        return ""
    return PLAIN.get(found[4], found[4])
