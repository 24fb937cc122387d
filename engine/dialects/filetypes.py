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


def type_of(data: str) -> str | None:
    """The type of a file given in base64; None if it is nothing known."""
    if data.startswith("UklGR") and _bytes(data[:16])[8:12] == b"WEBP":
        return "image/webp"
    return next((mime for start, mime in _STARTS if data.startswith(start)), None)


def image_type(data: str, said: str | None) -> str | None:
    """The type of an image: what its bytes show, else what its client said, rightly spelled."""
    return type_of(data) or ("image/jpeg" if said == "image/jpg" else said)


def _bytes(data: str) -> bytes:
    try:
        return b64decode(data)
    except (binascii.Error, ValueError):
        return b""
