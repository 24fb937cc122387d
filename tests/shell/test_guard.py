"""A store that is down is left alone, and taken up again when it answers."""

from __future__ import annotations

import asyncio

import pytest

from engine.ports import StoreError
from engine.shell.guard import OPENS, GuardedStore
from engine.shell.store_memory import MemoryStore
from tests.kit import FakeClock, Notes
from tests.shell.store_suite import StoreSuite, Tick


class Frail(MemoryStore):
    """A store that can be broken; `asked` counts what came to it."""

    broken = False
    asked = 0

    async def get(self, key: str) -> bytes | None:
        self.asked += 1
        if self.broken:
            raise StoreError("out of order")
        return await super().get(key)


class Stage:
    def __init__(self) -> None:
        self.clock, self.notes = FakeClock(), Notes()
        self.inner = Frail(self.clock.monotonic)
        self.store = GuardedStore(self.inner, "frail", self.clock, self.notes)

    async def fail(self, times: int = OPENS) -> None:
        self.inner.broken = True
        for _ in range(times):
            with pytest.raises(StoreError):
                await self.store.get("a")


class TestGuardedStore(StoreSuite):
    @pytest.fixture
    def stage(self) -> Stage:
        return Stage()

    @pytest.fixture
    def store(self, stage: Stage) -> GuardedStore:
        return stage.store

    @pytest.fixture
    def tick(self, stage: Stage) -> Tick:
        return stage.clock.move


async def test_the_first_failures_are_told_then_the_spare_serves() -> None:
    stage = Stage()
    await stage.store.put("a", b"1")
    await stage.fail()
    assert await stage.store.get("a") is None
    await stage.store.put("a", b"2")
    assert await stage.store.get("a") == b"2"
    assert stage.inner.asked == OPENS
    assert not stage.store.health.up
    assert (stage.store.health.failures, stage.store.health.why) == (OPENS, "out of order")


async def test_failures_with_a_success_between_them_do_not_open_the_circuit() -> None:
    stage = Stage()
    for _ in range(3):
        await stage.fail(OPENS - 1)
        stage.inner.broken = False
        await stage.store.get("a")
    assert stage.store.health.up


async def test_a_store_that_answers_again_is_used_again_with_what_it_has() -> None:
    stage = Stage()
    await stage.store.put("a", b"1")
    await stage.fail()
    await stage.store.put("a", b"of the meantime")
    assert not await stage.store.probe()
    stage.clock.move(5)
    stage.inner.broken = False
    assert await stage.store.probe()
    assert await stage.store.get("a") == b"1"
    assert stage.store.health.why == ""
    assert stage.notes.of("store_state") == [
        {"store": "frail", "up": True},
        {"store": "frail", "up": False, "lasted": 0.0, "error": "out of order"},
        {"store": "frail", "up": True, "lasted": 5.0, "error": ""},
    ]


async def test_what_the_spare_held_does_not_come_back_at_the_next_time() -> None:
    stage = Stage()
    await stage.fail()
    await stage.store.put("a", b"first time")
    stage.inner.broken = False
    await stage.store.probe()
    await stage.fail()
    assert await stage.store.get("a") is None


async def test_a_probe_that_fails_opens_the_circuit_by_itself() -> None:
    stage = Stage()
    stage.inner.broken = True
    assert not await stage.store.probe()
    assert await stage.store.get("a") is None


async def test_who_tends_it_brings_it_back() -> None:
    stage = Stage()
    await stage.fail()
    stage.inner.broken = False
    tending = asyncio.create_task(stage.store.tend())
    while not stage.store.health.up:
        await asyncio.sleep(0.001)
    tending.cancel()
