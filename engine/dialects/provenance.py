"""Signatures of one provider that travel through clients of another.

Thinking and calls of some providers are signed, and must come back with their signature. A client
of another dialect carries it in a field of its own; a mark before it says whose it is, so that it
goes back to that provider and to nobody else.
"""

from __future__ import annotations

import re
from dataclasses import replace

from engine.chat import Reasoning

_MARK = "penstock/"
MARK = _MARK.encode()
_MARKED = re.compile(rf"{_MARK}([a-z_]+)/(.*)", re.DOTALL)


def marked(signature: str, origin: str) -> str:
    """The signature with the name of its dialect before it."""
    return f"{_MARK}{origin}/{signature}"


def unmarked(signature: str) -> tuple[str, str]:
    """The signature as its provider gave it, and its dialect; "" if it bears no mark."""
    found = _MARKED.fullmatch(signature)
    return (found[2], found[1]) if found else (signature, "")


def seal(part: Reasoning) -> str:
    """The one opaque string that carries what is bound to a thought's origin; "" for nothing.

    A secret text goes with its id, behind a colon, which no signature has.
    """
    if part.origin and part.encrypted:
        return marked(f"{part.id or ''}:{part.encrypted}", part.origin)
    return marked(part.signature, part.origin) if part.origin and part.signature else ""


def unseal(text: str, part: Reasoning) -> Reasoning:
    """The thought with what a sealed string holds; as it is if the string bears no mark."""
    own, origin = unmarked(text)
    if not origin:
        return part
    ident, colon, secret = own.partition(":")
    if colon:
        return replace(part, signature=None, encrypted=secret, id=ident or None, origin=origin)
    return replace(part, signature=own, encrypted=None, id=None, origin=origin)
