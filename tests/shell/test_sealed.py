"""Values at rest: unreadable without the key, and never a failure."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from engine.options import Secret
from engine.shell.sealed import SealedStore
from engine.shell.store_memory import MemoryStore
from tests.kit import FakeClock
from tests.shell.store_suite import StoreSuite, Tick

ONE, TWO = (Secret(Fernet.generate_key().decode(), f"key{n}") for n in (1, 2))


class TestSealedStore(StoreSuite):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def store(self, clock: FakeClock) -> SealedStore:
        return SealedStore(MemoryStore(clock.monotonic), [ONE])

    @pytest.fixture
    def tick(self, clock: FakeClock) -> Tick:
        return clock.move


class Stage:
    """One store below, and what several keys make of it."""

    def __init__(self) -> None:
        self.inner = MemoryStore(FakeClock().monotonic)
        self.unreadable = 0

    def opened(self, *keys: Secret) -> SealedStore:
        def note() -> None:
            self.unreadable += 1

        return SealedStore(self.inner, keys, note)


async def test_what_lies_below_shows_nothing() -> None:
    stage = Stage()
    await stage.opened(ONE).put("value/a", b"a token of thirty characters..")
    raw = await stage.inner.get("value/a")
    assert raw is not None
    assert b"token" not in raw
    await stage.opened(ONE).put("value/a", b"a token of thirty characters..")
    assert await stage.inner.get("value/a") != raw


async def test_with_another_key_a_value_is_absent_and_can_be_written_anew() -> None:
    stage = Stage()
    await stage.opened(ONE).put("a", b"one")
    other = stage.opened(TWO)
    assert await other.get("a") is None
    assert stage.unreadable == 1
    assert not await other.swap("a", b"one", b"two")
    assert await other.swap("a", None, b"two")
    assert await other.get("a") == b"two"
    assert await stage.opened(ONE).get("a") is None


async def test_an_old_key_still_reads_and_the_first_one_writes() -> None:
    stage = Stage()
    await stage.opened(ONE).put("a", b"old")
    both = stage.opened(TWO, ONE)
    assert await both.get("a") == b"old"
    assert await both.swap("a", b"old", b"new")
    assert await stage.opened(TWO).get("a") == b"new"
    assert await stage.opened(ONE).get("a") is None


async def test_a_value_cannot_be_moved_under_another_name() -> None:
    stage = Stage()
    store = stage.opened(ONE)
    await store.put("session/mine", b"mine")
    raw = await stage.inner.get("session/mine")
    assert raw is not None
    await stage.inner.put("session/yours", raw)
    assert await store.get("session/yours") is None
    assert stage.unreadable == 1


@pytest.mark.parametrize("raw", [b"", b"{}", b"written before there was a key", b"\xff\x00"])
async def test_what_was_written_in_the_clear_is_absent(raw: bytes) -> None:
    stage = Stage()
    await stage.inner.put("a", raw)
    assert await stage.opened(ONE).get("a") is None


async def test_counters_stay_countable_for_whoever_has_no_key() -> None:
    stage = Stage()
    await stage.opened(ONE).add("n", 5)
    assert await stage.opened(TWO).add("n", 1) == 6


def test_a_key_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="Fernet key"):
        Stage().opened(Secret("short"))
