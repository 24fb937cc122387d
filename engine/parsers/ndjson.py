"""JSON values, one a line. Blank lines are pings: they count as frames and give no record."""

from __future__ import annotations

from engine.wire import Record

from .bounds import MAX_FRAME
from .lines import LineSplitter


class NdjsonParser:
    """Bytes -> one Record per line that is not blank. The last line needs no end."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self.frames = 0
        self._lines = LineSplitter(limit)
        self.one = self._lines.one

    def feed(self, data: bytes) -> list[Record]:
        return self._read(self._lines.feed(data))

    def finish(self) -> list[Record]:
        return self._read(self._lines.finish())

    def _read(self, lines: list[bytes]) -> list[Record]:
        self.frames += len(lines)
        return [Record("", line) for line in lines if line and not line.isspace()]


class NdjsonFrames:
    """Bytes -> whole lines as they came, each with a LF; blank ones are left out. The last line
    needs no end."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._lines = LineSplitter(limit)

    def feed(self, data: bytes) -> list[bytes]:
        return _ended(self._lines.feed(data))

    def finish(self) -> list[bytes]:
        return _ended(self._lines.finish())


def _ended(lines: list[bytes]) -> list[bytes]:
    return [line + b"\n" for line in lines if line and not line.isspace()]
