"""Thought signatures: base64 of bytes that only their provider can read.

Clients decode them and encode them again, in either alphabet of base64. A signature of another
provider, or a thought that it encrypted, is therefore carried as the base64 of its text, with a
mark before it.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from dataclasses import replace

from engine.chat import Reasoning
from engine.dialects.provenance import seal, unseal

from .names import NAME

_STANDARD = str.maketrans("-_", "+/")
_MARKED = b64encode(b"penstock/")  # nine bytes: no other text begins so


def standard(data: str) -> str:
    """Base64 in the standard alphabet: Google's clients write the one for URLs."""
    return data.translate(_STANDARD) if "-" in data or "_" in data else data


def signed(signature: str, part: Reasoning) -> Reasoning:
    """The thought with what its `thoughtSignature` holds: this provider's, or another's sealed."""
    own = replace(part, signature=signature, origin=NAME)
    plain = standard(signature)
    if not plain.startswith(_MARKED.decode()):
        return own
    try:
        text = b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return own
    found = unseal(text, part)
    return own if found is part else found


def carried(part: Reasoning) -> str | None:
    """The `thoughtSignature` that carries what is bound to a thought's origin to a client of this
    API."""
    if part.origin in ("", NAME):
        return part.signature or None
    sealed = seal(part)
    return b64encode(sealed.encode()).decode() if sealed else None
