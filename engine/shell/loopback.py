"""A fixture through real sockets: a raw client, the real server, the real upstream port, a stub.

The clock of the exchange stands but for its own waits, so that ids and times come out as recorded;
pauses of the recorded answer are left out. Every upstream's origin becomes the stub's; the one that
was meant travels in a header, which the stub takes off before it looks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from random import Random
from urllib.parse import parse_qsl, urlsplit

import aiohttp
from aiohttp import web

from engine.accounts.keyring import Keyring
from engine.dialects import DIALECTS, Dialect
from engine.errors import ExchangeError
from engine.kept.sessions import Sessions
from engine.ports import Answer, Line, Observer, Ports, Sent, Talk, Upstream
from engine.replay.fixtures import ClientSpec, Fixture
from engine.replay.play import PlayedAws, Seen, played_tokens, read_answer
from engine.replay.recorded import PlayedWeb, Recorded
from engine.replay.staged import StagedClock
from engine.route.book import make_book
from engine.route.route import Route
from engine.wire import Headers, HttpRequest, HttpResponse, JsonError, loads

from .chats import Chats
from .server import Server
from .settings import Clients, Settings
from .store_memory import MemoryStore
from .stub import listening, read_request, reply
from .stub_socket import SocketStub
from .upstream import AiohttpUpstream

ORIGIN = "X-Meant-Origin"
PATIENCE = aiohttp.ClientTimeout(total=20.0)  # nothing waits on purpose
SETTINGS = Settings(clients=Clients(auth="none"))


class Detour:
    """The Upstream port of real calls, all of which go to one origin."""

    def __init__(self, upstream: Upstream, origin: str) -> None:
        self._upstream = upstream
        self._origin = origin

    def stream(
        self, request: HttpRequest, line: Line, sent: Sent = None
    ) -> AbstractAsyncContextManager[Answer]:
        line = dataclasses.replace(line, proxy=None)
        return self._upstream.stream(self._led(request), line, sent)

    def converse(
        self, request: HttpRequest, talk: Talk, line: Line, sent: Sent = None
    ) -> AbstractAsyncContextManager[Answer]:
        line = dataclasses.replace(line, proxy=None)
        return self._upstream.converse(self._led(request), talk, line, sent)

    async def fetch(self, request: HttpRequest, line: Line, limit: int) -> HttpResponse:
        line = dataclasses.replace(line, proxy=None)
        return await self._upstream.fetch(self._led(request), line, limit)

    def _led(self, request: HttpRequest) -> HttpRequest:
        meant = urlsplit(request.url)
        origin = f"{meant.scheme}://{meant.netloc}"
        url = self._origin + request.url.removeprefix(origin)
        return dataclasses.replace(request.with_headers({ORIGIN: origin}), url=url)


class Stage:
    """The stub's handler: plays a fixture in its order."""

    def __init__(self, fixture: Fixture) -> None:
        self.recorded = Recorded(fixture)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        seen = await read_request(request)
        came = urlsplit(seen.url)
        meant = HttpRequest(
            seen.method,
            (seen.header(ORIGIN) or "") + came.path,
            tuple(pair for pair in seen.headers if pair[0].lower() != ORIGIN.lower()),
            tuple(parse_qsl(came.query, keep_blank_values=True)),
            seen.body,
        )
        try:
            spec, body = self.recorded.take(meant)
        except ExchangeError as error:
            return web.json_response({"error": {"message": error.message}}, status=404)
        if spec.reply.frames is None:
            return await reply(request, spec.reply, body, timed=False)
        played = SocketStub([spec.reply], self.recorded.matcher, timed=False)
        response = await played.play(request)
        self.recorded.complain(played.complaints)
        return response


async def through_sockets(route: Route, fixture: Fixture, observer: Observer) -> list[Seen]:
    """Ask as the fixture's client does; one Seen for each time it asks."""
    client = fixture.spec.client
    assert client is not None
    stage, clock = Stage(fixture), StagedClock(fixture.spec.clock)
    out: list[Seen] = []
    async with AsyncExitStack() as stack:
        stub = await stack.enter_async_context(listening(stage.handle))
        upstream = AiohttpUpstream()
        stack.push_async_callback(upstream.close)
        store, random = MemoryStore(clock.monotonic), Random(fixture.spec.seed)
        detour, aws = Detour(upstream, stub), PlayedAws()
        tokens = played_tokens(route, fixture)
        web = PlayedWeb(detour)
        ports = Ports(detour, clock, store, store, observer, random, aws, tokens=tokens, web=web)
        names = [str(body.get("model")) for body in map(loads, client.bodies())
                 if isinstance(body, dict)]  # fmt: skip
        url = await stack.enter_async_context(_serving(route, ports, names))
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=PATIENCE))
        for body in client.bodies():
            if out:
                await clock.sleep(float(client.wait))
            out.append(await _ask(session, url, client, body))
    out[-1].calls = stage.recorded.calls
    out[-1].complaints += stage.recorded.complaints()
    return out


@asynccontextmanager
async def _serving(route: Route, ports: Ports, names: list[str]) -> AsyncIterator[str]:
    """A server of this one route; gives its URL. names: models that it has found, if it looks."""
    discovery = route.discovery
    book = make_book([route], {route.name: discovery.offers(names)} if discovery else None)
    async with Keyring(ports) as keyring:
        server = Server(
            settings=SETTINGS,
            keys=None,
            chats=Chats(lambda: book, ports, keyring, Sessions(ports)),
            since=int(ports.clock.now()),
        )
        async with listening(server.handle) as url:
            yield url


async def _ask(
    session: aiohttp.ClientSession,
    url: str,
    client: ClientSpec,
    body: bytes,
) -> Seen:
    dialect, target = DIALECTS[client.dialect], client.target
    headers = {"Content-Type": "application/json", **client.headers}
    url += client.path or _path(dialect)
    async with session.post(url, data=body, headers=headers) as answer:
        raw = await answer.read()
    stream = answer.status < 300 and dialect.parse(body, Headers(), target).stream
    form = dialect.reframe(target) if stream and dialect.reframe is not None else None
    framing = form.framing if form else ""
    try:
        seen = read_answer(dialect, answer.status, raw, stream=stream, framing=framing)
    except JsonError:
        return Seen(answer.status, raw=raw, complaints=["the answer is not of its dialect"])
    kind = form.content_type if form else dialect.stream_type if stream else dialect.content_type
    if answer.content_type != kind:
        seen.complaints.append(f"content type should be {kind!r}, is {answer.content_type!r}")
    return seen


def _path(dialect: Dialect) -> str:
    """Where clients of a dialect chat."""
    paths = (path for (_, path), action in dialect.endpoints.items() if action == "chat")
    return next(paths, f"/v1{dialect.path}")
