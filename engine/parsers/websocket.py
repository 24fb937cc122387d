"""Messages of a websocket, in the form in which the shell and fixtures hand them on.

A websocket has messages, parsers are fed bytes: so each message becomes one frame, `encoded` as the
first byte of its frame in RFC 6455 §5.2 (0x81 text, 0x82 binary), its length in four bytes (big
endian), its payload. Control frames and fragments stay with whoever owns the socket.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from engine.options import option
from engine.wire import Record, SocketMessage

from .bounds import MAX_FRAME, FramingError, too_large
from .prefixed import PrefixedParser

_HEAD = struct.Struct(">BI")
_KINDS = {0x81: "text", 0x82: "binary"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Websocket:
    text: bool = option(
        False,
        "messages are text in which rules look for JSON themselves; for socket.io, say: "
        "`each: $ | regex_replace('^42', '') | from_json`",
    )


def encoded(message: SocketMessage) -> bytes:
    """The frame of a message."""
    return _HEAD.pack(0x81 if message.text else 0x82, len(message.data)) + message.data


def websocket_parser(options: Websocket | None = None, limit: int = MAX_FRAME) -> PrefixedParser:
    """The parser of such frames; `event` is `text` or `binary`, `value` the text if asked."""
    text = options is not None and options.text

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
        if len(buffer) < end:
            return None
        data = bytes(buffer[body:end])
        return Record(kind, data, data.decode("utf-8", "replace") if text else None), end

    return PrefixedParser(take)
