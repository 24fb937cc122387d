"""Raw text: as a stream every read is a record whose value is its text, whole it is one record.

Pieces end between characters: the bytes of a cut one wait for the rest of it. Bytes that are not
UTF-8 become U+FFFD. A byte-order mark at the start is left out. A stream needs no bound here, since
at most three bytes ever wait.
"""

from __future__ import annotations

import codecs

from engine.wire import Record

from .bounds import BOM
from .json import JsonParser

_Decoder = codecs.getincrementaldecoder("utf-8")


class TextParser:
    """Bytes -> Records whose `value` is a piece of text, never empty. frames counts the pieces."""

    def __init__(self) -> None:
        self.frames = 0
        self._decoder = _Decoder("replace")
        self._fresh = True

    def feed(self, data: bytes) -> list[Record]:
        return self._read(data, final=False)

    def finish(self) -> list[Record]:
        return self._read(b"", final=True)

    def _read(self, data: bytes, *, final: bool) -> list[Record]:
        data = self._decoder.getstate()[0] + data
        self._decoder.reset()
        text = self._decoder.decode(data, final)
        waiting = self._decoder.getstate()[0]
        data = data[: len(data) - len(waiting)]
        if self._fresh and text:
            self._fresh = False
            data, text = data.removeprefix(BOM), text.removeprefix("\ufeff")
        if not text:
            return []
        self.frames += 1
        return [Record("", data, text)]


class WholeTextParser(JsonParser):
    """Bytes -> one Record whose `value` is all of the text, or none if it is blank.

    What rules look for in a page or in XML may lie across any two reads. Raises FramingError above
    `limit`.
    """

    def finish(self) -> list[Record]:
        return [
            Record("", record.data, record.data.decode("utf-8", "replace"))
            for record in super().finish()
        ]
