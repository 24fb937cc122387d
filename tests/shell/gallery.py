"""A server of pictures on loopback, which notes who came: connections, requests, their headers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)
JPEG = b"\xff\xd8\xff\xe0" + bytes(24)

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass
class Gallery:
    """answers: by path; what is not there is a picture."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        answer = self.answers.get(request.path)
        if answer is not None:
            return await answer(request)
        return web.Response(body=PNG, content_type="text/plain")

    def says(self, path: str, response: Callable[[], web.Response]) -> None:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            return response()

        self.answers[path] = answer

    def leads(self, path: str, to: str, status: int = 302) -> None:
        self.says(path, lambda: web.Response(status=status, headers={"Location": to}))


@asynccontextmanager
async def gallery(host: str = "127.0.0.1") -> AsyncIterator[Gallery]:
    made = Gallery()
    runner = web.ServerRunner(web.Server(made.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        await runner.cleanup()


@dataclass
class Evil:
    """A port that nobody may reach: it counts connections."""

    port: int = 0
    hits: int = 0


@asynccontextmanager
async def evil(hosts: tuple[str, ...] = ("0.0.0.0", "::1"), port: int = 0) -> AsyncIterator[Evil]:
    """It listens on these addresses, as far as the machine has them."""
    made = Evil(port)

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.hits += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PNG) + PNG)
        writer.close()

    servers: list[asyncio.Server] = []
    for host in hosts:
        try:
            servers.append(await asyncio.start_server(met, host, made.port))
        except OSError:
            assert ":" in host  # a machine without IPv6
            continue
        made.port = servers[-1].sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        for server in servers:
            server.close()
