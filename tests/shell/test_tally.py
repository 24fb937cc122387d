"""Statistics that outlive the process."""

from __future__ import annotations

import asyncio

import pytest

from engine.ports import StoreError
from engine.shell.metrics import Metrics
from engine.shell.metrics_page import render
from engine.shell.tally import EVERY, KEY, Tally
from tests.kit import World


def counting(world: World) -> tuple[Metrics, Tally]:
    metrics = Metrics()
    return metrics, Tally(metrics, world.ports)


def ask(metrics: Metrics, outcome: str = "ok", seconds: float = 1.0) -> None:
    metrics.request("one", "m", "openai_chat", outcome, seconds, None, None)


@pytest.mark.rows("FL-38")
async def test_the_next_process_goes_on_from_where_the_last_one_was() -> None:
    async with World() as world:
        first, tally = counting(world)
        ask(first)
        ask(first, "timeout", 3.0)
        await tally.save()
        second, tally = counting(world)
        await tally.load()
        assert first.statistics() == second.statistics()
        ask(second, seconds=5.0)
        assert second.statistics() == {
            "one": {"requests": 3, "ok": 2, "success_rate": 0.6667, "average_seconds": 3.0}
        }
        assert (
            b'penstock_requests_total{dialect="openai_chat",model="m",outcome="ok",route="one"} 1'
            in render(second)
        )


async def test_a_reset_holds_after_a_restart() -> None:
    async with World() as world:
        first, tally = counting(world)
        ask(first)
        await tally.save()
        first.reset_statistics()
        await tally.save()
        second, tally = counting(world)
        await tally.load()
        assert second.statistics()["one"]["requests"] == 0


@pytest.mark.rows("FL-38")
async def test_it_is_written_every_half_minute_if_something_changed() -> None:
    async with World() as world:
        metrics, tally = counting(world)
        begun = world.clock.now()
        ask(metrics)
        task = asyncio.create_task(tally.tend())
        while await world.ports.durable.get(KEY) is None:
            await asyncio.sleep(0)
        assert world.clock.now() - begun >= EVERY
        task.cancel()


@pytest.mark.parametrize("junk", [b"[", b"[]", b'{"one":3}', b'{"one":[1]}'])
async def test_what_is_no_tally_counts_as_none(junk: bytes) -> None:
    async with World() as world:
        await world.ports.durable.put(KEY, junk)
        metrics, tally = counting(world)
        await tally.load()
        assert metrics.statistics() == {}


async def test_a_store_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*args: object) -> None:
        raise StoreError

    async with World() as world:
        monkeypatch.setattr(world.ports.durable, "get", fails)
        monkeypatch.setattr(world.ports.durable, "put", fails)
        metrics, tally = counting(world)
        await tally.load()
        ask(metrics)
        await tally.save()
        assert [each["op"] for each in world.notes.of("store_error")] == ["get", "put"]
