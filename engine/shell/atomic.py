"""Files that several programs read and write: always the old one or the new one, never torn.

A file is written beside its place, synced, and renamed over it; its folder is synced too. A JSON
file may be read by its owner only. A program that dies on the way leaves a `.tmp` behind; the next
one removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from engine.wire import JsonError, dumps, loads

MOST = 1024 * 1024  # bytes
STALE = 60.0  # seconds after which a `.tmp` belongs to nobody


class FileError(Exception):
    """A file that cannot be read or written. The message has its name and no content."""


def read_json(path: Path) -> dict[str, object] | None:
    """The map in a file, None if there is no file. Raises FileError."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None
    try:
        found = loads(data) if len(data) <= MOST else None
    except JsonError:
        found = None
    if not isinstance(found, dict):
        raise FileError(f"{path} holds no JSON map")
    return found


def write_json(path: Path, value: object) -> None:
    """Raises FileError. A link is followed: what it leads to is replaced."""
    write_bytes(path, dumps(value) + b"\n", mode=0o600)


def write_bytes(path: Path, data: bytes, mode: int = 0o666) -> None:
    """The same with bytes. mode: before the umask; folders that are made have it, too."""
    place = Path(os.path.realpath(path))
    part = place.with_name(f".{place.name}.{secrets.token_hex(6)}.tmp")
    try:
        place.parent.mkdir(mode=mode | mode >> 2 & 0o111, parents=True, exist_ok=True)
        _clean(place)
        try:
            _written(part, data, mode)
            part.replace(place)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync(place.parent)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from None


def _written(part: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clean(place: Path) -> None:
    """Remove what programs that died have left of this file."""
    for left in place.parent.glob(f".{place.name}.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE:  # noqa: TID251 # compared with a file's
                left.unlink()


@contextlib.contextmanager
def locked(path: Path, patience: float) -> Iterator[bool]:
    """The folder of a file, locked against other processes; False if that took too long.

    The lock is on the folder itself, so no lock file is left. It blocks: use it in a thread.
    """
    folder = Path(os.path.realpath(path)).parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise FileError(f"cannot open {folder}: {error.strerror}") from None
    try:
        yield _lock(descriptor, time.monotonic() + patience)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, until: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.05)
        except OSError:  # a file system without locks
            return False
        else:
            return True
