"""Values that a store keeps: over restarts, and for all processes that share the store.

Who needs a value that is not there (or no longer good) takes the lease on it and fetches; the
others look into the store until the result is there. A lease is short and extended while its
holder lives: when that one dies another takes over after LEASE seconds. What was fetched is saved
by compare-and-set, so that a holder that fell asleep does not overwrite what came after it.
A store that fails is counted and done without: then each process fetches for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from engine.errors import ExchangeError
from engine.ports import Ports, Store, StoreError
from engine.route.values import Found
from engine.wire import JsonError, dumps, loads

from .leases import Lease, take

LEASE, BEAT = 5.0, 1.5  # seconds a lease lasts, and after which it is extended
FIRST_LOOK, LONGEST_LOOK = 0.05, 0.5  # seconds between two looks at what another one fetches
PATIENCE = 150.0  # seconds, after which who waits fetches for itself
GRACE = 30 * 86400.0  # seconds a value stays after it expired: it may tell how to renew it

Fits = Callable[[Found], bool]
Fetch = Callable[[Found | None], Awaitable[Found]]  # given what the store has


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands in the store, as bytes and as a value; both None where nothing does."""

    raw: bytes | None = field(default=None, repr=False)
    found: Found | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is kept. extras: what else its entry says, for who reads it later."""

    store: Store
    key: str
    extras: dict[str, object] = field(default_factory=dict, repr=False)


async def obtain(ports: Ports, place: Place, fits: Fits, fetch: Fetch) -> Found:
    """The value out of the store if it fits, else fetched by one of all who want it.

    Raises what fetch raises: ExchangeError.
    """
    waited, look = 0.0, FIRST_LOOK
    while waited < PATIENCE:
        try:
            entry = await _read(ports, place)
            if entry.found is not None and fits(entry.found):
                return entry.found
            lease = await take(place.store, f"lease/{place.key}", LEASE, ports.random)
        except StoreError:
            ports.observer.saw("store_error", store="values", op="get")
            break
        if lease is not None:
            return await _under(ports, lease, place, fits, fetch)
        pause = look * ports.random.uniform(0.5, 1.0)
        await ports.clock.sleep(pause)
        waited, look = waited + pause, min(look * 2, LONGEST_LOOK)
    return await fetch(None)


async def _under(ports: Ports, lease: Lease, place: Place, fits: Fits, fetch: Fetch) -> Found:
    """Fetch and save, as the one who may. The last holder may just have done it."""
    try:
        entry = await _read(ports, place)
        if entry.found is not None and fits(entry.found):
            return entry.found
        found = await _beating(lease, partial(fetch, entry.found))
        return await _save(ports, place, entry, found, fits)
    except StoreError:
        ports.observer.saw("store_error", store="values", op="get")
        return await fetch(None)
    finally:
        await _let_go(lease)


async def _beating(lease: Lease, fetch: Callable[[], Awaitable[Found]]) -> Found:
    """The fetch, the lease being extended as long as it lasts."""
    failed: ExchangeError | None = None
    async with asyncio.TaskGroup() as group:
        beat = group.create_task(_beat(lease))
        try:
            return await fetch()
        except ExchangeError as error:
            failed = error
        finally:
            beat.cancel()
    raise failed


async def _beat(lease: Lease) -> None:
    """Real time: other processes live in it, whatever this one's clock says."""
    try:
        while True:
            await asyncio.sleep(BEAT)
            if not await lease.extend(LEASE):
                return
    except StoreError:
        return  # it runs out; saving is fenced


async def _let_go(lease: Lease) -> None:
    try:
        await lease.release()
    except StoreError:
        return  # it runs out


async def _save(ports: Ports, place: Place, before: Entry, found: Found, fits: Fits) -> Found:
    lasts = found.expires_in
    until = None if lasts is None else ports.clock.now() + lasts
    value = dumps({"content": found.content, "until": until, **place.extras})
    try:
        ttl = None if lasts is None else lasts + GRACE
        if await place.store.swap(place.key, before.raw, value, ttl):
            return found
        other = (await _read(ports, place)).found  # the lease was lost meanwhile
    except StoreError:
        ports.observer.saw("store_error", store="values", op="put")
        return found
    return other if other is not None and fits(other) else found


async def _read(ports: Ports, place: Place) -> Entry:
    """What the store has, expired or not; what cannot be read is only to be replaced."""
    raw = await place.store.get(place.key)
    try:
        kept: Any = loads(raw) if raw is not None else None
    except JsonError:
        return Entry(raw)
    if not isinstance(kept, dict) or not isinstance(kept.get("content"), str | dict):
        return Entry(raw)
    until = kept.get("until")
    left = until - ports.clock.now() if isinstance(until, int | float) else None
    return Entry(raw, Found(kept["content"], left))
