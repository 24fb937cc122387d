"""AWS event stream (application/vnd.amazon.eventstream): binary frames with typed headers.

    u32 total length | u32 length of the headers | u32 CRC-32 of these eight bytes
    headers          | payload                   | u32 CRC-32 of all before

All numbers are big-endian; both checksums are verified. A header is u8 name length, name, u8 type,
value. Only headers of type string are kept, the other nine types are stepped over by their size.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from engine.options import option
from engine.wire import FailureRecord, Record, dumps

from .bounds import MAX_FRAME, FramingError, too_large
from .prefixed import PrefixedParser

_PRELUDE = struct.Struct(">III")
_U32 = struct.Struct(">I")
_U16 = struct.Struct(">H")
_LEAST = 16  # prelude and last checksum

# Size of a value by its type: true, false, i8, i16, i32, i64, bytes, string, timestamp, uuid.
# None: two bytes of length come first.
_SIZES: dict[int, int | None] = {
    0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 6: None, 7: None, 8: 8, 9: 16
}  # fmt: skip
_STRING = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsEventstream:
    event_from: str = option(":event-type", "the header whose text is a record's event")


def aws_eventstream_parser(
    options: AwsEventstream | None = None, limit: int = MAX_FRAME
) -> PrefixedParser:
    """One Record per frame; its event is the text of the header `event_from`.

    An exception frame is named by `:exception-type`, an error frame by `:error-code`; both are
    FailureRecords. An error frame has no payload: its data is made to read `{"message": …}`, as
    that of an exception does.
    """
    return PrefixedParser(_Message(options or AwsEventstream(), limit).take)


class _Message:
    def __init__(self, options: AwsEventstream, limit: int) -> None:
        self._event_from = options.event_from
        self._limit = limit

    def take(self, buffer: bytearray, at: int) -> tuple[Record, int] | None:
        if len(buffer) < at + _PRELUDE.size:
            return None
        total, head, crc = _PRELUDE.unpack_from(buffer, at)
        if zlib.crc32(buffer[at : at + 8]) != crc:
            raise FramingError("the checksum of a prelude does not fit")
        if total > self._limit:
            raise too_large(self._limit)
        if head + _LEAST > total:
            raise FramingError("the lengths of a frame contradict each other")
        if len(buffer) < at + total:
            return None
        message = bytes(buffer[at : at + total])
        if zlib.crc32(message[:-4]) != _U32.unpack_from(message, total - 4)[0]:
            raise FramingError("the checksum of a frame does not fit")
        body = _PRELUDE.size + head
        headers = read_headers(message[_PRELUDE.size : body])
        return self._record(headers, message[body:-4]), at + total

    def _record(self, headers: dict[str, str], payload: bytes) -> Record:
        match headers.get(":message-type"):
            case "exception":
                return FailureRecord(headers.get(":exception-type", ""), payload)
            case "error":
                told = payload or dumps({"message": headers.get(":error-message", "")})
                return FailureRecord(headers.get(":error-code", ""), told)
        return Record(headers.get(self._event_from, ""), payload)


def read_headers(block: bytes) -> dict[str, str]:
    """The string headers of a block of them. Raises FramingError if it does not add up."""
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(block):
            name, kind, at = _name(block, at)
            size = _SIZES[kind]
            if size is None:
                (size,) = _U16.unpack_from(block, at)
                at += 2
            value = block[at : at + size]
            if kind == _STRING:
                found[name] = value.decode("utf-8", "replace")
            at += size
    except (KeyError, IndexError, struct.error):
        at = -1
    if at != len(block):
        raise FramingError("the headers of a frame cannot be read")
    return found


def _name(block: bytes, at: int) -> tuple[str, int, int]:
    """Name and type of the header at this place, and the place of its value."""
    end = at + 1 + block[at]
    return block[at + 1 : end].decode("utf-8", "replace"), block[end], end + 1
