"""Requests on the wire, byte for byte, against raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from yarl import URL

from engine.errors import ExchangeError
from engine.ports import Line
from engine.shell import upstream as pools
from engine.shell.calls import Open
from engine.shell.http_call import MAX_HEADS, Body, Origin, head_of
from engine.shell.upstream import AiohttpUpstream
from engine.wire import HttpRequest, HttpResponse

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LIMIT = 1 << 20


class Raw:
    """Answers each request with the next of `answers`; `heads` and `bodies` hold what came.

    opened   connections that were made
    """

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.heads: list[list[str]] = []
        self.bodies: list[bytes] = []
        self.opened = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
                self.heads.append(head)
                size = self.value("content-length")
                self.bodies.append(await reader.readexactly(int(size or 0)))
                writer.write(self.answers.pop(0))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def value(self, name: str) -> str | None:
        """Of the last request's header, once; None if it is not there."""
        found = [
            line.partition(": ")[2] for line in self.heads[-1] if line.lower().startswith(name)
        ]
        assert len(found) <= 1
        return found[0] if found else None


@asynccontextmanager
async def raw(*answers: bytes) -> AsyncIterator[tuple[Raw, str, AiohttpUpstream]]:
    played, upstream = Raw(*answers), AiohttpUpstream()
    server = await asyncio.start_server(played.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield played, f"127.0.0.1:{port}", upstream
        await upstream.close()


async def fetch(upstream: AiohttpUpstream, request: HttpRequest, line: Line) -> HttpResponse:
    async with asyncio.timeout(10):
        return await upstream.fetch(request, line, LIMIT)


async def test_a_head_says_what_it_must_and_the_route_has_the_last_word() -> None:
    async with raw(OK, OK) as (played, at, upstream):
        plain = HttpRequest("POST", f"http://{at}/v1/chat", (("X-One", "é"),), (("q", "1"),), b"{}")
        await fetch(upstream, plain, Line())
        version = played.value("user-agent")
        assert version is not None
        assert version.startswith("penstock/")
        assert played.heads[0] == [
            "POST /v1/chat?q=1 HTTP/1.1",
            f"Host: {at}",
            f"User-Agent: {version}",
            "Accept: */*",
            "Accept-Encoding: identity",
            "X-One: é",
            "Content-Length: 2",
        ]
        own = (("host", "elsewhere"), ("User-agent", "curl"), ("ACCEPT", "a/b"))
        await fetch(upstream, HttpRequest("GET", f"http://{at}/", own), Line())
        assert played.heads[1] == [
            "GET / HTTP/1.1",
            "Accept-Encoding: identity",
            *(f"{name}: {value}" for name, value in own),
        ]


async def test_a_head_that_is_sent_again_has_the_length_of_its_own_body() -> None:
    async with raw(OK, OK, OK) as (played, at, upstream):
        for body, length in ((b"{}", "2"), (b"[1, 2]", "6"), (b"", "0")):
            await fetch(upstream, HttpRequest("POST", f"http://{at}/", body=body), Line())
            assert (length, body) == (played.value("content-length"), played.bodies[-1])
        assert [line for line in played.heads[0] if "Length" not in line] == [
            line for line in played.heads[2] if "Length" not in line
        ]


async def test_of_the_heads_of_an_origin_only_so_many_are_kept() -> None:
    url = URL("http://127.0.0.1:1/")
    origin = Origin(url, None, ())
    for number in range(3 * MAX_HEADS):
        own = HttpRequest("GET", str(url), (("X-Number", str(number)),))
        assert head_of(own, url, origin).endswith(b"\r\nX-Number: %d\r\n\r\n" % number)
    assert 0 < len(origin.heads) <= MAX_HEADS
    assert b"Cookie: a=1" in head_of(own, url, origin, "a=1")
    assert b"Cookie" not in head_of(own, url, origin)


async def test_pools_beyond_the_limit_make_room_and_those_in_use_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pools, "MAX_POOLS", 10)
    async with raw(*[OK] * 40) as (_, at, upstream):
        request = HttpRequest("GET", f"http://{at}/")
        async with upstream.stream(request, Line(pool="held")) as held:
            for number in range(30):
                await fetch(upstream, request, Line(pool=f"p{number}"))
            assert 10 == len(upstream._pools)
            assert {"held", "p29"} <= {line.pool for line in upstream._pools}
            assert b"ok" == await held.read(LIMIT)


