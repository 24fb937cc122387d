"""Signatures of one provider that travel through clients of another.

Thinking and calls of some providers are signed, and must come back with their signature. A client
of another dialect carries it in a field of its own; a mark before it says whose it is, so that it
goes back to that provider and to nobody else.
"""

from __future__ import annotations

import re

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
