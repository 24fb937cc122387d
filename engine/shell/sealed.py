"""Encryption at rest: a Store whose values lie encrypted in another one.

Fernet (AES-128-CBC with HMAC-SHA-256) of the library `cryptography`, the extra `penstock[crypto]`.
The first key encrypts; all of them decrypt, so that a new key is put before the old one and the
old one goes when all it wrote has expired. A value carries its name inside, so it cannot be moved
under another. What cannot be read (another key, or written in the clear) is as if it were not
there. Names and counters stay readable: names hold digests, counters numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from engine.options import Secret
from engine.ports import Store


class SealedStore:
    """The Store port over `inner`. unreadable() is told of each value that no key opens.

    Raises ValueError for a key that is none: 32 bytes in URL-safe base64.
    """

    def __init__(
        self, inner: Store, keys: Sequence[Secret], unreadable: Callable[[], None] = lambda: None
    ) -> None:
        self._inner = inner
        self._box = MultiFernet([Fernet(key.reveal()) for key in keys])
        self._unreadable = unreadable

    async def get(self, key: str) -> bytes | None:
        return self._opened(key, await self._inner.get(key))

    async def put(self, key: str, value: bytes, ttl: float | None = None) -> None:
        await self._inner.put(key, self._sealed(key, value), ttl)

    async def delete(self, key: str) -> None:
        await self._inner.delete(key)

    async def trim(self, prefix: str, most: int) -> int:
        return await self._inner.trim(prefix, most)

    async def add(self, key: str, by: int, ttl: float | None = None) -> int:
        return await self._inner.add(key, by, ttl)

    async def swap(
        self, key: str, old: bytes | None, new: bytes | None, ttl: float | None = None
    ) -> bool:
        """Two encryptions of one value differ, so what stands there is read and then compared."""
        raw = await self._inner.get(key)
        if self._opened(key, raw) != old:
            return False
        sealed = None if new is None else self._sealed(key, new)
        return await self._inner.swap(key, raw, sealed, ttl)

    async def keys(self, prefix: str, most: int = 10_000) -> list[str]:
        return await self._inner.keys(prefix, most)

    def _sealed(self, key: str, value: bytes) -> bytes:
        return self._box.encrypt(key.encode() + b"\0" + value)

    def _opened(self, key: str, raw: bytes | None) -> bytes | None:
        if raw is None:
            return None
        if raw.removeprefix(b"-").isdigit() and len(raw) < 20:
            return raw  # a counter
        name = key.encode() + b"\0"
        try:
            opened = self._box.decrypt(raw)
        except InvalidToken:
            opened = b""
        if not opened.startswith(name):
            self._unreadable()
            return None
        return opened[len(name) :]
