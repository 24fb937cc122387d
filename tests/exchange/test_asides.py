"""Questions on the side: what a model says becomes part of another request."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import ExchangeError
from engine.exchange.asides import Asides
from engine.route.book import make_book
from engine.route.route import Route
from engine.wire import HttpRequest, loads
from tests.kit import FakeSink, Say, World, route_of

MAIN = """
version: 1
name: main
base_url: https://main.example
models: [m]
request: { path: /x, json: { q: "{{ req.prompt }}", a: "{{ values.v | default('none') }}" } }
response: { events: [ { text: $.text, finish: stop } ] }
values:
  v: { scope: request, MORE ask: { model: MODEL, messages: "about {{ req.prompt }}" KEEP } }
retry: { attempts: 2, backoff: { initial: 1s, jitter: none } }
"""
SIDE = """
version: 1
name: side
base_url: https://side.example
models: [s]
request: { path: /s, json: { q: "{{ req.prompt }}" } }
response:
  events:
    - { text: $.text, finish: { path: $.end, map: { no: content_filter, "*": stop } } }
errors: { rules: [ { status: 400, as: content_filter } ] }
retry: { attempts: 1 }
"""
SAID = Say(b'{"text":"it is so","end":"x"}')
GOOD = b'{"text":"hi"}'


def main_of(more: str = "", keep: str = "", model: str = "side/s") -> Route:
    text = MAIN.replace("MORE", more).replace("KEEP", keep).replace("MODEL", model)
    return route_of(text)


async def asked(world: World, route: Route, prompt: str = "Hi") -> FakeSink:
    book = make_book([route, route_of(SIDE)])
    world.keyring.answer = Asides(lambda: book, world.ports, world.keyring, world.sessions).answer
    return await world.ask(route, prompt, key="k")


def sent(world: World) -> list[Any]:
    return [(r.url.split("/")[2].split(".")[0], loads(r.body)) for r in world.upstream.requests]


async def test_the_answer_of_another_route_enters_the_request() -> None:
    async with World([SAID, GOOD]) as world:
        sink = await asked(world, main_of())
        assert "hi" == sink.text
        asked_first, then = sent(world)
        assert ("side", {"q": "about Hi"}) == asked_first
        assert ("main", {"q": "Hi", "a": "it is so"}) == then
        told = world.notes.of("aside")
        assert [("side", "s", "v", "main", "ok")] == [
            (n["route"], n["model"], n["value"], n["of"], n["outcome"]) for n in told
        ]


async def test_it_is_asked_once_for_all_attempts() -> None:
    async with World([SAID, Say(b"", 503), GOOD]) as world:
        assert "hi" == (await asked(world, main_of())).text
        assert ["side", "main", "main"] == [host for host, _ in sent(world)]


@pytest.mark.parametrize(
    "answer",
    [Say(b"{}", 500), Say(b"{}", 400), Say(b'{"text":""}'), Say(b'{"text":"x","end":"no"}')],
)
async def test_without_an_answer_the_request_fails_and_nothing_is_sent(answer: Say) -> None:
    async with World([answer, answer]) as world:
        sink = await asked(world, main_of())
        assert sink.error is not None
        assert ("unavailable", "") == (sink.error.cls, sink.text)
        assert ["side", "side"] == [host for host, _ in sent(world)]


@pytest.mark.rows("IB-11")
async def test_a_question_that_fails_leaves_no_trace_where_the_request_goes_on() -> None:
    async with World([Say(b'{"message":"no summary"}', 500), Say(b"", 503), GOOD]) as world:
        sink = await asked(world, main_of("on_error: skip,"))
        assert "hi" == sink.text
        assert [{"q": "Hi", "a": "none"}] * 2 == [body for host, body in sent(world)[1:]]
        assert ["side", "main", "main"] == [host for host, _ in sent(world)]


async def test_a_model_that_nobody_offers_is_the_routes_mistake_whatever_it_skips() -> None:
    async with World([]) as world:
        sink = await asked(world, main_of("on_error: skip,", model="nobody"))
        assert sink.error is not None
        assert "fatal" == sink.error.cls


async def test_a_question_leads_to_no_further_ones() -> None:
    async with World([GOOD, GOOD]) as world:
        assert "hi" == (await asked(world, main_of(model="main/m"))).text
        assert [("about Hi", "none"), ("Hi", "hi")] == [
            (body["q"], body["a"]) for _, body in sent(world)
        ]


@pytest.mark.rows("IF-15")
async def test_an_answer_is_kept_for_the_same_question() -> None:
    def script(request: HttpRequest) -> Say:
        return SAID if "side" in request.url else Say(GOOD)

    async with World(script) as world:
        route = main_of(keep=", keep: 1h")
        for prompt, hosts in (
            ("Hi", ["side", "main"]), ("Hi", ["main"]), ("Ho", ["side", "main"]),
        ):  # fmt: skip
            world.upstream.requests.clear()
            await asked(world, route, prompt)
            assert hosts == [host for host, _ in sent(world)]
        world.clock.move(3601)
        world.upstream.requests.clear()
        await asked(world, route)
        assert ["side", "main"] == [host for host, _ in sent(world)]


async def test_nobody_waits_for_an_answer_for_ever() -> None:
    async with World([Say(end="stall"), Say(GOOD)]) as world:
        sink = await asked(world, main_of("on_error: skip,", keep=", timeout: 3s"))
        assert "hi" == sink.text
        assert {"q": "Hi", "a": "none"} == sent(world)[1][1]


async def test_a_plain_value_may_be_done_without_too() -> None:
    text = MAIN.replace('ask: { model: MODEL, messages: "about {{ req.prompt }}" KEEP }', "REQUEST")
    text = text.replace("MORE", "on_error: skip,")
    request = "request: { path: /v }, extract: [ { json: $.v } ]"
    async with World([Say(b"", 500), GOOD]) as world:
        assert "hi" == (await asked(world, route_of(text.replace("REQUEST", request)))).text
        assert {"q": "Hi", "a": "none"} == loads(world.upstream.requests[1].body)


async def test_where_there_are_no_other_routes_nobody_can_be_asked() -> None:
    async with World([]) as world:
        sink = await world.ask(main_of())
        assert isinstance(sink.error, ExchangeError)
        assert "no model can be asked here" in sink.error.message
