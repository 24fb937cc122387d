"""aiohttp's server, with its own refusals in the words of a dialect.

What it refuses before any handler sees the request (a head that is malformed or too large, a body
packed in a way it does not know) would be text/plain. The path is not known then, and so neither
is the dialect: the answer is one that every client of an HTTP API can read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from operator import attrgetter
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from engine.dialects import DIALECTS
from engine.errors import RequestError

from .reply import Outbox

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Request(web.BaseRequest):
    """A request whose plain fields are read without a Python call; a chat reads them all."""

    content = property(attrgetter("_payload"))
    headers = property(attrgetter("_headers"))
    method = property(attrgetter("_method"))
    path = property(attrgetter("_rel_url.path"))
    protocol = property(attrgetter("_protocol"))
    version = property(attrgetter("_version"))
    writer = property(attrgetter("_payload_writer"))


class Listener(web.Server):
    """Takes what `web.Server` takes."""

    def __init__(self, handler: Handler, **options: Any) -> None:
        made = partial(Request, loop=asyncio.get_running_loop())
        super().__init__(handler, request_factory=made, **options)
        self.outbox = Outbox(self._loop)

    def __call__(self) -> RequestHandler:
        return Protocol(self, loop=self._loop, **self._kwargs)


class Protocol(RequestHandler):
    """One connection of a client."""

    writing_paused = property(attrgetter("_paused"))  # read after each write
    outbox = property(attrgetter("_manager.outbox"))

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError):
            raise exc  # the client has hung up: nobody is to be told, and nothing is wrong here
        if status >= 500:
            answer = super().handle_error(request, status, exc, message)
        else:  # the client's own fault; aiohttp would log an error of the server
            answer = web.Response(status=status)
            answer.force_close()
        if isinstance(answer, web.Response):
            kind = "internal" if status >= 500 else "bad_request"
            words = (message or "").partition("\n")[0].strip() or "the request is not HTTP"
            answer.body = DIALECTS["openai_chat"].refusal(RequestError(kind, words[:200]))[1]
            answer.content_type = "application/json"
        return answer
