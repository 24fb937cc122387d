"""Answers to clients that write their own bytes.

aiohttp works out the head of each answer header by header and takes five calls to write a chunk.
What chats are answered with has few headers and one of two framings, so head and first bytes leave
in one write, each later piece in one more, and the last with the end of the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import ClientConnectionResetError, web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11

from engine.wire import unbroken

END = b"0\r\n\r\n"  # the last chunk, RFC 9112 §7.1
SMALL = 16_384  # bytes that an idle connection takes without a pause: a quarter of asyncio's mark
SIZES = tuple(b"%x\r\n" % size for size in range(1024))  # how most chunks begin


class Outbox:
    """What is written to clients at the end of a turn of the event loop, after all that came in it.

    Writing wakes who reads. Where many streams have news at once, to read them all and then write
    them all costs fewer wake-ups than to go back and forth, and nothing waits longer than the work
    of that turn takes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: list[Reply] = []

    def add(self, reply: Reply) -> None:
        if not self._due:
            self._loop.call_soon(self._flush)
        self._due.append(reply)

    def _flush(self) -> None:
        due, self._due = self._due, []
        for reply in due:
            try:
                if reply.held:
                    reply.put(b"")
            except (ConnectionError, RuntimeError):
                continue  # this client has gone: who reads for it is told with the next piece


class Reply(web.StreamResponse):
    """An answer with status 200, to be given back to aiohttp's server once it was sent.

    held       bytes of a stream that are written at the end of this turn of the loop

    body None: a stream. A client of HTTP/1.0 gets it without chunks, up to the connection's end.
    Raises ValueError where a header would hold a control character.
    """

    def __init__(
        self, request: web.BaseRequest, headers: Mapping[str, str], body: bytes | None = None
    ) -> None:
        modern = request.version >= HttpVersion11
        self._status, self._reason = 200, "OK"
        self._protocol = request.protocol
        self._outbox: Outbox | None = getattr(self._protocol, "outbox", None)
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
        self.held = b""

    def put(self, data: bytes, last: bool = False) -> bool:
        """Write some bytes of a stream, with the head if it has not left. last: and the end.

        True if the client reads more slowly than we write: `drain` before the next piece.
        Raises ClientConnectionResetError if the client has gone, RuntimeError after the end.
        """
        if self._eof_sent:
            raise RuntimeError("the answer is over")
        if self.held:
            data, self.held = self.held + data, b""
        if self._chunked and data:
            size = len(data)
            head = SIZES[size] if size < len(SIZES) else b"%x\r\n" % size
            data = b"".join((head, data, b"\r\n"))
        if last:
            self._eof_sent = True
            if self._chunked:
                data += END
        if self._unsent:
            data, self._unsent = self._unsent + data, b""
        protocol = self._protocol
        transport = protocol.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("the client has gone")
        if data:
            self._writer.output_size += len(data)  # so that aiohttp sends no second answer
            transport.write(data)
        return protocol.writing_paused

    def later(self, data: bytes) -> bool:
        """`put` when all that came in this turn of the loop was read, where a Listener serves.

        What is large, or meets a client that has not taken all there was, is written at once: how
        slow such a client is has to be known now.
        """
        held, outbox, transport = self.held, self._outbox, self._protocol.transport
        large = len(held) + len(data) > SMALL
        if large or transport is None or outbox is None or transport.get_write_buffer_size():
            return self.put(data)
        if held:
            self.held = held + data
        elif data:
            self.held = data
            outbox.add(self)
        return False

    async def drain(self) -> None:
        """Wait until the client has read most of what was written."""
        await self._writer.drain()

    # ---- what aiohttp's server calls ----

    async def prepare(self, request: web.BaseRequest) -> None:
        """The head leaves with the first bytes."""

    async def write_eof(self, data: bytes = b"") -> None:
        if not self._eof_sent and self.put(data, last=True):
            await self.drain()
