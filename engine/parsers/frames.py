"""Length-prefixed frames: Connect-RPC (flags and u32be) and its kin, and lengths in decimal.

Binary: a flag byte (if `flags`), the length in four bytes, the payload, its CRC-32 (if `crc`).
Bit 0 of the flag says that the payload is compressed (Connect and gRPC alike). What is gzip then is
unpacked, within the bound of a frame, and the bit taken off: nobody else need know.

`decimal-line`: the length in digits on a line of its own, then the payload and a line end. The
length counts UTF-16 code units. Senders do not agree whether the line ends before and after the
payload are among them, so a frame ends with the first line end at or after its length, and one
that misses it by more than these two is refused. Blank lines between frames and the line `)]}'`,
which keeps scripts from reading the answer, are passed over.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from engine.options import option
from engine.wire import Record

from .bounds import MAX_FRAME, FramingError, too_large
from .prefixed import PrefixedParser

_U32 = {"u32be": struct.Struct(">I"), "u32le": struct.Struct("<I")}
_GUARD = b")]}'"
_GZIP = b"\x1f\x8b"
_COMPRESSED = 1
_LONGEST_HEAD = 64
_CONTINUATION = bytes(range(0x80, 0xC0))
_FOUR_BYTES = bytes(range(0xF0, 0xF8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """How a frame tells its length. `flags` and `crc` go with the binary lengths only."""

    flags: bool = option(False, "a flag byte comes first; rules see it as `event`, in decimal")
    length: Literal["u32be", "u32le", "decimal-line"] = option(
        "u32be",
        "four bytes, or a line of digits that counts UTF-16 code units; then the payload ends "
        "with a line end, too",
    )
    crc: bool = option(
        False, "a CRC-32 of all before it ends the frame, in the byte order of the length"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFrames(Frames):
    """Length-prefixed frames of an answer."""

    text: bool = option(
        False,
        "what is in a frame is text, not JSON: base64, say, for rules with "
        "`each: $ | b64d | from_json`",
    )


def frames_parser(options: Frames | None = None, limit: int = MAX_FRAME) -> PrefixedParser:
    """The parser for these options. Raises ValueError if they do not go together."""
    options = options or AnswerFrames()
    text = isinstance(options, AnswerFrames) and options.text
    if options.length != "decimal-line":
        return PrefixedParser(_Binary(options, limit).take, text=text)
    if options.flags or options.crc:
        raise ValueError("flags and crc need a binary length")
    return PrefixedParser(_DecimalLine(limit).take, last=b"\n", text=text)


def framing(options: Frames) -> Callable[[bytes], bytes]:
    """Puts a body into one frame, its flag 0. Raises ValueError for what only answers have."""
    if options.length == "decimal-line":
        raise ValueError("a body goes in a frame with a binary length")
    u32, flag = _U32[options.length], b"\0" * options.flags

    def framed(body: bytes) -> bytes:
        frame = flag + u32.pack(len(body)) + body
        return frame + u32.pack(zlib.crc32(frame)) if options.crc else frame

    return framed


class _Binary:
    def __init__(self, options: Frames, limit: int) -> None:
        self._u32 = _U32[options.length]
        self._flags = options.flags
        self._crc = options.crc
        self._limit = limit

    def take(self, buffer: bytearray, at: int) -> tuple[Record, int] | None:
        body = at + self._flags + 4
        if len(buffer) < body:
            return None
        (length,) = self._u32.unpack_from(buffer, body - 4)
        if length > self._limit:
            raise too_large(self._limit)
        end = body + length
        after = end + 4 * self._crc
        if len(buffer) < after:
            return None
        if self._crc and (zlib.crc32(buffer[at:end]),) != self._u32.unpack_from(buffer, end):
            raise FramingError("the checksum of a frame does not fit")
        payload = bytes(buffer[body:end])
        if not self._flags:
            return Record("", payload), after
        flag = buffer[at]
        if flag & _COMPRESSED and payload.startswith(_GZIP):
            flag, payload = flag & ~_COMPRESSED, _unpacked(payload, self._limit)
        return Record(str(flag), payload), after


def _unpacked(payload: bytes, limit: int) -> bytes:
    inflate = zlib.decompressobj(31)
    try:
        data = inflate.decompress(payload, limit + 1)
    except zlib.error:
        raise FramingError("a compressed frame cannot be unpacked") from None
    if len(data) > limit:
        raise too_large(limit)
    if not inflate.eof:
        raise FramingError("a compressed frame cannot be unpacked")
    return data


class _DecimalLine:
    """Counts each byte once: `_read` bytes of the frame at hand are known to be `_units` units."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._read = 0
        self._units = 0

    def take(self, buffer: bytearray, at: int) -> tuple[Record | None, int] | None:
        body = _line_end(buffer, at)
        if not body:
            return None
        head = bytes(buffer[at:body]).strip()
        if head in (b"", _GUARD):
            return None, body
        end = self._payload_end(buffer, at, body, _size(head))
        if (end or len(buffer)) - body > self._limit:
            raise too_large(self._limit)
        if not end:
            return None
        return Record("", bytes(buffer[body:end]).strip()), end

    def _payload_end(self, buffer: bytearray, at: int, body: int, size: int) -> int:
        """The place after the payload's line end, 0 if it has not come."""
        start = at + self._read if self._read else body
        units = self._units or 1  # the line end of the head
        while end := buffer.find(b"\n", start) + 1:
            units += utf16_units(bytes(buffer[start:end]))
            start = end
            if units >= size:
                self._read = self._units = 0
                return _checked(end, units - size)
        self._units = units + utf16_units(bytes(buffer[start:]))
        self._read = len(buffer) - at
        return 0


def _line_end(buffer: bytearray, at: int) -> int:
    """The place after the line of the length, 0 if it has not come."""
    end = buffer.find(b"\n", at, at + _LONGEST_HEAD) + 1
    if not end and len(buffer) - at >= _LONGEST_HEAD:
        raise FramingError("a frame does not begin with its length")
    return end


def _size(head: bytes) -> int:
    if not head.isdigit():
        raise FramingError("a frame does not begin with its length")
    return int(head)


def _checked(end: int, beyond: int) -> int:
    if beyond > 2:
        raise FramingError("a frame is longer than its length says")
    return end


def utf16_units(text: bytes) -> int:
    """UTF-16 code units of UTF-8 text, which may be cut inside a character.

    The first byte of a character counts one, that of a character of four bytes counts two.
    """
    singles = len(text.translate(None, _CONTINUATION))
    doubles = len(text) - len(text.translate(None, _FOUR_BYTES))
    return singles + doubles
