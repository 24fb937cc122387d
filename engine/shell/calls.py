"""One call of an upstream under way, on a connection of a pool."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache
from types import TracebackType
from typing import Protocol

import aiohttp
from aiohttp import CookieJar
from aiohttp.client_reqrep import ClientRequest
from yarl import URL

from engine import __version__
from engine.errors import ExchangeError
from engine.ports import Line, Sent
from engine.wire import PACKED, HttpRequest, HttpResponse, TooTight, Unpacker

from .http_call import Connector, Origin, Response, broken, send

MAX_ORIGINS = 64  # of one pool
MAX_UNPACKED = 16 * 1024**2  # bytes that one read may unpack to
DEFAULTS = (
    ("User-Agent", f"penstock/{__version__}"),
    ("Accept", "*/*"),
    ("Accept-Encoding", "identity"),
)
CLOSE = ("Connection", "close")


class Pool:
    """The connections of Lines that differ in their cookies only, and how many of their calls are
    under way.

    used   the number of the last call of all that was made here
    """

    __slots__ = ("_origins", "busy", "connector", "used")

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
        self.busy = self.used = 0
        self._origins: dict[str, Origin] = {}

    def origin(self, url: URL, proxy: str | None) -> Origin:
        """Raises aiohttp.InvalidURL."""
        place = f"{url.scheme}://{url.raw_authority}"
        origin = self._origins.get(place)
        if origin is None:
            if len(self._origins) >= MAX_ORIGINS:
                self._origins.clear()
            own = DEFAULTS if not self.connector.force_close else (*DEFAULTS, CLOSE)
            origin = self._origins[place] = Origin(url, proxy, own)
        return origin


class Pools(Protocol):
    """Where calls get their connections. crowded: there are too many, some are to be closed."""

    crowded: bool

    def pool(self, line: Line, *, fresh: bool = False) -> Pool:
        """The connections of a line. fresh: none that an earlier call has left behind."""
        ...

    async def evict(self) -> None:
        """Close those that have been idle longest."""
        ...

    def jar(self, line: Line) -> CookieJar | None:
        """The cookies of a line, None if it keeps none."""
        ...


@lru_cache(maxsize=4096)
def _url(text: str) -> URL:
    return URL(text, encoded=True)


def url_of(request: HttpRequest) -> URL:
    """The URL with its query; parsing is shared by all requests to the same place."""
    url = _url(request.url)
    return url.extend_query(list(request.query)) if request.query else url


def cookies(jar: CookieJar, request: HttpRequest, url: URL) -> str:
    """The value of `Cookie`: what the route says and, before that, what the jar holds."""
    kept = jar.filter_cookies(url)
    said = request.header("cookie")
    merged = ClientRequest("GET", url, headers={"Cookie": said} if said else {}, cookies=kept)
    return merged.headers.get("Cookie", "")


class Open:
    """One call under way: an async context manager and, inside, the Answer."""

    __slots__ = (
        "_leaves", "_line", "_packed", "_pool", "_request", "_response", "_upstream", "head",
        "reused",
    )  # fmt: skip

    def __init__(
        self, upstream: Pools, request: HttpRequest, line: Line, sent: Sent = None
    ) -> None:
        self._upstream = upstream
        self._request = request
        self._line = line
        self._leaves = sent
        self._response: Response | None = None
        self._pool: Pool | None = None
        self.reused = False

    async def __aenter__(self) -> Open:
        try:
            self._response = await self._send(fresh=False)
        except aiohttp.ClientError as error:
            if not (self.reused and _nothing_came(error)):
                raise _failure(error) from None
            try:
                self._response = await self._send(fresh=True)
            except aiohttp.ClientError as second:
                raise _failure(second) from None
        del self._request, self._leaves  # with it goes the body: an answer may last for minutes
        response = self._response
        self.head = HttpResponse(response.status, response.headers)
        sniffs = self._line.sniff and self.head.header("content-encoding") is None
        self._packed = Packed() if sniffs else None
        return self

    async def _send(self, *, fresh: bool) -> Response:
        request, line = self._request, self._line
        pool = self._upstream.pool(line, fresh=fresh)
        pool.busy += 1
        try:
            if self._upstream.crowded:
                await self._upstream.evict()
            url = url_of(request)
            origin = pool.origin(url, line.proxy)
            connection = await pool.connector.pooled(origin.key)
            self.reused = connection is not None
            if connection is None:
                connection = await pool.connector.opened(origin, line.connect)
            if self._leaves is not None:
                self._leaves()
            jar = self._upstream.jar(line) if line.jar else None
            kept = cookies(jar, request, url) if jar is not None else ""
            response = await send(connection, request, url, origin, kept)
        except BaseException as error:
            pool.busy -= 1
            if isinstance(error, OSError | ValueError) and not isinstance(
                error, aiohttp.ClientError | TimeoutError
            ):
                raise ExchangeError("connect", "no connection to the upstream") from None
            raise
        if jar is not None:
            found = [value for name, value in response.headers if name.lower() == "set-cookie"]
            jar.update_cookies_from_headers(found, url)
        self._pool = pool
        return response

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        response, pool = self._response, self._pool
        if response is not None:
            response.close()
        if pool is not None:
            pool.busy -= 1

    def __aiter__(self) -> Open:
        return self

    async def __anext__(self) -> bytes:
        assert self._response is not None
        data = await self._response.chunk()
        if not data:
            raise StopAsyncIteration
        return self._packed.read(data) if self._packed else data

    async def pump(self, take: Callable[[bytes], bool]) -> bool:
        assert self._response is not None
        packed = self._packed
        return await self._response.pump(
            take if packed is None else lambda data: take(packed.read(data))
        )

    async def read(self, limit: int) -> bytes:
        response = self._response
        assert response is not None
        content, size = response.content, 0
        parts: list[bytes] = []
        while chunk := await response.chunk():
            data = self._packed.read(chunk) if self._packed else chunk
            size += len(data)
            if size > limit:
                raise ExchangeError(
                    "retryable", f"the upstream's answer is larger than {limit} bytes"
                )
            parts.append(data)
            if content.at_eof():
                break
        return b"".join(parts) if len(parts) != 1 else parts[0]


class Packed:
    """A body that may be packed though its head does not say so: the first bytes tell."""

    __slots__ = ("_begun", "_unpacker")

    def __init__(self) -> None:
        self._begun = False
        self._unpacker: Unpacker | None = None

    def read(self, data: bytes) -> bytes:
        """Raises ExchangeError."""
        if not self._begun:
            self._begun = True
            if data[:2] in PACKED:
                self._unpacker = Unpacker()
        if self._unpacker is None:
            return data
        try:
            return self._unpacker.feed(data, MAX_UNPACKED)
        except zlib.error as error:
            raise broken(error) from None
        except TooTight:
            message = "the upstream's answer is packed too tightly"
            raise ExchangeError("retryable", message) from None


def _nothing_came(error: aiohttp.ClientError) -> bool:
    """No byte of an answer was received: safe to send again on a fresh connection."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return isinstance(error.message, str)  # else it is the part of a head that came
    return isinstance(error, aiohttp.ClientOSError)


def _failure(error: aiohttp.ClientError) -> ExchangeError:
    """aiohttp's exceptions as outcome classes. The messages name no address and no secret."""
    if isinstance(error, aiohttp.InvalidURL):
        return ExchangeError("fatal", "the route makes a URL that is not one")
    if isinstance(error, aiohttp.ConnectionTimeoutError | aiohttp.ClientConnectorError):
        return ExchangeError("connect", "no connection to the upstream")
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
        return ExchangeError("retryable", "the upstream closed the connection without an answer")
    return ExchangeError("retryable", "the upstream's answer is not HTTP")
