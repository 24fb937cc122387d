"""The Store port in one SQLite file: what must outlive the process.

One connection in one worker thread, opened at the first use; write-ahead log, so that killing the
process loses nothing that was put. The file is 0600, the folder 0700 where it is made here.
Several processes may share the file. Whatever goes wrong is a StoreError.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import TypeVar

from engine.ports import StoreError

from .store_memory import number

SCHEMA = 1
BUSY = 1.0  # seconds to wait for another process's write
OPENING = 10.0  # seconds to go on trying to open a file that others open or close just now
PURGE_EVERY = 300.0  # seconds between two purges of expired entries

# A replaced row gets a new id, the largest: ids are in the order of writing.
_TABLE = """CREATE TABLE entries (
    id INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, value BLOB NOT NULL, expires REAL)"""
_EXPIRY = "CREATE INDEX expiry ON entries (expires) WHERE expires IS NOT NULL"
_GET = "SELECT value FROM entries WHERE key = ? AND (expires IS NULL OR expires > ?)"
_PUT = "INSERT OR REPLACE INTO entries (key, value, expires) VALUES (?, ?, ?)"
_KEYS = """SELECT key FROM entries
    WHERE key >= ? AND key < ? AND (expires IS NULL OR expires > ?) LIMIT ?"""
_ENTRY = "SELECT value, expires FROM entries WHERE key = ? AND (expires IS NULL OR expires > ?)"
_DELETE = "DELETE FROM entries WHERE key = ?"
_PURGE = "DELETE FROM entries WHERE expires <= ?"
_TRIM = """DELETE FROM entries WHERE id IN (
    SELECT id FROM entries WHERE key >= ? AND key < ? ORDER BY id DESC LIMIT -1 OFFSET ?)"""
_LAST = "\U0010ffff"
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

T = TypeVar("T")


class SqliteStore:
    """path is made when missing; now gives epoch seconds. `await close()` it at the end."""

    def __init__(self, path: str | Path, now: Callable[[], float]) -> None:
        self._path = Path(path)
        self._now = now
        self._thread = ThreadPoolExecutor(1, "penstock-store")
        self._db: sqlite3.Connection | None = None
        self._purge_at = -inf

    async def get(self, key: str) -> bytes | None:
        return await self._do(lambda db: self._get(db, key))

    async def put(self, key: str, value: bytes, ttl: float | None = None) -> None:
        await self._do(lambda db: self._put(db, key, value, ttl))

    async def delete(self, key: str) -> None:
        await self._do(lambda db: db.execute(_DELETE, (key,)))

    async def trim(self, prefix: str, most: int) -> int:
        return await self._do(lambda db: self._trim(db, prefix, most))

    async def add(self, key: str, by: int, ttl: float | None = None) -> int:
        return await self._do(lambda db: self._add(db, key, by, ttl))

    async def swap(
        self, key: str, old: bytes | None, new: bytes | None, ttl: float | None = None
    ) -> bool:
        return await self._do(lambda db: self._swap(db, key, old, new, ttl))

    async def keys(self, prefix: str, most: int = 10_000) -> list[str]:
        asked = (prefix, prefix + _LAST, self._now(), most)
        return await self._do(lambda db: [row[0] for row in db.execute(_KEYS, asked)])

    async def purge(self) -> int:
        """Forget what has expired; how many that were. Putting does it now and then by itself."""
        return await self._do(self._purge)

    async def close(self) -> None:
        if self._db is not None:
            await self._do(lambda db: db.close())
        self._db = None
        self._thread.shutdown(wait=False)

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._call, work)
        except RuntimeError as error:
            raise StoreError("the store is closed") from error

    # ---- in the worker thread ----

    def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._db is None:
                self._db = self._open()
            return work(self._db)
        except (sqlite3.Error, OSError, ValueError) as error:
            raise StoreError(f"{self._path}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        """A connection. SQLite's own waiting does not cover this: turning to the write-ahead log,
        recovering it, and the last one's closing answer "locked" at once to whoever comes."""
        self._guard_file()
        until, pause = time.monotonic() + OPENING, 0.005
        while True:
            try:
                return self._connect()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in _LOCKED or time.monotonic() > until:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, 0.1)

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self._path, timeout=BUSY, isolation_level=None, check_same_thread=False
        )
        try:
            if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            _migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def _guard_file(self) -> None:
        """Make the file before SQLite does, readable by its owner only; SQLite copies the mode."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._path.exists():
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        elif self._path.stat().st_mode & 0o077:
            self._path.chmod(0o600)

    def _get(self, db: sqlite3.Connection, key: str) -> bytes | None:
        row = db.execute(_GET, (key, self._now())).fetchone()
        return None if row is None else bytes(row[0])

    def _put(self, db: sqlite3.Connection, key: str, value: bytes, ttl: float | None) -> None:
        now = self._now()
        db.execute(_PUT, (key, value, None if ttl is None else now + ttl))
        if now >= self._purge_at:
            self._purge(db)

    def _add(self, db: sqlite3.Connection, key: str, by: int, ttl: float | None) -> int:
        now = self._now()
        with _writing(db):
            row = db.execute(_ENTRY, (key, now)).fetchone()
            total = by + (0 if row is None else number(bytes(row[0])))
            expires = row[1] if row is not None else None if ttl is None else now + ttl
            db.execute(_PUT, (key, b"%d" % total, expires))
        return total

    def _swap(
        self,
        db: sqlite3.Connection,
        key: str,
        old: bytes | None,
        new: bytes | None,
        ttl: float | None,
    ) -> bool:
        with _writing(db):
            if self._get(db, key) != old:
                return False
            if new is None:
                db.execute(_DELETE, (key,))
            else:
                self._put(db, key, new, ttl)
        return True

    def _purge(self, db: sqlite3.Connection) -> int:
        now = self._now()
        self._purge_at = now + PURGE_EVERY
        return db.execute(_PURGE, (now,)).rowcount

    def _trim(self, db: sqlite3.Connection, prefix: str, most: int) -> int:
        db.execute(_PURGE, (self._now(),))
        return db.execute(_TRIM, (prefix, prefix + _LAST, max(0, most))).rowcount


@contextmanager
def _writing(db: sqlite3.Connection) -> Iterator[None]:
    """One transaction that no other writer comes into."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _migrate(db: sqlite3.Connection) -> None:
    """Bring the file to SCHEMA; a file of a newer engine is left alone."""
    if _version(db) == SCHEMA:
        return
    with _writing(db):
        version = _version(db)  # another process may have been faster
        if version > SCHEMA:
            raise ValueError(f"schema {version} is of a newer version; this one knows {SCHEMA}")
        if version == 0:
            db.execute(_TABLE)
            db.execute(_EXPIRY)
            db.execute(f"PRAGMA user_version = {SCHEMA}")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])
