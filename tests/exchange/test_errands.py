"""Requests that are no chat go through the same loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from engine.errors import ExchangeError
from engine.events import Finish, Usage
from engine.exchange.errands import Collected, Errand
from engine.exchange.loop import Exchange, Report
from tests.kit import Say, World, call_of, route_of

ROUTE = """
version: 1
base_url: https://a.example
dialect: openai_chat
models: [ { id: m, upstream: up } ]
auth: { header: { X-Token: "{{ values.token }}" } }
values:
  token: { request: { path: /login }, extract: [ { body: true } ], refresh_for: [auth_expired] }
session: { key: [req.user], history: server }
passthrough: { embeddings: /embed }
request: { path: /chat }
errors: { rules: [ { match: { ok: false }, as: overloaded }, { status: 401, as: auth_expired } ] }
retry: { attempts: 2, backoff: { initial: 1s, jitter: none } }
"""


def read(body: bytes) -> tuple[bytes, Usage | None]:
    if body == b"junk":
        raise ExchangeError("retryable", "no vectors")
    return body.upper(), Usage(3)


async def run(
    answers: Sequence[Say | bytes], more: str = "", *, text: str = ROUTE
) -> tuple[Collected, Report, World]:
    world, route, sink = World(answers), route_of(text + more), Collected()
    errand = Errand(
        route.errands["embeddings"],
        lambda offer: (offer.model.upstream.encode(), "application/json"),
        read,
    )
    call = dataclasses.replace(
        call_of(route, {"messages": [{"role": "user", "content": "x"}]}), splice=None, errand=errand
    )
    async with world:
        exchange = Exchange(route, call, world.ports, world.keyring, world.sessions, sink)
        report = await exchange.run()
    return sink, report, world


async def test_it_has_the_routes_values_and_says_the_upstreams_model() -> None:
    sink, report, world = await run([b"tok-1", b"vectors"])
    assert (sink.body, report.outcome.usage) == (b"VECTORS", Usage(3))
    request = world.upstream.requests[-1]
    assert (request.method, request.url) == ("POST", "https://a.example/embed")
    assert (request.header("x-token"), request.body) == ("tok-1", b"up")


@pytest.mark.parametrize("more", ["hold: full\n", "continuation: { max: 2 }\n"])
async def test_what_a_route_does_to_chats_is_not_done_to_it(more: str) -> None:
    sink, _, _ = await run([b"tok-1", b"vectors"], more)
    assert sink.body == b"VECTORS"


async def test_it_is_tried_again_like_a_chat() -> None:
    for failed in (Say(b'{"ok":false}'), b"junk"):
        sink, report, world = await run([b"tok-1", failed, b"vectors"])
        assert (sink.body, report.attempts, world.clock.sleeps) == (b"VECTORS", 2, [1.0])


async def test_a_credential_that_is_stale_is_renewed() -> None:
    sink, _, world = await run([b"tok-1", Say(b"no", 401), b"tok-2", b"vectors"])
    assert (sink.body, world.upstream.requests[-1].header("x-token")) == (b"VECTORS", "tok-2")


async def test_a_failure_is_told_with_its_class() -> None:
    sink, _, _ = await run([b"tok-1", Say(b'{"error":{"message":"bad"}}', 400)])
    assert sink.error is not None
    assert (sink.error.cls, sink.error.message) == ("invalid_request", "bad")


async def test_its_sink_takes_no_chat() -> None:
    sink = Collected()
    with pytest.raises(AssertionError):
        sink.send([])
    with pytest.raises(AssertionError):
        sink.forward(b"", True)
    with pytest.raises(AssertionError):
        await sink.finish(Finish("stop"), None)
    with pytest.raises(AssertionError):
        await sink.end()


SPEAKS = """
version: 1
base_url: https://a.example
models: [ { id: m, upstream: up } ]
passthrough: { embeddings: /embed }
request: { path: /chat, websocket: { send: [ { json: 1 } ] } }
stream: { format: websocket, events: [ { text: $.text, finish: stop } ] }
"""


async def test_beside_chats_over_a_websocket_it_goes_over_http() -> None:
    sink, _, world = await run([b"vectors"], text=SPEAKS)
    assert sink.body == b"VECTORS"
    assert [(each.method, each.url) for each in world.upstream.requests] == [
        ("POST", "https://a.example/embed")
    ]
