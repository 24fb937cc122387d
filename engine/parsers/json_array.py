"""The elements of a JSON array that arrives in pieces, each a record.

Only brackets and strings are looked at, no value is decoded. White space, line ends, commas (also
after the last element) and the array's own brackets stand between elements; several arrays in a
row are read as one. Without an array, each value at the top is a record: a body that is one object
is one record. An element that the end of the stream cuts off is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from engine.wire import Record

from .bounds import MAX_FRAME, too_large

_State = Literal["between", "nested", "string", "bare"]

# The bytes of a byte-order mark begin no value; they are passed over like white space.
_BEGIN = re.compile(rb"[^\s,\xef\xbb\xbf]")
# Groups: 1 opens, 2 closes, 3 a string that is not whole yet. Whole strings match without a group.
_BRACKET = re.compile(rb'([\[{])|([\]}])|"[^"\\]*(?:\\.[^"\\]*)*"|(")', re.DOTALL)
_IN_STRING = re.compile(rb'["\\]')
_AFTER_BARE = re.compile(rb"[\s,\]}]")


class JsonArrayParser:
    """Bytes -> one Record per element. frames counts the elements."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self.frames = 0
        self._limit = limit
        self._buffer = bytearray()
        self._state: _State = "between"
        self._at = 0  # where to look next; one past the buffer if its last byte escapes the next
        self._start = 0  # where the element begins
        self._depth = 0  # open brackets of the element
        self._inside = False  # the array's own bracket is open

    def feed(self, data: bytes) -> list[Record]:
        self._check()
        self._buffer += data
        records: list[Record] = []
        while (end := _STEPS[self._state](self)) is not None:
            if end - self._start > self._limit:
                break
            if end:
                records.append(Record("", bytes(self._buffer[self._start : end])))
                self._state = "between"
        self._forget()
        if not records:
            self._check()
        self.frames += len(records)
        return records

    def finish(self) -> list[Record]:
        self._check()
        return self.feed(b" ") if self._state == "bare" else []

    # Each step looks on from `_at`. It returns the end of the element, 0 if another state goes on
    # with it, None if there is nothing more to see.

    def _between(self) -> int | None:
        mark = _BEGIN.search(self._buffer, self._at)
        if not mark:
            return None
        self._at = mark.end()
        byte = mark[0]
        if byte in b"]}":
            self._inside = False
        elif byte == b"[" and not self._inside:
            self._inside = True
        else:
            self._start = mark.start()
            self._depth = int(byte in b"[{")
            self._state = "nested" if self._depth else "string" if byte == b'"' else "bare"
        return 0

    def _nested(self) -> int | None:
        for mark in _BRACKET.finditer(self._buffer, self._at):
            group = mark.lastindex
            if group == 1:
                self._depth += 1
            elif group == 2:
                self._depth -= 1
                if not self._depth:
                    self._at = mark.end()
                    return self._at
            elif group == 3:
                self._at = mark.end()
                self._state = "string"
                return 0
        self._at = len(self._buffer)
        return None

    def _string(self) -> int | None:
        while mark := _IN_STRING.search(self._buffer, self._at):
            self._at = mark.end()
            if mark[0] == b"\\":
                self._at += 1
            elif self._depth:
                self._state = "nested"
                return 0
            else:
                return self._at
        return None

    def _bare(self) -> int | None:
        mark = _AFTER_BARE.search(self._buffer, self._at)
        if not mark:
            return None
        self._at = mark.start()
        return self._at

    def _forget(self) -> None:
        """Drop what has been read, but for the element that is still open."""
        self._at = max(self._at, len(self._buffer))
        done = len(self._buffer) if self._state == "between" else self._start
        del self._buffer[:done]
        self._at -= done
        self._start = 0

    def _check(self) -> None:
        if len(self._buffer) > self._limit:
            raise too_large(self._limit)


_STEPS: dict[_State, Callable[[JsonArrayParser], int | None]] = {
    "between": JsonArrayParser._between,
    "nested": JsonArrayParser._nested,
    "string": JsonArrayParser._string,
    "bare": JsonArrayParser._bare,
}
