"""Client keys: which are good enough to be accepted at all, and whether a presented one is known.

Keys are compared as SHA-256 digests, in constant time, each presented key with all known ones; a
key that was good is found again by Python's keyed hash. A key may be written down as its hash:
`sha256:` and 64 hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

from engine.options import Secret

SHORTEST = 12  # characters
FEWEST = 5  # different characters
HASHED = "sha256:"

# Letters and digits of keys that stand in manuals and examples, "sk" in front taken off.
_SAMPLES = frozenset(
    [
        "1",
        "1234",
        "12345",
        "123456",
        "1234567",
        "12345678",
        "123456789",
        "1234567890",
        "0123456789",
        "123456789012",
        "admin",
        "apikey",
        "changeme",
        "default",
        "demo",
        "dummy",
        "empty",
        "example",
        "key",
        "letmein",
        "masterkey",
        "mykey",
        "mysecret",
        "mysecretkey",
        "none",
        "notneeded",
        "null",
        "openai",
        "password",
        "passw0rd",
        "penstock",
        "secret",
        "secretkey",
        "supersecret",
        "supersecretkey",
        "test",
        "testkey",
        "token",
        "yourapikey",
        "yourkey",
    ]
)
_PLACEHOLDERS = ("changeme", "replaceme", "placeholder", "yourapikey", "yourkey", "yoursecret")
_SAMPLE_HASHES = frozenset(
    hashlib.sha256(form.encode()).digest()
    for word in ("", *_SAMPLES)
    for form in (word, f"sk-{word}", word.upper())
)


def weakness(key: str) -> str | None:
    """Why a key is refused, as the end of a sentence, or None."""
    if not key:
        return "is empty"
    if key.startswith(HASHED):
        return _hash_weakness(key.removeprefix(HASHED))
    bare = re.sub(r"[^a-z0-9]", "", key.lower())
    if bare.removeprefix("sk") in _SAMPLES or any(word in bare for word in _PLACEHOLDERS):
        return "is a known sample key"
    if not re.fullmatch(r"[!-~]+", key):
        return "holds a space or a character that a header cannot carry"
    if len(key) < SHORTEST:
        return f"is shorter than {SHORTEST} characters"
    if len(set(key)) < FEWEST:
        return f"has fewer than {FEWEST} different characters"
    return None


def _hash_weakness(digits: str) -> str | None:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", digits):
        return f"is not `{HASHED}` and 64 hexadecimal digits"
    return "is the hash of a known sample key" if bytes.fromhex(digits) in _SAMPLE_HASHES else None


def digest(key: str) -> bytes:
    """What is compared instead of a key (or of its written hash)."""
    if key.startswith(HASHED):
        return bytes.fromhex(key.removeprefix(HASHED))
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


class ClientKeys:
    """The keys that are let in."""

    def __init__(self, keys: Iterable[Secret]) -> None:
        digests = dict.fromkeys(digest(key.reveal()) for key in keys)
        self._good: dict[str, str] = {}  # presented before -> id
        self._known = [(known, hashlib.sha256(b"client" + known).hexdigest()) for known in digests]

    @property
    def ids(self) -> list[str]:
        """The ids that `check` gives."""
        return [ident for _, ident in self._known]

    def check(self, presented: str) -> str | None:
        """The id of a known key (64 hexadecimal digits that tell nothing of it), or None."""
        seen = self._good.get(presented)
        if seen is not None:
            return seen
        given = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
        found = None
        for known, ident in self._known:
            if hmac.compare_digest(given, known):
                found = ident
        if found is not None:
            self._good[presented] = found
        return found