async def test_framing_is_not_the_routes_to_say() -> None:
    said = (("Content-Length", "999"), ("Transfer-Encoding", "chunked"))
    async with raw(OK, OK) as (played, at, upstream):
        for body in (b"abc", b""):
            await fetch(upstream, HttpRequest("POST", f"http://{at}/", said, body=body), Line())
            assert str(len(body)) == played.value("content-length")
            assert played.value("transfer-encoding") is None
            assert body == played.bodies[-1]


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\x00b", "a\x7f", "a\n"])
async def test_a_control_character_is_never_sent(value: str) -> None:
    async with raw(OK) as (played, at, upstream):
        for headers in ((("X-One", value),), ((value, "x"),)):
            with pytest.raises(ExchangeError):
                await fetch(upstream, HttpRequest("GET", f"http://{at}/", headers), Line())
        assert played.heads == []


async def test_a_tab_may_stand_in_a_value() -> None:
    async with raw(OK) as (played, at, upstream):
        await fetch(upstream, HttpRequest("GET", f"http://{at}/", (("X-One", "a\tb"),)), Line())
        assert "a\tb" == played.value("x-one")


async def test_interim_answers_are_passed_over() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with raw(interim + OK, OK) as (played, at, upstream):
        for _ in range(2):
            answer = await fetch(upstream, HttpRequest("POST", f"http://{at}/", body=b"x"), Line())
            assert (200, b"ok") == (answer.status, answer.body)
        assert 1 == played.opened


@pytest.mark.rows("K2-15", "KT-13")
async def test_a_proxy_is_asked_for_the_whole_url_with_its_own_credentials() -> None:
    async with raw(OK, OK) as (played, at, upstream):
        line = Line(proxy=f"http://who:pass@{at}")
        for path in ("/a", "/b"):
            await fetch(upstream, HttpRequest("GET", f"http://far.example{path}"), line)
            assert f"GET http://far.example{path} HTTP/1.1" == played.heads[-1][0]
            assert "far.example" == played.value("host")
            assert "Basic d2hvOnBhc3M=" == played.value("proxy-authorization")
            assert played.value("authorization") is None
        assert 1 == played.opened


async def test_credentials_of_a_url_are_a_header() -> None:
    async with raw(OK) as (played, at, upstream):
        await fetch(upstream, HttpRequest("GET", f"http://who:pass@{at}/a"), Line())
        assert "GET /a HTTP/1.1" == played.heads[0][0]
        assert at == played.value("host")
        assert "Basic d2hvOnBhc3M=" == played.value("authorization")


async def test_cookies_of_a_jar_join_those_of_the_route() -> None:
    set_cookies = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2; Path=/x\r\n"
    async with raw(set_cookies + b"Content-Length: 0\r\n\r\n", OK, OK) as (played, at, upstream):
        for path, cookie in (("/", None), ("/", "a=1; c=3"), ("/x", "a=1; b=2; c=3")):
            own = (("cookie", "c=3"),) if cookie else ()
            request = HttpRequest("GET", f"http://{at}{path}", own)
            await fetch(upstream, request, Line(jar="j"))
            assert cookie == played.value("cookie")


async def test_jars_share_connections_and_no_cookies() -> None:
    """A jar may be one session's, and there may be thousands of these."""
    setting = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n"
    async with raw(setting, OK, OK) as (played, at, upstream):
        for jar, cookie in (("one", None), ("two", None), ("one", "a=1")):
            await fetch(upstream, HttpRequest("GET", f"http://{at}/"), Line(jar=jar))
            assert cookie == played.value("cookie")
        assert 1 == played.opened


