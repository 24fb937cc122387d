"""Chat requests under way: from the client's bytes to one exchange, and what time asks of them.

Pings and early headers are given by one task for all streams; a drain lets requests finish and
then ends them with an error in their dialect.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web

from engine.attempt import Call
from engine.chat import Message
from engine.dialects import Dialect, Target
from engine.errors import ExchangeError, RequestError
from engine.exchange import Exchange, Report
from engine.keyring import Keyring
from engine.options import Secret
from engine.ports import Ports
from engine.route.book import RouteBook
from engine.route.route import Route
from engine.route.view import Asked
from engine.sessions import Sessions
from engine.wire import Headers

from .sinks import Client, PlainSink, StreamSink

PING_EVERY = 15.0
TICK = 1.0


@dataclass(slots=True)
class Caller:
    """Who asks: a digest of the client key ("" without one), the key, the headers."""

    client: str
    key: Secret | None
    headers: Headers = field(repr=False)


@dataclass(slots=True, eq=False)
class Open:
    """A request under way."""

    route: Route
    call: Call
    sink: StreamSink | PlainSink
    task: asyncio.Task[Any]
    begun: float
    report: Report

    @property
    def early(self) -> float:
        """When the client gets its headers, answer or not; loop time."""
        wait = self.route.spec.timeouts.early_headers
        return float("inf") if wait == "never" else self.begun + float(wait)


@dataclass(slots=True)
class Chats:
    """`ask` serves one request; `under_way` holds those that are not answered yet.

    clean   takes secrets out of errors
    """

    book: Callable[[], RouteBook]
    ports: Ports
    keyring: Keyring
    sessions: Sessions
    clean: Callable[[bytes], bytes] = bytes
    draining: bool = False
    under_way: set[Open] = field(default_factory=set)
    _counts: dict[str, int] = field(default_factory=dict)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(
        self,
        dialect: Dialect,
        target: Target,
        request: web.BaseRequest,
        body: bytes,
        caller: Caller,
    ) -> web.StreamResponse:
        """Raises RequestError for what cannot be served."""
        route, call, name = self._read(dialect, target, body, caller)
        opened = self._open(route, call, self._client(request, target, route, call, name))
        self._begin(opened)
        try:
            await self._run(opened)
        finally:
            self._end(opened)
        assert opened.sink.response is not None
        return opened.sink.response

    def _read(
        self, dialect: Dialect, target: Target, body: bytes, caller: Caller
    ) -> tuple[Route, Call, str]:
        """The route, what is asked of it, and the model as the client names it."""
        scan = dialect.scan(body, target)
        parse = partial(dialect.parse, body, caller.headers, target)
        if scan is None:
            chat = parse()
            name, streams, usage = chat.model, chat.stream, chat.want_usage
        else:
            name, streams, usage = scan.model, scan.stream, scan.include_usage
        found = self.book().find(name)
        if found is None:
            raise no_model(name)
        route, offer = found
        ident = f"req_{self.ports.random.getrandbits(96):024x}"
        call = Call(
            asked=Asked(ident, parse, streams, caller.headers, caller.client),
            offer=offer,
            dialect=dialect,
            wants_stream=streams,
            splice=partial(dialect.splice, body, scan) if scan is not None else None,
            client_key=caller.key,
            wants_usage=usage,
        )
        return route, call, name

    def _client(
        self, request: web.BaseRequest, target: Target, route: Route, call: Call, name: str
    ) -> Client:
        passes = (
            route.passthrough
            and call.offer.passes
            and route.dialect is call.dialect
            and call.splice is not None
        )
        chat = None if passes else call.asked.chat
        if chat is not None and chat.out.n > 1 and route.dialect is None:
            raise RequestError("unsupported", "this route gives one answer at a time", param="n")
        return Client(
            request=request,
            dialect=call.dialect,
            asked=call.asked,
            model=name,
            created=int(self.ports.clock.now()),
            headers={**id_headers(call.asked.id), "x-penstock-route": route.name},
            wants_usage=call.wants_usage,
            release=call.release,
            clean=self.clean,
            chat=chat,
            reframe=call.dialect.reframe(target),
        )

    def _open(self, route: Route, call: Call, client: Client) -> Open:
        task = asyncio.current_task()
        assert task is not None
        now = asyncio.get_running_loop().time
        sink: StreamSink | PlainSink = PlainSink(client)
        if call.wants_stream:
            sink = StreamSink(client, now)
            if route.session is not None and route.session.server_history:
                sink.keep()
        return Open(route, call, sink, task, now(), Report())

    def _begin(self, opened: Open) -> None:
        name, limit = opened.route.name, opened.route.spec.limits.concurrency
        busy = self._counts.get(name, 0)
        if limit is not None and busy >= limit:
            raise RequestError("unavailable", f"route {name} is at its limit of {limit} requests")
        self._counts[name] = busy + 1
        self.under_way.add(opened)

    async def _run(self, opened: Open) -> None:
        sink = opened.sink
        exchange = Exchange(
            opened.route, opened.call, self.ports, self.keyring, self.sessions, sink
        )
        opened.report = exchange.report
        try:
            await exchange.run(partial(_turns, sink))
        except asyncio.CancelledError:
            exchange.report.gone = True
            if not self.draining:
                raise
            opened.task.uncancel()
            await sink.fail(ExchangeError("unavailable", "the server is shutting down"))

    def _end(self, opened: Open) -> None:
        self.under_way.discard(opened)
        self._counts[opened.route.name] -= 1
        if not self.under_way:
            self._idle.set()
        self._report(opened)

    def _report(self, opened: Open) -> None:
        call, sink, report = opened.call, opened.sink, opened.report
        error, first = report.error, sink.first_event
        self.ports.observer.saw(
            "request",
            id=call.asked.id,
            route=opened.route.name,
            model=call.offer.model.id,
            dialect=call.dialect.name,
            stream=call.wants_stream,
            status=499 if report.gone else sink.status,
            outcome="gone" if report.gone else error.cls if error else "ok",
            attempts=report.attempts,
            seconds=asyncio.get_running_loop().time() - opened.begun,
            first_event=None if first is None else first - opened.begun,
            usage=report.outcome.usage,
            upstream_status=report.outcome.status,
            error=error.message if error else "",
        )

    # ---- time ----

    async def tend(self) -> None:
        """Early headers and pings, for all streams, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK)
            now = loop.time()
            for opened in list(self.under_way):
                if isinstance(opened.sink, StreamSink):
                    with contextlib.suppress(ConnectionError, RuntimeError):  # going away
                        self._tend(opened.sink, opened.early, now)

    def _tend(self, sink: StreamSink, early: float, now: float) -> None:
        if sink.response is None:
            if now >= early:
                sink.early()
        elif now - sink.silent_since >= PING_EVERY:
            sink.ping()

    async def drain(self, seconds: float) -> None:
        """Let requests finish; after `seconds` the rest get an error in their dialect."""
        self.draining = True
        until = asyncio.get_running_loop().time() + seconds
        await self._quiet(until)
        for opened in list(self.under_way):
            opened.task.cancel()
        await self._quiet(until + 2)

    async def _quiet(self, until: float) -> None:
        """Wait until nothing is under way, or the loop's time `until`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while self.under_way:
                    self._idle.clear()
                    await self._idle.wait()


def _turns(sink: StreamSink | PlainSink) -> list[Message]:
    """The assistant's turn that was delivered, for sessions."""
    if sink.folder is None:
        return []
    return [Message("assistant", list(sink.folder.done().parts))]


def no_model(name: str) -> RequestError:
    return RequestError(
        "model_not_found", f"The model `{name[:200]}` does not exist", param="model"
    )


def id_headers(ident: str) -> dict[str, str]:
    """The request's id, in the header names of both client families."""
    return {"x-request-id": ident, "request-id": ident}
