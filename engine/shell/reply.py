"""Answers to clients that write their own bytes.

aiohttp works out the head of each answer header by header and takes five calls to write a chunk.
What chats are answered with has few headers and one of two framings, so head and first bytes leave
in one write, each later piece in one more, and the last with the end of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import ClientConnectionResetError, web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11

from engine.wire import unbroken

END = b"0\r\n\r\n"  # the last chunk, RFC 9112 §7.1


class Reply(web.StreamResponse):
    """An answer with status 200, to be given back to aiohttp's server once it was sent.

    body None: a stream. A client of HTTP/1.0 gets it without chunks, up to the connection's end.
    Raises ValueError where a header would hold a control character.
    """

    def __init__(
        self, request: web.BaseRequest, headers: Mapping[str, str], body: bytes | None = None
    ) -> None:
        modern = request.version >= HttpVersion11
        self._status, self._reason = 200, "OK"
        self._protocol = request.protocol
        self._writer = request.writer
        self._chunked = modern and body is None
        self._keep_alive = request.keep_alive and (modern or body is not None)
        lines = ["HTTP/1.1 200 OK" if modern else "HTTP/1.0 200 OK"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        elif modern:
            lines.append("Transfer-Encoding: chunked")
        if self._keep_alive is not modern:
            lines.append("Connection: close" if modern else "Connection: keep-alive")
        lines += (f"Date: {rfc822_formatted_time()}", f"Server: {SERVER_SOFTWARE}", "", "")
        head = "\r\n".join(lines).encode()
        if not unbroken(head, len(lines)):
            raise ValueError("a header would hold a control character")
        self._unsent = head + body if body else head

    def put(self, data: bytes, last: bool = False) -> bool:
        """Write some bytes of a stream, with the head if it has not left. last: and the end.

        True if the client reads more slowly than we write: `drain` before the next piece.
        Raises ClientConnectionResetError if the client has gone, RuntimeError after the end.
        """
        if self._eof_sent:
            raise RuntimeError("the answer is over")
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            if last:
                data += END
        if self._unsent:
            data, self._unsent = self._unsent + data, b""
        self._eof_sent = last
        transport = self._protocol.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("the client has gone")
        if data:
            self._writer.output_size += len(data)  # so that aiohttp sends no second answer
            transport.write(data)
        return self._protocol.writing_paused

    async def drain(self) -> None:
        """Wait until the client has read most of what was written."""
        await self._writer.drain()

    # ---- what aiohttp's server calls ----

    async def prepare(self, request: web.BaseRequest) -> None:
        """The head leaves with the first bytes."""

    async def write_eof(self, data: bytes = b"") -> None:
        if not self._eof_sent and self.put(data, last=True):
            await self.drain()
