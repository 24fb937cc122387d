"""The HTTP server: endpoints, client keys, one exchange per request, pings, drain.

Paths are a dict: the cost of finding one does not grow with routes or models. Every answer,
errors included, is in the dialect of the endpoint. The handler is cancelled when its client goes
away, which closes the upstream.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from engine.attempt import Call
from engine.chat import Message
from engine.dialects import DIALECTS, Dialect, listings
from engine.errors import ExchangeError, RequestError
from engine.exchange import Exchange, Report
from engine.keyring import Keyring
from engine.options import Secret
from engine.ports import Ports
from engine.route.book import RouteBook
from engine.route.route import Offer, Route
from engine.route.view import Asked
from engine.sessions import Sessions
from engine.wire import Headers, dumps

from .settings import ClientKeys, Settings
from .sinks import Client, PlainSink, StreamSink

PING_EVERY = 15.0
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Open:
    """A request under way."""

    task: asyncio.Task[Any]
    sink: StreamSink | PlainSink
    early: float | None


@dataclass(slots=True)
class Server:
    """Serves the routes of a book. `book` is read anew for each request."""

    settings: Settings
    keys: ClientKeys | None
    book: Callable[[], RouteBook]
    ports: Ports
    keyring: Keyring
    sessions: Sessions
    ready: Callable[[], bool] = lambda: True
    since: int = 0
    stop_listening: Callable[[], Awaitable[None]] | None = None
    draining: bool = False
    _under_way: dict[int, Open] = field(default_factory=dict)
    _handlers: dict[tuple[str, str], Handler] = field(default_factory=dict)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _counts: dict[str, int] = field(default_factory=dict)

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    # ---- dispatch ----

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Any request. Never raises but CancelledError."""
        path = request.path
        handler = self._handlers.get((request.method, path))
        dialect = _DIALECT_BY_PATH.get(path, DIALECTS["openai_chat"])
        try:
            self._check_host(request)
            if handler is None:
                handler = self._search(request.method, path)
            return await handler(request)
        except RequestError as error:
            return self._refuse(request, dialect, error)
        except ConnectionError:
            raise
        except Exception as error:
            self.ports.observer.saw("crash", error=error, path=path)
            return self._refuse(request, dialect, RequestError("internal", "internal error"))

    def __post_init__(self) -> None:
        self._handlers.update(self._table())

    def extend(self, handlers: Mapping[tuple[str, str], Handler]) -> None:
        """Further endpoints."""
        self._handlers.update(handlers)

    def _table(self) -> dict[tuple[str, str], Handler]:
        return {
            ("POST", "/v1/chat/completions"): partial(self.chat, DIALECTS["openai_chat"]),
            ("GET", "/v1/models"): self.models,
            ("GET", "/healthz"): self.health,
            ("GET", "/health"): self.health,
            ("GET", "/readyz"): self.readiness,
            ("GET", "/ready"): self.readiness,
            ("GET", "/"): self.hello,
            ("HEAD", "/"): self.hello,
        }

    def _search(self, method: str, path: str) -> Handler:
        """What no fixed path matches: a model, another method, or nothing."""
        if method == "GET" and path.startswith("/v1/models/"):
            return partial(self.model, path.removeprefix("/v1/models/"))
        methods = sorted(known for known, where in self._handlers if where == path)
        if methods:
            raise RequestError("method", f"{path} takes {', '.join(methods)}")
        raise RequestError("not_found", f"there is nothing at {path}")

    def _check_host(self, request: web.BaseRequest) -> None:
        """Keep other web sites' pages away from a loopback server (DNS rebinding, CORS)."""
        allowed = self.settings.hosts
        host = _name(request.headers.get("Host", ""))
        local = _loopback(self.settings.listen.host)
        if local and host and not _loopback(host) and host not in allowed:
            raise RequestError("forbidden", "this host name is not served here")
        origin = request.headers.get("Origin", "")
        listed = not origin or origin == "null" or origin in self.settings.cors.origins
        if not listed and not _loopback(_name(origin.partition("://")[2])):
            raise RequestError("forbidden", "this origin may not call here")

    def _refuse(
        self, request: web.BaseRequest, dialect: Dialect, error: RequestError
    ) -> web.Response:
        ident = self._id()
        status, body = dialect.refusal(error, ident)
        return web.Response(
            status=status,
            body=body,
            content_type=dialect.content_type,
            headers=_headers(ident),
        )

    def _id(self) -> str:
        return f"req_{self.ports.random.getrandbits(96):024x}"

    # ---- small endpoints ----

    async def hello(self, request: web.BaseRequest) -> web.Response:
        return web.json_response({"message": "Penstock is running", "models": "/v1/models"})

    async def health(self, request: web.BaseRequest) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readiness(self, request: web.BaseRequest) -> web.Response:
        good = self.ready() and not self.draining
        return web.json_response(
            {"status": "ok" if good else "not ready"}, status=200 if good else 503
        )

    async def models(self, request: web.BaseRequest) -> web.Response:
        self._client(Headers(request.headers))
        entries = [(name, offer.owned_by) for name, _, offer in self.book().listed]
        return _json(listings.models(entries, self.since))

    async def model(self, name: str, request: web.BaseRequest) -> web.Response:
        self._client(Headers(request.headers))
        name = unquote(name)
        found = self.book().find(name)
        if found is None:
            raise _no_model(name)
        return _json(listings.model(name, found[1].owned_by, self.since))

    # ---- chat ----

    def _client(self, headers: Headers) -> tuple[str, Secret | None]:
        """Who calls: a digest of the key, and the key. Raises RequestError `auth`."""
        presented = presented_key(headers)
        secret = Secret(presented, "client key") if presented else None
        if self.keys is None:
            return "", secret
        known = self.keys.check(presented) if presented else None
        if known is None:
            raise RequestError("auth", "Invalid API key provided")
        return known, secret

    async def chat(self, dialect: Dialect, request: web.BaseRequest) -> web.StreamResponse:
        headers = Headers(request.headers)
        if self.draining:
            raise RequestError("unavailable", "the server is shutting down")
        client, secret = self._client(headers)
        body = await read_body(request, int(self.settings.limits.request))
        scan = dialect.scan(body)
        parse = partial(dialect.parse, body, headers)
        if scan is None:
            chat = parse()
            name, wants_stream, wants_usage = chat.model, chat.stream, chat.want_usage
        else:
            name, wants_stream, wants_usage = scan.model, scan.stream, scan.include_usage
        found = self.book().find(name)
        if found is None:
            raise _no_model(name)
        route, offer = found
        ident = self._id()
        asked = Asked(ident, parse, wants_stream, headers, client)
        call = Call(
            asked=asked,
            offer=offer,
            dialect=dialect,
            wants_stream=wants_stream,
            splice=partial(dialect.splice, body, scan) if scan is not None else None,
            client_key=secret,
            wants_usage=wants_usage,
        )
        if not (route.passthrough and route.dialect is dialect and scan is not None):
            _ = asked.chat  # a body that cannot be read is refused before anything is sent
        return await self._exchange(request, route, offer, call, name)

    async def _exchange(
        self, request: web.BaseRequest, route: Route, offer: Offer, call: Call, name: str
    ) -> web.StreamResponse:
        limit = route.spec.limits.concurrency
        busy = self._counts.get(route.name, 0)
        if limit is not None and busy >= limit:
            raise RequestError(
                "unavailable", f"route {route.name} is at its limit of {limit} requests"
            )
        clock = self.ports.clock
        begun = clock.monotonic()
        client = Client(
            request=request,
            dialect=call.dialect,
            asked=call.asked,
            model=name,
            created=int(clock.now()),
            headers={**_headers(call.asked.id), "x-penstock-route": route.name},
            wants_usage=call.wants_usage,
        )
        sink = self._sink(client, call)
        if (
            route.session is not None
            and route.session.server_history
            and isinstance(sink, StreamSink)
        ):
            sink.keep()
        key = id(sink)
        task = asyncio.current_task()
        assert task is not None
        early = route.spec.timeouts.early_headers
        self._under_way[key] = Open(task, sink, None if early == "never" else float(early))
        self._counts[route.name] = busy + 1
        exchange = Exchange(route, call, self.ports, self.keyring, self.sessions, sink)
        report = exchange.report
        gone = True
        try:
            report = await exchange.run(partial(_turns, sink))
            gone = False
        except asyncio.CancelledError:
            if not self.draining:
                raise
            task.uncancel()
            await sink.fail(ExchangeError("unavailable", "the server is shutting down"))
        finally:
            del self._under_way[key]
            if not self._under_way:
                self._idle.set()
            self._counts[route.name] -= 1
            self._report(route, call, sink, report, clock.monotonic() - begun, begun, gone, offer)
        assert sink.response is not None
        return sink.response

    def _sink(self, client: Client, call: Call) -> StreamSink | PlainSink:
        if not call.wants_stream:
            return PlainSink(client)
        encoder = client.dialect.encoder(
            client.asked.id, client.model, client.created, client.wants_usage
        )
        return StreamSink(client, encoder, asyncio.get_running_loop().time)

    def _report(
        self,
        route: Route,
        call: Call,
        sink: StreamSink | PlainSink,
        report: Report,
        seconds: float,
        begun: float,
        gone: bool,
        offer: Offer,
    ) -> None:
        error, usage = report.error, report.outcome.usage
        first = getattr(sink, "first_event", None)
        self.ports.observer.saw(
            "request",
            id=call.asked.id,
            route=route.name,
            model=offer.model.id,
            dialect=call.dialect.name,
            stream=call.wants_stream,
            status=499 if gone else sink.status,
            outcome="gone" if gone else error.cls if error else "ok",
            attempts=report.attempts,
            seconds=seconds,
            first_event=None if first is None else first - begun,
            usage=usage,
            upstream_status=report.outcome.status,
            error=error.message if error else "",
        )

    # ---- time ----

    async def tend(self) -> None:
        """Early headers and pings, for all streams, by one task."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1)
            now = loop.time()
            for open_ in list(self._under_way.values()):
                sink = open_.sink
                if not isinstance(sink, StreamSink):
                    continue
                try:
                    if sink.response is None:
                        if open_.early is not None and now - sink.begun >= open_.early:
                            await sink.early()
                    elif now - sink.silent_since >= PING_EVERY:
                        await sink.ping()
                except (ConnectionError, RuntimeError):
                    continue  # the client is going away; its own task will see to it

    async def drain(self, seconds: float) -> None:
        """Let requests finish; after `seconds` the rest get an error in their dialect."""
        self.draining = True
        if self.stop_listening is not None:
            await self.stop_listening()
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        await self._quiet(until)
        for open_ in list(self._under_way.values()):
            open_.task.cancel()
        await self._quiet(until + 2)

    async def _quiet(self, until: float) -> None:
        """Wait until nothing is under way, or the loop's time `until`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while self._under_way:
                    self._idle.clear()
                    await self._idle.wait()


