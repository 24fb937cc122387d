"""A lease has one holder, runs out, and cannot be touched by who lost it."""

from __future__ import annotations

from random import Random

from engine.kept.leases import Lease, take
from engine.shell.store_memory import MemoryStore
from tests.kit import FakeClock

CLOCK = FakeClock()


def a_store() -> MemoryStore:
    return MemoryStore(CLOCK.monotonic)


async def held(store: MemoryStore, seconds: float = 5) -> Lease:
    lease = await take(store, "lease/x", seconds, Random(1))
    assert lease is not None
    return lease


async def test_a_lease_has_one_holder() -> None:
    store = a_store()
    lease = await held(store)
    assert await take(store, "lease/x", 5, Random(2)) is None
    assert await take(store, "lease/y", 5, Random(2)) is not None
    await lease.release()
    assert await take(store, "lease/x", 5, Random(2)) is not None


async def test_a_lease_runs_out_unless_it_is_extended() -> None:
    store = a_store()
    lease = await held(store)
    CLOCK.move(4)
    assert await lease.extend(5)
    CLOCK.move(4)
    assert await take(store, "lease/x", 5, Random(2)) is None
    CLOCK.move(2)
    assert await take(store, "lease/x", 5, Random(2)) is not None


async def test_who_lost_a_lease_neither_extends_nor_ends_that_of_another() -> None:
    store = a_store()
    late = await held(store)
    CLOCK.move(6)
    other = await take(store, "lease/x", 5, Random(2))
    assert other is not None
    assert not await late.extend(60)
    await late.release()
    assert await store.get("lease/x") == other.token
