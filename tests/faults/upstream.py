"""An upstream that fails on demand: raw sockets, standard library only, loopback only.

The requested model names the fault, which is a script that writes whatever bytes it likes. A marker
in the request's body keys a log of what the upstream saw, so that many rows run side by side.
Every answer carries headers that must never reach a client. `evil` is a second port: whoever
connects to it has been led astray.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from .speech import FORMS, Speech

MARKER = re.compile(rb"mark-[0-9a-f]{10}")
UPSTREAM_KEY = "sk-upstream-canary-7f3a9d1c5e"
COOKIE = "cookie-canary-51b7"
# Headers that an answer of this upstream bears and no client may see.
FOREIGN = {
    "Set-Cookie": f"session={COOKIE}; Path=/",
    "Server": "fault-upstream",
    "X-Internal-Token": "internal-canary-93ee",
    "OpenAI-Organization": "org-canary",
    "Strict-Transport-Security": "max-age=1",
}
CANARIES = (UPSTREAM_KEY, COOKIE, "internal-canary-93ee", "org-canary", "fault-upstream")
PAUSE = 0.03  # seconds between writes that are to arrive as reads of their own
HELD = 30.0  # seconds after which a script that waits gives up
REASONS = {200: "OK", 204: "No Content", 307: "Temporary Redirect", 429: "Too Many Requests"}


@dataclass(slots=True)
class Call:
    """One request as the upstream saw it. Times are monotonic.

    number      counts the calls of one marker from 1
    turn        counts the requests on its connection from 1
    sent        bytes that the socket has taken
    over        the script has come to its end
    gone        when the gateway closed the connection under the script
    """

    number: int
    turn: int
    path: str
    headers: dict[str, str]
    body: bytes
    begun: float
    sent: int = 0
    over: bool = False
    gone: float | None = None


Script = Callable[["Peer", Speech], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One connection: requests in, one script at a time, the moment at which it was closed."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.inbox = bytearray()
        self.news = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.lost: float | None = None
        self.task: asyncio.Task[None] | None = None
        self.call: Call | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.task = asyncio.get_running_loop().create_task(self.upstream.serve(self))
        self.upstream.tasks.add(self.task)
        self.task.add_done_callback(self.upstream.tasks.discard)

    def data_received(self, data: bytes) -> None:
        self.inbox += data
        self.news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = time.monotonic()
        if self.call is not None and not self.call.over:
            self.call.gone = self.lost
        self.news.set()
        self.writable.set()
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    async def write(self, data: bytes) -> None:
        if not data:
            return
        self.transport.write(data)
        await self.writable.wait()
        await asyncio.sleep(0)
        if self.call is not None:
            self.call.sent += len(data)

    async def more(self) -> None:
        self.news.clear()
        await self.news.wait()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        raw: socket.socket = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Peer:
    """What a script writes to. Unless it says otherwise an answer is chunked and keeps alive."""

    def __init__(self, connection: Connection, say: Speech, call: Call) -> None:
        self.connection = connection
        self.say = say
        self.call = call

    @property
    def attempt(self) -> int:
        return self.call.number

    async def raw(self, data: bytes) -> None:
        await self.connection.write(data)

    async def head(
        self,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        length: int | None = None,
        chunked: bool = True,
    ) -> None:
        """length: a Content-Length; chunked=False without it: the end of input ends the answer."""
        lines = {"Content-Type": self.say.content_type, **FOREIGN, **(headers or {})}
        if length is not None:
            lines["Content-Length"] = str(length)
        elif chunked:
            lines["Transfer-Encoding"] = "chunked"
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        await self.raw(f"HTTP/1.1 {status} {REASONS.get(status, 'Odd')}\r\n{text}\r\n".encode())

    async def send(self, *parts: bytes) -> None:
        """Each part as a chunk of its own."""
        for part in parts:
            if part:
                await self.raw(b"%x\r\n%b\r\n" % (len(part), part))

    async def end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    async def answer(
        self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """A whole answer in one write."""
        await self.head(status, headers, length=len(body))
        await self.raw(body)

    async def chunks(self, *parts: bytes) -> None:
        """A whole answer in these chunks, each in time to be read by itself."""
        await self.head()
        for part in parts:
            await self.send(part)
            await asyncio.sleep(PAUSE)
        await self.end()

    async def reset(self) -> None:
        """RST, after what was written has been read."""
        await asyncio.sleep(PAUSE)
        self.connection.reset()
        await self.hold()

    async def close(self) -> None:
        self.connection.transport.close()
        await self.hold()

    async def hold(self) -> None:
        """Say nothing until the other side goes away."""
        await asyncio.sleep(HELD)


async def healthy(peer: Peer, say: Speech) -> None:
    """The whole answer. A stream and its end in one write: the connection can be used again."""
    if say.streams:
        await peer.head()
        await peer.raw(b"%x\r\n%b\r\n0\r\n\r\n" % (len(say.body), say.body))
    else:
        await peer.answer(say.body)


@dataclass(slots=True)
class Upstream:
    """scripts by model name; calls by marker."""

    scripts: Mapping[str, Script]
    calls: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    strays: list[str] = field(default_factory=list)
    astray: list[bytes] = field(default_factory=list)
    port: int = 0
    evil: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def connections(self) -> int:
        """Connections that are open, idle ones too."""
        return len(self.tasks)

    def open_calls(self, marker: str) -> int:
        """Calls of a marker that are still under way."""
        return sum(not call.over and call.gone is None for call in self.calls[marker])

    async def serve(self, connection: Connection) -> None:
        """All requests of one connection, one after the other."""
        turn = 0
        while True:
            head, body = await self._request(connection)
            turn += 1
            call, say, script = self._look(head, body, turn)
            connection.call = call
            peer = Peer(connection, say, call)
            if call.headers.get("authorization") != f"Bearer {UPSTREAM_KEY}":
                await peer.answer(say.error("invalid_request_error", "no key"), 401)
            else:
                await script(peer, say)
            call.over = True

    async def _request(self, connection: Connection) -> tuple[bytes, bytes]:
        inbox = connection.inbox
        while (at := inbox.find(b"\r\n\r\n")) < 0:
            await connection.more()
        head = bytes(inbox[:at])
        del inbox[: at + 4]
        found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        length = int(found[1]) if found else 0
        while len(inbox) < length:
            await connection.more()
        body = bytes(inbox[:length])
        del inbox[:length]
        return head, body

    def _look(self, head: bytes, body: bytes, turn: int) -> tuple[Call, Speech, Script]:
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        pairs = (text.partition(":") for text in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        found = MARKER.search(body)
        fields = json.loads(body) if body else {}
        forms = FORMS[path]
        say = forms[bool(fields.get("stream")) if len(forms) > 1 else next(iter(forms))]
        marker = found[0].decode() if found else ""
        if not found:
            self.strays.append(f"{method} {path}")
        known = self.calls[marker]
        call = Call(len(known) + 1, turn, path, headers, body, time.monotonic())
        known.append(call)
        return call, say(marker), self.scripts.get(fields.get("model", ""), healthy)

    async def led_astray(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.astray.append(await reader.read(65536))
        writer.close()


@asynccontextmanager
async def upstream(scripts: Mapping[str, Script]) -> AsyncIterator[Upstream]:
    """A running upstream and its evil twin."""
    made = Upstream(scripts)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(made), "127.0.0.1", 0, backlog=1024)
    evil = await asyncio.start_server(made.led_astray, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    made.evil = evil.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        evil.close()
        tasks = list(made.tasks)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
