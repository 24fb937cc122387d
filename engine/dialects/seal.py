"""Reasoning that only its maker can read, carried through a client of another dialect.

A signature or an encrypted text must come back to the API that made it, byte for byte, and must
reach no other. Where a client's dialect has one opaque string for such things, what came from
elsewhere travels in it sealed: with a mark, and with the name of the dialect it is bound to.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace

from engine.chat import Reasoning
from engine.wire import JsonError, dumps, loads

MARK = "penstock.1."
_FIELDS = ("origin", "signature", "encrypted", "id")


def seal(part: Reasoning) -> str:
    """An opaque string that holds what is bound to the part's origin; "" if nothing is."""
    if not part.origin or not (part.signature or part.encrypted):
        return ""
    held = {name: getattr(part, name) for name in _FIELDS if getattr(part, name)}
    return MARK + urlsafe_b64encode(dumps(held)).decode().rstrip("=")


def unseal(text: str, part: Reasoning) -> Reasoning:
    """The part with what a sealed string holds; as it is if the string is not one of ours."""
    if not text.startswith(MARK):
        return part
    coded = text.removeprefix(MARK)
    try:
        held = loads(urlsafe_b64decode(coded + "=" * (-len(coded) % 4)))
    except (binascii.Error, ValueError, JsonError):
        held = None
    bare = replace(part, signature=None, encrypted=None, id=None, origin="")
    if not isinstance(held, dict):
        return bare
    for name in _FIELDS:
        if isinstance(held.get(name), str):
            setattr(bare, name, held[name])
    return bare
