"""The Store port in one SQLite file: what must outlive the process.

One connection in one worker thread, opened at the first use; write-ahead log, so that killing the
process loses nothing that was put. The file is 0600, the folder 0700 where it is made here.
Several processes may share the file. Whatever goes wrong is a StoreError.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf
from pathlib import Path
from typing import TypeVar

from engine.ports import StoreError

SCHEMA = 1
BUSY = 0.5  # seconds to wait for another process's write
PURGE_EVERY = 300.0  # seconds between two purges of expired entries

# A replaced row gets a new id, the largest: ids are in the order of writing.
_TABLE = """CREATE TABLE entries (
    id INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, value BLOB NOT NULL, expires REAL)"""
_EXPIRY = "CREATE INDEX expiry ON entries (expires) WHERE expires IS NOT NULL"
_GET = "SELECT value FROM entries WHERE key = ? AND (expires IS NULL OR expires > ?)"
_PUT = "INSERT OR REPLACE INTO entries (key, value, expires) VALUES (?, ?, ?)"
_DELETE = "DELETE FROM entries WHERE key = ?"
_PURGE = "DELETE FROM entries WHERE expires <= ?"
_TRIM = """DELETE FROM entries WHERE id IN (
    SELECT id FROM entries WHERE key >= ? AND key < ? ORDER BY id DESC LIMIT -1 OFFSET ?)"""
_LAST = "\U0010ffff"

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

    async def purge(self) -> int:
        """Forget what has expired; how many that were. Putting does it now and then by itself."""
        return await self._do(self._purge)

    async def close(self) -> None:
        if self._db is not None:
            await self._do(lambda db: db.close())
        self._db = None
        self._thread.shutdown()

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
        self._guard_file()
        db = sqlite3.connect(
            self._path, timeout=BUSY, isolation_level=None, check_same_thread=False
        )
        try:
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

    def _purge(self, db: sqlite3.Connection) -> int:
        now = self._now()
        self._purge_at = now + PURGE_EVERY
        return db.execute(_PURGE, (now,)).rowcount

    def _trim(self, db: sqlite3.Connection, prefix: str, most: int) -> int:
        db.execute(_PURGE, (self._now(),))
        return db.execute(_TRIM, (prefix, prefix + _LAST, max(0, most))).rowcount


def _migrate(db: sqlite3.Connection) -> None:
    """Bring the file to SCHEMA; a file of a newer engine is left alone."""
    if _version(db) == SCHEMA:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        version = _version(db)  # another process may have been faster
        if version > SCHEMA:
            raise ValueError(f"schema {version} is of a newer version; this one knows {SCHEMA}")
        if version == 0:
            db.execute(_TABLE)
            db.execute(_EXPIRY)
            db.execute(f"PRAGMA user_version = {SCHEMA}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])
