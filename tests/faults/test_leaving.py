"""Clients that go away or read slowly (F28, F29, R10, R11)."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from .client import CLIENT_KEY, CLIENTS, Wire, wire
from .rows import Peer, Speech, ask, new_marker
from .speech import text_of
from .stage import IDLE, KINDS, Stage, stage
from .upstream import Call

pytestmark = pytest.mark.asyncio(loop_scope="module")
SOON = 1.0  # seconds in which an upstream must be rid of a call whose client has gone
FLOOD = 128 * 1024**2
MOST = int(Path("/proc/sys/net/ipv4/tcp_wmem").read_text().split()[2])  # bytes that a socket takes
HALT = MOST // 2**16 + 16  # frames of 64 KiB
STREAMING = tuple(name for name, kind in KINDS.items() if kind.stream != "whole")


async def silence(peer: Peer, say: Speech) -> None:
    await peer.hold()


async def drip(peer: Peer, say: Speech) -> None:
    """Content for ever; a document that never ends."""
    await peer.head()
    while True:
        for token in say.tokens:
            await peer.send(token)
            await asyncio.sleep(0.01)


async def flood(peer: Peer, say: Speech) -> None:
    """As much as the other side takes, in frames of 64 KiB, then a good end."""
    await peer.head()
    piece = say.word("x" * 64 * 1024)
    await peer.send(say.opening)
    while peer.call.sent < FLOOD:
        await peer.send(piece)
    await peer.send(say.rest)
    await peer.end()


async def long(peer: Peer, say: Speech) -> None:
    """More than the buffers between it and a client that does not read."""
    await peer.head()
    await peer.send(say.opening, *([say.word("x" * 64 * 1024)] * 400), say.rest)
    await peer.end()


async def halts(peer: Peer, say: Speech) -> None:
    """More than the system takes for a client that does not read, then silence."""
    await peer.head()
    await peer.send(say.opening, *([say.word("x" * 2**16)] * HALT))
    await peer.hold()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    scripts = {script.__name__: script for script in (silence, drip, flood, long, halts)}
    async with stage(tmp_path_factory.mktemp("gateway"), scripts) as made:
        yield made


async def begin(line: Wire, client: str, model: str, marker: str, stream: bool) -> None:
    dialect = CLIENTS[client]
    body = json.dumps(dialect.body(model, f"say {marker}", stream)).encode()
    headers = {"Content-Type": "application/json", **dialect.key(CLIENT_KEY)}
    await line.ask("POST", dialect.path, headers, body)


async def seen(here: Stage, marker: str) -> Call:
    """The upstream's call, once it has begun."""
    async with asyncio.timeout(5):
        while not here.upstream.calls[marker]:
            await asyncio.sleep(0.005)
    return here.upstream.calls[marker][0]


async def gone(here: Stage, marker: str, limit: float = SOON) -> bool:
    """Whether all calls of a marker are closed in time."""
    until = time.monotonic() + limit
    while here.upstream.open_calls(marker):
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.01)
    return True


