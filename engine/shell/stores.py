"""The stores that `penstock.yaml` asks for, behind a circuit, encrypted where a key is given.

store: memory   sessions in memory, what persists in SQLite
store: sqlite   both in SQLite
store: redis    both in Redis, which other replicas share
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engine.errors import ConfigError, Problem
from engine.ports import Clock, Observer, Store

from .guard import GuardedStore
from .settings import RedisServer, Settings
from .store_memory import MemoryStore
from .store_sqlite import SqliteStore


class Opened(Store, Protocol):
    """A store that somebody has to close."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Stores:
    """passing: what may be lost with the process; durable: what may not.

    guard   the circuit around the store on disk or network
    """

    passing: Store
    durable: Store
    shared: bool
    guard: GuardedStore
    opened: Opened

    async def close(self) -> None:
        await self.opened.close()


def open_stores(settings: Settings, clock: Clock, observer: Observer) -> Stores:
    """Nothing is connected or written yet. Raises ConfigError where a package is missing."""
    shared = settings.store == "redis"
    opened = _redis(settings.redis) if shared else _sqlite(settings, clock)
    guard = GuardedStore(opened, "redis" if shared else "sqlite", clock, observer)
    durable = _sealed(guard, settings, observer)
    passing = MemoryStore(clock.monotonic) if settings.store == "memory" else durable
    return Stores(passing, durable, shared, guard, opened)


def _sqlite(settings: Settings, clock: Clock) -> Opened:
    return SqliteStore(Path(settings.state) / "penstock.db", clock.now)


def _redis(server: RedisServer) -> Opened:
    try:
        from .store_redis import RedisStore
    except ImportError:
        raise _missing("`store: redis`", "redis") from None
    assert server.url is not None  # checked with the settings
    try:
        return RedisStore(server.url.reveal(), prefix=server.prefix, timeout=float(server.timeout))
    except (TypeError, ValueError):  # their texts may hold parts of the URL
        message = f"`redis.url` ({server.url.name}) has a part that redis-py does not know"
        raise ConfigError([Problem("penstock.yaml", 0, 0, "E604", message)]) from None


def _sealed(store: Store, settings: Settings, observer: Observer) -> Store:
    if not settings.state_key:
        return store
    try:
        from .sealed import SealedStore
    except ImportError:
        raise _missing("`state_key`", "crypto") from None

    def unreadable() -> None:
        observer.saw("store_unreadable")

    return SealedStore(store, settings.state_key, unreadable)


def _missing(what: str, extra: str) -> ConfigError:
    message = f"{what} needs a package that is not installed: pip install 'penstock[{extra}]'"
    return ConfigError([Problem("penstock.yaml", 0, 0, "E607", message)])
