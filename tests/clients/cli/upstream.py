"""An upstream whose model is told what to say, in every dialect that upstreams speak.

A script makes, of the results of tools that came so far, the next answer: a text, or calls.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from .speech import DIALECTS, Dialect, Fields, Say

UPSTREAM_KEY = "sk-cli-stub-5b7a90d2"
Script = Callable[[list[str], Fields], Say]


@dataclass(slots=True)
class Upstream:
    """script: (results so far, the body) -> what to say. status: answer with this error instead.

    url: without the path of a dialect. closed: set when an answer was given up by its reader.
    """

    script: Script = lambda results, body: Say("Hello!")
    status: int = 0
    code: str = ""
    url: str = ""
    requests: list[Fields] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def reset(self) -> None:
        self.status, self.code = 0, ""
        for kept in (self.requests, self.refused):
            kept.clear()
        for event in (self.asked, self.closed):
            event.clear()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "HEAD":  # Claude Code looks whether anybody is there
            return web.Response(status=404)
        (dialect,) = [known for known in DIALECTS if re.fullmatch(known.path, request.path)]
        if dialect.key is not None:
            header, before = dialect.key
            assert request.headers[header] == before + UPSTREAM_KEY
        body: Fields = json.loads(await request.content.read())
        self.requests.append(body)
        try:
            dialect.check(body, request.path, request.headers.get("anthropic-beta", ""))
        except ValueError as refused:
            self.refused.append(str(refused))
            return _failed(dialect, 400, str(refused))
        if self.status:
            return _failed(dialect, self.status, f"This is a {self.status}.", self.code)
        say = self.script(dialect.results(body), body)
        response = web.StreamResponse(headers={"Content-Type": dialect.media})
        await response.prepare(request)
        pieces = list(dialect.say(say, len(self.requests)))
        for data in pieces[:-2] if say.hangs else pieces:
            await response.write(data)
        if say.hangs:
            await self._hang()
        return response

    async def _hang(self) -> None:
        self.asked.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.closed.set()
            raise


def _failed(dialect: Dialect, status: int, message: str, code: str = "") -> web.Response:
    return web.json_response(dialect.fail(status, message, code), status=status)


@asynccontextmanager
async def scripted() -> AsyncIterator[Upstream]:
    made = Upstream()
    server = web.Server(made.handle, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield made
    finally:
        await runner.cleanup()
