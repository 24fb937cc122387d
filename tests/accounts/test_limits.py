"""What one client may use of a route."""

from __future__ import annotations

import asyncio

import pytest

from engine.accounts.limits import MOST
from engine.errors import ExchangeError
from engine.route.route import Route
from tests.kit import FakeSink, Say, World, route_of

HEAD = """version: 1
base_url: https://a.example
models: [m]
request: { path: /x }
response: { events: [ { text: $.a, finish: stop } ] }
"""
ANSWER = b'{"a":"hi"}'


def route(limit: str, wait: str = "30s") -> Route:
    return route_of(f"{HEAD}limits: {{ per_client: {limit} }}\nauth: {{ wait: {wait} }}\n")


async def test_a_client_that_called_too_often_waits_for_its_next_call() -> None:
    async with World([ANSWER] * 4) as world:
        of = route("{ rpm: 2 }", wait="61s")
        begun = world.clock.now()
        for _ in range(3):
            assert (await world.ask(of, key="ada")).text == "hi"
        assert world.clock.now() - begun == pytest.approx(60.0)
        assert (await world.ask(of, key="bob")).text == "hi"
        assert world.clock.now() - begun == pytest.approx(60.0)


async def test_who_would_wait_too_long_is_told_so_at_once() -> None:
    async with World([ANSWER]) as world:
        of = route("{ rpm: 1 }")
        await world.ask(of, key="ada")
        sink = await world.ask(of, key="ada")
        assert sink.error is not None
        assert (sink.error.cls, sink.error.retry_after, sink.error.message) == (
            "rate_limited",
            60.0,
            "this key may make 1 calls in a minute of this route",
        )


async def test_calls_at_once_wait_for_one_another() -> None:
    gate = asyncio.Event()
    async with World(lambda request: Say(ANSWER, gate=gate)) as world:
        of = route("{ concurrency: 1 }")

        async def ask(key: str) -> FakeSink:
            return await world.ask(of, key=key)

        asking = [asyncio.ensure_future(ask(key)) for key in ("ada", "ada", "bob")]
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(world.upstream.requests) == 2
        gate.set()
        await asyncio.gather(*asking)
        assert len(world.upstream.requests) == 3


async def test_a_call_that_nobody_ends_keeps_others_waiting_only_so_long() -> None:
    async with World() as world:
        of = route("{ concurrency: 1 }", wait="0s")
        clients = world.keyring.clients
        leave = await clients.enter(of, "ada", 100.0)
        with pytest.raises(ExchangeError, match="1 calls at once") as caught:
            await clients.enter(of, "ada", 100.0)
        assert (caught.value.cls, caught.value.retry_after) == ("rate_limited", None)
        leave()
        (await clients.enter(of, "ada", 100.0))()


async def test_without_a_limit_no_client_is_known() -> None:
    async with World() as world:
        leave = await world.keyring.clients.enter(route_of(HEAD), "ada", 1.0)
        leave()
        leave()
        assert world.keyring.clients._meters == {}


async def test_clients_that_are_long_away_are_forgotten() -> None:
    async with World() as world:
        of, clients = route("{ concurrency: 1 }"), world.keyring.clients
        for at in range(MOST + 10):
            (await clients.enter(of, str(at), 1.0))()
        assert len(clients._meters) == MOST