WAYS = {
    "before the first byte": ("silence", True),
    "mid-stream": ("drip", True),
    "plain": ("silence", False),
    "plain while it comes": ("drip", False),
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("abruptly", [False, True], ids=["fin", "rst"])
async def test_a_client_that_goes_takes_its_upstream_along(
    here: Stage, client: str, kind: str, way: str, abruptly: bool
) -> None:
    (model, stream), marker = WAYS[way], new_marker()
    async with wire(here.gateway.port) as line:
        await begin(line, client, f"{kind}.{model}", marker, stream)
        await seen(here, marker)
        if way == "mid-stream" and kind in STREAMING:
            await line.reader.readuntil(b"mark-")
        if abruptly:
            raw: socket.socket = line.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        line.writer.close()
        assert await gone(here, marker)
    assert 1 == len(here.upstream.calls[marker])


async def test_a_hundred_clients_that_go_at_any_moment_leave_no_orphan(here: Stage) -> None:
    draw = random.Random(11)
    slowest: list[float] = []

    async def one() -> None:
        kind, client = draw.choice(list(KINDS)), draw.choice(list(CLIENTS))
        model, stream = draw.choice(("silence", "drip")), draw.random() < 0.7
        marker, patience = new_marker(), draw.uniform(0, 0.4)
        async with wire(here.gateway.port) as line:
            await begin(line, client, f"{kind}.{model}", marker, stream)
            await asyncio.sleep(patience)
        left = time.monotonic()
        assert await gone(here, marker, 3 * SOON), f"{marker} {kind} {model} is still open"
        calls = here.upstream.calls[marker]
        slowest.extend(found.gone - left for found in calls if found.gone is not None)

    for _ in range(4):
        async with asyncio.TaskGroup() as group:
            for _ in range(25):
                group.create_task(one())
    assert len(slowest) > 50  # some left before anything was sent
    assert sorted(slowest)[int(len(slowest) * 0.98)] < SOON
    await asyncio.sleep(0.1)
    assert 0 == sum(map(here.upstream.open_calls, list(here.upstream.calls)))


def _receive_buffer(line: Wire, size: int) -> None:
    line.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


async def stall(here: Stage, line: Wire, kind: str, model: str, marker: str) -> Call:
    """A stream whose client reads nothing; it has had a moment to fill all buffers."""
    _receive_buffer(line, 64 * 1024)
    line.reader._transport.pause_reading()  # type: ignore[attr-defined] # no public way
    await begin(line, "openai_chat", f"{kind}.{model}", marker, True)
    return await seen(here, marker)


@pytest.mark.parametrize("kind", STREAMING)
async def test_a_reader_that_stalls_pauses_its_upstream(here: Stage, kind: str) -> None:
    marker = new_marker()
    async with wire(here.gateway.port) as line:
        made = await stall(here, line, kind, "flood", marker)
        await asyncio.sleep(0.5 * IDLE)
        taken = made.sent
        assert taken < 24 * 1024**2
    assert await gone(here, marker)
    assert made.sent < FLOOD


@pytest.mark.parametrize("kind", ["passed", "rules"])
async def test_a_reader_that_pauses_gets_the_whole_answer(here: Stage, kind: str) -> None:
    marker = new_marker()
    async with wire(here.gateway.port) as line:
        made = await stall(here, line, kind, "long", marker)
        await asyncio.sleep(1.5 * IDLE)
        assert not made.over, "it was not held up"
        _receive_buffer(line, 4 * 1024**2)
        line.reader._transport.resume_reading()  # type: ignore[attr-defined] # no public way
        reply = await line.reply()
    found = CLIENTS["openai_chat"].read_stream(reply.body)
    assert ([], None, ["stop"]) == (found.wrong, found.error, found.finishes)
    assert text_of(marker) == found.text.replace("x" * 64 * 1024, "")


@pytest.mark.parametrize("kind", ["passed", "rules"])
async def test_an_upstream_that_falls_silent_meanwhile_is_given_up_afterwards(
    here: Stage, kind: str
) -> None:
    """Nobody can tell whose silence it is while the client does not read."""
    marker = new_marker()
    async with wire(here.gateway.port) as line:
        made = await stall(here, line, kind, "halts", marker)
        while made.sent < HALT * 2**16:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.5 * IDLE)
        assert made.gone is None, "it was given up for its client's slowness"
        line.reader._transport.resume_reading()  # type: ignore[attr-defined] # no public way
        reply = await line.reply()
    found = CLIENTS["openai_chat"].read_stream(reply.body)
    assert ([], []) == (found.wrong, found.finishes)
    assert found.error is not None
    assert "the upstream did not answer in time" == found.error["message"]  # not: in all
    assert HALT * 2**16 == found.text.count("x")
    assert await gone(here, marker)


async def test_twenty_stalled_readers_cost_little_and_slow_nobody(here: Stage) -> None:
    before = here.gateway.memory()
    markers = [new_marker() for _ in range(20)]
    wires = [wire(here.gateway.port) for _ in markers]
    lines = [await made.__aenter__() for made in wires]
    try:
        calls = [
            await stall(here, line, STREAMING[at % len(STREAMING)], "flood", markers[at])
            for at, line in enumerate(lines)
        ]
        slowest = 0.0
        for at in range(10):
            marker = new_marker()
            kind = STREAMING[at % len(STREAMING)]
            reply = await ask(here, "openai_chat", f"{kind}.healthy", marker, True)
            assert text_of(marker) == CLIENTS["openai_chat"].read_stream(reply.body).text
            slowest = max(slowest, reply.seconds)
        grown = here.gateway.memory() - before
        assert slowest < 1.0
        assert grown < 128 * 1024**2
        assert max(made.sent for made in calls) < 24 * 1024**2
    finally:
        for made in wires:
            await made.__aexit__(None, None, None)
    assert [True] * 20 == [await gone(here, marker) for marker in markers]


async def test_clients_that_go_are_no_error_of_the_server(here: Stage) -> None:
    """All those of the tests above: a hundred at any moment, and some in the middle of a write."""
    lines = [json.loads(text) for text in here.gateway.log().splitlines()]
    assert [] == [line for line in lines if line["level"] == "error"]
    assert [] == [line for line in lines if line["event"] in ("library", "crash")]
