"""Chat requests under way: from the client's bytes to one exchange, and what time asks of them.

Pings and early headers are given by one task for all streams; a drain lets requests finish and
then ends them with an error in their dialect.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from aiohttp import web

from engine.accounts.keyring import Keyring
from engine.chat import ChatRequest, Message
from engine.dialects import HERE, Dialect, Target
from engine.dialects.openai_responses.items import NAME as RESPONSES
from engine.errors import ExchangeError, RequestError
from engine.events import ErrorEvent
from engine.exchange.asides import Asides
from engine.exchange.attempt import Call
from engine.exchange.errands import Errand
from engine.exchange.loop import Exchange, Report
from engine.exchange.memory import Memory
from engine.kept.answers import Answers, Origin
from engine.kept.recall import Recall
from engine.kept.sessions import Sessions
from engine.options import Secret
from engine.ports import Ports
from engine.route.book import RouteBook
from engine.route.route import Offer, Route
from engine.route.view import Asked
from engine.wire import Headers

from . import cors
from .around import keeps_turns, next_route
from .continued import Continued
from .ids import client_id, id_headers
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
    """A request under way. asked: the routes that had it, the one that has it now last.

    failed: why the one before it gave it up; memory: of the one that had it last
    """

    route: Route
    call: Call
    sink: StreamSink | PlainSink
    task: asyncio.Task[Any]
    begun: float
    report: Report
    asked: list[Route]
    failed: ErrorEvent | None = None
    memory: Memory | None = None

    @property
    def early(self) -> float:
        """When the client gets its headers, answer or not; monotonic."""
        wait = self.route.spec.timeouts.early_headers
        return float("inf") if wait == "never" else self.begun + float(wait)


@dataclass(slots=True)
class Chats:
    """`ask` serves one request; `under_way` holds those that are not answered yet.

    clean      takes secrets out of errors
    continued  goes on from answers that were kept; None: with its defaults
    may_run    whether this client's requests may have tools run
    """

    book: Callable[[], RouteBook]
    ports: Ports
    keyring: Keyring
    sessions: Sessions
    clean: Callable[[bytes], bytes] = bytes
    draining: bool = False
    under_way: set[Open] = field(default_factory=set)
    continued: Continued | None = None
    may_run: Callable[[str], bool] = lambda client: False
    _counts: dict[str, int] = field(default_factory=dict)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    recall: Recall = field(init=False)

    def __post_init__(self) -> None:
        self.recall = Recall(self.ports)
        asides = Asides(self.book, self.ports, self.keyring, self.sessions)
        self.keyring.answer = asides.answer
        if self.continued is None:
            self.continued = Continued(Answers(self.ports))

    def ask(
        self,
        dialect: Dialect,
        target: Target,
        request: web.BaseRequest,
        body: bytes,
        caller: Caller,
    ) -> Coroutine[Any, Any, web.StreamResponse]:
        """Raises RequestError for what cannot be served."""
        route, call, name = self._read(dialect, target, body, caller)
        if dialect.idle is not None and route.dialect is not dialect:
            said = dialect.idle(call.asked.chat, name, int(self.ports.clock.now()))
            if said is not None:
                return _answered(said, dialect, route, call)
        return self._serve(request, target, route, call, name)

    async def bring(
        self,
        dialect: Dialect,
        request: web.BaseRequest,
        caller: Caller,
        name: str,
        make: Callable[[Route], Errand],
    ) -> web.StreamResponse:
        """An errand to the route of a model. Raises RequestError for what cannot be served."""
        found = self.book().find(name)
        if found is None:
            raise no_model(name)
        return await self._send(dialect, request, caller, name, *found, make)

    async def carry(
        self,
        dialect: Dialect,
        request: web.BaseRequest,
        caller: Caller,
        origin: Origin,
        make: Callable[[Route], Errand],
    ) -> web.StreamResponse:
        """An errand to where an answer came from, with the account that it belongs to."""
        route = self.book().routes.get(origin.route)
        offer = route.offer(origin.model) if route is not None else None
        if route is None or offer is None:
            raise RequestError("not_found", "The model that made this response is gone.")
        bound = origin.account
        return await self._send(dialect, request, caller, origin.model, route, offer, make, bound)

    async def _send(
        self,
        dialect: Dialect,
        request: web.BaseRequest,
        caller: Caller,
        name: str,
        route: Route,
        offer: Offer,
        make: Callable[[Route], Errand],
        bound: str = "",
    ) -> web.StreamResponse:
        ident, empty = f"req_{self.ports.random.getrandbits(96):024x}", ChatRequest("", name, [])
        call = Call(
            asked=Asked(ident, lambda: empty, False, caller.headers, caller.client),
            offer=offer,
            dialect=dialect,
            wants_stream=False,
            client_key=caller.key,
            errand=make(route),
            bound=bound if route.roster.accounts else "",
        )
        return await self._serve(request, HERE, route, call, name)

    async def _serve(
        self, request: web.BaseRequest, target: Target, route: Route, call: Call, name: str
    ) -> web.StreamResponse:
        keep, continued = None, self.continued
        assert continued is not None
        passes = _passes(route, call)
        if call.errand is None and passes:
            await continued.accompany(route, call)
        elif call.errand is None:
            keep = await continued.begin(call)
        chat = None if passes else _parsed(route, call)
        client = self._client(request, target, route, call, name, chat)
        client.keep = keep
        opened = self._open(route, call, client)
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
            tools=self.may_run(caller.client),
            continues=dialect.name == RESPONSES and b"previous_response_id" in body,
            several=scan is not None and scan.several,
        )
        return route, call, name

    def _client(
        self,
        request: web.BaseRequest,
        target: Target,
        route: Route,
        call: Call,
        name: str,
        chat: ChatRequest | None,
    ) -> Client:
        named, dialect = client_id(call.asked.headers), call.dialect
        return Client(
            request=request,
            dialect=dialect,
            asked=call.asked,
            model=name,
            created=int(self.ports.clock.now()),
            headers={
                **id_headers(call.asked.id, named),
                **cors.permission(request.path, request.headers),
                "x-penstock-route": route.name,
            },
            wants_usage=call.wants_usage,
            release=call.release,
            clean=self.clean,
            chat=chat,
            reframe=dialect.reframe(target) if dialect.reframe is not None else None,
            factor=self._factor(route, call),
            named=named,
        )

    def _factor(self, route: Route, call: Call) -> Callable[[], float]:
        return partial(self.keyring.factors.of, route.name, call.offer.model.upstream)

    def _open(self, route: Route, call: Call, client: Client) -> Open:
        task = asyncio.current_task()
        assert task is not None
        now = self.ports.clock.monotonic()
        return Open(route, call, self._sink([route], call, client), task, now, Report(), [route])

    def _sink(self, asked: Sequence[Route], call: Call, client: Client) -> StreamSink | PlainSink:
        if not call.wants_stream:
            return PlainSink(client, self.ports.clock.monotonic)
        sink = StreamSink(client, self.ports.clock.monotonic)
        if any(map(keeps_turns, asked)):
            sink.keep()
        return sink

    def _begin(self, opened: Open) -> None:
        route = opened.route
        if self.draining:  # its body came slowly
            raise RequestError("unavailable", "the server is shutting down")
        limit = route.spec.limits.concurrency
        if limit is not None and self._is_full(route):
            message = f"route {route.name} is at its limit of {limit} requests"
            raise RequestError("unavailable", message)
        self._enter(opened)
        self.under_way.add(opened)

    def _is_full(self, route: Route) -> bool:
        limit = route.spec.limits.concurrency
        return limit is not None and self._counts.get(route.name, 0) >= limit

    def _enter(self, opened: Open) -> None:
        """It is one of the requests of the route that it is at."""
        name = opened.asked[-1].name
        self._counts[name] = self._counts.get(name, 0) + 1

    def _leave(self, opened: Open) -> None:
        self._counts[opened.asked[-1].name] -= 1

    async def _run(self, opened: Open) -> None:
        try:
            while await self._exchange(opened):
                pass
        except asyncio.CancelledError:
            opened.report.gone = not self.draining or opened.sink.client.left
            if opened.report.gone:
                raise
            opened.task.uncancel()
            await self._told(opened, ExchangeError("unavailable", "the server is shutting down"))
        except ConnectionError:
            opened.report.gone = True
            raise
        except RequestError as error:  # rendering found what the upstream cannot be told
            if opened.sink.response is None:
                opened.report.error = ErrorEvent("invalid_request", error.message)
                opened.sink.status = opened.call.dialect.refusal(error)[0]
                error.told = True
                raise
            await self._told(opened, ExchangeError("invalid_request", error.message))
        except Exception:  # who called us tells it to client and log
            opened.report.error = ErrorEvent("fatal", "internal error")
            opened.sink.status = opened.sink.status or 500
            raise

    async def _told(self, opened: Open, error: ExchangeError) -> None:
        opened.report.error = ErrorEvent.of(error)
        await opened.sink.fail(error)

    async def _exchange(self, opened: Open) -> bool:
        """Ask one route. True: it failed, and another one is to be asked."""
        route, sink = opened.asked[-1], opened.sink
        following: tuple[Route, Call] | None = None

        def relents(error: ErrorEvent) -> bool:
            nonlocal following
            opened.failed = error
            following = next_route(self.book(), opened.asked, opened.call, error, self._able)
            return following is not None

        exchange = Exchange(
            route,
            opened.call,
            self.ports,
            self.keyring,
            self.sessions,
            sink,
            relents,
            recall=self.recall,
            report=opened.report,
        )
        exchange.memory.before, opened.memory = opened.memory, exchange.memory
        sink.client.remember = exchange.memory.remember
        first = opened.failed
        try:
            await exchange.run(partial(_turns, sink))
        except RequestError:  # it could be told to the route that failed, but not to this one
            if first is None or not exchange.answering.untold():
                raise
            if not relents(first):
                await self._told(opened, first.error())
        if following is None:
            return False
        self._turn_to(opened, *following)
        return True

    def _able(self, route: Route, call: Call) -> bool:
        """Whether a route may take over: it has room, and the request makes sense to it."""
        if self._is_full(route):
            return False
        try:
            _parsed(route, call)
        except RequestError:
            return False
        return True

    def _turn_to(self, opened: Open, route: Route, call: Call) -> None:
        """Another route takes over; the client's side begins anew, unless it has its headers."""
        client, continued = opened.sink.client, self.continued
        assert continued is not None
        self._leave(opened)
        opened.asked.append(route)
        self._enter(opened)
        opened.call = call
        opened.report = Report(opened.report.attempts)
        client = replace(
            client,
            asked=call.asked,
            release=call.release,
            headers={**client.headers, "x-penstock-route": route.name},
            chat=_parsed(route, call),
            keep=continued.turn(call, client.keep, passes=_passes(route, call)),
            retries=client.retries + 1,
            factor=self._factor(route, call),
        )
        sink = opened.sink
        if isinstance(sink, StreamSink) and sink.response is not None:
            sink.turn(client)
            if any(map(keeps_turns, opened.asked)):
                sink.keep()
        else:
            opened.sink = self._sink(opened.asked, call, client)

    def _end(self, opened: Open) -> None:
        self.under_way.discard(opened)
        self._leave(opened)
        if not self.under_way:
            self._idle.set()
        self._report(opened)

    def _report(self, opened: Open) -> None:
        call, sink, report = opened.call, opened.sink, opened.report
        error, first = report.error, sink.first_event
        self.ports.observer.saw(
            "request",
            id=call.asked.id,
            client_id=sink.client.named,
            route=opened.asked[-1].name,
            model=call.offer.model.id,
            dialect=call.dialect.name,
            stream=call.wants_stream,
            status=499 if report.gone else sink.status,
            outcome="gone" if report.gone else error.cls if error else "ok",
            attempts=report.attempts,
            seconds=self.ports.clock.monotonic() - opened.begun,
            first_event=None if first is None else first - opened.begun,
            usage=report.outcome.usage,
            upstream_status=report.outcome.status,
            error=error.message if error else "",
        )

    # ---- time ----

    async def tend(self) -> None:
        """Early headers and pings, for all streams, for ever."""
        while True:
            await asyncio.sleep(TICK)
            now = self.ports.clock.monotonic()
            for opened in list(self.under_way):
                if isinstance(opened.sink, StreamSink):
                    self._tend_safely(opened.sink, opened.early, now)

    def _tend_safely(self, sink: StreamSink, early: float, now: float) -> None:
        """One stream that cannot be tended keeps no other waiting."""
        try:
            self._tend(sink, early, now)
        except (ConnectionError, RuntimeError):
            return  # it is going away
        except Exception as error:
            self.ports.observer.saw("crash", error=error, path="pings")

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


