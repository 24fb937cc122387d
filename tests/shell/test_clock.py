from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any

import pytest
import uvloop

from engine.shell import clock
from engine.shell.clock import SystemClock

CLOCK = SystemClock()


async def test_silence_ends_the_block_with_a_timeout() -> None:
    with pytest.raises(TimeoutError), CLOCK.watch(0.02):
        await asyncio.sleep(5)


async def test_the_code_inside_sees_a_cancellation() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(TimeoutError), CLOCK.watch(0.02):
        await work()
    assert seen == ["cancelled"]


async def test_beats_keep_a_block_alive_beyond_its_limit() -> None:
    with CLOCK.watch(0.2) as watch:
        for _ in range(10):
            await asyncio.sleep(0.03)
            watch.beat()


async def test_silence_counts_from_the_last_beat() -> None:
    beaten: list[float] = []

    async def work() -> None:
        with CLOCK.watch(0.05) as watch:
            await asyncio.sleep(0.03)
            watch.beat()
            beaten.append(time.monotonic())
            await asyncio.sleep(5)

    with pytest.raises(TimeoutError):
        await work()
    assert 0.045 <= time.monotonic() - beaten[0] < 1


async def test_a_longer_limit_holds_from_now_on() -> None:
    with CLOCK.watch(0.02) as watch:
        watch.allow(5)
        await asyncio.sleep(0.06)


async def test_a_shorter_limit_does_not_wait_for_the_old_one() -> None:
    async def work() -> None:
        with CLOCK.watch(60) as watch:
            watch.allow(0.02)
            await asyncio.sleep(5)

    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        await work()
    assert time.monotonic() - begun < 1


async def test_a_limit_can_be_lifted_and_set_again() -> None:
    woken: list[str] = []

    async def work() -> None:
        with CLOCK.watch(0.02) as watch:
            watch.allow(inf)
            await asyncio.sleep(0.06)
            woken.append("after the old limit")
            watch.allow(0.02)
            await asyncio.sleep(5)

    with pytest.raises(TimeoutError):
        await work()
    assert woken == ["after the old limit"]


async def test_a_task_goes_on_after_a_timeout() -> None:
    for _ in range(2):
        with pytest.raises(TimeoutError), CLOCK.watch(0.01):
            await asyncio.sleep(5)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_block_that_ends_in_time_leaves_nothing_behind() -> None:
    with CLOCK.watch(0.02) as watch:
        await asyncio.sleep(0)
    watch.allow(0.001)
    await asyncio.sleep(0.05)


async def test_an_error_of_the_block_is_not_hidden() -> None:
    async def work() -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            raise KeyError("clean-up failed") from None

    with pytest.raises(KeyError), CLOCK.watch(0.01):
        await work()


async def test_a_cancellation_from_outside_stays_one() -> None:
    async def work() -> None:
        with CLOCK.watch(5):
            await asyncio.sleep(5)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_cancellation_from_outside_wins_over_a_timeout_at_the_same_time() -> None:
    fired = asyncio.Event()

    async def work() -> None:
        with CLOCK.watch(0.01):
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                fired.set()
                await asyncio.sleep(5)  # cleaning up, until the other cancellation comes

    task = asyncio.create_task(work())
    await fired.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_inner_of_two_watches_ends_alone() -> None:
    with CLOCK.watch(5):
        with pytest.raises(TimeoutError), CLOCK.watch(0.01):
            await asyncio.sleep(5)
        await asyncio.sleep(0)


async def test_a_deadline_outside_ends_a_watch_inside() -> None:
    async def work() -> None:
        async with CLOCK.deadline(0.02):
            with CLOCK.watch(5):
                await asyncio.sleep(5)

    with pytest.raises(TimeoutError):
        await work()


async def test_a_deadline_is_not_put_off_by_beats() -> None:
    async def work() -> None:
        async with CLOCK.deadline(0.05):
            with CLOCK.watch(5) as watch:
                while True:
                    await asyncio.sleep(0.01)
                    watch.beat()

    with pytest.raises(TimeoutError):
        await work()


async def test_an_endless_deadline_is_none() -> None:
    async with CLOCK.deadline(inf):
        await asyncio.sleep(0)


async def test_beats_set_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, timers = asyncio.get_running_loop(), []
    call_later: Callable[..., asyncio.TimerHandle] = loop.call_later

    def counted(*args: Any) -> asyncio.TimerHandle:
        timers.append(args[0])
        return call_later(*args)

    monkeypatch.setattr(loop, "call_later", counted)
    with CLOCK.watch(60) as watch:
        for _ in range(1000):
            watch.beat()
        watch.allow(90)
    assert len(timers) == 1


async def test_timers_that_wait_together_end_each_at_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clock, "SOON", 0.04)
    monkeypatch.setattr(clock, "SWEEP", 0.01)
    own = SystemClock()

    async def silent(seconds: float) -> float:
        begun = time.monotonic()
        with contextlib.suppress(TimeoutError), own.watch(seconds):
            await asyncio.sleep(5)
        return time.monotonic() - begun

    async def beating() -> float:
        begun = time.monotonic()
        with contextlib.suppress(TimeoutError), own.watch(0.15) as watch:
            for _ in range(5):
                await asyncio.sleep(0.05)
                watch.beat()
            await asyncio.sleep(5)
        return time.monotonic() - begun

    waits = (0.01, 0.08, 0.12, 0.2)
    took = await asyncio.gather(*map(silent, waits), beating())
    assert all(wait <= time + 0.002 < 3 for wait, time in zip(waits, took, strict=False))
    assert 0.395 <= took[-1] < 3


async def test_timers_that_are_due_much_later_share_one_callback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, made, own = asyncio.get_running_loop(), list[float](), SystemClock()
    call_later = loop.call_later

    def count(delay: float, *given: Any) -> asyncio.TimerHandle:
        made.append(delay)
        return call_later(delay, *given)

    monkeypatch.setattr(loop, "call_later", count)
    for _ in range(10):
        with own.watch(300), own.watch(60) as inner:
            inner.allow(30)
    assert [clock.SWEEP] == made


async def test_a_watch_needs_a_task() -> None:
    failed: list[str] = []

    def outside() -> None:
        try:
            CLOCK.watch(1).__enter__()
        except RuntimeError as error:
            failed.append(str(error))

    asyncio.get_running_loop().call_soon(outside)
    await asyncio.sleep(0.01)
    assert failed == ["a watch needs a task"]


@pytest.mark.parametrize(
    "case",
    [
        test_silence_counts_from_the_last_beat,
        test_a_shorter_limit_does_not_wait_for_the_old_one,
        test_beats_keep_a_block_alive_beyond_its_limit,
        test_a_cancellation_from_outside_wins_over_a_timeout_at_the_same_time,
    ],
)
def test_the_same_holds_on_uvloop(case: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(case())


async def test_the_system_clock_tells_the_time() -> None:
    before = CLOCK.monotonic()
    await CLOCK.sleep(0.01)
    assert CLOCK.monotonic() - before >= 0.009
    assert abs(CLOCK.now() - time.time()) < 1
