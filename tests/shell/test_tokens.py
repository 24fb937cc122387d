"""Logins in the store and in files: never lost, never older than they were."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from engine.ports import Store, StoreError
from engine.shell.atomic import read_json, write_json
from engine.shell.clock import SystemClock
from engine.shell.store_memory import MemoryStore
from engine.shell.tokens import TokenPlaces
from tests.kit import FakeClock, Notes

OLD, NEW = {"access_token": "old", "obtained_at": 1}, {"access_token": "new", "obtained_at": 2}


class Shaky(MemoryStore):
    """A store that can be down, and can forget."""

    down = False

    async def get(self, key: str) -> bytes | None:
        if self.down:
            raise StoreError("down")
        return await super().get(key)

    async def put(self, key: str, value: bytes, ttl: float | None = None) -> None:
        if self.down:
            raise StoreError("down")
        await super().put(key, value, ttl)


@pytest.fixture
def store() -> Shaky:
    return Shaky(FakeClock().monotonic)


def places(store: Store) -> TokenPlaces:
    return TokenPlaces(store, FakeClock(), Notes(), Random(1))


async def test_what_is_saved_is_there_for_another_process(store: Shaky) -> None:
    await places(store).save("store:r/a", NEW)
    assert await places(store).load("store:r/a") == NEW
    assert await places(store).load("store:r/b") is None


async def test_a_store_that_was_down_gets_what_it_missed(store: Shaky) -> None:
    tokens = places(store)
    await tokens.save("store:r/a", OLD)
    store.down = True
    await tokens.save("store:r/a", NEW)
    assert await tokens.load("store:r/a") == NEW
    store.down = False
    assert await places(store).load("store:r/a") == OLD
    assert await tokens.load("store:r/a") == NEW
    assert await places(store).load("store:r/a") == NEW


async def test_a_newer_login_in_the_store_is_taken(store: Shaky) -> None:
    mine = places(store)
    await mine.save("store:r/a", OLD)
    await places(store).save("store:r/a", NEW)
    assert await mine.load("store:r/a") == NEW


async def test_a_file_belongs_to_others_too(store: Shaky, tmp_path: Path) -> None:
    path, tokens = tmp_path / "t.json", places(store)
    await tokens.save(f"file:{path}", NEW)
    assert read_json(path) == NEW
    write_json(path, OLD)
    assert await tokens.load(f"file:{path}") == OLD
    path.unlink()
    assert await tokens.load(f"file:{path}") is None


async def test_a_file_that_cannot_be_read_is_remembered(store: Shaky, tmp_path: Path) -> None:
    path, tokens = tmp_path / "t.json", places(store)
    await tokens.save(f"file:{path}", NEW)
    path.write_text('{"access')
    assert await tokens.load(f"file:{path}") == NEW
    assert await places(store).load(f"file:{path}") is None


async def test_a_home_folder_is_the_users(
    store: Shaky, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    await places(store).save("file:~/x/t.json", NEW)
    assert read_json(tmp_path / "x/t.json") == NEW


@pytest.mark.parametrize("kind", ["store", "file"])
async def test_one_process_at_a_time(store: Shaky, tmp_path: Path, kind: str) -> None:
    place = "store:r/a" if kind == "store" else f"file:{tmp_path / 't.json'}"
    inside, most = 0, 0

    async def work(tokens: TokenPlaces) -> None:
        nonlocal inside, most
        async with tokens.alone(place):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    clock, notes = SystemClock(), Notes()
    many = [TokenPlaces(store, clock, notes, Random(seed)) for seed in range(4)]
    await asyncio.gather(*map(work, many))
    assert most == 1


async def test_a_store_that_is_down_stops_nobody(store: Shaky) -> None:
    async def swap(*args: object, **more: object) -> bool:
        raise StoreError("down")

    store.swap = swap  # type: ignore[method-assign]
    async with places(store).alone("store:r/a"):
        pass


async def test_a_folder_that_cannot_be_locked_stops_nobody(store: Shaky, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with places(store).alone(f"file:{tmp_path / 'file/t.json'}"):
        pass
