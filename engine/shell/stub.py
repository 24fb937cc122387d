"""A server that plays the upstream of recorded fixtures, with their timing: `penstock mock`.

A request is answered by the first fixture with an exchange whose expectations it fits. Of several
that fit each has its turn, as often as its `repeat` says, and the last one from then on; with the
first exchange of a fixture all begins anew. A request that fits none gets a 404 that says what was
nearest.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from engine.errors import ConfigError
from engine.replay.fixtures import (
    ExchangeSpec,
    ExpectRequest,
    Fixture,
    Matcher,
    ReplySpec,
    read_fixture,
)
from engine.wire import HttpRequest

from .stub_socket import SocketStub

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

STALL = 3600.0
LIMIT = 64 * 1024**2


def load_fixtures(paths: list[Path]) -> list[Fixture]:
    """The fixtures of files and folders. Raises ConfigError."""
    files = [
        file
        for path in paths
        for file in (sorted(path.rglob("*.yaml")) if path.is_dir() else [path])
    ]
    return [load_fixture(file) for file in files]


def load_fixture(file: Path) -> Fixture:
    """One fixture with its sidecars. Raises ConfigError."""
    return read_fixture(
        file.read_bytes(), str(file), lambda name: (file.parent / name).read_bytes()
    )


class Stub:
    """Plays fixtures. `reload` reads them anew when their files have changed."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._fixtures = load_fixtures(paths)
        self._stamp = self._stamps()
        self._played: dict[str, Counter[int]] = {}
        self.requests: list[HttpRequest] = []

    def _stamps(self) -> list[int]:
        files = [
            file for path in self._paths for file in (path.rglob("*") if path.is_dir() else [path])
        ]
        return sorted(file.stat().st_mtime_ns for file in files if file.is_file())

    def _fresh(self) -> list[Fixture]:
        """The fixtures as they stand now; while a file is broken, as they stood before."""
        stamp = self._stamps()
        if stamp != self._stamp:
            with contextlib.suppress(ConfigError, OSError):
                self._fixtures, self._stamp = load_fixtures(self._paths), stamp
                self._played.clear()
        return self._fixtures

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        seen = await read_request(request)
        self.requests.append(seen)
        nearest: list[str] = ["there is no fixture"]
        spoken: list[ReplySpec] = []  # a websocket: what is said on it decides among these
        for fixture in self._fresh():
            fits: list[int] = []
            for at, spec in enumerate(fixture.spec.exchanges):
                differences = Matcher().differences(_pathwise(spec), seen)
                if not differences and spec.reply.frames is not None:
                    spoken.append(spec.reply)
                elif not differences and not spoken:
                    fits.append(at)
                if len(differences) <= len(nearest):
                    nearest = differences
            if fits:
                at = self._turn(fixture, fits)
                return await reply(request, fixture.spec.exchanges[at].reply, fixture.bodies[at])
        if spoken:
            return await SocketStub(spoken, Matcher(), timed=True).play(request)
        return web.json_response({"error": {"message": "; ".join(nearest)}}, status=404)

    def _turn(self, fixture: Fixture, fits: list[int]) -> int:
        """Which of its exchanges is played now."""
        played, exchanges = self._played.setdefault(fixture.file, Counter()), fixture.spec.exchanges
        at = next((at for at in fits if played[at] < exchanges[at].repeat), fits[-1])
        if at == 0:
            played.clear()
        played[at] += 1
        return at


def _pathwise(spec: ExchangeSpec) -> ExpectRequest:
    """The expectation without the recorded host."""
    url = spec.expect.url
    if url is None or "://" not in url:
        return spec.expect
    return dataclasses.replace(spec.expect, url=urlsplit(url).path)


async def read_request(request: web.BaseRequest) -> HttpRequest:
    """A request that came in, as a fixture's expectations see it."""
    body = await request.content.read(LIMIT)
    while not request.content.at_eof():
        body += await request.content.read(LIMIT)
    return HttpRequest(request.method, str(request.url), tuple(request.headers.items()), (), body)


async def reply(
    request: web.BaseRequest, reply: ReplySpec, body: bytes, *, timed: bool = True
) -> web.StreamResponse:
    """Answer as recorded: status, headers, the pieces of the body with their timing, the end."""
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    await response.prepare(request)
    loop = asyncio.get_running_loop()
    begun, at = loop.time(), 0
    for offset, milliseconds in [*reply.cuts, [len(body), 0]]:
        wait = begun + milliseconds / 1000 - loop.time()
        if timed and wait > 0:
            await asyncio.sleep(wait)
        if offset > at:
            await response.write(body[at:offset])
            at = offset
    if reply.end == "stall":
        await asyncio.sleep(STALL)
    if reply.end == "reset" and request.transport is not None:
        request.transport.abort()
        return response
    await response.write_eof()
    return response


def stub_server(
    stub: Stub, host: str = "127.0.0.1", port: int = 0
) -> AbstractAsyncContextManager[str]:
    """Serve a stub; gives its URL."""
    return listening(stub.handle, host, port)


@asynccontextmanager
async def listening(handle: Handle, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve a handler; gives its URL."""
    runner = web.ServerRunner(web.Server(handle, access_log=None, handler_cancellation=True))
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
