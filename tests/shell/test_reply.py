"""Answers as bytes on a raw socket: head, framing, the end, and a client that reads slowly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from engine.shell.listener import Listener
from engine.shell.reply import Reply

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
HEADERS = {"x-request-id": "req_1", "Content-Type": "text/event-stream"}


@asynccontextmanager
async def served(handle: Handle, kind: type[web.Server] = Listener) -> AsyncIterator[int]:
    runner = web.ServerRunner(kind(handle, access_log=None), handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def ask(port: int, version: str, *headers: str, times: int = 1) -> bytes:
    """All bytes of the answers to `times` requests on one connection, up to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"POST / {version}", "Host: x", *headers, "Content-Length: 0", "", ""]
    last = [line for line in lines if line] + ["Connection: close", "", ""]
    kept = "\r\n".join(lines).encode() * (times - 1)
    writer.write(kept + "\r\n".join(last).encode())
    async with asyncio.timeout(10):
        data = await reader.read()
    writer.close()
    return data


def parts(answer: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return status, dict(line.split(": ", 1) for line in lines), body


async def whole(request: web.BaseRequest) -> web.StreamResponse:
    return Reply(request, HEADERS, b"{}")


async def stream(request: web.BaseRequest) -> web.StreamResponse:
    reply = Reply(request, HEADERS)
    reply.put(b"one")
    reply.put(b"")
    reply.put(b"0123456789abcdef")
    reply.put(b"end", last=True)
    return reply


async def test_a_whole_answer_has_its_length_and_the_usual_headers() -> None:
    async with served(whole) as port:
        status, headers, body = parts(await ask(port, "HTTP/1.1"))
    assert ("HTTP/1.1 200 OK", b"{}") == (status, body)
    assert {*HEADERS, "Content-Length", "Connection", "Date", "Server"} == set(headers)
    assert ("2", "close", "req_1") == (
        headers["Content-Length"], headers["Connection"], headers["x-request-id"],
    )  # fmt: skip


async def test_a_stream_is_chunked_and_ends_with_the_last_piece() -> None:
    async with served(stream) as port:
        status, headers, body = parts(await ask(port, "HTTP/1.1"))
    assert ("HTTP/1.1 200 OK", "chunked") == (status, headers["Transfer-Encoding"])
    assert b"3\r\none\r\n10\r\n0123456789abcdef\r\n3\r\nend\r\n0\r\n\r\n" == body
    assert "Content-Length" not in headers


@pytest.mark.parametrize("handle", [whole, stream])
async def test_a_connection_is_kept(handle: Handle) -> None:
    async with served(handle) as port:
        answers = await ask(port, "HTTP/1.1", times=3)
    assert 3 == answers.count(b"HTTP/1.1 200 OK")
    assert 1 == answers.count(b"Connection: close")


async def test_a_client_of_1_0_gets_a_stream_without_chunks() -> None:
    async with served(stream) as port:
        status, headers, body = parts(await ask(port, "HTTP/1.0", "Connection: keep-alive"))
    assert ("HTTP/1.0 200 OK", b"one0123456789abcdefend") == (status, body)
    assert {"Transfer-Encoding", "Connection", "Content-Length"}.isdisjoint(headers)


async def test_a_client_of_1_0_may_keep_its_connection_for_whole_answers() -> None:
    async with served(whole) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"\r\nConnection: keep-alive\r\n" in head
            assert b"{}" == await reader.readexactly(2)
        writer.close()


async def test_what_is_not_ended_is_ended_by_the_server() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        reply = Reply(request, HEADERS)
        reply.put(b"x")
        return reply

    async with served(handle) as port:
        _, _, body = parts(await ask(port, "HTTP/1.1"))
    assert b"1\r\nx\r\n0\r\n\r\n" == body


async def test_nothing_follows_the_end() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        reply = Reply(request, HEADERS)
        reply.put(b"x", last=True)
        with pytest.raises(RuntimeError):
            reply.put(b"late")
        return reply

    async with served(handle) as port:
        _, _, body = parts(await ask(port, "HTTP/1.1"))
    assert b"1\r\nx\r\n0\r\n\r\n" == body


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\x00", "a\x7f"])
async def test_a_control_character_in_a_header_is_refused(value: str) -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        with pytest.raises(ValueError, match="control character"):
            Reply(request, {"x-route": value}, b"")
        return Reply(request, {}, b"fine")

    async with served(handle) as port:
        assert b"fine" == parts(await ask(port, "HTTP/1.1"))[2]


@pytest.mark.parametrize(("way", "size"), [("put", 65_536), ("later", 65_536), ("later", 4096)])
async def test_a_client_that_reads_slowly_is_waited_for(way: str, size: int) -> None:
    written, whole = 0, 16 * 1024**2

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal written
        reply = Reply(request, HEADERS)
        for _ in range(whole // size):
            if getattr(reply, way)(b"x" * size):
                await reply.drain()
            written += size
        return reply

    async with served(handle) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        writer.write(head)
        await reader.readuntil(b"\r\n\r\n")
        before = -1
        while written != before:  # until the pipe is full
            before = written
            await asyncio.sleep(0.2)
        assert written < whole
        rest = await reader.read()
        assert rest.endswith(b"0\r\n\r\n")
        assert whole == written
        writer.close()


async def test_a_failure_in_the_middle_breaks_the_answer_off() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        Reply(request, HEADERS).put(b"x")
        raise RuntimeError("on purpose")

    async with served(handle) as port:
        answer = await ask(port, "HTTP/1.1")
    assert 1 == answer.count(b"HTTP/1.1")
    assert answer.endswith(b"1\r\nx\r\n")


async def test_writing_to_a_client_that_has_gone_is_an_error() -> None:
    came: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        reply = Reply(request, HEADERS)
        while request.transport is not None:
            await asyncio.sleep(0.01)
        try:
            reply.put(b"x")
        except ConnectionError as error:
            came.set_result(error)
        return reply

    async with served(handle) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.transport.abort()
        async with asyncio.timeout(10):
            assert isinstance(await came, ConnectionResetError)


# ---- at the end of a turn ----


async def test_what_is_for_later_leaves_together_and_before_what_follows() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        reply = Reply(request, HEADERS)
        reply.later(b"on")
        reply.later(b"")
        reply.later(b"e")
        await asyncio.sleep(0.01)
        reply.later(b"two")
        reply.put(b"three")
        reply.later(b"four")
        reply.put(b"", last=True)
        return reply

    async with served(handle) as port:
        body = parts(await ask(port, "HTTP/1.1"))[2]
    assert b"3\r\none\r\n8\r\ntwothree\r\n4\r\nfour\r\n0\r\n\r\n" == body


async def test_what_is_for_later_leaves_though_nothing_follows() -> None:
    go = asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        reply = Reply(request, HEADERS)
        reply.later(b"x")
        await go.wait()
        return reply

    async with served(handle) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        async with asyncio.timeout(10):
            await reader.readuntil(b"1\r\nx\r\n")
        go.set()
        writer.close()


async def test_a_client_that_leaves_in_the_turn_takes_nothing_from_another() -> None:
    replies: list[Reply] = []
    over = asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        reply = Reply(request, HEADERS)
        replies.append(reply)
        if len(replies) == 2:
            replies[0].later(b"lost")
            reply.later(b"x")
            replies[0]._protocol.transport.close()  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
            reply.put(b"y", last=True)
            over.set()
        await over.wait()
        return reply

    async with served(handle) as port:
        _, other = await asyncio.open_connection("127.0.0.1", port)
        other.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        while not replies:
            await asyncio.sleep(0.01)
        body = parts(await ask(port, "HTTP/1.1"))[2]
        other.close()
    assert b"1\r\nx\r\n1\r\ny\r\n0\r\n\r\n" == body


async def test_a_server_without_turns_writes_at_once() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        reply = Reply(request, HEADERS)
        reply.later(b"a")
        reply.later(b"b")
        return reply

    async with served(handle, web.Server) as port:
        body = parts(await ask(port, "HTTP/1.1"))[2]
    assert b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n" == body


@pytest.mark.parametrize("size", [1, 1023, 1024, 70_000])
async def test_a_piece_of_any_size_is_framed(size: int) -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        reply = Reply(request, HEADERS)
        reply.put(b"x" * size, last=True)
        return reply

    async with served(handle) as port:
        body = parts(await ask(port, "HTTP/1.1"))[2]
    assert b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size) == body
