"""The Store port in memory: bounded in entries and bytes, the least recently used goes first.

Nothing outlives the process. A prefix that was trimmed once keeps the order of its writes, so that
trimming it after every write does not walk through all keys.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from math import inf
from typing import NamedTuple

from engine.ports import StoreError

OVERHEAD = 200  # bytes an entry takes beside its key and value, about


class Entry(NamedTuple):
    value: bytes
    expires: float
    size: int


class MemoryStore:
    """monotonic gives seconds; entries and size (bytes, keys included) bound what is kept."""

    def __init__(
        self, monotonic: Callable[[], float], *, entries: int = 50_000, size: int = 64 * 1024**2
    ) -> None:
        self._monotonic = monotonic
        self._entries = entries
        self._size = size
        self._used = 0
        self._kept: OrderedDict[str, Entry] = OrderedDict()
        self._groups: dict[str, dict[str, None]] = {}

    async def get(self, key: str) -> bytes | None:
        entry = self._find(key)
        return None if entry is None else entry.value

    async def put(self, key: str, value: bytes, ttl: float | None = None) -> None:
        self._put(key, value, self._until(ttl))

    def _put(self, key: str, value: bytes, expires: float) -> None:
        size = len(key) + len(value) + OVERHEAD
        if size > self._size:
            raise StoreError(f"{len(value)} bytes are more than the store may hold")
        self._forget(key)
        self._kept[key] = Entry(bytes(value), expires, size)
        self._used += size
        for prefix, group in self._groups.items():
            if key.startswith(prefix):
                group[key] = None
        while self._used > self._size or len(self._kept) > self._entries:
            self._forget(next(iter(self._kept)))

    async def delete(self, key: str) -> None:
        self._forget(key)

    async def trim(self, prefix: str, most: int) -> int:
        group = self._group(prefix)
        if len(group) <= most:
            return 0
        now = self._monotonic()
        for key in [key for key in group if self._kept[key].expires <= now]:
            self._forget(key)
        oldest = list(group)[: max(0, len(group) - most)]
        for key in oldest:
            self._forget(key)
        return len(oldest)

    async def add(self, key: str, by: int, ttl: float | None = None) -> int:
        entry = self._find(key)
        total = by + (0 if entry is None else number(entry.value))
        self._put(key, b"%d" % total, self._until(ttl) if entry is None else entry.expires)
        return total

    async def swap(
        self, key: str, old: bytes | None, new: bytes | None, ttl: float | None = None
    ) -> bool:
        entry = self._find(key)
        if (None if entry is None else entry.value) != old:
            return False
        if new is None:
            self._forget(key)
        else:
            self._put(key, new, self._until(ttl))
        return True

    async def keys(self, prefix: str, most: int = 10_000) -> list[str]:
        now = self._monotonic()
        found = (
            key
            for key, entry in self._kept.items()
            if key.startswith(prefix) and entry.expires > now
        )
        return list(islice(found, most))

    async def close(self) -> None:
        self._kept.clear()
        self._groups.clear()
        self._used = 0

    def _until(self, ttl: float | None) -> float:
        return inf if ttl is None else self._monotonic() + ttl

    def _find(self, key: str) -> Entry | None:
        entry = self._kept.get(key)
        if entry is not None and entry.expires <= self._monotonic():
            self._forget(key)
            return None
        if entry is not None:
            self._kept.move_to_end(key)
        return entry

    def _group(self, prefix: str) -> dict[str, None]:
        """The keys of a prefix, least recently written first (at the first call: used)."""
        if prefix not in self._groups:
            self._groups = {name: keys for name, keys in self._groups.items() if keys}
            self._groups[prefix] = {key: None for key in self._kept if key.startswith(prefix)}
        return self._groups[prefix]

    def _forget(self, key: str) -> None:
        entry = self._kept.pop(key, None)
        if entry is None:
            return
        self._used -= entry.size
        for prefix, group in self._groups.items():
            if key.startswith(prefix):
                group.pop(key, None)


def number(value: bytes) -> int:
    """What a counter stands at. Raises StoreError for what is none."""
    try:
        return int(value)
    except ValueError:
        raise StoreError("no counter stands there") from None
