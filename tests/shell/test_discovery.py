"""Models that a route finds out, from its upstream's list to the book."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from engine.errors import ExchangeError
from engine.route.book import make_book
from engine.route.route import Route
from engine.shell.discovery import Models
from tests.kit import Say, World, route_of

ROUTE = """
version: 1
name: local
base_url: https://a.example
discover: { path: /list, ids: "$.models[*].name", every: 60s }
variants: [ { suffix: -x } ]
auth: { bearer: "key-8d41" }
retry: { attempts: 1 }
request: { path: /chat, json: { model: "{{ model.upstream }}" } }
response: { events: [ { text: $.a, finish: stop } ] }
"""
LIST = b'{"models":[{"name":"a"},{"name":"b"},{"name":"a"},{"name":""},{"name":3}]}'
DOWN = Say(error=ExchangeError("connect", "nobody is there"))


class Gates:
    """The clock's sleep, opened by hand: a test says when the next look is due."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.gate = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await self.gate.wait()
        self.gate.clear()


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


@asynccontextmanager
async def looking(world: World, *routes: Route) -> AsyncIterator[tuple[Models, Gates]]:
    gates, models = Gates(), Models(world.ports, world.keyring, world.sessions)
    world.clock.sleep = gates.sleep  # type: ignore[method-assign]
    task = asyncio.create_task(models.run())
    models.swapped(make_book(routes))
    await settled()
    try:
        yield models, gates
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.rows("IF-19")
async def test_what_is_found_is_offered() -> None:
    async with World([LIST]) as world, looking(world, route_of(ROUTE)) as (models, gates):
        assert sorted(models.book.offers) == [
            "a", "a-x", "b", "b-x", "local/a", "local/a-x", "local/b", "local/b-x",
        ]  # fmt: skip
        (request,) = world.upstream.requests
        assert (request.method, request.url) == ("GET", "https://a.example/list")
        assert request.header("authorization") == "Bearer key-8d41"
        assert gates.waits == [60.0]
        found = models.book.find("b-x")
        assert found is not None
        assert found[1].model.upstream == "b"


async def test_the_last_good_list_is_kept_and_a_new_one_replaces_it() -> None:
    answers: list[Say | bytes] = [
        LIST,
        DOWN,
        b'{"models":[]}',
        b"<html>",
        b'{"models":[{"name":"c"}]}',
    ]
    async with World(answers) as world, looking(world, route_of(ROUTE)) as (models, gates):
        for _ in range(3):
            gates.gate.set()
            await settled()
            assert "a" in models.book.offers
        gates.gate.set()
        await settled()
        assert sorted(models.book.offers) == ["c", "c-x", "local/c", "local/c-x"]
        assert gates.waits == [60.0, 15.0, 15.0, 15.0, 60.0]
        told = [note.get("outcome", note.get("models")) for note in world.notes.of("discovery")]
        assert told == [2, "connect", 1]


async def test_a_route_is_served_though_its_upstream_is_down() -> None:
    route = route_of(ROUTE + "models: [written]\n")
    async with World([DOWN]) as world, looking(world, route) as (models, _):
        assert sorted(models.book.offers) == [
            "local/written", "local/written-x", "written", "written-x",
        ]  # fmt: skip


async def test_a_list_outlives_a_reload_from_the_same_place_only() -> None:
    async with World([LIST, DOWN, DOWN]) as world, looking(world, route_of(ROUTE)) as (models, _):
        models.swapped(make_book([route_of(ROUTE + "timeouts: { connect: 1s }\n")]))
        await settled()
        assert "a" in models.book.offers
        models.swapped(make_book([route_of(ROUTE.replace("/list", "/other"))]))
        await settled()
        assert "a" not in models.book.offers
        assert len(world.upstream.requests) == 3


@pytest.mark.rows("IF-19")
async def test_what_is_written_down_wins_over_what_is_found() -> None:
    other = route_of(
        ROUTE.replace("local", "other").replace("discover", "x-discover") + "models: [a]\n"
    )
    async with World([LIST]) as world, looking(world, route_of(ROUTE), other) as (models, _):
        names = {name: models.book.offers[name][0].name for name in ("a", "b", "local/a")}
        assert names == {"a": "other", "b": "local", "local/a": "local"}


async def test_a_route_without_it_is_left_alone() -> None:
    plain = route_of(ROUTE.replace("discover", "x-discover") + "models: [a]\n")
    async with World([]) as world, looking(world, plain) as (models, _):
        assert sorted(models.book.offers) == ["a", "a-x", "local/a", "local/a-x"]
