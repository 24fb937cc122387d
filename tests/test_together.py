from __future__ import annotations

import asyncio
from functools import partial

import pytest

from engine.together import together


async def test_results_come_in_order_whoever_is_first() -> None:
    async def one(number: int) -> int:
        for _ in range(10 - number):
            await asyncio.sleep(0)
        return number

    assert [0, 1, 2, 3] == await together([partial(one, n) for n in range(4)], 2)


async def test_only_so_many_are_under_way() -> None:
    busy = most = 0

    async def one() -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0)
        busy -= 1

    await together([one] * 9, 3)
    assert (0, 3) == (busy, most)


async def test_the_first_failure_ends_the_others() -> None:
    ended: list[str] = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("first")

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("waited")

    with pytest.raises(KeyError, match="first"):
        await together([waits, fails, waits], 3)
    assert ["waited", "waited"] == ended


async def test_nothing_to_do_gives_nothing() -> None:
    assert [] == await together([], 1)
