"""Answers that are kept, so that a client can go on from one or read it again.

An answer belongs to the client key that got it and is kept with the whole conversation it stands
on: each is whole in itself, whatever became of the ones before. Kept for a time, and so many for
each client: the ones written first go first.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any

from engine.ports import Ports, Store, StoreError
from engine.wire import dumps, loads

HOUR = 3600.0
MOST = 1000


@dataclass(slots=True)
class Kept:
    """An answer as its client got it, and the items it answers, the earliest first."""

    answer: dict[str, Any]
    items: list[object] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an answer is kept by its upstream: the route and model, and the account's digest."""

    route: str
    model: str
    account: str


@dataclass(slots=True)
class Answers:
    """ttl: seconds an answer is kept; most: answers of one client; durable: over restarts, too."""

    ports: Ports
    ttl: float = HOUR
    most: int = MOST
    durable: bool = False

    async def find(self, client: str, ident: str) -> Kept | None:
        """None for an answer that is not kept, or that another client got."""
        try:
            raw = await self._store.get(_key(client, ident))
        except StoreError:
            self._failed("get")
            return None
        found: Any = loads(raw) if raw is not None else None
        return None if found is None else Kept(found["answer"], found["items"])

    async def keep(self, client: str, ident: str, kept: Kept) -> None:
        """A store that fails is counted; the answer is given all the same."""
        value = dumps({"answer": kept.answer, "items": kept.items})
        try:
            await self._store.put(_key(client, ident), value, self.ttl)
            await self._store.trim(_prefix(client), self.most)
        except StoreError:
            self._failed("put")

    async def forget(self, client: str, ident: str) -> bool:
        """Whether there was one."""
        found = await self.find(client, ident) is not None
        if found:
            try:
                await self._store.delete(_key(client, ident))
            except StoreError:
                self._failed("delete")
        return found

    # ---- answers that their upstreams keep ----

    async def origin(self, client: str, ident: str) -> Origin | None:
        """Where an answer is that this client got; None if that is not known."""
        try:
            raw = await self._store.get(_key(client, ident, "origin"))
        except StoreError:
            self._failed("get")
            return None
        found: Any = loads(raw) if raw is not None else None
        return None if found is None else Origin(**found)

    async def note(self, client: str, ident: str, origin: Origin) -> None:
        value = dumps(asdict(origin))
        try:
            await self._store.put(_key(client, ident, "origin"), value, self.ttl)
            await self._store.trim(_prefix(client, "origin"), self.most)
        except StoreError:
            self._failed("put")

    @property
    def _store(self) -> Store:
        return self.ports.durable if self.durable else self.ports.store

    def _failed(self, operation: str) -> None:
        self.ports.observer.saw("store_error", store="answers", op=operation)


def _prefix(client: str, kind: str = "answer") -> str:
    return f"{kind}/{hashlib.sha256(client.encode()).hexdigest()[:32]}/"


def _key(client: str, ident: str, kind: str = "answer") -> str:
    return _prefix(client, kind) + hashlib.sha256(ident.encode("utf-8", "replace")).hexdigest()[:32]
