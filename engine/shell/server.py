"""The HTTP server: endpoints, client keys, who may call from where.

Paths are a dict: the cost of finding one does not grow with routes or models. Every answer,
errors included, is in the dialect of the endpoint. The handler is cancelled when its client goes
away, which closes the upstream.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from urllib.parse import unquote

from aiohttp import web

from engine.dialects import DIALECTS, HERE, Dialect, Target, listings, reading
from engine.dialects.reading import body_fields, need, take
from engine.dialects.tokens import estimate
from engine.errors import RequestError
from engine.options import Secret
from engine.wire import Headers, dumps

from . import cors, endpoints
from .carried import Carried
from .chats import Caller, Chats, no_model
from .ids import client_id, id_headers
from .settings import ClientKeys, Settings

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Action = Callable[[Dialect, Target, web.BaseRequest], Awaitable[web.StreamResponse]]


MAX_PATH = 200  # characters of a path in the log
MAX_WELCOME = 256  # pairs of Host and Origin


@dataclass(slots=True)
class Server:
    """Serves the routes of a book. `chats` holds the requests under way."""

    settings: Settings
    keys: ClientKeys | None
    chats: Chats
    ready: Callable[[], bool] = lambda: True
    since: int = 0
    _handlers: dict[tuple[str, str], Handler] = field(default_factory=dict)
    _actions: dict[str, Action] = field(default_factory=dict)
    _welcome: set[tuple[str, str]] = field(default_factory=set)  # Host and Origin that passed

    # ---- dispatch ----

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Any request. Never raises but CancelledError."""
        path = request.path
        method = "GET" if request.method == "HEAD" else request.method  # aiohttp sends no body
        handler = self._handlers.get((method, path))
        try:
            self._check_host(request)
            if handler is None:
                handler = self._search(request)
            answer = await handler(request)
        except RequestError as error:
            answer = self._refuse(request, error)
        except ConnectionError:
            raise
        except Exception as error:
            self.chats.ports.observer.saw("crash", error=error, path=path)
            if request.writer.output_size:  # an answer is on its way: all that is left is to stop
                raise ConnectionAbortedError from None
            internal = RequestError("internal", "internal error")
            internal.told = True  # as a crash
            answer = self._refuse(request, internal)
        if "Origin" in request.headers and isinstance(answer, web.Response):
            answer.headers.update(self._permission(request))
        return answer

    def _permission(self, request: web.BaseRequest) -> dict[str, str]:
        """What tells a browser that a page may read the answer, if it may call at all."""
        try:
            self._check_host(request)
        except RequestError:
            return {}
        return cors.permission(request.path, request.headers)

    def __post_init__(self) -> None:
        continued = self.chats.continued
        assert continued is not None
        carried = Carried(continued.answers, self.chats, self._client)
        self._actions |= {
            "chat": self.chat,
            "count_tokens": self.count_tokens,
            "embeddings": self.embeddings,
            "models": self.models,
            "model": self.model,
            "show": self.show,
            **carried.actions(continued.actions(lambda request: self._client(request).client)),
        }
        self._handlers.update(self._table())

    def extend(self, handlers: Mapping[tuple[str, str], Handler]) -> None:
        """Further endpoints."""
        self._handlers.update(handlers)

    def _table(self) -> dict[tuple[str, str], Handler]:
        return {
            **{
                place: partial(self._actions[action], dialect, HERE)
                for dialect in DIALECTS.values()
                for place, action in dialect.endpoints.items()
            },
            **{
                place: partial(self._say, body)
                for dialect in DIALECTS.values()
                for place, body in dialect.constants.items()
            },
            ("GET", "/v1/models"): self._own_models,
            ("GET", "/healthz"): self.health,
            ("GET", "/health"): self.health,
            ("GET", "/__healthz"): self.health,
            ("GET", "/v1/health"): self.health,
            ("GET", "/readyz"): self.readiness,
            ("GET", "/ready"): self.readiness,
            ("GET", "/"): self.hello,
        }

    def _search(self, request: web.BaseRequest) -> Handler:
        """What no fixed path matches: a model, another method, or nothing."""
        method, path = request.method, request.path
        if cors.is_preflight(request):
            return cors.preflight
        if method == "GET" and path.startswith("/v1/models/"):
            target = Target(unquote(path.removeprefix("/v1/models/")))
            return partial(self.model, _dialect_of(request), target)
        for dialect in _LOCATING:
            assert dialect.locate is not None
            found = dialect.locate(method, path)
            if found is not None:
                target = replace(found[1], query=request.query)
                return partial(self._actions[found[0]], dialect, target)
        if methods := self._methods(path):
            raise RequestError("method", f"{path} takes {', '.join(methods)}")
        raise RequestError("not_found", f"there is nothing at {path}")

    def _methods(self, path: str) -> list[str]:
        return sorted(known for known, where in self._handlers if where == path)

    def _check_host(self, request: web.BaseRequest) -> None:
        """Keep other web sites' pages away from a loopback server (DNS rebinding, CORS)."""
        said = request.headers.get("Host", ""), request.headers.get("Origin", "")
        if said in self._welcome:
            return
        host = _name(said[0])
        local = _loopback(self.settings.listen.host)
        if local and host and not _loopback(host) and not self._listed(host):
            raise RequestError("forbidden", "this host name is not served here")
        origin = said[1]
        listed = not origin or origin in self.settings.cors.origins
        if not listed and not _loopback(_name(origin.partition("://")[2])):
            raise RequestError("forbidden", "this origin may not call here")
        if len(self._welcome) < MAX_WELCOME:
            self._welcome.add(said)

    def _listed(self, host: str) -> bool:
        return any(host == name.lower() for name in self.settings.hosts)

    def _refuse(self, request: web.BaseRequest, error: RequestError) -> web.Response:
        dialect = _dialect_at(request.method, request.path) or _dialect_of(request)
        ident = self._id()
        status, body = dialect.refusal(error, ident)
        if not error.told:
            self.chats.ports.observer.saw(
                "refused",
                id=ident,
                method=request.method,
                path=request.path[:MAX_PATH],
                dialect=dialect.name,
                status=status,
                kind=error.kind,
                error=error.message,
            )
        headers = id_headers(ident, client_id(Headers(request.headers)))
        if error.kind == "method":
            headers["Allow"] = ", ".join(self._methods(request.path))
        return web.Response(
            status=status, body=body, content_type=dialect.content_type, headers=headers
        )

    def _id(self) -> str:
        return f"req_{self.chats.ports.random.getrandbits(96):024x}"

    # ---- small endpoints ----

    async def hello(self, request: web.BaseRequest) -> web.Response:
        return web.json_response({"message": "Penstock is running", "models": "/v1/models"})

    async def health(self, request: web.BaseRequest) -> web.Response:
        return web.json_response({"status": "ok", "ok": True})

    async def readiness(self, request: web.BaseRequest) -> web.Response:
        good = self.ready() and not self.chats.draining
        return web.json_response(
            {"status": "ok" if good else "not ready"}, status=200 if good else 503
        )

    async def _own_models(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self.models(_dialect_of(request), HERE, request)

    async def models(
        self, dialect: Dialect, target: Target, request: web.BaseRequest
    ) -> web.StreamResponse:
        self._client(request)
        entries = [(name, offer.owned_by) for name, _, offer in self.chats.book().listed]
        return _json(listings.SHAPES[dialect.family].models(entries, self.since))

    async def model(
        self, dialect: Dialect, target: Target, request: web.BaseRequest
    ) -> web.StreamResponse:
        self._client(request)
        found = self.chats.book().find(target.model)
        if found is None:
            raise no_model(target.model)
        shape = listings.SHAPES[dialect.family]
        return _json(shape.model(target.model, found[1].owned_by, self.since))

    async def show(
        self, dialect: Dialect, target: Target, request: web.BaseRequest
    ) -> web.StreamResponse:
        """`model` for clients that name it in a body."""
        body = await read_body(request, int(self.settings.limits.request))
        asked = body_fields(reading.read_body(body))
        named = take(asked, "model", str) or need(asked, "name", str)
        return await self.model(dialect, Target(named), request)

    async def _say(self, body: bytes, request: web.BaseRequest) -> web.StreamResponse:
        self._client(request)
        return web.Response(body=body, content_type="application/json")

    # ---- chat ----

    def _client(self, request: web.BaseRequest) -> Caller:
        """Who calls. Raises RequestError `auth`."""
        headers = Headers(request.headers)
        presented = presented_key(headers) or _queried_key(request)
        secret = Secret(presented, "client key") if presented else None
        if self.keys is None:
            return Caller("", secret, headers)
        known = self.keys.check(presented) if presented else None
        if known is None:
            raise RequestError("auth", "Invalid API key provided")
        return Caller(known, secret, headers)

    async def chat(
        self, dialect: Dialect, target: Target, request: web.BaseRequest
    ) -> web.StreamResponse:
        if self.chats.draining:
            raise RequestError("unavailable", "the server is shutting down")
        caller = self._client(request)
        limit = int(self.settings.limits.request)
        # No name for the body: it should not be held while an answer lasts.
        return await self.chats.ask(
            dialect, target, request, await read_body(request, limit), caller
        )

    async def embeddings(
        self, dialect: Dialect, target: Target, request: web.BaseRequest
    ) -> web.StreamResponse:
        """Embeddings, by an upstream that makes them."""
        caller = self._client(request)
        body = await read_body(request, int(self.settings.limits.request))
        assert dialect.embed is not None
        asked = dialect.embed(body, target)
        make = partial(endpoints.embeddings, asked=asked)
        return await self.chats.bring(dialect, request, caller, asked.model, make)

    async def count_tokens(
        self, dialect: Dialect, target: Target, request: web.BaseRequest
    ) -> web.StreamResponse:
        """How long a conversation is: by its upstream if the route says where, or an estimate."""
        caller = self._client(request)
        body = await read_body(request, int(self.settings.limits.request))
        chat = dialect.parse(body, caller.headers, target)
        found = self.chats.book().find(chat.model)
        if found is None:
            raise no_model(chat.model)
        errand = endpoints.counting(found[0], dialect, body)
        if errand is not None:
            return await self.chats.bring(dialect, request, caller, chat.model, lambda _: errand)
        route, offer = found
        factor = self.chats.keyring.factors.of(route.name, offer.model.upstream)
        answer = _json(dialect.counted(estimate(chat, factor)))
        ids = id_headers(self._id(), client_id(caller.headers))
        answer.headers.update({**ids, "x-penstock-token-count": "estimate"})
        return answer


_BY_PATH = {path: found for found in DIALECTS.values() for _, path in found.endpoints}
_LOCATING = tuple(found for found in DIALECTS.values() if found.locate is not None)
_PREFIXES = tuple((found.prefix, found) for found in DIALECTS.values() if found.prefix)


def _dialect_at(method: str, path: str) -> Dialect | None:
    """The dialect whose path this is."""
    known = _BY_PATH.get(path)
    if known is not None:
        return known
    for found in _LOCATING:
        if found.locate is not None and found.locate(method, path) is not None:
            return found
    return next((found for prefix, found in _PREFIXES if path.startswith(prefix)), None)


def _dialect_of(request: web.BaseRequest) -> Dialect:
    """The dialect of a client, where the path does not tell."""
    headers = request.headers
    name = next((name for mark, name in _MARKS if mark in headers), "openai_chat")
    return DIALECTS[name]


# Headers that only clients of one dialect send.
_MARKS = (("anthropic-version", "anthropic_messages"), ("x-goog-api-key", "gemini"))


def presented_key(headers: Headers) -> str:
    """The client's key from any header that clients of any dialect use."""
    bearer = headers.get("authorization")
    if bearer[:7].lower() == "bearer ":
        return bearer[7:].strip()
    return headers.get("x-api-key") or headers.get("x-goog-api-key")


def _queried_key(request: web.BaseRequest) -> str:
    """The key in the query, on the paths of a dialect whose clients put it there."""
    dialect = _dialect_at(request.method, request.path) if request.query_string else None
    if dialect is None or not dialect.key_in_query:
        return ""
    return request.query.get(dialect.key_in_query, "")


async def read_body(request: web.BaseRequest, limit: int) -> bytes:
    """The request's body, unpacked. Raises RequestError beyond `limit` bytes."""
    length = request.content_length
    if length is not None and length > limit:
        raise RequestError("too_large", f"the request is larger than {limit} bytes")
    content, size = request.content, 0
    came = content.is_eof()
    if not came:
        _welcome_body(request)
    parts: list[bytes] = []
    while not (parts and (came or content.at_eof())):
        came = came or content.is_eof()
        try:
            chunk = content.read_nowait() if came else await content.readany()
        except (web.RequestPayloadError, ValueError):
            _give_up(request)
            raise RequestError("bad_request", "the body cannot be unpacked") from None
        size += len(chunk)
        if size > limit:
            raise RequestError("too_large", f"the request is larger than {limit} bytes")
        parts.append(chunk)
    return b"".join(parts) if len(parts) != 1 else parts[0]


def _give_up(request: web.BaseRequest) -> None:
    """What is left of a broken body is not read, and nothing after it. Raises ConnectionError."""
    if request.transport is None:
        raise ConnectionAbortedError("the client has hung up")
    request.content.feed_eof()
    request.protocol.close()


def _welcome_body(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send the body (RFC 9110 §10.1.1)."""
    waits = request.headers.get("Expect", "").lower() == "100-continue"
    transport = request.transport
    if waits and transport is not None:
        transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _json(value: object) -> web.Response:
    return web.Response(body=dumps(value), content_type="application/json")


def _name(authority: str) -> str:
    """The host of `host:port` or `[v6]:port`, in lower case."""
    authority = authority.lower()
    if "@" in authority:
        return authority  # a user's name before it could pass for the host
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
