"""`auth.pick`: which of the free accounts of a pool is taken next.

Each entry is `(seats, bench, free, random, session) -> seat or None`. free tells whether a seat may
be taken; session is the conversation's name, "" without one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from random import Random

from .health import Bench, Seat

Seats = Sequence[Seat]
Free = Callable[[Seat], bool]
Pick = Callable[[Seats, Bench, Free, Random, str], Seat | None]


def _round_robin(
    seats: Seats, bench: Bench, free: Free, random: Random, session: str
) -> Seat | None:
    """One after the other; those that are not free are skipped."""
    for step in range(len(seats)):
        at = (bench.turn + step) % len(seats)
        if free(seats[at]):
            bench.turn = at + 1
            return seats[at]
    return None


def _first(seats: Seats, bench: Bench, free: Free, random: Random, session: str) -> Seat | None:
    """The first of the list; the others are its reserve."""
    return next(filter(free, seats), None)


def _least_busy(
    seats: Seats, bench: Bench, free: Free, random: Random, session: str
) -> Seat | None:
    """The one with the fewest calls under way; of equals, the one that rested longest."""
    return min(
        filter(free, seats),
        key=lambda seat: (seat.health.meter.in_use, seat.health.last_used),
        default=None,
    )


def _random(seats: Seats, bench: Bench, free: Free, random: Random, session: str) -> Seat | None:
    found = list(filter(free, seats))
    return random.choice(found) if found else None


def _sticky(seats: Seats, bench: Bench, free: Free, random: Random, session: str) -> Seat | None:
    """The same account for a session as long as it is free (rendezvous hashing); else in turn."""
    if not session:
        return _round_robin(seats, bench, free, random, session)
    name = session.encode("utf-8", "surrogatepass")

    def rank(seat: Seat) -> bytes:
        return hashlib.blake2b(name + seat.account.digest.encode(), digest_size=8).digest()

    return max(filter(free, seats), key=rank, default=None)


def _weighted(seats: Seats, bench: Bench, free: Free, random: Random, session: str) -> Seat | None:
    """Each as often as its weight says, evenly mixed."""
    found = list(filter(free, seats))
    if not found:
        return None
    for seat in found:
        seat.health.turn += seat.account.weight
    best = max(found, key=lambda seat: seat.health.turn)
    best.health.turn -= sum(seat.account.weight for seat in found)
    return best


PICKS: dict[str, Pick] = {
    "round_robin": _round_robin,
    "least_busy": _least_busy,
    "random": _random,
    "sticky": _sticky,
    "first": _first,
    "weighted": _weighted,
}
