"""Takes secrets out of text: those it was told of, and what looks like a credential.

A secret is found as it is, JSON-escaped and URL-quoted (also twice), in hexadecimal and inside
base64 at any of the three alignments, longest form first. The search costs the same for one secret
as for thousands: a form of 15 bytes or more covers one whole 8-byte word of the text wherever it
stands, so the words of the text are looked up in an index of the forms' first words. Shorter forms
are searched one by one.
"""

from __future__ import annotations

import re
import sys
import threading
from base64 import b64encode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

import orjson

from engine.options import Secret

MIN_LENGTH = 6  # a shorter secret would take ordinary words out of the log
MOST = 4096  # secrets; the least recently added goes first
WORD = 8
MASK = "«secret»".encode()

_HEADER = re.compile(
    rb"(?i)\b((?:proxy-)?authorization|(?:x-(?:goog-)?)?api[-_]?key)"
    rb"""(\\?["']?\s*[:=]\s*\\?["']?(?:(?:bearer|basic|token)\s+)?+)"""
    rb"""(?!\xc2\xab)([^\s"'\\,;&}\])]{4,})"""
)
_COOKIE = re.compile(rb"""(?i)\b((?:set-)?cookie)(\\?["']?\s*[:=]\s*\\?["']?)([^\r\n"'\\]{4,})""")
_SCHEME = re.compile(rb"(?i)\b(bearer|basic)(\s+)((?=\S*\d|\S{20})[\w.~+/=-]{8,})")
_QUERY = re.compile(
    rb"(?i)(?<![a-z0-9])((?:[a-z0-9]+[_-])?(?:key|token|secret|password|signature|sig))(=)"
    rb"""(?!\xc2\xab)([^&\s"'\\#<>]+)"""
)
_PATTERNS = (
    ((b"authorization", b"api"), _HEADER),
    ((b"cookie",), _COOKIE),
    ((b"bearer", b"basic"), _SCHEME),
    ((b"key=", b"token=", b"secret=", b"password=", b"signature=", b"sig="), _QUERY),
)


class Form(NamedTuple):
    text: bytes
    mask: bytes


class Redactor:
    """`add` secrets, then `clean` bytes or `text`. Safe to use from several threads."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[str, list[Form]] = OrderedDict()
        self._words: dict[int, list[Form]] = {}
        self._short: list[Form] = []
        self._lock = threading.Lock()

    def add(self, *secrets: Secret) -> None:
        """Know these from now on. Adding one again keeps it from being forgotten."""
        with self._lock:
            for secret in secrets:
                self._add(secret)

    def clean(self, data: bytes) -> bytes:
        """The same bytes without secrets."""
        with self._lock:
            found = self._find(data)
        for form in sorted(found, key=lambda form: len(form.text), reverse=True):
            data = data.replace(form.text, form.mask)
        low = data.lower()
        for hints, pattern in _PATTERNS:
            if any(hint in low for hint in hints):
                data = pattern.sub(rb"\1\2" + MASK, data)
        return data

    def text(self, text: str) -> str:
        """The same text without secrets."""
        return self.clean(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def _add(self, secret: Secret) -> None:
        text = secret.reveal().strip()
        if text in self._known:
            self._known.move_to_end(text)
            return
        mask = b"\xc2\xab%s\xc2\xbb" % orjson.dumps(secret.name)[1:-1]
        forms = [Form(form, mask) for form in _forms(text)]
        if not forms:
            return
        self._known[text] = forms
        for form in forms:
            for bucket in self._buckets(form):
                bucket.append(form)
        if len(self._known) > self._most:
            self._forget(self._known.popitem(last=False)[1])

    def _forget(self, forms: list[Form]) -> None:
        for form in forms:
            for bucket in self._buckets(form):
                bucket.remove(form)
        for word in [word for form in forms for word in _first_words(form.text)]:
            if not self._words.get(word, True):
                del self._words[word]

    def _buckets(self, form: Form) -> Iterator[list[Form]]:
        if len(form.text) < 2 * WORD - 1:
            yield self._short
            return
        for word in _first_words(form.text):
            yield self._words.setdefault(word, [])

    def _find(self, data: bytes) -> set[Form]:
        found = {form for form in self._short if form.text in data}
        whole = len(data) - len(data) % WORD
        words = memoryview(data)[:whole].cast("Q").tolist()
        if not self._words.keys().isdisjoint(words):
            for word in self._words.keys() & set(words):
                found.update(self._words[word])
        return found


def _first_words(form: bytes) -> set[int]:
    if len(form) < 2 * WORD - 1:
        return set()
    return {int.from_bytes(form[at : at + WORD], sys.byteorder) for at in range(WORD)}


def _forms(text: str) -> set[bytes]:
    """Every way the secret may stand in a line, as UTF-8; none if it is too short to look for."""
    raw = text.encode("utf-8", "replace")
    if len(raw) < MIN_LENGTH:
        return set()
    once = orjson.dumps(raw.decode())[1:-1]
    forms = {raw, once, orjson.dumps(once.decode())[1:-1]}
    quoted = {make(form) for form in forms for make in _QUOTES}
    quoted |= {make(form) for form in quoted for make in _QUOTES}
    lower = {re.sub("%..", lambda hit: hit.group().lower(), form) for form in quoted}
    forms |= {form.encode() for form in quoted | lower}
    forms |= {raw.hex().encode(), raw.hex().upper().encode()}
    forms |= {core for encode in (b64encode, urlsafe_b64encode) for core in _cores(raw, encode)}
    return {form for form in forms if len(form) >= MIN_LENGTH}


_QUOTES: tuple[Callable[[Any], str], ...] = (quote, partial(quote, safe=""), quote_plus)


def _cores(raw: bytes, encode: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """Of the base64 of the text at each alignment, the characters that depend on it alone."""
    for shift, head in ((0, 0), (1, 2), (2, 3)):
        coded = encode(bytes(shift) + raw)
        bare = coded.rstrip(b"=")
        yield bare[head:] if bare == coded else bare[head:-1]
