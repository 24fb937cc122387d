"""What the first bytes of a file show of its type, read from its base64 text."""

from __future__ import annotations

import binascii
import re
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
    """What its first bytes show, else what was said of it, by its registered name.

    Parameters are kept of sounds and films, which may be no more than bytes without them.
    """
    if said and not said.startswith(("audio/", "video/")):
        said = said.partition(";")[0]
    return type_of(data) or (_ALIASES.get(said, said) if said else said)


_DATA_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+(?:;[^;,\s]*)*?);base64,", re.IGNORECASE)


def split_data(url: str) -> tuple[str | None, str | None]:
    """Type, with its parameters, and base64 text of a `data:` URI, else two Nones."""
    head = _DATA_URI.match(url)
    return (head.group(1), url[head.end() :]) if head else (None, None)


_FORMATS = {"mpeg": "mp3", "mpeg3": "mp3", "x-mpeg": "mp3", "x-mp3": "mp3", "x-wav": "wav",
            "wave": "wav", "vnd.wave": "wav", "x-pn-wav": "wav"}  # fmt: skip


def sound_format(mime: str) -> str:
    """A type of sound as OpenAI's APIs name it: `mp3` and `wav` have many types."""
    name = mime.partition(";")[0].partition("/")[2].strip().lower()
    return _FORMATS.get(name, name)


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
