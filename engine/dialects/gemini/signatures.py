"""Thought signatures: base64 of bytes that only their provider can read.

Clients decode them and encode them again, in either alphabet of base64. A signature of another
provider is therefore carried as the base64 of its text, with a mark before it.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode

from engine.chat import Reasoning
from engine.dialects.provenance import marked, unmarked

from .names import NAME

_STANDARD = str.maketrans("-_", "+/")
_MARKED = b64encode(b"penstock/")  # nine bytes: no other text begins so


def standard(data: str) -> str:
    """Base64 in the standard alphabet: Google's clients write the one for URLs."""
    return data.translate(_STANDARD) if "-" in data or "_" in data else data


def read_signature(signature: str) -> tuple[str, str]:
    """A `thoughtSignature` as its provider gave it, and that provider's dialect."""
    plain = standard(signature)
    if not plain.startswith(_MARKED.decode()):
        return signature, NAME
    try:
        text = b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return signature, NAME
    own, origin = unmarked(text)
    return (own, origin) if origin else (signature, NAME)


def carried(part: Reasoning) -> str | None:
    """The `thoughtSignature` that carries a thought's signature to a client of this API."""
    if not part.signature or part.origin in ("", NAME):
        return part.signature or None
    return b64encode(marked(part.signature, part.origin).encode()).decode()
