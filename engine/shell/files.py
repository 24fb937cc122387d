"""What stands in files, as of one look.

Within a look every file is read at most once, so all routes see the same text of a shared parent.
A new look reads again what its stamp says has changed, and what was written so lately that the
stamp may not tell. Reading never raises: what cannot be read has an error and an empty digest.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

YOUNG = 2.0  # seconds in which a file may still be in the making
MAX_BYTES = 1024**2  # of any file; a larger one is read as far as to be seen too large


@dataclass(frozen=True, slots=True)
class Entry:
    """One file.

    stamp   device, inode, times, size; () when there is no such file
    digest  sha256 in hex, "" when it cannot be read; then `error` says why
    real    where symbolic links lead
    since   epoch seconds: when it was last written, or when it was first found missing
    young   written (or lost) less than YOUNG seconds before it was read
    whole   it cannot be half of something: not young, or moved here complete
    """

    stamp: tuple[int, ...]
    data: bytes
    digest: str
    error: str
    real: str
    since: float
    young: bool
    whole: bool


class Files:
    """The files of a library. Not for two threads at a time."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._seen: set[str] = set()
        self._folders: dict[str, str] = {}
        self._now = 0.0

    def look(self, now: float, *, anew: bool = False) -> None:
        """Begin a look. now: epoch seconds; anew: trust no stamp."""
        kept = set() if anew else self._seen
        self._entries = {path: entry for path, entry in self._entries.items() if path in kept}
        self._seen = set()
        self._folders = {}
        self._now = now

    def look_again(self, paths: Iterable[str], now: float) -> None:
        """Read these once more within the same look."""
        self._seen.difference_update(paths)
        self._folders = {}
        self._now = now

    def same(self) -> bool:
        """Whether all that this look asked for is as it was, as far as stamps can tell."""
        entries = self._entries
        return not any(
            entries[path].young or _stamp(path) != entries[path].stamp for path in self._seen
        )

    def ends(self) -> Iterator[str]:
        """Every path this look asked for, missing ones too, and where links lead."""
        for path in self._seen:
            yield path
            yield self._entries[path].real

    def get(self, path: str) -> Entry:
        if path not in self._seen:
            self._seen.add(path)
            self._entries[path] = self._read(path, self._entries.get(path))
        return self._entries[path]

    def _read(self, path: str, before: Entry | None) -> Entry:
        try:
            status = os.stat(path)
            stamp = _stamp_of(status)
            if before and before.stamp == stamp and not before.young and before.digest:
                return before
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            with open(path, "rb") as file:
                data = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            return self._unread(path, error, before)
        since = status.st_mtime
        young = self._is_young(since)
        # A rename leaves another inode, whose last change was not a write: the file came complete.
        moved = (before is None or before.stamp[:2] != stamp[:2]) and stamp[3] > stamp[2]
        digest = hashlib.sha256(data).hexdigest()
        return Entry(stamp, data, digest, "", self._real(path), since, young, moved or not young)

    def _real(self, path: str) -> str:
        """Where links lead; of folders it is found out once in a look."""
        if os.path.islink(path):
            return os.path.realpath(path)
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)

    def _unread(self, path: str, error: Exception, before: Entry | None) -> Entry:
        since = 0.0
        if before is not None:
            since = self._now if before.digest else before.since
        young = self._is_young(since)
        reason = getattr(error, "strerror", None) or str(error)
        return Entry((), b"", "", reason, path, since, young, not young)

    def _is_young(self, since: float) -> bool:
        return abs(self._now - since) <= YOUNG


def _stamp_of(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
    )  # fmt: skip


def _stamp(path: str) -> tuple[int, ...]:
    try:
        return _stamp_of(os.stat(path))
    except (OSError, ValueError):
        return ()
