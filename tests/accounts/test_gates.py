"""The way to a service that gives values: not too many at once, and none while it is down."""

from __future__ import annotations

import asyncio

import pytest

from engine.accounts.gates import LONGEST_SHUT, SHUT_AFTER, Gates
from engine.errors import ExchangeError
from tests.kit import FakeClock


async def fail(gates: Gates, cls: str, name: str = "v") -> str:
    """The class that a fetch which would fail so is told."""
    told = "went in"
    try:
        async with gates.through(name, 4):
            raise ExchangeError(cls, "no")
    except ExchangeError as error:
        told = error.cls
    return told


async def is_shut(gates: Gates, name: str = "v") -> bool:
    try:
        async with gates.through(name, 4):
            return False
    except ExchangeError:
        return True


async def test_only_so_many_go_through_at_a_time() -> None:
    gates, inside, most = Gates(FakeClock()), 0, 0

    async def fetch() -> None:
        nonlocal inside, most
        async with gates.through("v", 3):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*[fetch() for _ in range(20)])
    assert most == 3


async def test_after_failures_in_a_row_nobody_goes_through_for_a_while() -> None:
    clock = FakeClock()
    gates, waits = Gates(clock), []
    for _ in range(SHUT_AFTER - 1):
        await fail(gates, "unavailable")
    assert not await is_shut(gates)  # and this one got an answer
    for _ in range(SHUT_AFTER):
        await fail(gates, "unavailable")
    assert await is_shut(gates)
    assert not await is_shut(gates, "another")
    for _ in range(8):
        begun = clock.now()
        while await is_shut_still(gates):
            clock.move(0.5)
        waits.append(clock.now() - begun)
        await fail(gates, "unavailable")
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert waits[-1] == LONGEST_SHUT


async def is_shut_still(gates: Gates) -> bool:
    """Whether it is shut, without going through."""
    gate = gates.gates["v"]
    return gate.error is not None and gates.clock.monotonic() < gate.until


@pytest.mark.parametrize("cls", ["auth_invalid", "invalid_request", "quota_exhausted"])
async def test_a_refusal_shows_that_the_service_is_there(cls: str) -> None:
    gates = Gates(FakeClock())
    for _ in range(10):
        assert await fail(gates, cls) == cls
    assert not await is_shut(gates)
