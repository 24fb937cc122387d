"""What goes over the wire, as values: requests, responses, records; and JSON both ways.

Nothing here touches a socket. Header names are kept as written and compared without case.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isinf
from typing import Any

import orjson

# Integers from 2^64 and below -2^63, which orjson would turn into a lossy float.
_LONG_INTEGER = re.compile(rb"(?:^|[:,\[])\s*-?[1-9]\d{19}")
# Digits become "0", all else a space: a run of 20 is then found a dozen times faster.
_DIGITS = bytes(48 if 48 <= byte < 58 else 32 for byte in range(256))
_RUN = b"0" * 20
_HALF = re.compile(rb'(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2})"')
_OTHER_HALF = re.compile(rb'"(\\u[dD][c-fC-F][0-9a-fA-F]{2})')
_SURROGATE = re.compile("[\ud800-\udfff]")

PACKED = (b"\x1f\x8b", b"\x78\x9c", b"\x78\x01", b"\x78\xda")  # how gzip and deflate begin


class TooTight(Exception):
    """More was packed than there may be."""


class Unpacker:
    """gzip or deflate, one member after the other (RFC 1952 §2.2); zeros may stand behind one."""

    __slots__ = ("_held", "_inflate")

    def __init__(self) -> None:
        self._inflate: Any = None
        self._held = b""  # too little to tell what follows a member

    def feed(self, data: bytes, most: int) -> bytes:
        """Raises TooTight for more than `most` bytes, zlib.error for what is not packed."""
        out, size = [], 0
        data, self._held = self._held + data, b""
        while data:
            if self._inflate is None or self._inflate.eof:
                data = data.lstrip(b"\0") if self._inflate is not None else data
                if len(data) < 2:
                    self._held = data
                    break
                if data[:2] not in PACKED:
                    raise zlib.error("what follows is not packed")
                self._inflate = zlib.decompressobj(47)
            found = self._inflate.decompress(data, most - size + 1)
            size += len(found)
            if size > most or self._inflate.unconsumed_tail:
                raise TooTight
            out.append(found)
            data = self._inflate.unused_data
        return b"".join(out)


# Requests and answers are not to be changed once they are made, and nothing here does. They are not
# frozen, since to make a frozen one takes four times as long, and each call makes two.


@dataclass(slots=True, unsafe_hash=True)
class HttpRequest:
    """A request to an upstream. `url` is absolute once rendered; a transform may give a path.

    query and headers keep their order and may repeat a name. body is the final bytes.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    timeout: float | None = None

    def header(self, name: str) -> str | None:
        return find_header(self.headers, name)

    def with_headers(self, headers: Mapping[str, str]) -> HttpRequest:
        """The same request with these headers set, each replacing what had its name."""
        gone = {name.lower() for name in headers}
        kept = tuple(pair for pair in self.headers if pair[0].lower() not in gone)
        given = kept + tuple(headers.items())
        return HttpRequest(self.method, self.url, given, self.query, self.body, self.timeout)


@dataclass(slots=True, unsafe_hash=True)
class HttpResponse:
    """An upstream's answer, read whole (at most the caller's cap) or only its head (body b"")."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return find_header(self.headers, name)


@dataclass(slots=True)
class Record:
    """One frame of an answer, parsed.

    event   name the framing gave it (SSE `event:`, AWS `:event-type`), "" if none
    data    the payload's bytes as they came
    value   the payload decoded once: JSON value for JSON formats, str for text and lines
    """

    event: str
    data: bytes
    value: object = None


class FailureRecord(Record):
    """A frame that its framing calls a failure: where no rule knows it, the answer has failed."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SocketMessage:
    """A whole message of a websocket, its fragments joined. text: its bytes are UTF-8 text."""

    data: bytes
    text: bool = True


_CONTROLS = bytes((*range(0x09), *range(0x0A, 0x20), 0x7F))  # HTAB may stand in a value


def unbroken(head: bytes, lines: int) -> bool:
    """Whether a head of so many lines, joined by CRLF, holds no other control character.

    RFC 9110 §5.5. What a client or an upstream wrote can fill a value, never a line.
    """
    return len(head) - len(head.translate(None, _CONTROLS)) == 2 * (lines - 1)