_DIALECT_BY_PATH = {"/v1/chat/completions": DIALECTS["openai_chat"]}


def _turns(sink: StreamSink | PlainSink) -> list[Message]:
    """The assistant's turn that was delivered, for sessions."""
    if sink.folder is None:
        return []
    return [Message("assistant", list(sink.folder.done().parts))]


def presented_key(headers: Headers) -> str:
    """The client's key from any header that clients of any dialect use."""
    bearer = headers.get("authorization")
    if bearer[:7].lower() == "bearer ":
        return bearer[7:].strip()
    return headers.get("x-api-key") or headers.get("x-goog-api-key")


async def read_body(request: web.BaseRequest, limit: int) -> bytes:
    """The request's body, unpacked. Raises RequestError beyond `limit` bytes."""
    length = request.content_length
    if length is not None and length > limit:
        raise RequestError("too_large", f"the request is larger than {limit} bytes")
    parts: list[bytes] = []
    size = 0
    while True:
        try:
            chunk = await request.content.readany()
        except (web.RequestPayloadError, ValueError):
            raise RequestError("bad_request", "the body cannot be unpacked") from None
        if not chunk:
            return b"".join(parts) if len(parts) != 1 else parts[0]
        size += len(chunk)
        if size > limit:
            raise RequestError("too_large", f"the request is larger than {limit} bytes")
        parts.append(chunk)


def _no_model(name: str) -> RequestError:
    return RequestError(
        "model_not_found", f"The model `{name[:200]}` does not exist", param="model"
    )


def _headers(ident: str) -> dict[str, str]:
    return {"x-request-id": ident, "request-id": ident}


def _json(value: object) -> web.Response:
    return web.Response(body=dumps(value), content_type="application/json")


def _name(authority: str) -> str:
    """The host of `host:port` or `[v6]:port`."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


@lru_cache(maxsize=256)
def _loopback(host: str) -> bool:
    if host in ("localhost", "") or host.endswith(".localhost"):
        return host != ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
