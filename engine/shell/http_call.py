"""One HTTP/1.1 request on a connection of aiohttp's connector, without aiohttp's session.

The connector (names, TLS, proxies, the pool) and the parser of answers are aiohttp's. A session
would build for each call a request object, a task that writes the body, and a response with timers
of its own: half of what serving a request costs. Here the head is written at once, in one piece
with the body. What an origin needs is built once: `Origin`.

- a pooled connection that received bytes nobody asked for is never handed out (aiohttp#13656)
- an answer whose framing breaks in the middle fails at once, where aiohttp would go silent
- a connection whose answer was over before its request had left is not used again
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.helpers import set_result
from aiohttp.http import HttpProcessingError
from aiohttp.streams import StreamReader
from yarl import URL

from engine.errors import ExchangeError
from engine.wire import HttpRequest, unbroken

MAX_HEADER = 65_536
MAX_HEADS = 64  # that are kept for an origin
LONG = 16_384  # bytes of a body that are not copied beside the head
BODILESS = ("GET", "HEAD", "OPTIONS", "TRACE")  # requests that need not say that they have no body
_FRAMING = ("content-length", "transfer-encoding")  # decided here, whatever a route says

Pairs = tuple[tuple[str, str], ...]


_received = ResponseHandler.data_received  # `super()` would be looked up for each read


class Handler(ResponseHandler):
    """Hands what is wrong with the connection to whoever reads the answer's body.

    pump  called whenever something of the body may have come, or its end, in the same callback
    """

    pump: Callable[[], None] | None = None

    def data_received(self, data: bytes) -> None:
        _received(self, data)
        if self.pump is not None:
            self.pump()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self.pump is not None:
            self.pump()

    # Called for each read; what it would set is a timeout of aiohttp's sessions.
    _reschedule_timeout = staticmethod(bool)  # type: ignore[assignment]

    def resume_reading(self, resume_parser: bool = True) -> None:
        """aiohttp asks for it after each chunk; only a pause can have held something back."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        body = self._payload
        super().set_exception(exc, *cause)
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError("the answer's framing is broken"))


class Origin:
    """Scheme, host and port as a connector reaches them, perhaps by a proxy.

    request   what the connector wants to know; it is never sent
    absolute  the request line names the whole URL: plain HTTP through a proxy (RFC 9112 §3.2.2)
    own       (name in lower case, line) of what each head says unless the request does: Host,
              `defaults`, and the credentials that the URL or the proxy's URL holds
    heads     the last heads but their Content-Length: most requests of a route have the same

    Raises aiohttp.InvalidURL.
    """

    __slots__ = ("absolute", "heads", "key", "own", "request")

    def __init__(self, url: URL, proxy: str | None, defaults: Pairs) -> None:
        if url.scheme not in ("http", "https"):
            raise aiohttp.InvalidURL(url)
        through = URL(proxy) if proxy else None
        self.request = _probe(url, proxy=through)
        self.key = self.request.connection_key
        self.absolute = through is not None and not self.request.is_ssl()
        own = [(hdrs.HOST, self.request.headers[hdrs.HOST]), *defaults]
        if hdrs.AUTHORIZATION in self.request.headers:
            own.append((hdrs.AUTHORIZATION, self.request.headers[hdrs.AUTHORIZATION]))
        asked = _probe(through).headers if through is not None and self.absolute else {}
        if hdrs.AUTHORIZATION in asked:
            own.append((hdrs.PROXY_AUTHORIZATION, asked[hdrs.AUTHORIZATION]))
        self.own = tuple((name.lower(), f"{name}: {value}") for name, value in own)
        self.heads: dict[tuple[str, str, Pairs, Pairs], bytes] = {}


def _probe(url: URL, **more: Any) -> ClientRequest:
    return ClientRequest("GET", url, loop=asyncio.get_running_loop(), **more)


