"""Secrets of a recording, replaced by texts of the same shape: what `penstock record` writes.

A placeholder has the length of its secret, a letter where that has a letter, a digit for a digit,
and begins with `fake` where it can, so lengths, cuts and patterns hold. Equal secrets have equal
placeholders; each form of a secret (`engine/masks.py`) becomes the same form of its placeholder.
What contains another secret keeps that one's placeholder inside.

    sk-Ab12Cd34    fa-Ke58Qw71
    JSON Web Token the same header and numbers; its texts and signature are made up
    a URL          the same scheme and port; its host is made up
"""

from __future__ import annotations

import base64
import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import pairwise
from math import log2
from random import Random
from typing import NamedTuple

from engine.masks import MARKED, SHORTEST, cores, forms, spellings
from engine.options import Secret
from engine.wire import JsonError, dumps, loads

_JWT = re.compile(r"([\w-]+)\.([\w-]+)\.([\w-]*)", re.ASCII)
_URL = re.compile(r"([a-z][a-z0-9+.-]*://)([^/?#:@]+)((?::\d+)?)(.*)", re.S)
_AUTHORITY = re.compile(r"[a-z][a-z0-9+.-]*://([^/?#@]+)")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")
_RUN = re.compile(rb"[A-Za-z0-9+/_-]*")
_HEX = re.compile(r"[0-9a-fA-F-]+")
_CODED = re.compile(rb"[A-Za-z0-9+/_-]{8,}")
_UNICODE = re.compile(rb"\\u([0-9a-fA-F]{4})")
# What looks like a credential, whoever made it: a long run that is no word, no number and no id.
_RUNS = re.compile(
    rb"(?:([A-Za-z_][\w-]{0,40})\\*[\"'`]?\s{0,2}[:=]\s{0,2}\\*[\"']?)?"
    rb"(?<![A-Za-z0-9+/_=%-])(?<!base64,)([A-Za-z0-9+/_-]{24,256}={0,2})(?![A-Za-z0-9+/_=-])"
)
_BITS = 4.0  # of entropy in each character of such a run, at least
_TURNS = 0.4  # of its characters that are of another kind than the one before
_NUMBER = re.compile(rb"0+")
_KINDS = re.compile(rb"[^A-Za-z0-9]")
_AS_KIND = bytes(
    b"aA0"[chr(at).isupper() + 2 * chr(at).isdigit()] if at < 128 else at for at in range(256)
)
_IDS = re.compile(
    rb"(?i)(?:.*[_-])?(?:id|ids|signature|fingerprint|hash|digest|etag|sha\d*|checksum|revision|b64)"
    rb"|.*(?:[a-z]I[dD]|Signature|Fingerprint|Hash)|data|url|uri|src|href|integrity|obfuscation|encrypted_content"
)
_SESSIONS = re.compile(rb"(?i).*(?:sess|sid|auth|csrf|xsrf|login|user|account).*")
_MAIL = re.compile(
    rb"(?<![\w.+-])[\w.+-]{1,64}@(?!(?:[\w-]+\.)*example\b)((?:[\w-]+\.)+[A-Za-z]{2,24})(?![\w-])"
)
_NO_MAIL = re.compile(
    rb"(?i).*\.(?:test|example|invalid|localhost|png|jpe?g|gif|svg|webp|js|css|json|py|ts)"
)
_LOOKS = re.compile(MARKED.encode())


class Found(NamedTuple):
    """What must not be written. what: the secret's name, or how a credential of its kind begins.

    at: the offset; -1 where it only shows when escapes and base64 are opened
    """

    what: str
    at: int
    known: bool