async def _answered(body: bytes, dialect: Dialect, route: Route, call: Call) -> web.StreamResponse:
    """An answer for which nobody had to be asked."""
    ids = id_headers(call.asked.id, client_id(call.asked.headers))
    headers = {**ids, "x-penstock-route": route.name}
    return web.Response(body=body, content_type=dialect.content_type, headers=headers)


def _passes(route: Route, call: Call) -> bool:
    """Whether the client is served on bytes."""
    able = route.passthrough and call.offer.passes and call.splice is not None
    return able and route.dialect is call.dialect


def _parsed(route: Route, call: Call) -> ChatRequest | None:
    """The request, where the client's own bytes will not do. Raises RequestError."""
    chat = None if _passes(route, call) else call.asked.chat
    if chat is not None and chat.out.n > 1 and route.dialect is None:
        raise RequestError("unsupported", "this route gives one answer at a time", param="n")
    return chat


def _turns(sink: StreamSink | PlainSink) -> list[Message]:
    """The assistant's turn that was delivered, for sessions."""
    if sink.folder is None:
        return []
    return [Message("assistant", list(sink.folder.done().parts))]


def no_model(name: str) -> RequestError:
    return RequestError(
        "model_not_found", f"The model `{name[:200]}` does not exist", param="model"
    )