class Connector(aiohttp.TCPConnector):
    """Never hands out a pooled connection that has received bytes nobody asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(Handler, loop=self._loop)  # type: ignore[assignment] # narrower

    async def pooled(self, key: Any, traces: Any = ()) -> Connection | None:
        """A connection that an earlier request left behind. key: an Origin's."""
        while (connection := await super()._get(key, traces)) is not None:
            protocol = connection.protocol
            if protocol is not None and not protocol.should_close:
                return connection
            connection.close()
        return None

    _get = pooled  # what aiohttp calls before it opens one

    async def opened(self, origin: Origin, seconds: float) -> Connection:
        """A new connection, within `seconds`. Raises aiohttp.ClientError."""
        patience = aiohttp.ClientTimeout(total=None, sock_connect=seconds)
        try:
            return await self.connect(origin.request, [], patience)
        except TimeoutError:
            raise aiohttp.ConnectionTimeoutError("no connection in time") from None


class Body(StreamReader):
    """A body as the parser of aiohttp fills it, for one who takes all that there is.

    The parser makes a StreamReader, which counts what it was fed and notes where each HTTP chunk
    ends, for `readchunk` and its like. An event is a chunk as a rule, and nobody here wants to know
    that; noting it costs as much as reading the event. A deque as buffer is half a kilobyte.
    """

    __slots__ = ()
    _buffer: list[bytes]  # type: ignore[assignment] # as said

    # Builtins that take nothing and do nothing: the parser calls them twice for each chunk.
    begin_http_chunk_receiving = end_http_chunk_receiving = staticmethod(bool)  # type: ignore[assignment]

    @classmethod
    def of(cls, content: StreamReader) -> StreamReader:
        """The same body; an empty one as it is."""
        if type(content) is StreamReader:
            content._http_chunk_splits = None
            content._buffer = [*content._buffer]  # type: ignore[assignment]
            content.__class__ = cls
        return content

    def feed_data(self, data: bytes, size: int = 0) -> bool:
        if not data:
            return False
        self._buffer.append(data)
        self._size += len(data)
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            set_result(waiter, None)
        if self._size > self._high_water:
            self._protocol.pause_reading()
        return False

    def read_nowait(self, n: int = -1) -> bytes:
        """All of it, whatever `n`."""
        if self._exception is not None:
            raise self._exception
        buffer = self._buffer
        data = buffer[0] if len(buffer) == 1 else b"".join(buffer)
        buffer.clear()
        self._size = 0
        if self._protocol._reading_paused:
            self._protocol.resume_reading()
        return data

    _read_nowait = read_nowait  # what `readany` calls