async def test_jars_are_so_many_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.shell.upstream.MAX_JARS", 2)
    setting = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n"
    async with raw(*[setting] * 6) as (played, at, upstream):
        for jar, cookie in (("one", None), ("two", None), ("one", "a=1"), ("three", None),
                            ("one", "a=1"), ("two", None)):  # fmt: skip
            await fetch(upstream, HttpRequest("GET", f"http://{at}/"), Line(jar=jar))
            assert cookie == played.value("cookie")


async def test_no_reuse_says_so_and_opens_anew() -> None:
    async with raw(OK, OK) as (played, at, upstream):
        for _ in range(2):
            await fetch(upstream, HttpRequest("GET", f"http://{at}/"), Line(reuse=False))
            assert "close" == played.value("connection")
        assert 2 == played.opened


async def test_an_answer_before_the_request_has_left_ends_the_connection() -> None:
    """The rest of the request would be in the way of the next one."""
    opened, over = 0, asyncio.Event()

    async def impatient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await over.wait()
        writer.close()

    upstream = AiohttpUpstream()
    server = await asyncio.start_server(impatient, "127.0.0.1", 0)
    huge = b"x" * (32 << 20)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for number in (1, 2):
            answer = await fetch(upstream, HttpRequest("POST", url, body=huge), Line())
            assert (200, b"ok", number) == (answer.status, answer.body, opened)
        over.set()
        await upstream.close()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http:///x", "/relative", "mailto:a@b"])
async def test_a_url_that_is_none_is_the_routes_fault(url: str) -> None:
    upstream = AiohttpUpstream()
    with pytest.raises(ExchangeError) as caught:
        await fetch(upstream, HttpRequest("GET", url), Line())
    assert "fatal" == caught.value.cls
    await upstream.close()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@asynccontextmanager
