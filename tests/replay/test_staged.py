from __future__ import annotations

import asyncio

import pytest

from engine.replay.staged import StagedClock


async def test_a_sleep_moves_the_clock_on_and_costs_no_time() -> None:
    clock = StagedClock(100.0)
    async with asyncio.timeout(1):
        await clock.sleep(3600)
    await clock.sleep(-1)
    assert (clock.now(), clock.monotonic()) == (3700.0, 3700.0)


async def test_a_stall_ends_the_block_whose_timer_runs_out_first() -> None:
    clock, seen = StagedClock(0.0), []

    async def nested() -> None:
        async with clock.deadline(20):
            with clock.watch(30):
                await clock.stall()

    async with clock.deadline(100):
        with pytest.raises(TimeoutError):
            await nested()
        seen.append(clock.now())
        with pytest.raises(TimeoutError), clock.watch(30):
            await clock.stall()
        seen.append(clock.now())
    assert seen == [20.0, 50.0]


async def test_code_inside_the_block_sees_a_cancellation_not_a_timeout() -> None:
    clock, caught = StagedClock(0.0), []

    async def stall() -> None:
        try:
            await clock.stall()
        except BaseException as error:
            caught.append(type(error))
            raise

    with pytest.raises(TimeoutError), clock.watch(1):
        await stall()
    assert caught == [asyncio.CancelledError]


async def test_beats_and_allowances_push_a_timer_back() -> None:
    clock = StagedClock(0.0)

    async def work() -> None:
        with clock.watch(10) as watch:
            await clock.sleep(9)
            watch.beat()
            await clock.sleep(9)
            watch.allow(60)
            await clock.stall()

    with pytest.raises(TimeoutError):
        await work()
    assert clock.now() == 78.0


async def test_a_sleep_does_not_outlast_a_timer() -> None:
    clock = StagedClock(0.0)
    with pytest.raises(TimeoutError), clock.watch(10):
        await clock.sleep(11)


async def test_a_stall_in_one_task_ends_the_timer_of_another() -> None:
    clock = StagedClock(0.0)

    async def wait() -> None:
        with clock.watch(5):
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    stalled = asyncio.create_task(clock.stall())
    with pytest.raises(TimeoutError):
        await waiting
    assert (clock.now(), stalled.done()) == (5.0, False)
    stalled.cancel()


async def test_without_a_timer_nothing_would_end_a_stall() -> None:
    with pytest.raises(TimeoutError):
        await StagedClock(0.0).stall()
