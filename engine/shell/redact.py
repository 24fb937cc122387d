"""Takes secrets out of text: those it was told of, and what looks like a credential.

A secret is found as it is, JSON-escaped and URL-quoted (also twice), in hexadecimal and inside
base64 at any of the three alignments, longest form first. The search costs the same for one secret
as for thousands: the 8-byte words of the text are looked up in an index of two words of each form,
its last one and that which begins STEP bytes before, so that four passes meet one of them wherever
the form stands. (How keys of one service begin is the same for all.) Forms too short to have both
are searched one by one.
"""

from __future__ import annotations

import re
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

import orjson

from engine.masks import forms
from engine.options import Secret

MOST = 4096  # secrets that nobody holds; the least recently added goes first
NAMES = 65_536  # texts that come again, kept as they are without secrets: three of a route
WORD, STEP = 8, 4
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
        self._known: dict[str, list[Form]] = {}
        self._passing: OrderedDict[str, None] = OrderedDict()  # those that nobody holds
        self._words: dict[int, tuple[Form, ...]] = {}
        self._short: list[Form] = []
        self._names: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, *secrets: Secret) -> None:
        """Know these from now on. Adding one again keeps it from being forgotten."""
        with self._lock:
            for secret in secrets:
                self._add(secret)

    def hold(self, secrets: Iterable[Secret]) -> None:
        """Know all of these until other ones are held instead; those held before may pass."""
        with self._lock:
            held = {secret.reveal().strip(): secret for secret in secrets}
            for text in self._known.keys() - self._passing.keys() - held.keys():
                self._passing[text] = None
            for text, secret in held.items():
                self._know(text, secret)
                self._passing.pop(text, None)
            self._let_go()

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
            cleaned = self.text(text)
            known = self._names[text] = text if cleaned == text else cleaned  # one text, not two
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
        if text in self._passing:
            self._passing.move_to_end(text)
        elif self._know(text, secret):
            self._passing[text] = None
            self._let_go()

    def _know(self, text: str, secret: Secret) -> bool:
        """Whether it is one, and was not known."""
        if text in self._known:
            return False
        mask = b"\xc2\xab%s\xc2\xbb" % orjson.dumps(secret.name)[1:-1]
        found = [Form(form, mask) for form in forms(text)]
        if not found:
            return False
        self._known[text] = found
        self._names.clear()
        for form in found:
            if _is_short(form):
                self._short.append(form)
            for word in _index(form):
                self._words[word] = (*self._words.get(word, ()), form)
        return True

    def _let_go(self) -> None:
        while len(self._passing) > self._most:
            text, _ = self._passing.popitem(last=False)
            for form in self._known.pop(text):
                self._forget(form)

    def _forget(self, form: Form) -> None:
        if _is_short(form):
            self._short.remove(form)
        for word in _index(form):
            left = list(self._words.pop(word))
            left.remove(form)
            if left:
                self._words[word] = tuple(left)

    def _find(self, data: bytes) -> set[Form]:
        found = {form for form in self._short if form.text in data}
        view = memoryview(data)
        for begin in range(STEP):
            end = len(data) - (len(data) - begin) % WORD
            words = view[begin : max(begin, end)].cast("Q").tolist()
            if not self._words.keys().isdisjoint(words):
                for word in self._words.keys() & set(words):
                    found.update(self._words[word])
        return found


def _is_short(form: Form) -> bool:
    return len(form.text) < WORD + STEP


def _index(form: Form) -> set[int]:
    """The words by which a form is found, none of a short one."""
    last = len(form.text) - WORD
    begins = () if _is_short(form) else (last, last - STEP)
    return {int.from_bytes(form.text[at : at + WORD], sys.byteorder) for at in begins}
