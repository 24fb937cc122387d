"""The ports of a recording: all passes through at once, and is noted."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import pytest
from aiohttp import web

from engine.errors import ExchangeError
from engine.ports import Answer, Line, Page, Unfetched
from engine.replay.taping import Overheard, Tape, TapedWeb
from engine.route.reach import Reach
from engine.shell.stub import Handle, listening
from engine.shell.upstream import AiohttpUpstream
from engine.wire import HttpRequest, HttpResponse, SocketMessage

REACH = Reach(hosts=(), internal=(), largest=100)


@asynccontextmanager
async def tape(handle: Handle) -> AsyncIterator[tuple[Tape, str]]:
    upstream = AiohttpUpstream()
    async with listening(handle) as url:
        try:
            yield Tape(upstream, monotonic), url
        finally:
            await upstream.close()


async def test_a_piece_is_handed_on_before_the_next_one_comes() -> None:
    taken_first = asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one")
        await asyncio.wait_for(taken_first.wait(), 5)
        await response.write(b"two")
        return response

    got: list[bytes] = []

    def take(data: bytes) -> bool:
        got.append(data)
        taken_first.set()
        return False

    async with tape(handle) as (made, url):
        async with made.stream(HttpRequest("GET", url), Line()) as answer:
            assert not await answer.pump(take)
        (taken,) = made.taken
    assert ([b"one", b"two"], b"onetwo") == (got, taken.body)
    assert [b"one", b"two"] == [data for _, data in taken.pieces]
    times = [at for at, _ in taken.pieces]
    assert (sorted(times), "eof") == (times, taken.end)


async def test_iterating_reading_and_fetching_note_the_same() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"all of it", status=203)

    async with tape(handle) as (made, url):
        request = HttpRequest("GET", url)
        async with made.stream(request, Line()) as answer:
            assert b"all of it" == b"".join([piece async for piece in answer])
        async with made.stream(request, Line()) as answer:
            assert b"all of it" == await answer.read(100)
        assert b"all of it" == (await made.fetch(request, Line(), 100)).body
    assert [(203, b"all of it")] * 3 == [
        (each.head.status if each.head else 0, each.body) for each in made.taken
    ]


async def test_an_answer_that_breaks_off_has_its_end_noted() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        await asyncio.sleep(0.02)
        assert request.transport is not None
        request.transport.abort()
        return response

    async def read(answer: Answer, way: str) -> None:
        if way == "pump":
            await answer.pump(lambda data: False)
        elif way == "read":
            await answer.read(100)
        else:
            _ = [piece async for piece in answer]

    async with tape(handle) as (made, url):
        for way in ("pump", "iterate", "read"):
            async with made.stream(HttpRequest("GET", url), Line()) as answer:
                with pytest.raises(ExchangeError):
                    await read(answer, way)
    assert ["reset"] * 3 == [each.end for each in made.taken]


async def test_a_mistake_of_who_reads_is_no_end_of_the_answer() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"x")

    def take(data: bytes) -> bool:
        raise ExchangeError("fatal", "not to be read")

    async with (
        tape(handle) as (made, url),
        made.stream(HttpRequest("GET", url), Line()) as answer,
    ):
        with pytest.raises(ExchangeError):
            await answer.pump(take)
    assert [("eof", b"x")] == [(each.end, each.body) for each in made.taken]


async def test_who_is_kept_waiting_too_long_notes_a_stall() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        await asyncio.sleep(30)
        return response

    async def wait(made: Tape, url: str) -> None:
        async with (
            asyncio.timeout(0.2),
            made.stream(HttpRequest("GET", url), Line()) as answer,
        ):
            await answer.pump(lambda data: False)

    async with tape(handle) as (made, url):
        with pytest.raises(TimeoutError):
            await wait(made, url)
    assert [("stall", b"half")] == [(each.end, each.body) for each in made.taken]


async def test_where_nothing_answers_there_is_no_head() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        raise AssertionError

    async with tape(handle) as (made, url):
        gone = url
    with pytest.raises(ExchangeError):
        await made.fetch(HttpRequest("GET", gone), Line(), 100)
    assert [None] == [each.head for each in made.taken]


class Chat:
    """A Talk that greets, answers, and takes a certain end amiss."""

    limit: int = 100
    ping: float | None = 5.0

    def begin(self) -> list[SocketMessage]:
        return [SocketMessage(b'{"say":"hello"}')]

    def hear(self, message: SocketMessage) -> list[SocketMessage]:
        return [SocketMessage(b"pong")] if message.data == b"ping" else []

    def closed(self, code: int, reason: str) -> ExchangeError | None:
        return ExchangeError("fatal", reason) if code == 4001 else None


def test_what_is_said_on_a_websocket_is_noted_in_its_order() -> None:
    made = Tape(AiohttpUpstream(), lambda: 0.0)
    talk = Overheard(made, made.begin(HttpRequest("GET", "ws://a.example")), Chat())
    assert ([SocketMessage(b'{"say":"hello"}')], 100, 5.0) == (talk.begin(), talk.limit, talk.ping)
    assert [SocketMessage(b"pong")] == talk.hear(SocketMessage(b"ping"))
    assert [] == talk.hear(SocketMessage(b"\xff", text=False))
    assert talk.closed(4001, "away") is not None
    assert [
        {"expect": {"say": "hello"}},
        {"text": "ping", "at": 0},
        {"expect": "pong"},
        {"base64": base64.b64encode(b"\xff").decode(), "at": 0},
        {"close": 4001, "reason": "away"},
    ] == made.taken[0].frames


def test_a_websocket_that_breaks_off_closes_with_no_code() -> None:
    made = Tape(AiohttpUpstream(), lambda: 0.0)
    talk = Overheard(made, made.begin(HttpRequest("GET", "ws://a.example")), Chat())
    talk.closed(1006, "")
    assert ([], "reset") == (made.taken[0].frames, made.taken[0].end)


class Pages:
    """A Web with one page."""

    async def get(self, url: str, reach: Reach) -> Page:
        if url.endswith("/here"):
            return Page(b"\x89PNG", "image/png")
        raise Unfetched("failed")


async def test_what_a_client_names_by_url_is_an_exchange() -> None:
    made = Tape(AiohttpUpstream(), lambda: 0.0)
    taped = TapedWeb(Pages(), made)
    assert Page(b"\x89PNG", "image/png") == await taped.get("https://a.example/here", REACH)
    with pytest.raises(Unfetched):
        await taped.get("https://a.example/gone", REACH)
    assert [
        (HttpResponse(200, (("Content-Type", "image/png"),)), b"\x89PNG"),
        (HttpResponse(404), b""),
    ] == [(each.head, each.body) for each in made.taken]
