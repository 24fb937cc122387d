"""What the first bytes of a file show of its type, read from its base64 text."""

from __future__ import annotations

import binascii
from base64 import b64decode

# First characters of a file in base64, and its type.
_STARTS = (
    ("iVBORw0KGg", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("JVBERi0", "application/pdf"),
)
# The same in bytes, for what no dialect tells by its bytes: (start, what follows at 8, type).
_SOUNDS = (
    (b"RIFF", b"WAVE", "audio/wav"),
    (b"ID3", b"", "audio/mp3"),
    (b"\xff\xfb", b"", "audio/mp3"),
    (b"fLaC", b"", "audio/flac"),
    (b"OggS", b"", "audio/ogg"),
    (b"\x1aE\xdf\xa3", b"", "video/webm"),
)
_ALIASES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}


def type_of(data: str) -> str | None:
    """The type of a file given in base64; None if it is nothing known."""
    if data.startswith("UklGR") and _bytes(data[:16])[8:12] == b"WEBP":
        return "image/webp"
    return next((mime for start, mime in _STARTS if data.startswith(start)), None)


def right_type(data: str, said: str | None) -> str | None:
    """What its first bytes show, else what was said of it, by its registered name."""
    return type_of(data) or (_ALIASES.get(said, said) if said else said)


def heard_type(start: bytes) -> str | None:
    """The type of a sound or a film, by its first bytes; None if it is nothing known."""
    if start[4:8] == b"ftyp":
        return "audio/mp4" if start[8:12] in (b"M4A ", b"M4B ") else "video/mp4"
    for first, then, mime in _SOUNDS:
        if start.startswith(first) and start[8:].startswith(then):
            return mime
    return None


def _bytes(data: str) -> bytes:
    try:
        return b64decode(data)
    except (binascii.Error, ValueError):
        return b""
