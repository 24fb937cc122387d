"""Every way a secret may stand in text: as it is, escaped, quoted (also twice), coded."""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus

import orjson

SHORTEST = 6  # characters; what is shorter is a number or a word, not a secret

_QUOTES: tuple[Callable[[Any], str], ...] = (quote, partial(quote, safe=""), quote_plus)


def forms(text: str) -> set[bytes]:
    """The forms of a secret as UTF-8, none of which is short; no form if the secret is."""
    raw = text.encode("utf-8", "replace")
    if len(raw) < SHORTEST:
        return set()
    once = orjson.dumps(raw.decode())[1:-1]
    found = {raw, once, orjson.dumps(once.decode())[1:-1]}
    quoted = {make(form) for form in found for make in _QUOTES}
    quoted |= {make(form) for form in quoted for make in _QUOTES}
    lower = {re.sub("%..", lambda hit: hit.group().lower(), form) for form in quoted}
    found |= {form.encode() for form in quoted | lower}
    found |= {raw.hex().encode(), raw.hex().upper().encode()}
    found |= {core for encode in (b64encode, urlsafe_b64encode) for core in _cores(raw, encode)}
    return {form for form in found if len(form) >= SHORTEST}


def _cores(raw: bytes, encode: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """Of the base64 of the text at each alignment, the characters that depend on it alone."""
    for shift, head in ((0, 0), (1, 2), (2, 3)):
        coded = encode(bytes(shift) + raw)
        bare = coded.rstrip(b"=")
        yield bare[head:] if bare == coded else bare[head:-1]
