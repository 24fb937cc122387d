"""One JSON document: the whole body is one record, given by `finish`."""

from __future__ import annotations

from engine.wire import Record

from .bounds import BOM, MAX_FRAME, too_large


class JsonParser:
    """Bytes -> one Record, or none if the body is blank. Raises FramingError above `limit`."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self.frames = 0
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Record]:
        self._check()
        self._pieces.append(data)
        self._size += len(data)
        self._check()
        return []

    def finish(self) -> list[Record]:
        self._check()
        body = b"".join(self._pieces).removeprefix(BOM)
        self._pieces.clear()
        self._size = 0
        if not body.strip():
            return []
        self.frames += 1
        return [Record("", body)]

    def _check(self) -> None:
        if self._size > self._limit:
            raise too_large(self._limit)
