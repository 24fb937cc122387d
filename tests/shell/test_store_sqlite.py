from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.ports import StoreError
from engine.shell.store_sqlite import PURGE_EVERY, SCHEMA, SqliteStore
from tests.shell.store_suite import StoreSuite, Tick


class Hands:
    """A clock whose hands the test moves."""

    at = 1_700_000_000.0

    def __call__(self) -> float:
        return self.at

    def tick(self, seconds: float) -> None:
        self.at += seconds


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store.db"


@pytest.fixture
async def store(path: Path, hands: Hands) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, hands)
    yield store
    await store.close()


class TestSqliteStore(StoreSuite):
    @pytest.fixture
    def tick(self, hands: Hands) -> Tick:
        return hands.tick


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def place(path: Path, content: bytes) -> None:
    """Put a file there that everybody may read."""
    path.parent.mkdir()
    path.touch(0o644)
    path.write_bytes(content)


async def test_nothing_is_made_before_the_first_use(store: SqliteStore, path: Path) -> None:
    folder = path.parent.parent
    assert os.listdir(folder) == []
    await store.get("a")
    assert os.listdir(folder) == ["state"]


async def test_the_files_are_for_their_owner_only(store: SqliteStore, path: Path) -> None:
    old = os.umask(0)
    try:
        await store.put("a", b"1")
    finally:
        os.umask(old)
    assert mode(path.parent) == 0o700
    assert {file.name: mode(file) for file in path.parent.iterdir()} == {
        "store.db": 0o600,
        "store.db-wal": 0o600,
        "store.db-shm": 0o600,
    }


async def test_a_file_that_others_may_read_is_closed_to_them(
    store: SqliteStore, path: Path
) -> None:
    place(path, b"")
    await store.put("a", b"1")
    assert mode(path) == 0o600


async def test_values_outlive_the_store(store: SqliteStore, path: Path, hands: Hands) -> None:
    await store.put("a", b"1")
    await store.put("b", b"1", ttl=5)
    await store.close()
    hands.tick(6)
    again = SqliteStore(path, hands)
    assert [await again.get("a"), await again.get("b")] == [b"1", None]
    await again.close()


KILLED = """
import asyncio, sys, time
from engine.shell.store_sqlite import SqliteStore
async def main():
    store = SqliteStore(sys.argv[1], time.time)
    at = 0
    while True:
        await store.put(f"k/{at}", b"x" * 1000)
        print(at, flush=True)
        at += 1
asyncio.run(main())
"""


async def test_what_was_put_survives_kill_9(store: SqliteStore, path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    while int(await child.stdout.readline()) < 50:
        pass
    child.kill()
    rest = (await child.stdout.read()).split(b"\n")[:-1]
    await child.wait()
    last = int(rest[-1]) if rest else 50
    missing = [at for at in range(last + 1) if await store.get(f"k/{at}") is None]
    assert missing == []
    await store.put("after", b"1")


async def test_expired_values_are_purged_now_and_then(
    store: SqliteStore, path: Path, hands: Hands
) -> None:
    await store.put("a", b"1", ttl=1)
    hands.tick(PURGE_EVERY)
    await store.put("b", b"1")
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT key FROM entries").fetchall() == [("b",)]
    db.close()


async def test_purge_tells_how_many_were_expired(store: SqliteStore, hands: Hands) -> None:
    await store.put("a", b"1", ttl=1)
    await store.put("b", b"1", ttl=1)
    await store.put("c", b"1")
    hands.tick(2)
    assert await store.purge() == 2


async def test_two_processes_share_a_file(store: SqliteStore, path: Path, hands: Hands) -> None:
    other = SqliteStore(path, hands)
    await asyncio.gather(*(s.put(f"{n}", b"1") for s in (store, other) for n in range(20)))
    await other.put("a", b"theirs")
    assert await store.get("a") == b"theirs"
    await other.close()


COUNTING = """
import asyncio, sys, time
from engine.shell.store_sqlite import SqliteStore
async def main():
    for _ in range(10):
        store = SqliteStore(sys.argv[1], time.time)
        await store.add("n", 1)
        await store.put("a", b"x")
        await store.close()
asyncio.run(main())
"""


async def test_processes_that_open_and_close_the_file_at_once_are_never_locked_out(
    store: SqliteStore, path: Path
) -> None:
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", COUNTING, str(path), stderr=asyncio.subprocess.PIPE
        )
        for _ in range(4)
    ]
    said = await asyncio.gather(*(child.communicate() for child in children))
    assert [error for _, error in said] == [b""] * 4
    assert await store.get("n") == b"40"


async def test_a_file_that_is_no_database_is_a_store_error(store: SqliteStore, path: Path) -> None:
    place(path, b"not a database " * 100)
    with pytest.raises(StoreError, match="not a database"):
        await store.get("a")


async def test_a_store_that_recovers_works_again(store: SqliteStore, path: Path) -> None:
    path.parent.write_text("a file where the folder should be")
    with pytest.raises(StoreError):
        await store.put("a", b"1")
    path.parent.unlink()
    await store.put("a", b"1")
    assert await store.get("a") == b"1"


async def test_a_newer_schema_is_left_alone(store: SqliteStore, path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    db.close()
    with pytest.raises(StoreError, match="newer version"):
        await store.get("a")
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    db.close()


async def test_a_lock_that_another_holds_is_soon_a_store_error(
    store: SqliteStore, path: Path
) -> None:
    await store.put("a", b"1")
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    with pytest.raises(StoreError, match="locked"):
        await store.put("a", b"2")
    assert time.monotonic() - begun < 3
    assert await store.get("a") == b"1"
    db.execute("ROLLBACK")
    db.close()
    await store.put("a", b"2")


async def test_a_key_without_a_utf8_form_is_a_store_error(store: SqliteStore) -> None:
    with pytest.raises(StoreError):
        await store.get("\ud800")


async def test_a_closed_store_is_a_store_error(store: SqliteStore) -> None:
    await store.put("a", b"1")
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.get("a")


async def test_the_event_loop_runs_while_a_write_waits(store: SqliteStore, path: Path) -> None:
    await store.put("a", b"1")
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(store.put("a", b"2"))
    begun = time.monotonic()
    for _ in range(10):
        await asyncio.sleep(0.005)
    assert time.monotonic() - begun < 0.4
    db.execute("ROLLBACK")
    db.close()
    await waiting
