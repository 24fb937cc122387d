"""Those who wait look again in their order, when they are woken or their time is up."""

from __future__ import annotations

import asyncio

from engine.accounts.waiting import SLICE, Waiters
from engine.shell.clock import SystemClock
from tests.kit import FakeClock


async def test_all_who_wait_are_woken_in_their_order() -> None:
    waiters, order = Waiters(SystemClock()), list[int]()

    async def wait(number: int, name: str) -> None:
        await waiters.pause(name, 60.0, woken=True)
        order.append(number)

    waiting = [asyncio.ensure_future(wait(at, "a")) for at in range(3)]
    other = asyncio.ensure_future(wait(9, "b"))
    await asyncio.sleep(0)
    waiters.wake("a")
    await asyncio.gather(*waiting)
    assert (order, list(waiters.waiting)) == ([0, 1, 2], ["b"])
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)
    assert waiters.waiting == {}


async def test_time_ends_the_wait_too() -> None:
    waiters = Waiters(SystemClock())
    await waiters.pause("a", 0.01, woken=True)
    assert waiters.waiting == {}


async def test_where_only_time_helps_one_looks_again_now_and_then() -> None:
    clock = FakeClock()
    for seconds in (0.2, 500.0):
        await Waiters(clock).pause("a", seconds, woken=False)
    assert clock.sleeps == [0.2, SLICE]