class Disguise:
    """Replaces secrets in bytes and trees. Those shorter than six bytes it cannot tell from text.

    short   their names
    allow   patterns (`*`, `?`): names of secrets that are none; of what only looks like a
            credential its kind (`sk-`, `e-mail`, `entropy:NAME`), or what it says
    """

    def __init__(self, secrets: Iterable[Secret], allow: frozenset[str] = frozenset()) -> None:
        self._allow = allow
        self._names: dict[str, str] = {}
        self.short: list[str] = []
        for secret in secrets:
            if not any(fnmatchcase(secret.name, wanted) for wanted in allow):
                self._note(secret)
        self._made: dict[str, str] = {}
        order = {text: number for number, text in enumerate(self._names, 1)}
        for text in sorted(order, key=lambda text: (len(text), order[text])):
            self._made[text] = self._placeholder(text, Random(order[text]))
            self._add_host(text)
        table: dict[bytes, bytes] = {}
        for text, fake in self._made.items():
            for form, other in zip(spellings(text), spellings(fake), strict=True):
                table.setdefault(form, other)
        self._table = sorted(table.items(), key=lambda pair: len(pair[0]), reverse=True)
        self._fakes = [fake.encode() for fake in self._made.values()]

    def _note(self, secret: Secret) -> None:
        """A JSON text is no secret, but each text in it is."""
        text = secret.reveal().strip()
        leaves = list(_leaves(text))
        if not leaves and 0 < len(text.encode()) < SHORTEST:
            self.short.append(secret.name)
        for leaf in leaves or [text]:
            if len(leaf.encode()) >= SHORTEST:
                self._names.setdefault(leaf, secret.name)

    def _add_host(self, text: str) -> None:
        """The host of a URL is as secret, since it may stand behind another scheme."""
        host, fake = (_AUTHORITY.match(url) for url in (text, self._made[text]))
        if host and fake and len(host[1]) >= SHORTEST and host[1] not in self._made:
            self._made[host[1]], self._names[host[1]] = fake[1], self._names[text]

    def _placeholder(self, text: str, draw: Random) -> str:
        inside = [known for known in self._made if known in text]
        if inside:
            longest = max(inside, key=len)
            head, _, tail = text.partition(longest)
            ends = (self._placeholder(end, draw) if end else "" for end in (head, tail))
            return self._made[longest].join(ends)
        made = shaped(text, draw)
        while made in self._made.values() and made != text:
            made = shaped(text, draw)
        return made

    def clean(self, data: bytes) -> bytes:
        """The same bytes with placeholders for secrets."""
        for form, other in self._table:
            data = data.replace(form, other)
        for text, fake in self._made.items():
            for head, core in cores(text.encode()):
                data = _coded(data, core, head, text.encode(), fake.encode())
        return data

    def tree(self, value: object) -> object:
        """The same for what JSON can say."""
        return loads(self.clean(dumps(value)))

    def left(self, data: bytes) -> list[Found]:
        """Secrets that are still there in any form, and what looks like a credential.

        Also those inside of base64, and in escapes that no writer has to use.
        """
        inside, found = list(_opened(data)), list[Found]()
        for text in self._made:
            every = forms(text)
            places = [data.index(form) for form in every if form in data]
            if places or any(form in plain for form in every for plain in inside):
                found.append(Found(self._names[text], min(places, default=-1), True))
        return sorted(found, key=lambda each: -each.at) + list(self._alike(data))

    def _alike(self, data: bytes) -> Iterator[Found]:
        told = bytearray(len(data))  # 1: part of what has a kind of its own
        for hit in _LOOKS.finditer(data):
            kind = next(group for group in hit.groups() if group).decode().strip()
            told[hit.start() : hit.end()] = b"\1" * len(hit[0])
            if self._strange(kind, hit[0]):
                yield Found(kind, hit.start(), False)
        for hit in _MAIL.finditer(data):
            if not _NO_MAIL.fullmatch(hit[1]) and self._strange("e-mail", hit[0]):
                yield Found("e-mail", hit.start(), False)
        for hit in _RUNS.finditer(data):
            if is_random(hit[2], hit[1] or b"") and not any(told[hit.start(2) : hit.end(2)]):
                kind = f"entropy:{hit[1].decode()}" if hit[1] else "entropy"
                if self._strange(kind, hit[2]):
                    yield Found(kind, hit.start(2), False)

    def _strange(self, kind: str, text: bytes) -> bool:
        """Whether nobody allowed it, and it is none of the placeholders, nor holds one."""
        said = text.decode("utf-8", "replace")
        if any(fnmatchcase(each, wanted) for each in (kind, said) for wanted in self._allow):
            return False
        run = _RUN.match(text)
        plain = [_decoded(run[0][at:]) for at in range(4)] if run else []
        return not any(
            text in fake or any(fake in each for each in (text, *plain)) for fake in self._fakes
        )


