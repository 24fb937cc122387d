"""Jobs done side by side: so many at once, in order of their results, none left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def together(jobs: Sequence[Callable[[], Awaitable[T]]], at_once: int) -> list[T]:
    """The results of all. Raises what the first job to fail raises; the others are cancelled."""
    places = asyncio.Semaphore(at_once)

    async def one(job: Callable[[], Awaitable[T]]) -> T:
        async with places:
            return await job()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(job)) for job in jobs]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
