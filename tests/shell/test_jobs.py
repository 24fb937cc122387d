from __future__ import annotations

import asyncio

import pytest

from engine.shell import jobs
from engine.shell.jobs import kept_up


class Notes:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, object]] = []

    def saw(self, name: str, **fields: object) -> None:
        self.seen.append((name, fields.get("path")))


async def test_a_job_that_crashes_is_told_and_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "AGAIN", 0.0)
    notes, begun = Notes(), list[int]()

    async def job() -> None:
        begun.append(1)
        if len(begun) < 3:
            raise ValueError("a mistake")

    await kept_up(job, "sweeping", notes)
    assert 3 == len(begun)
    assert [("crash", "the job sweeping")] * 2 == notes.seen


async def test_a_job_that_is_cancelled_is_over() -> None:
    notes = Notes()
    task = asyncio.ensure_future(kept_up(asyncio.Event().wait, "waiting", notes))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [] == notes.seen
