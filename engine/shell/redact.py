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
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from engine.masks import forms
from engine.options import Secret

MOST = 4096  # secrets; the least recently added goes first
NAMES = 65_536  # texts that come again, kept as they are without secrets: three of a route
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
# What a pattern always finds: one of these words.
_PATTERNS = (
    ((b"authorization", b"api"), _HEADER),
    ((b"cookie",), _COOKIE),
    ((b"bearer", b"basic"), _SCHEME),
    ((b"=",), _QUERY),
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
        self._names: dict[str, str] = {}
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

    def name(self, text: str) -> str:
        """`text` of what comes again with every request (a route, a model), searched once."""
        known = self._names.get(text)
        if known is None:
            if len(self._names) >= NAMES:
                self._names.clear()
            known = self.text(text)
            self._names[text] = known = text if known == text else known  # one text, not two
        return known

    def inside(self, data: bytes) -> list[Secret]:
        """The known secrets that stand in the bytes, in any form."""
        with self._lock:
            found = {form for form in self._find(data) if form.text in data}
            return [
                Secret(text, forms[0].mask[2:-2].decode())
                for text, forms in self._known.items()
                if not found.isdisjoint(forms)
            ]

    def _add(self, secret: Secret) -> None:
        text = secret.reveal().strip()
        if text in self._known:
            self._known.move_to_end(text)
            return
        mask = b"\xc2\xab%s\xc2\xbb" % orjson.dumps(secret.name)[1:-1]
        found = [Form(form, mask) for form in forms(text)]
        if not found:
            return
        self._known[text] = found
        self._names.clear()
        for form in found:
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