async def fed() -> AsyncIterator[tuple[Open, asyncio.StreamWriter]]:
    """An answer whose head and first chunk `one,` have come, and where the rest is written."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CHUNKED + chunk(b"one,"))
        writers.append(writer)

    upstream = AiohttpUpstream()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(10):
        request = HttpRequest("GET", f"http://127.0.0.1:{port}/")
        async with upstream.stream(request, Line()) as answer:
            yield answer, writers[0]
        writers[0].close()
        await upstream.close()


async def test_all_that_came_in_one_read_is_pumped_at_once_and_the_end_tells_itself() -> None:
    async with fed() as (answer, writer):
        got: list[bytes] = []

        def take(data: bytes) -> bool:
            got.append(data)
            if data == b"one,":
                writer.write(b"".join(map(chunk, (b"two,", b"three,", b"four"))) + b"0\r\n\r\n")
            return False

        assert not await answer.pump(take)
        assert [b"one,", b"two,three,four"] == got


async def test_a_pump_that_has_enough_leaves_the_rest_for_the_next() -> None:
    async with fed() as (answer, writer):
        got: list[bytes] = []

        def take(data: bytes) -> bool:
            got.append(data)
            return len(got) == 1

        assert await answer.pump(take)
        writer.write(chunk(b"two") + b"0\r\n\r\n")
        await asyncio.sleep(0.05)
        assert [b"one,"] == got
        assert not await answer.pump(take)
        assert [b"one,", b"two"] == got


@pytest.mark.parametrize("end", [b"", b"zz\r\nno chunk\r\n"], ids=["closed", "malformed"])
async def test_a_pump_fails_where_the_body_does(end: bytes) -> None:
    async with fed() as (answer, writer):

        def take(data: bytes) -> bool:
            writer.write(end)
            writer.close()
            return False

        with pytest.raises(ExchangeError) as caught:
            await answer.pump(take)
        assert "truncated" == caught.value.cls


async def test_what_a_taker_raises_ends_the_pump() -> None:
    async with fed() as (answer, writer):
        later: list[bytes] = []

        def take(data: bytes) -> bool:
            later.append(data)
            if data == b"two":
                raise LookupError(data)
            writer.write(chunk(b"two"))
            return False

        with pytest.raises(LookupError):
            await answer.pump(take)
        assert [b"one,", b"two"] == later


async def test_a_pump_that_was_cancelled_takes_nothing_more() -> None:
    async with fed() as (answer, writer):
        got: list[bytes] = []

        def take(data: bytes) -> bool:
            got.append(data)
            return False

        pumping = asyncio.create_task(answer.pump(take))
        await asyncio.sleep(0.05)
        pumping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pumping
        writer.write(chunk(b"two"))
        await asyncio.sleep(0.05)
        assert [b"one,"] == got
        assert b"two" == await anext(aiter(answer))


async def test_a_pump_keeps_order_and_loses_nothing_beyond_what_is_buffered() -> None:
    """Reading makes room, and what is then parsed at once must not overtake what was read."""
    async with fed() as (answer, writer):
        pieces = [b"%07d," % number for number in range(60_000)]
        got: list[bytes] = []

        def take(data: bytes) -> bool:
            got.append(data)
            return len(got) % 3 == 0

        async def write() -> None:
            for at in range(0, len(pieces), 500):
                writer.write(b"".join(map(chunk, pieces[at : at + 500])))
                await writer.drain()
            writer.write(b"0\r\n\r\n")

        writing = asyncio.create_task(write())
        while await answer.pump(take):
            await asyncio.sleep(0)
        await writing
        assert b"one," + b"".join(pieces) == b"".join(got)


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))


@pytest.mark.parametrize("packed", [False, True])
async def test_it_does_not_matter_how_a_body_was_cut_into_chunks(packed: bool) -> None:
    text = bytes(range(256)) * 200
    whole = gzip.compress(text) if packed else text
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    head += b"Content-Encoding: gzip\r\n\r\n" if packed else b"\r\n"
    singles = [whole[at : at + 1] for at in range(len(whole))]
    async with raw(head + chunked(*singles), head + chunked(whole), OK) as (played, at, upstream):
        request = HttpRequest("GET", f"http://{at}/")
        for expected in (text, text, b"ok"):
            assert expected == (await fetch(upstream, request, Line())).body
        assert 1 == played.opened


async def test_the_parsers_body_can_be_taken_as_ours() -> None:
    """What `Body.of` leans on: the layout of aiohttp's StreamReader."""
    made = StreamReader(BaseProtocol(asyncio.get_running_loop()), 1024)
    made.begin_http_chunk_receiving()
    made.feed_data(b"a")
    made.end_http_chunk_receiving()
    body = Body.of(made)
    assert (True, Body) == (body is made, type(body))
    for piece in (b"b", b"c"):
        body.begin_http_chunk_receiving()
        body.feed_data(piece)
        body.end_http_chunk_receiving()
    assert (b"abc", b"") == (body.read_nowait(), body.read_nowait())


async def test_it_is_told_when_a_request_leaves_and_not_while_it_waits_for_a_connection() -> None:
    """A pool of one connection: the second request waits until the first one's is free."""
    told: list[str] = []
    asked: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                asked.append(writer)
        writer.close()

    async def ask(name: str) -> None:
        request = HttpRequest("GET", f"http://127.0.0.1:{port}/")
        async with upstream.stream(request, Line(), lambda: told.append(name)) as answer:
            await answer.read(LIMIT)

    async def until(count: int) -> None:
        while len(asked) < count:
            await asyncio.sleep(0.01)

    upstream = AiohttpUpstream(connections=1)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(10):
        first = asyncio.create_task(ask("first"))
        await until(1)
        assert ["first"] == told  # the answer has not come yet
        second = asyncio.create_task(ask("second"))
        await asyncio.sleep(0.05)
        assert ["first"] == told
        asked[0].write(OK)
        await first
        await until(2)
        assert ["first", "second"] == told
        asked[1].write(OK)
        await second
        await upstream.close()
        await asyncio.sleep(0.05)  # the server closes its side
