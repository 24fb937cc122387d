"""A case: bytes, and what a framing must make of them wherever they are cut.

A case takes the module it tries, so that the same cases run on the real parser and on mutants.
The cases themselves stand in `cases_*.py`, one list for each word of `stream.format`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine.wire import Record
from tests.kit import Feeder, arrivals, cut_anywhere

BOM = b"\xef\xbb\xbf"
TOO_LARGE = "FramingError: a frame is larger than {} bytes"


@dataclass(frozen=True)
class Case:
    """Bytes and what comes of them. `arrive`: after how many bytes each result is there."""

    name: str
    make: Callable[[Any], Feeder[Any]]
    data: bytes
    expected: list[Any]
    frames: int | None = None
    arrive: list[int] = field(default_factory=list)
    fault: str = ""
    fold: Callable[[list[Any]], list[Any]] = list

    def run(self, module: Any) -> None:
        cut_anywhere(
            lambda: self.make(module), self.data, self.expected, fault=self.fault, fold=self.fold
        )
        if self.frames is not None:
            self._count_frames(module)
        if self.arrive:
            assert self.arrive == arrivals(lambda: self.make(module), self.data)

    def _count_frames(self, module: Any) -> None:
        for step in (1, max(1, len(self.data))):
            parser: Any = self.make(module)
            for at in range(0, len(self.data), step):
                parser.feed(self.data[at : at + step])
            parser.finish()
            assert self.frames == parser.frames


def rec(data: bytes, event: str = "") -> Record:
    return Record(event, data)


def line(text: str) -> Record:
    return Record("", text.encode(), text)
