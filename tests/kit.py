"""What several tests share.

Cut-anywhere: whoever parses a stream gives the same result wherever the network cut the bytes.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")

SMALL = 40  # bytes, up to which every three-piece cut is tried


class Feeder(Protocol[T]):
    """Anything that takes bytes in pieces: a parser, a frame splitter, a text decoder."""

    def feed(self, data: bytes) -> list[T]: ...
    def finish(self) -> list[T]: ...


def cuts(data: bytes, seed: int = 7) -> Iterator[list[bytes]]:
    """Ways to deliver the bytes: whole, one by one, every two pieces, seeded random pieces, and
    every three pieces where the data are few. Some random ways contain empty pieces."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]
    if len(data) <= SMALL:
        for pair in itertools.combinations(range(1, len(data)), 2):
            yield _pieces(data, pair)
    draw = random.Random(seed)
    for _ in range(50 if data else 0):
        places = draw.choices(range(len(data) + 1), k=draw.randint(2, 9))
        yield _pieces(data, sorted(places))


def _pieces(data: bytes, places: tuple[int, ...] | list[int]) -> list[bytes]:
    return [data[a:b] for a, b in itertools.pairwise([0, *places, len(data)])]


def deliver(feeder: Feeder[T], pieces: list[bytes]) -> tuple[list[T], str]:
    """Everything found in the pieces, and what was raised in the end ("" if nothing)."""
    found: list[T] = []
    try:
        for piece in pieces:
            found += feeder.feed(piece)
        found += feeder.finish()
    except ValueError as error:
        return found, f"{type(error).__name__}: {error}"
    return found, ""


def cut_anywhere(
    make: Callable[[], Feeder[T]],
    data: bytes,
    expected: list[T],
    *,
    fault: str = "",
    fold: Callable[[list[T]], list[T]] = list,
) -> None:
    """Assert that each way to cut the data gives what is expected, and the fault if there is one.

    fold brings results to a common form where pieces may differ by right (raw text).
    """
    for pieces in cuts(data):
        found, raised = deliver(make(), pieces)
        assert (expected, fault) == (fold(found), raised), f"{(fold(found), raised)} of {pieces}"


def arrivals(make: Callable[[], Feeder[T]], data: bytes) -> list[int]:
    """After how many bytes each result came, the bytes being fed one by one.

    Results of `finish` count as coming after len(data) + 1.
    """
    feeder = make()
    places: list[int] = []
    for at in range(len(data)):
        places += [at + 1] * len(feeder.feed(data[at : at + 1]))
    return places + [len(data) + 1] * len(feeder.finish())
