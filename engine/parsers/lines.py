"""Lines that end in LF, CR LF or CR, mixed as they may be; each line is a record of text.

A CR ends its line at once, and a LF that follows it, in this read or the next, is its other half.
The last line needs no end. A byte-order mark before the first line is left out.
"""

from __future__ import annotations

from engine.wire import Record

from .bounds import BOM, MAX_FRAME, too_large

_CR, _LF = b"\r\n"


class LinesParser:
    """Bytes -> one Record per line, blank ones too; `value` is its text, bad UTF-8 as U+FFFD."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self.frames = 0
        self._lines = LineSplitter(limit)

    def feed(self, data: bytes) -> list[Record]:
        return self._read(self._lines.feed(data))

    def finish(self) -> list[Record]:
        return self._read(self._lines.finish())

    def _read(self, lines: list[bytes]) -> list[Record]:
        self.frames += len(lines)
        return [Record("", line, line.decode("utf-8", "replace")) for line in lines]


class LineSplitter:
    """Bytes -> whole lines without their ends; holds back at most `limit` bytes of one."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._after_cr = False
        self._fresh = True

    def one(self, data: bytes) -> bytes | None:
        """The line of a chunk that is one line and its LF, as most reads are; None if it is not.
        Nothing is taken."""
        size = len(data)
        if (
            data.find(_LF) == size - 1
            and size
            and not (self._rest or self._after_cr or self._fresh)
            and _CR not in data
            and size <= self._limit
        ):
            return data[:-1]
        return None

    def feed(self, data: bytes) -> list[bytes]:
        self._check_rest()
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        lines = data.splitlines()
        if not lines:
            return []
        last = data[-1:]
        self._after_cr = last == b"\r"
        tail = b"" if last in b"\r\n" else lines.pop()
        return self._whole(lines, tail) if lines else self._hold(tail)

    def finish(self) -> list[bytes]:
        self._check_rest()
        left = self._without_bom(bytes(self._rest))
        self._rest.clear()
        return [left] if left else []

    def _hold(self, tail: bytes) -> list[bytes]:
        self._rest += tail
        self._check_rest()
        return []

    def _whole(self, lines: list[bytes], tail: bytes) -> list[bytes]:
        if self._rest:
            lines[0] = bytes(self._rest) + lines[0]
        self._rest[:] = tail
        if max(map(len, lines)) > self._limit:
            lines = self._before_oversize(lines)
        if self._fresh:
            lines[0] = self._without_bom(lines[0])
        return lines

    def _before_oversize(self, lines: list[bytes]) -> list[bytes]:
        """The lines before the first one that is too large, which is left at the front."""
        count = next(at for at, line in enumerate(lines) if len(line) > self._limit)
        self._rest[:] = lines[count]
        if not count:
            self._check_rest()
        return lines[:count]

    def _without_bom(self, line: bytes) -> bytes:
        if not self._fresh:
            return line
        self._fresh = False
        return line.removeprefix(BOM)

    def _check_rest(self) -> None:
        if len(self._rest) > self._limit:
            raise too_large(self._limit)
