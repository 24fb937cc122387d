"""The Tokens port: logins kept in the engine's store, or in files that other programs share.

A place is `store:NAME` or `file:PATH`. The last tokens of each place stay in memory as well. A file
belongs to others, too: what stands in it holds, and memory serves only while it cannot be read. The
store is ours alone: if it has lost tokens, or holds older ones (it was down when they were
rotated), they are written again at the next look.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

from engine.kept.leases import Lease, take
from engine.ports import Clock, Observer, Store, StoreError
from engine.wire import JsonError, dumps, loads

from .atomic import FileError, locked, read_json, write_json

PATIENCE = 40.0  # seconds to wait for another process that renews
HELD = 60.0  # seconds after which the right of a process that died runs out
LOOK = 0.2  # seconds between two looks at a right that is taken

Kept = Mapping[str, object]


class TokenPlaces:
    def __init__(self, store: Store, clock: Clock, observer: Observer, random: Random) -> None:
        self._store = store
        self._clock = clock
        self._observer = observer
        self._random = random
        self._last: dict[str, Kept] = {}

    async def load(self, place: str) -> Kept | None:
        kind, _, name = place.partition(":")
        last = self._last.get(place)
        found: Kept | None
        try:
            if kind == "file":
                found = await asyncio.to_thread(read_json, _path(name))
            else:
                found = await self._stored(name)
        except (FileError, StoreError):
            self._observer.saw("store_error", store="tokens", op="get")
            return last
        if kind != "file" and last is not None and _age(found) < _age(last):
            await self.save(place, last)
            return last
        if found is not None:
            self._last[place] = found
        return found

    async def save(self, place: str, tokens: Kept) -> None:
        self._last[place] = tokens
        kind, _, name = place.partition(":")
        try:
            if kind == "file":
                await asyncio.to_thread(write_json, _path(name), dict(tokens))
            else:
                await self._store.put(f"oauth/{name}", dumps(dict(tokens)))
        except (FileError, StoreError):
            self._observer.saw("store_error", store="tokens", op="put")

    async def _stored(self, name: str) -> Kept | None:
        raw = await self._store.get(f"oauth/{name}")
        with suppress(JsonError):
            found = None if raw is None else loads(raw)
            return found if isinstance(found, dict) else None
        return None

    @asynccontextmanager
    async def alone(self, place: str) -> AsyncIterator[None]:
        """Nobody else renews this login meanwhile, as far as that can be had."""
        kind, _, name = place.partition(":")
        if kind == "file":
            lock = locked(_path(name), PATIENCE)
            with suppress(FileError):
                await asyncio.to_thread(lock.__enter__)
            try:
                yield
            finally:
                with suppress(RuntimeError):  # it was never entered
                    lock.__exit__(None, None, None)
            return
        lease = await self._lease(f"oauth-lease/{name}")
        try:
            yield
        finally:
            if lease is not None:
                with suppress(StoreError):
                    await lease.release()

    async def _lease(self, key: str) -> Lease | None:
        """The right to renew; None when the store cannot tell, or its holder takes for ever."""
        until = self._clock.monotonic() + PATIENCE
        while self._clock.monotonic() < until:
            try:
                lease = await take(self._store, key, HELD, self._random)
            except StoreError:
                return None
            if lease is not None:
                return lease
            await self._clock.sleep(LOOK)
        return None


def _path(name: str) -> Path:
    return Path(name).expanduser()


def _age(kept: Kept | None) -> float:
    at = kept.get("obtained_at") if kept is not None else None
    return float(at) if isinstance(at, int | float) else 0.0
