"""The page of this machine that a browser comes back to after a login.

It answers on 127.0.0.1 and, where there is one, on ::1: a browser may take `localhost` for either.
Requests that are not of this login (another state, a favicon) are answered and change nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from html import escape

from aiohttp import web

from engine.auth.grants import Errand, code_of
from engine.auth.oauth import Callback
from engine.errors import ExchangeError

PAGE = "<!doctype html><meta charset=utf-8><title>Penstock</title><p>{}</p>"


@dataclass(slots=True)
class Back:
    """uri: where the browser is sent; came: the code, once it is there."""

    uri: str
    path: str
    came: asyncio.Future[str] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    errand: Errand | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != self.path or self.errand is None:
            return _page("Nothing is here.", 404)
        try:
            code = code_of(request.query_string, self.errand)
        except ExchangeError as error:
            if request.query.get("state") == self.errand.state and not self.came.done():
                self.came.set_exception(error)
            return _page(f"The login failed: {error.message}.", 400)
        if not self.came.done():
            self.came.set_result(code)
        return _page("Logged in. This window may be closed.", 200)


def _page(text: str, status: int) -> web.Response:
    headers = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
    return web.Response(
        text=PAGE.format(escape(text)), status=status, content_type="text/html", headers=headers
    )


@asynccontextmanager
async def listening_back(options: Callback) -> AsyncIterator[Back]:
    """Listen where the options say. Raises OSError when the port is taken."""
    back = Back(options.uri or "", options.path)
    async with AsyncExitStack() as stack:
        if options.uri is None:
            server = web.Server(back.handle, access_log=None)
            runner = web.ServerRunner(server, shutdown_timeout=1.0)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", options.port).start()
            port = runner.addresses[0][1]
            with contextlib.suppress(OSError):
                await web.TCPSite(runner, "::1", port).start()
            back.uri = f"http://{options.host}:{port}{options.path}"
        try:
            yield back
        finally:
            back.came.cancel()