def find_header(headers: Sequence[tuple[str, str]], name: str) -> str | None:
    """The first header of that name, without regard to case, or None."""
    wanted = name.lower()
    for key, value in headers:
        if key.lower() == wanted:
            return value
    return None


class JsonError(ValueError):
    """The bytes are not JSON."""


def loads(data: bytes | str, *, torn: bool = False) -> object:
    """Decode JSON. Integers keep their value, lone surrogate escapes become U+FFFD.

    Raises JsonError, for numbers that no float can hold, too. orjson is used where it is exact; the
    standard library takes over for integers beyond 64 bits and for surrogates, which orjson
    refuses. torn: it is a frame of several; raises TornText where a text ends in the first half of
    a surrogate pair.
    """
    raw = _utf8(data) if isinstance(data, str) else data
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        if torn and _HALF.search(raw):
            raise TornText("a text ends in half a character") from None
        return _loads_slowly(raw)
    if type(value) is float or (_RUN in raw.translate(_DIGITS) and _LONG_INTEGER.search(raw)):
        return _loads_slowly(raw)
    return value


class TornText(JsonError):
    """A text of a frame ends in half a character; the next frame has the rest of it."""


def loads_frame(data: bytes, *, torn: bool = True) -> object:
    """`loads` for frames of which only texts and counts are read: integers may lose digits.

    Raises TornText where a text ends in the first half of a surrogate pair, unless `torn` is false.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        if torn and _HALF.search(data):
            raise TornText("a text ends in half a character") from None
        return _loads_slowly(data)


# For a frame of which only a text is wanted, and such a text. They raise ValueError and TypeError
# where `loads` and `dumps` have to go slowly; what the one reads the other can write.
loads_text, dumps_text = orjson.loads, orjson.dumps


def mend(torn: bytes, rest: bytes) -> tuple[bytes, bytes]:
    """Two frames, half a character moved from the end of a text to where it goes on, if it does."""
    half, other = _HALF.search(torn), _OTHER_HALF.search(rest)
    if half is None or other is None:
        return torn, rest
    at = other.start(1)
    return torn[: half.start(1)] + torn[half.end(1) :], rest[:at] + half[1] + rest[at:]


def _loads_slowly(raw: bytes) -> object:
    try:
        text = raw.decode("utf-8")
        return scrub(json.loads(text, parse_constant=_refuse_constant, parse_float=_finite))
    except JsonError:
        raise
    except (ValueError, RecursionError) as error:
        raise JsonError(f"not JSON: {error}") from None


def _finite(digits: str) -> float:
    """A number that a float can hold: orjson refuses others, and `json` would make infinity."""
    value = float(digits)
    if isinf(value):
        shown = digits if len(digits) <= 40 else f"{digits[:40]}…"
        raise JsonError(f"JSON with a number too large to keep: {shown}")
    return value


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def dumps(value: object) -> bytes:
    """Encode as compact UTF-8 JSON, keys in order. Raises TypeError for what JSON cannot hold."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return _dumps_slowly(value)


def _dumps_slowly(value: object) -> bytes:
    """What orjson refuses: integers beyond 64 bits, lone surrogates, deep nesting."""
    try:
        text = json.dumps(scrub(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise TypeError(f"no JSON can be made of this: {error}") from None
    return text.encode()


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text).encode()


def scrub(value: object) -> object:
    """The same value with lone surrogates replaced by U+FFFD: they have no UTF-8 form."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [scrub(item) for item in value]
    if isinstance(value, dict):
        return {scrub(key): scrub(item) for key, item in value.items()}
    return value


@dataclass(slots=True)
class Headers:
    """Headers of a client's request: looked up without case, first value wins.

    pairs has lower-case names, or compares them without case itself.
    """

    pairs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, pairs: Mapping[str, str] | Sequence[tuple[str, str]]) -> Headers:
        items = pairs.items() if isinstance(pairs, Mapping) else pairs
        found: dict[str, str] = {}
        for name, value in items:
            found.setdefault(name.lower(), value)
        return cls(found)

    def get(self, name: str, default: str = "") -> str:
        return self.pairs.get(name.lower(), default)
