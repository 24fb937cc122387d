"""Values that are wanted before the first request."""

from __future__ import annotations

import asyncio

from engine.shell.prefetch import prefetch
from tests.kit import Say, World, route_of

ROUTE = """
version: 1
base_url: https://a.example
models: [m]
vars: { page: start }
values:
  early: { request: { path: "/{{ vars.page }}" }, extract: [ { body: true } ], prefetch: true }
  late: { request: { path: /late }, extract: [ { body: true } ] }
request: { path: /x, json: { a: "{{ values.early }}", b: "{{ values.late }}" } }
response: { events: [ { text: $.a, finish: stop } ] }
"""


async def settled(world: World) -> None:
    while world.keyring.flights:
        await asyncio.sleep(0)


async def test_what_is_marked_is_fetched_when_the_route_comes_in() -> None:
    async with World([b"nonce", b"late", b'{"a":"hi"}']) as world:
        route = route_of(ROUTE)
        prefetch(world.keyring, route)
        await settled(world)
        assert [request.url for request in world.upstream.requests] == ["https://a.example/start"]
        await world.ask(route)
        assert len(world.upstream.requests) == 3


async def test_a_fetch_that_fails_is_tried_again_by_the_first_request() -> None:
    async with World([Say(status=500), b"nonce", b"late", b'{"a":"hi"}']) as world:
        route = route_of(ROUTE)
        prefetch(world.keyring, route)
        await settled(world)
        world.clock.move(1)
        assert (await world.ask(route)).text == "hi"


async def test_a_route_that_wants_nothing_early_fetches_nothing() -> None:
    async with World([]) as world:
        prefetch(world.keyring, route_of(ROUTE.replace("prefetch: true", "prefetch: false")))
        assert world.keyring.flights == set()