class Response:
    """An answer that has begun; `content` gives its body. `close` it at the end, read or not."""

    __slots__ = ("_connection", "_handler", "content", "headers", "status")

    def __init__(
        self,
        status: int,
        headers: Pairs,
        content: StreamReader,
        connection: Connection,
        protocol: ResponseHandler,
    ) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self._connection: Connection | None = connection
        self._handler: Any = protocol  # a Handler
        if status != 101:  # else the connection is no longer HTTP's
            content.on_eof(self._release)

    async def chunk(self) -> bytes:
        """What has come of the body; b"" at its end. Raises ExchangeError `truncated`."""
        try:
            return await self.content.readany()
        except (aiohttp.ClientError, OSError, zlib.error) as error:
            raise broken(error) from None

    async def pump(self, take: Callable[[bytes], bool]) -> bool:
        """Give what comes of the body to `take`, within the callback that received it.

        True: `take` said that it has enough; False: the body is over. Raises what `take` does, and
        ExchangeError `truncated`.
        """
        pump = Pump(self.content, self._handler, take)
        pump.run()
        try:
            return await pump.over
        finally:
            self._handler.pump = None
            del pump.over  # of an error's traceback the pump is part

    def _release(self) -> None:
        """The answer came whole: the connection is free for another request."""
        connection, self._connection = self._connection, None
        if connection is not None:
            transport = self._handler.transport
            unsent = transport is not None and transport.get_write_buffer_size()
            connection.close() if unsent else connection.release()

    def protocol(self) -> ResponseHandler:
        """What an upgraded connection is read and written by."""
        assert self._connection is not None
        assert self._connection.protocol is not None
        return self._connection.protocol

    def close(self) -> None:
        """Break the answer off, unless it came whole."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            self.content.set_exception(aiohttp.ClientConnectionError("closed"))


class Pump:
    """`run` whenever something of a body may have come. over: what `Response.pump` returns."""

    __slots__ = ("_busy", "_content", "_handler", "_take", "over")

    def __init__(
        self, content: StreamReader, handler: Handler, take: Callable[[bytes], bool]
    ) -> None:
        self._content, self._handler, self._take = content, handler, take
        self._busy = False
        self.over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        handler.pump = self.run

    def run(self) -> None:
        if self._busy:  # reading may have more parsed at once, and come here again
            return
        self._busy = True
        content = self._content
        try:
            while True:
                try:
                    data = content.read_nowait()
                except (aiohttp.ClientError, OSError, zlib.error) as error:
                    raise broken(error) from None
                enough = bool(data) and self._take(data)
                if enough or not content._buffer:
                    break
            self._busy = False
            if enough or content._eof:
                self._handler.pump = None
                if not self.over.done():
                    self.over.set_result(enough)
        except Exception as error:
            self._handler.pump = None
            if not self.over.done():
                self.over.set_exception(error)


def broken(error: Exception) -> ExchangeError:
    """What goes wrong once an answer has begun."""
    if isinstance(error, zlib.error):
        return ExchangeError("truncated", "the upstream's answer cannot be unpacked")
    return ExchangeError("truncated", "the upstream broke off its answer")


async def send(
    connection: Connection, request: HttpRequest, url: URL, origin: Origin, cookie: str = ""
) -> Response:
    """Send a request and wait for the head of its answer.

    Raises aiohttp.ClientError, and ValueError where a header would hold a control character.
    """
    try:
        protocol = connection.protocol
        assert protocol is not None
        head = head_of(request, url, origin, cookie)
        protocol.set_response_params(
            skip_payload=request.method == "HEAD",
            read_until_eof=True,
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
        )
        transport = protocol.transport
        if transport is None or transport.is_closing():
            raise aiohttp.ServerDisconnectedError
        if len(request.body) < LONG:
            transport.write(head + request.body)
        else:
            transport.writelines((head, request.body))
        message, content = await protocol.read()
        while 100 <= message.code < 200 and message.code != 101:
            message, content = await protocol.read()
    except HttpProcessingError:
        connection.close()
        raise aiohttp.ClientPayloadError("the answer is not HTTP") from None
    except BaseException:
        connection.close()
        raise
    content = Body.of(content)
    return Response(message.code, tuple(message.headers.items()), content, connection, protocol)


def head_of(request: HttpRequest, url: URL, origin: Origin, cookie: str = "") -> bytes:
    """Request line and headers, with the blank line. cookie: instead of the request's own."""
    known = request.method, request.url, request.query, request.headers
    head = None if cookie else origin.heads.get(known)
    if head is None:
        head = _head(request, url, origin, cookie)
        if not cookie:
            if len(origin.heads) >= MAX_HEADS:
                origin.heads.clear()
            origin.heads[known] = head
    if request.body or request.method not in BODILESS:
        return b"%bContent-Length: %d\r\n\r\n" % (head, len(request.body))
    return head + b"\r\n"


def _head(request: HttpRequest, url: URL, origin: Origin, cookie: str) -> bytes:
    headers = request.headers
    given = {name.lower() for name, _ in headers}
    lines = [f"{request.method} {url if origin.absolute else url.raw_path_qs} HTTP/1.1"]
    lines += [line for name, line in origin.own if name not in given]
    if cookie:
        headers = tuple(pair for pair in headers if pair[0].lower() != "cookie")
        lines.append(f"Cookie: {cookie}")
    if not given.isdisjoint(_FRAMING):
        headers = tuple(pair for pair in headers if pair[0].lower() not in _FRAMING)
    lines += [f"{name}: {value}" for name, value in headers]
    lines.append("")
    head = "\r\n".join(lines).encode()
    if not unbroken(head, len(lines)):
        raise ValueError("a header would hold a control character")
    return head
