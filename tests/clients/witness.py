"""A relay between clients and the gateway that holds every answer against what is published of it.

It passes bytes on as they come, either way. What it finds wrong is in `complaints`; an answer that
its client left is not judged, nor is one that was passed through, which is the upstream's.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.answers import judge

_HOPS = {"connection", "transfer-encoding", "keep-alive", "host", "content-length"}
_LIMITS: Any = {"max_line_size": 65536, "max_field_size": 65536}


@dataclass(slots=True)
class Witness:
    """url: where clients go. judged: how many answers were looked at. open: how many streams are
    open behind the gateway, which `GET /open-streams` tells a client that is a process of its own.
    """

    behind: str
    session: aiohttp.ClientSession
    url: str = ""
    judged: int = 0
    complaints: list[str] = field(default_factory=list)
    open: Callable[[], int] = lambda: 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/open-streams":
            return web.Response(text=str(self.open()))
        asked = await request.content.read()
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in _HOPS]
        target = self.behind + request.raw_path
        async with self.session.request(
            request.method, target, headers=headers, data=asked or None, allow_redirects=False
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in _HOPS - {"content-length"}:
                    response.headers.add(name, value)
            await response.prepare(request)
            pieces: list[bytes] = []
            try:
                async for piece in answer.content.iter_any():
                    pieces.append(piece)
                    await response.write(piece)
            except aiohttp.ClientPayloadError:
                assert request.transport is not None
                request.transport.abort()
                return response
            self._judge(request.path, asked, answer, b"".join(pieces))
        return response

    def _judge(self, path: str, asked: bytes, answer: aiohttp.ClientResponse, data: bytes) -> None:
        if b"_passed." in asked or "_passed." in path:
            return
        try:
            self.judged += judge(path, json.loads(asked or b"{}"), answer.status, data)
        except Exception as wrong:
            self.complaints.append(f"{path}: {type(wrong).__name__}: {wrong}"[:2000])


@asynccontextmanager
async def witness(behind: str) -> AsyncIterator[Witness]:
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        timeout=timeout, auto_decompress=False, connector=connector, **_LIMITS
    ) as session:
        made = Witness(behind, session)
        server = web.Server(made.handle, access_log=None, handler_cancellation=True, **_LIMITS)
        runner = web.ServerRunner(server, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield made
        finally:
            await runner.cleanup()
