"""Chats whose requests are noted on their way and become fixtures: `serve --record`.

A gateway that does not record has none of this: its ports and its chats are the plain ones.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from engine.dialects import Dialect, Target
from engine.ports import Ports
from engine.route.route import Route

from .chats import Caller, Chats, Open
from .keeping import Keeping
from .library import Library
from .overhearing import Capture, OverheardTokens, OverheardUpstream, OverheardWeb, current
from .redact import Redactor
from .scribe import Scribe, Served
from .settings import Settings

_serving: ContextVar[Served | None] = ContextVar("serving", default=None)


@dataclass(slots=True)
class RecordedChats(Chats):
    """`scribe` is given all that was served, once it is over."""

    scribe: Scribe = field(kw_only=True)

    def ask(
        self,
        dialect: Dialect,
        target: Target,
        request: web.BaseRequest,
        body: bytes,
        caller: Caller,
    ) -> Coroutine[Any, Any, web.StreamResponse]:
        asked = super(RecordedChats, self).ask(dialect, target, request, body, caller)
        if not self.scribe.wants():
            return asked
        ports, scribe = self.ports, self.scribe
        upstream, logins = scribe.upstream, scribe.tokens.kept
        capture = Capture(upstream.plain, ports.clock.monotonic, upstream.room, logins)
        capture.grows(len(body))
        key, now = caller.key, ports.clock.now()
        path = _path(dialect, request)
        headers = dict(caller.headers.pairs)
        served = Served("", dialect.name, path, body, headers, key, now, capture)
        return self._noted(asked, served)

    async def _noted(
        self, asked: Coroutine[Any, Any, web.StreamResponse], served: Served
    ) -> web.StreamResponse:
        heard, serving = current.set(served.capture), _serving.set(served)
        try:
            return await asked
        finally:
            current.reset(heard)
            _serving.reset(serving)
            self.scribe.offer(served, self.keyring.cleanups.settle)

    def _report(self, opened: Open) -> None:
        super(RecordedChats, self)._report(opened)
        served = _serving.get()
        if served is not None:
            route, error = opened.asked[-1], opened.report.error
            served.ident, served.route = opened.call.asked.id, route
            served.status = opened.sink.status
            gone = opened.report.gone
            served.outcome = "gone" if gone else error.cls if error else "ok"
            served.moved = len(opened.asked) > 1
            served.headers = _told(route, opened.call.dialect, served.headers)


def _path(dialect: Dialect, request: web.BaseRequest) -> str | None:
    """Where the client sent it, without its key, if that says something."""
    if dialect.locate is None or dialect.locate("POST", request.path) is None:
        return None
    query = [(name, each) for name, each in request.query.items() if name != dialect.key_in_query]
    return f"{request.path}?{urlencode(query)}" if query else request.path


def _told(route: Route, dialect: Dialect, headers: dict[str, str]) -> dict[str, str]:
    """The client's headers that the route may read: its key only where that is passed on."""
    wanted = {*dialect.headers, *_sessions(route)}
    if route.roster.client:
        wanted |= {"authorization", "x-api-key", "x-goog-api-key"}
    return {str(name): value for name, value in headers.items() if name.lower() in wanted}


def _sessions(route: Route) -> set[str]:
    """Headers that name a session."""
    keys = route.session.keys if route.session is not None else ()
    return {key.partition(".")[2].lower() for key in keys if key.startswith("header.")}


def recording(
    keeping: Keeping, settings: Settings, library: Library, redactor: Redactor, plain: Ports
) -> tuple[Ports, Scribe, Callable[..., Chats]]:
    """The ports, overheard; whoever writes; what makes the chats."""
    upstream = OverheardUpstream(plain.upstream, plain.clock.monotonic)
    tokens, web_ = OverheardTokens(plain.tokens), OverheardWeb(plain.web)
    scribe = Scribe(keeping, library, settings, plain.observer, redactor, upstream, tokens)
    ports = replace(plain, upstream=upstream, tokens=tokens, web=web_)
    return ports, scribe, partial(RecordedChats, scribe=scribe)
