"""Few attempts while an upstream is down, and none where others stand in."""

from __future__ import annotations

import pytest

from engine.errors import ExchangeError
from engine.route.route import Route
from engine.wire import HttpRequest
from tests.kit import Say, World, route_of

ROUTE = """
version: 1
base_url: https://a.example
models: [m]
request: { path: /x, json: { q: "{{ req.prompt }}" } }
stream: { format: sse, events: [ { text: $.text, finish: $.end } ] }
response: { events: [ { text: $.text, finish: stop } ] }
"""
DOWN, GOOD = Say(b"", 503), Say(b'{"text":"hi"}')


def route(more: str) -> Route:
    return route_of(ROUTE + more)


class Upstream:
    """Answers as it is told, and counts."""

    def __init__(self) -> None:
        self.down, self.asked = True, 0

    def __call__(self, request: HttpRequest) -> Say:
        self.asked += 1
        return DOWN if self.down else GOOD


BUDGET = (
    "retry: { attempts: 5, backoff: { jitter: none, initial: 0s }, budget: { least: LEAST } }\n"
)


async def test_a_storm_of_requests_is_not_made_worse() -> None:
    upstream = Upstream()
    async with World(upstream) as world:
        of = route(BUDGET.replace("LEAST", "1"))
        for _ in range(1000):
            await world.ask(of)
            world.clock.move(0.002)
        assert 1000 < upstream.asked <= 1200
        assert world.notes.of("retry_refused")


async def test_a_few_requests_have_all_their_attempts() -> None:
    upstream = Upstream()
    async with World(upstream) as world:
        of = route(BUDGET.replace("LEAST", "1"))
        for _ in range(2):
            await world.ask(of)
        assert 10 == upstream.asked


async def test_the_budget_is_there_again_after_a_while() -> None:
    upstream = Upstream()
    async with World(upstream) as world:
        of = route(BUDGET.replace("LEAST", "1"))
        for _ in range(20):
            await world.ask(of)
        spent = upstream.asked
        await world.ask(of)
        assert spent + 1 == upstream.asked
        world.clock.move(11)
        await world.ask(of)
        assert spent + 6 == upstream.asked


async def test_what_is_an_accounts_fault_is_no_storm() -> None:
    pool = "auth: { from: { env: KEYS, split: ',' }, bearer: '{{ account.key }}' }\n"
    text = ROUTE + pool + BUDGET.replace("LEAST", "0")
    async with World([Say(b"", 401), GOOD]) as world:
        of = route_of(text, env={"KEYS": "one,two"})
        assert "hi" == (await world.ask(of)).text


BREAKER = "breaker: { after: 3, probe: 5s }\nretry: { attempts: 2, backoff: { initial: 0s } }\n"


def told(world: World) -> list[object]:
    return [note["open"] for note in world.notes.of("breaker")]


async def test_after_failures_in_a_row_the_upstream_is_left_alone() -> None:
    upstream = Upstream()
    async with World(upstream) as world:
        of = route(BREAKER)
        await world.ask(of)
        await world.ask(of)
        assert (3, [True]) == (upstream.asked, told(world))
        sink = await world.ask(of)
        assert isinstance(sink.error, ExchangeError)
        assert ("unavailable", 5.0) == (sink.error.cls, sink.error.retry_after)
        assert 3 == upstream.asked


async def test_one_request_in_a_while_looks_whether_it_is_back() -> None:
    upstream = Upstream()
    async with World(upstream) as world:
        of = route(BREAKER)
        for _ in range(100):
            await world.ask(of)
            world.clock.move(0.5)
        assert 3 + 9 == upstream.asked


async def test_when_it_is_back_all_are_served() -> None:
    upstream = Upstream()
    async with World(upstream) as world:
        of = route(BREAKER)
        for _ in range(3):
            await world.ask(of)
        upstream.down = False
        assert (await world.ask(of)).error is not None
        world.clock.move(5)
        assert ["hi", "hi"] == [(await world.ask(of)).text for _ in range(2)]
        assert [True, False] == told(world)


async def test_a_reload_changes_nothing() -> None:
    upstream = Upstream()
    async with World(upstream) as world:
        for _ in range(3):
            await world.ask(route(BREAKER))
        await world.ask(route(BREAKER + "description: new\n"))
        assert 3 == upstream.asked


@pytest.mark.parametrize("status", [400, 401, 429])
async def test_what_is_not_the_upstreams_fault_leaves_the_route_in(status: int) -> None:
    async with World(lambda request: Say(b"", status)) as world:
        of = route(BREAKER.replace("attempts: 2", "attempts: 1"))
        for _ in range(9):
            await world.ask(of)
        assert 9 == len(world.upstream.requests)


async def test_an_answer_that_has_begun_says_that_it_is_back() -> None:
    async with World(lambda request: DOWN) as world:
        of = route(BREAKER)
        for _ in range(3):
            await world.ask(of)
        storms = world.keyring.storms
        assert storms.enter(route("")) is None
        world.clock.move(5)
        begun = storms.enter(of)
        assert begun is not None
        begun()
        assert [True, False] == told(world)
        assert storms.enter(of) is None
