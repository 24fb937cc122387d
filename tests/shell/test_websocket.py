"""Conversations over real websockets: against aiohttp's server, and against bytes by hand."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import WSCloseCode, WSMsgType, web

from engine.errors import ExchangeError
from engine.parsers.websocket import websocket_parser
from engine.ports import Line
from engine.shell.stub import listening
from engine.shell.upstream import AiohttpUpstream
from engine.wire import HttpRequest, SocketMessage

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass
class Talk:
    """Our side: says `first`, then whatever `to` says to a message. ended: how it was closed."""

    first: list[SocketMessage] = field(default_factory=lambda: [SocketMessage(b"hi")])
    to: Callable[[SocketMessage], list[SocketMessage]] = lambda message: []
    limit: int = 1000
    ping: float | None = None
    ended: list[tuple[int, str]] = field(default_factory=list)

    def begin(self) -> list[SocketMessage]:
        return self.first

    def hear(self, message: SocketMessage) -> list[SocketMessage]:
        return self.to(message)

    def closed(self, code: int, reason: str) -> ExchangeError | None:
        self.ended.append((code, reason))
        return None if code in (1000, 1005) else ExchangeError("overloaded", f"closed {code}")


Serve = Callable[[web.WebSocketResponse], Awaitable[None]]


@dataclass
class Server:
    """An upstream that takes the upgrade, or refuses it with `refusal`, and then does `serve`."""

    serve: Serve
    refusal: web.Response | None = None
    requests: list[web.BaseRequest] = field(default_factory=list)
    heard: list[object] = field(default_factory=list)
    closed: list[int | None] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        if self.refusal is not None:
            return self.refusal
        socket = web.WebSocketResponse(autoping=False, protocols=("chat.v1",))
        socket.headers["Set-Cookie"] = "seen=1"
        await socket.prepare(request)
        await self.serve(socket)
        while not socket.closed:
            message = await socket.receive()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PONG):
                self.heard.append(message.data)
        self.closed.append(socket.close_code)
        return socket


@asynccontextmanager
async def serving(serve: Serve, **more: object) -> AsyncIterator[tuple[Server, HttpRequest]]:
    server = Server(serve, **more)  # type: ignore[arg-type]
    async with listening(server.handle) as url, asyncio.timeout(20):
        yield server, HttpRequest("GET", url.replace("http", "ws") + "/chat", query=(("v", "2"),))


@asynccontextmanager
async def calling() -> AsyncIterator[AiohttpUpstream]:
    upstream = AiohttpUpstream()
    try:
        yield upstream
    finally:
        await upstream.close()


async def conversation(
    upstream: AiohttpUpstream, request: HttpRequest, talk: Talk, most: int = 1000
) -> list[tuple[str, bytes]]:
    """The messages of the upstream, up to so many."""
    parser, out = websocket_parser(), list[tuple[str, bytes]]()
    async with upstream.converse(request, talk, Line()) as answer:
        assert answer.head.status == 101
        async for data in answer:
            out += [(record.event, record.data) for record in parser.feed(data)]
            if len(out) >= most:
                break
    return out


async def test_messages_go_both_ways() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        assert (await socket.receive()).data == "hi"
        await socket.send_str("你好")
        assert (await socket.receive()).data == b"got 6"
        await socket.send_bytes(b"\x81\x00")
        assert (await socket.receive()).data == b"got 2"
        await socket.close()

    talk = Talk(to=lambda heard: [SocketMessage(b"got %d" % len(heard.data), text=False)])
    async with serving(serve) as (server, request), calling() as upstream:
        found = await conversation(upstream, request, talk)
    assert found == [("text", "你好".encode()), ("binary", b"\x81\x00")]
    assert talk.ended == [(1000, "")]
    assert server.requests[0].path_qs == "/chat?v=2"


async def test_headers_and_cookies_go_with_the_upgrade() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        await socket.close()

    async with serving(serve) as (server, request), calling() as upstream:
        request = request.with_headers(
            {"Authorization": "Bearer k-1", "Sec-WebSocket-Protocol": "chat.v1"}
        )
        for _ in range(2):
            async with upstream.converse(request, Talk(), Line(jar="j")) as answer:
                assert answer.head.header("sec-websocket-protocol") == "chat.v1"
    assert [each.headers["Authorization"] for each in server.requests] == ["Bearer k-1"] * 2
    assert [each.headers.get("Cookie") for each in server.requests] == [None, "seen=1"]
    assert all("Sec-WebSocket-Extensions" not in each.headers for each in server.requests)


async def test_a_proxy_is_asked_for_the_upgrade() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        await socket.send_str("by proxy")
        await socket.close()

    async with serving(serve) as (server, request), calling() as upstream:
        proxy = request.url.replace("ws", "http").removesuffix("/chat")
        meant = HttpRequest("GET", "ws://chat.example.com/chat")
        async with upstream.converse(meant, Talk(), Line(proxy=proxy)) as answer:
            assert b"by proxy" in b"".join([data async for data in answer])
    assert server.requests[0].headers["Host"] == "chat.example.com"


@pytest.mark.parametrize("status", [200, 401, 403, 429, 500])
async def test_a_refused_upgrade_is_an_answer_with_its_body(status: int) -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        """Never reached."""

    refusal = web.json_response({"error": "no"}, status=status, headers={"Retry-After": "3"})
    async with (
        serving(serve, refusal=refusal) as (_, request),
        calling() as upstream,
        upstream.converse(request, Talk(), Line()) as answer,
    ):
        assert (answer.head.status, answer.head.header("retry-after")) == (status, "3")
        assert await answer.read(100) == b'{"error": "no"}'


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [(1000, "", ""), (1011, "boom", "closed 1011"), (4401, "who", "closed 4401")],
)
async def test_a_close_frame_is_judged_and_answered(code: int, reason: str, told: str) -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        await socket.send_str("a")
        await socket.close(code=code, message=reason.encode())

    talk = Talk()
    async with serving(serve) as (server, request), calling() as upstream:
        try:
            await conversation(upstream, request, talk)
            failed = ""
        except ExchangeError as error:
            failed = error.message
        while not server.closed:
            await asyncio.sleep(0.01)
    assert (failed, talk.ended) == (told, [(code, reason)])
    assert server.closed == [code]


async def test_a_socket_that_breaks_off_is_1006() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        await socket.send_str("a")
        await asyncio.sleep(0.05)
        assert socket._req is not None
        assert socket._req.transport is not None
        socket._req.transport.abort()

    talk = Talk()
    async with serving(serve) as (_, request), calling() as upstream:
        with pytest.raises(ExchangeError, match="closed 1006"):
            await conversation(upstream, request, talk)
    assert talk.ended == [(1006, "")]


async def test_pings_are_answered_and_are_no_message() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        await socket.ping(b"there?")
        await socket.send_str("a")

    async with serving(serve) as (server, request), calling() as upstream:
        assert await conversation(upstream, request, Talk(), most=1) == [("text", b"a")]
    assert server.heard == ["hi", b"there?"]


async def test_a_silent_line_is_tried() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        assert (await socket.receive()).data == "hi"
        for _ in range(2):
            assert (await socket.receive()).type is WSMsgType.PING
        await socket.send_str("still here")

    talk = Talk(ping=0.05)
    async with serving(serve) as (_, request), calling() as upstream:
        assert await conversation(upstream, request, talk, most=1) == [("text", b"still here")]


async def test_an_answer_that_is_over_closes_the_socket() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        await socket.send_str("a")

    async with serving(serve) as (server, request), calling() as upstream:
        await conversation(upstream, request, Talk(), most=1)
        while not server.closed:
            await asyncio.sleep(0.01)
    assert server.closed == [WSCloseCode.OK]


async def test_a_call_that_is_cancelled_closes_the_socket() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        await socket.send_str("a")

    async with serving(serve) as (server, request), calling() as upstream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await conversation(upstream, request, Talk())
        while not server.closed:
            await asyncio.sleep(0.01)
    assert server.closed == [WSCloseCode.GOING_AWAY]


async def test_a_message_larger_than_the_bound_ends_the_conversation() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        await socket.send_str("x" * 1000)
        await socket.send_str("x" * 1001)

    heard: list[int] = []

    def hear(message: SocketMessage) -> list[SocketMessage]:
        heard.append(len(message.data))
        return []

    async with serving(serve) as (server, request), calling() as upstream:
        with pytest.raises(ExchangeError, match="larger than 1000 bytes") as caught:
            await conversation(upstream, request, Talk(to=hear))
        while not server.closed:
            await asyncio.sleep(0.01)
    assert (caught.value.cls, heard) == ("retryable", [1000])
    assert server.closed == [WSCloseCode.MESSAGE_TOO_BIG]


async def test_who_reads_slowly_is_not_flooded() -> None:
    sent = 0

    async def serve(socket: web.WebSocketResponse) -> None:
        nonlocal sent
        for _ in range(600):
            await socket.send_bytes(bytes(65_536))
            sent += 1
        await socket.close()

    got = 0
    async with (
        serving(serve) as (_, request),
        calling() as upstream,
        upstream.converse(request, Talk(limit=65_536), Line()) as answer,
    ):
        chunks = aiter(answer)
        await anext(chunks)
        await asyncio.sleep(0.3)
        waiting = sent
        async for data in chunks:
            got += len(data) == 65_536 + 5
    assert got == 599
    assert waiting < 400


async def test_what_our_side_cannot_say_closes_the_socket() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        await socket.send_str("a")

    def refuse(message: SocketMessage) -> list[SocketMessage]:
        raise ExchangeError("fatal", "cannot say it")

    async with serving(serve) as (server, request), calling() as upstream:
        with pytest.raises(ExchangeError, match="cannot say it"):
            await conversation(upstream, request, Talk(to=refuse))
        while not server.closed:
            await asyncio.sleep(0.01)
    assert server.closed == [WSCloseCode.GOING_AWAY]


# ---- bytes by hand ----


@dataclass
class Hand:
    """A server that answers the upgrade as `answer` says and then writes `frames`."""

    frames: bytes
    answer: str = "Sec-WebSocket-Accept: {accept}\r\n"
    got: bytearray = field(default_factory=bytearray)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(line for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Key"))
        digest = hashlib.sha1((key.partition(": ")[2] + GUID).encode()).digest()
        upgrade = "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        upgrade += self.answer.format(accept=base64.b64encode(digest).decode()) + "\r\n"
        writer.write(upgrade.encode() + self.frames)
        self.got += await reader.read()
        writer.close()
        await writer.wait_closed()
        self.done.set()


@asynccontextmanager
async def by_hand(hand: Hand) -> AsyncIterator[HttpRequest]:
    server = await asyncio.start_server(hand.serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        yield HttpRequest("GET", f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await hand.done.wait()


def frame(payload: bytes, first: int = 0x81) -> bytes:
    return bytes([first, len(payload)]) + payload


def closing(got: bytes) -> int:
    """The code of the masked close frame at the end of what came."""
    opcode, _, *mask = got[-8:-2]
    assert opcode == 0x88
    code = bytes(byte ^ mask[at] for at, byte in enumerate(got[-2:]))
    return int(struct.unpack(">H", code)[0])


@pytest.mark.parametrize(
    ("frames", "words", "code"),
    [
        (frame(b"\xff\xfe"), "a text is not UTF-8", 1007),
        (frame(b"a", 0xC1), "it breaks the websocket protocol", 1002),
        (frame(b"a", 0x83), "it breaks the websocket protocol", 1002),
        (frame(b"a", 0x80), "it breaks the websocket protocol", 1002),
        (frame(struct.pack(">H", 1234), 0x88), "it breaks the websocket protocol", 1002),
    ],
)
async def test_a_broken_protocol_is_told_and_closed(frames: bytes, words: str, code: int) -> None:
    hand, talk = Hand(frame(b"good") + frames), Talk()
    async with by_hand(hand) as request, calling() as upstream:
        with pytest.raises(ExchangeError, match=words) as caught:
            await conversation(upstream, request, talk)
        while not hand.got:
            await asyncio.sleep(0.01)
    assert caught.value.cls == "retryable"
    assert closing(bytes(hand.got)) == code


async def test_fragments_are_one_message() -> None:
    half, rest = "好".encode()[:1], "好".encode()[1:]
    frames = frame(half, 0x01) + frame(b"?", 0x89) + frame(rest, 0x80) + frame(b"", 0x88)
    hand, talk = Hand(frames), Talk()
    async with by_hand(hand) as request, calling() as upstream:
        assert await conversation(upstream, request, talk) == [("text", "好".encode())]
    assert talk.ended == [(1005, "")]


@pytest.mark.parametrize("answer", ["", "Sec-WebSocket-Accept: bm90IGl0\r\n"])
async def test_an_upgrade_that_is_not_ours_is_refused(answer: str) -> None:
    hand, talk = Hand(frame(b"a"), answer), Talk()
    async with by_hand(hand) as request, calling() as upstream:
        with pytest.raises(ExchangeError, match="nobody asked for"):
            await conversation(upstream, request, talk)
    assert hand.got == b""


async def test_nobody_there_is_a_failed_connection() -> None:
    async with calling() as upstream:
        with pytest.raises(ExchangeError) as caught:
            await conversation(upstream, HttpRequest("GET", "ws://127.0.0.1:9/"), Talk())
    assert caught.value.cls == "connect"
