"""Messages of a websocket, in the form in which the shell and fixtures hand them on.

A websocket has messages, parsers are fed bytes: so each message becomes one frame, `encoded` as the
first byte of its frame in RFC 6455 §5.2 (0x81 text, 0x82 binary), its length in four bytes (big
endian), its payload. Control frames and fragments stay with whoever owns the socket.
"""

from __future__ import annotations

import struct

from engine.wire import Record, SocketMessage

from .bounds import MAX_FRAME, FramingError, too_large
from .prefixed import PrefixedParser

_HEAD = struct.Struct(">BI")
_KINDS = {0x81: "text", 0x82: "binary"}


def encoded(message: SocketMessage) -> bytes:
    """The frame of a message."""
    return _HEAD.pack(0x81 if message.text else 0x82, len(message.data)) + message.data


def websocket_parser(limit: int = MAX_FRAME) -> PrefixedParser:
    """The parser of such frames; `event` is `text` or `binary`."""

    def take(buffer: bytearray, at: int) -> tuple[Record, int] | None:
        if len(buffer) == at:
            return None
        kind = _KINDS.get(buffer[at])
        if kind is None:
            raise FramingError("the upstream did not open a websocket")
        body = at + _HEAD.size
        if len(buffer) < body:
            return None
        _, length = _HEAD.unpack_from(buffer, at)
        if length > limit:
            raise too_large(limit)
        end = body + length
        return (Record(kind, bytes(buffer[body:end])), end) if len(buffer) >= end else None

    return PrefixedParser(take)
