"""The loop behind every framing that tells its lengths beforehand; `take` knows the frame itself.

A faulty frame is never taken off the front, so each later call meets it again: the frames before
it are given first, then FramingError is raised. A frame that the end of the stream cuts off is
dropped; whether the answer was whole is not for framing to say.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.wire import Record

from .bounds import FramingError

# take(buffer, at) reads one frame that begins at `at`: (its record, the place after it). The record
# is None for bytes that are passed over; the whole is None if more bytes are needed. A take raises
# FramingError as soon as it knows that the frame will be too large.
Take = Callable[[bytearray, int], tuple[Record | None, int] | None]


class PrefixedParser:
    """Bytes -> one Record per frame.

    last  is fed at the end of the stream, to end its frame
    text  payloads are text: it is the records' value
    """

    def __init__(self, take: Take, last: bytes = b"", *, text: bool = False) -> None:
        self.frames = 0
        self._text = text
        self._take = take
        self._last = last
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Record]:
        self._buffer += data
        records: list[Record] = []
        at = 0
        try:
            while found := self._take(self._buffer, at):
                record, at = found
                if record:
                    if self._text:
                        record.value = record.data.decode("utf-8", "replace")
                    records.append(record)
        except FramingError:
            if not records:
                raise
        finally:
            del self._buffer[:at]
        self.frames += len(records)
        return records

    def finish(self) -> list[Record]:
        return self.feed(self._last)
