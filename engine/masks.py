"""Every way a secret may stand in text: as it is, escaped, quoted (also twice), coded."""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus

import orjson

SHORTEST = 6  # characters; what is shorter is a number or a word, not a secret

# Credentials of services that mark them, for texts and bytes: how they begin, and what follows.
_MARKED = (
    (r"sk-|rk_live_|sk_live_", r"[A-Za-z0-9_-]{16,}"),
    (r"eyJ", r"[\w-]{10,}\.[\w-]{10,}(?:\.[\w-]*)?"),
    (r"AKIA|ASIA", r"[0-9A-Z]{16}(?![0-9A-Z])"),
    (r"gh[pousr]_|github_pat_|glpat-|hf_|flo_|gsk_|xai-", r"[A-Za-z0-9_-]{20,}"),
    (r"xox[abprs]-", r"[A-Za-z0-9-]{10,}"),
    (r"AIza", r"[\w-]{30,}"),
    (r"-----BEGIN ", r"[A-Z ]*PRIVATE KEY-----"),
)
# A pattern for all of them; the one group that takes part is how it begins.
MARKED = rf"(?<![A-Za-z0-9])(?:{'|'.join(f'({begin}){rest}' for begin, rest in _MARKED)})"
BEGINS = "|".join(begin for begin, _ in _MARKED)  # a pattern for the beginnings alone

_QUOTES: tuple[Callable[[Any], str], ...] = (quote, partial(quote, safe=""), quote_plus)

_ESCAPED = 79  # spellings that are escaped or quoted
# What writers of JSON escape beside what they must: of web pages' characters, and of .NET.
_MARKUP, _DOTNET = re.compile(r"[<>&]"), re.compile(r"[<>&'+`]|\\\"")


def forms(text: str) -> set[bytes]:
    """The forms of a secret as UTF-8, none of which is short; no form if the secret is."""
    raw = text.encode("utf-8", "replace")
    if len(raw) < SHORTEST:
        return set()
    coded = (core for _, core in cores(raw))
    return {form for form in (*spellings(text), *coded) if len(form) >= SHORTEST}


def spellings(text: str) -> list[bytes]:
    r"""The forms that are not base64, in an order that is the same for all texts.

    As it is, JSON-escaped once and twice, each quoted for a URL once and twice; as JSON of other
    writers (ASCII alone, `\/`, `\u0026`); in hexadecimal.
    """
    raw = text.encode("utf-8", "replace")
    coded = [raw.hex().encode(), raw.hex().upper().encode()]
    if quote(text, safe="", errors="replace") == text:  # so no escape has anything to do
        return [raw] * _ESCAPED + coded
    once = orjson.dumps(raw.decode())[1:-1]
    found = [raw, once, orjson.dumps(once.decode())[1:-1]]
    quoted = [make(form) for form in found for make in _QUOTES]
    quoted += [make(form) for form in quoted for make in _QUOTES]
    lower = [re.sub("%..", lambda hit: hit.group().lower(), form) for form in quoted]
    found += [form.encode() for form in [*quoted, *lower, *_otherwise(raw.decode())]]
    return found + coded


def _otherwise(text: str) -> list[str]:
    """The text as other writers of JSON escape it."""
    plain = json.dumps(text)[1:-1]
    return [
        plain,
        plain.replace("/", "\\/"),
        _MARKUP.sub(lambda hit: f"\\u{ord(hit[0]):04x}", plain),
        _DOTNET.sub(lambda hit: f"\\u{ord(hit[0][-1]):04X}", plain),
    ]


def cores(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Of the base64 of bytes at each alignment, the characters that depend on them alone.

    Each with how many characters of its first group stand before it.
    """
    for encode in (b64encode, urlsafe_b64encode):
        for shift, head in ((0, 0), (1, 2), (2, 3)):
            coded = encode(bytes(shift) + raw)
            bare = coded.rstrip(b"=")
            yield head, bare[head:] if bare == coded else bare[head:-1]