def is_random(run: bytes, name: bytes = b"") -> bool:
    """Whether a run of characters under a name looks as if it was drawn by chance.

    Words, even long ones with capitals and numbers, seldom go from one kind to another.
    """
    if _IDS.fullmatch(name) and not _SESSIONS.fullmatch(name):
        return False
    kinds = _KINDS.sub(b"", run).translate(_AS_KIND)
    if len(set(kinds)) < 3 or len(_NUMBER.findall(kinds)) < 2:
        return False
    turns = sum(one != other for one, other in pairwise(kinds))
    counts, size = Counter(run).values(), len(run)
    bits = -sum(count / size * log2(count / size) for count in counts)
    return bits >= _BITS and turns >= _TURNS * len(kinds)


def _opened(data: bytes) -> Iterator[bytes]:
    """The data without escapes, and what its base64 says at each alignment."""
    plain = _UNICODE.sub(lambda hit: chr(int(hit[1], 16)).encode("utf-8", "replace"), data)
    plain = html.unescape(plain.replace(b"\\/", b"/").decode("latin-1")).encode("utf-8")
    yield plain
    yield b"\n".join(_decoded(run[0][at:]) for run in _CODED.finditer(data) for at in range(4))


def _decoded(run: bytes) -> bytes:
    whole = run[: len(run) - (len(run) % 4 == 1)].translate(_FOR_URLS)
    return base64.urlsafe_b64decode(whole + b"=" * (-len(whole) % 4))


def _leaves(text: str) -> Iterator[str]:
    """The texts in a JSON map or list; nothing if the text is neither."""
    if text[:1] in ("{", "["):
        try:
            yield from _texts(loads(text))
        except JsonError:
            return


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _coded(data: bytes, core: bytes, head: int, text: bytes, fake: bytes) -> bytes:
    """Base64 that holds a text, with another text in it."""
    at = data.find(core)
    while at >= 0:
        begin = max(0, at - head)
        run = _RUN.match(data, begin)
        assert run is not None
        whole, plain = run[0][: len(run[0]) - (len(run[0]) % 4 == 1)], _decoded(run[0])
        for_urls = b"-" in whole or b"_" in whole
        encode = base64.urlsafe_b64encode if for_urls else base64.b64encode
        new = encode(plain.replace(text, fake)).rstrip(b"=")
        data = data[:begin] + new + data[begin + len(whole) :]
        at = data.find(core, begin + len(new))
    return data


_FOR_URLS = bytes.maketrans(b"+/", b"-_")


# ---- shapes ----


def shaped(text: str, draw: Random) -> str:
    """A text of the same shape, and of as many bytes."""
    if _SCHEME.fullmatch(text):
        return text
    token, url = _JWT.search(text), _URL.fullmatch(text)
    made = _token(token, draw) if token is not None else None
    if token is not None and made is not None:
        return _plain(text[: token.start()], draw) + made + _plain(text[token.end() :], draw)
    if url is not None:
        host = re.sub(r"[^.]", lambda hit: draw.choice("bcdfghkmnpqrtvwxz"), url[2])
        return f"{url[1]}{host}{url[3]}{_plain(url[4], draw)}"
    return _plain(text, draw, "fade" if _HEX.fullmatch(text) else "fake")


def _plain(text: str, draw: Random, mark: str = "") -> str:
    letters = "abcdef" if mark == "fade" else "abcdefghijklmnopqrstuvwxyz"
    marks = iter(mark)
    return "".join(_letter(char, letters, marks, draw) for char in text)


def _letter(char: str, letters: str, marks: Iterator[str], draw: Random) -> str:
    if not char.isascii():
        return "x" * len(char.encode("utf-8", "replace"))
    if char.isdigit():
        return draw.choice("123456789")  # a number may not begin with 0
    if not char.isalpha():
        return char
    made = next(marks, "") or draw.choice(letters)
    return made.upper() if char.isupper() else made


def _token(token: re.Match[str], draw: Random) -> str | None:
    """The token with other texts in it; None if it is none, or would change its length."""
    body, head = _part(token[2]), token[1] if _part(token[1]) else _plain(token[1], draw)
    if not body:
        return None
    claims = loads(body)
    for text in {each for each in _texts(claims) if each}:
        old = dumps(text)
        if old not in body:
            return None
        body = body.replace(old, dumps(_plain(text, draw)))
    made = base64.urlsafe_b64encode(body).decode().rstrip("=")
    return ".".join((head, made, _plain(token[3], draw)))


def _part(coded: str) -> bytes:
    """The JSON map in a part of a token; empty if there is none."""
    try:
        plain = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
        return plain if isinstance(loads(plain), dict) else b""
    except (ValueError, JsonError):
        return b""
