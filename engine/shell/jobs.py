"""Jobs that go on for ever beside the serving. One that crashes is told, and begun again.

Without it a mistake in one of them would end the process, and every request with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from engine.ports import Observer

AGAIN = 1.0  # seconds before a job that crashed begins again

Job = Callable[[], Coroutine[Any, Any, None]]


async def kept_up(job: Job, name: str, observer: Observer) -> None:
    """Until the job is over by itself, or cancelled."""
    while True:
        try:
            await job()
        except Exception as error:  # a bug of ours: the gateway that serves must outlive it
            observer.saw("crash", error=error, path=f"the job {name}")
        else:
            return
        await asyncio.sleep(AGAIN)
