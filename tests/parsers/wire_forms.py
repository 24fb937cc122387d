"""Encoders for tests: the framings written from their descriptions, in the other direction."""

from __future__ import annotations

import struct
import zlib


def crc(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))


def connect(payload: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + struct.pack(">I", len(payload)) + payload


def u32(payload: bytes, order: str = ">", *, check: bool = False) -> bytes:
    frame = struct.pack(order + "I", len(payload)) + payload
    return frame + struct.pack(order + "I", zlib.crc32(frame)) if check else frame


def decimal(payload: str, ends_counted: int = 2) -> bytes:
    """A length line and a payload; how many of its two line ends the length counts, is a choice."""
    units = len(payload.encode("utf-16-le")) // 2
    return f"{units + ends_counted}\n{payload}\n".encode()


def text_header(name: str, value: str) -> bytes:
    return header(name, 7, struct.pack(">H", len(value.encode())) + value.encode())


def header(name: str, kind: int, value: bytes) -> bytes:
    return bytes([len(name)]) + name.encode() + bytes([kind]) + value


def aws(headers: bytes, payload: bytes) -> bytes:
    sizes = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = sizes + crc(sizes) + headers + payload
    return message + crc(message)


def aws_event(name: str, payload: bytes) -> bytes:
    return aws(text_header(":message-type", "event") + text_header(":event-type", name), payload)


ALL_TYPES = b"".join(
    [
        header("true", 0, b""),
        header("false", 1, b""),
        header("byte", 2, b"\x07"),
        header("short", 3, b"\x00\x07"),
        header("int", 4, b"\x00" * 4),
        header("long", 5, b"\x07" * 8),
        header("bytes", 6, b"\x00\x03\x07\x00\x01"),
        header("time", 8, b"\x00" * 8),
        header("uuid", 9, bytes(range(16))),
        text_header(":event-type", "last"),
    ]
)
