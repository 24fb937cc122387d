from __future__ import annotations

import pytest

from engine.ports import StoreError
from engine.shell.store_memory import OVERHEAD, MemoryStore
from tests.shell.store_suite import StoreSuite, Tick


class Hands:
    """A clock whose hands the test moves."""

    at = 100.0

    def __call__(self) -> float:
        return self.at

    def tick(self, seconds: float) -> None:
        self.at += seconds


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def hands(self) -> Hands:
        return Hands()

    @pytest.fixture
    def store(self, hands: Hands) -> MemoryStore:
        return MemoryStore(hands)

    @pytest.fixture
    def tick(self, hands: Hands) -> Tick:
        return hands.tick


async def test_beyond_its_entries_the_least_recently_used_goes() -> None:
    store = MemoryStore(Hands(), entries=2)
    await store.put("a", b"1")
    await store.put("b", b"1")
    await store.get("a")
    await store.put("c", b"1")
    assert [await store.get(key) for key in "abc"] == [b"1", None, b"1"]


async def test_beyond_its_bytes_the_least_recently_used_goes() -> None:
    store = MemoryStore(Hands(), size=3 * (OVERHEAD + 101))
    for key in "abc":
        await store.put(key, bytes(100))
    await store.put("d", bytes(101))
    assert [await store.get(key) is not None for key in "abcd"] == [False, False, True, True]


async def test_a_value_larger_than_the_store_is_refused() -> None:
    store = MemoryStore(Hands(), size=1000)
    await store.put("a", b"kept")
    with pytest.raises(StoreError, match="2000 bytes"):
        await store.put("b", bytes(2000))
    assert await store.get("a") == b"kept"


async def test_replacing_gives_the_old_bytes_back() -> None:
    store = MemoryStore(Hands(), size=1000)
    await store.put("other", b"")
    for _ in range(100):
        await store.put("a", bytes(500))
    assert await store.get("other") == b""


async def test_a_value_that_is_changed_afterwards_stays_as_it_was() -> None:
    store, value = MemoryStore(Hands()), bytearray(b"one")
    await store.put("a", value)  # type: ignore[arg-type]
    value[:] = b"two"
    assert await store.get("a") == b"one"


async def test_evicted_keys_do_not_count_when_a_prefix_is_trimmed() -> None:
    store = MemoryStore(Hands(), entries=3)
    await store.trim("s/", 10)
    for at in range(6):
        await store.put(f"s/{at}", b"1")
    assert await store.trim("s/", 2) == 1
    assert [at for at in range(6) if await store.get(f"s/{at}")] == [4, 5]


async def test_closing_forgets_everything() -> None:
    store = MemoryStore(Hands())
    await store.put("a", b"1")
    await store.close()
    assert await store.get("a") is None
