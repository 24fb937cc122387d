"""Faults of time (F11): silence, dripping, endless answers. Timers count frames, not bytes."""

from __future__ import annotations

import asyncio

from .rows import Expect, Faults, Peer, Speech, fails, whole
from .speech import TOKENS
from .stage import CONNECT, FIRST, IDLE, TOTAL, TRIES
from .upstream import healthy

TIMING = Faults(waits=True)
_add = TIMING.add
STREAMS = ("sse", "ndjson")
DRIP = 0.2
SLACK = 1.0  # seconds that a busy machine may add
SILENT: Expect = fails(504, within=TRIES * (CONNECT + FIRST) + SLACK)
STALLED: Expect = fails(504, begun=True, within=TRIES * (CONNECT + FIRST + IDLE) + SLACK)


async def _drip(peer: Peer, data: bytes) -> None:
    """One byte at a time, each in time for a timer that looks at reads."""
    for at in range(len(data)):
        await peer.raw(data[at : at + 1])
        await asyncio.sleep(DRIP)


@_add(SILENT)
async def silent(peer: Peer, say: Speech) -> None:
    await peer.hold()


@_add(whole(2))
async def silent_once(peer: Peer, say: Speech) -> None:
    if peer.attempt > 1:
        return await healthy(peer, say)
    return await peer.hold()


@_add(SILENT)
async def silent_after_the_headers(peer: Peer, say: Speech) -> None:
    await peer.head()
    await peer.hold()


@_add(SILENT)
async def dripping_headers(peer: Peer, say: Speech) -> None:
    await _drip(peer, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"z" * 200)


@_add(SILENT)
async def dripping_first_frame(peer: Peer, say: Speech) -> None:
    await peer.head(chunked=False)
    await _drip(peer, say.body)


@_add(SILENT)
async def dripping_error_body(peer: Peer, say: Speech) -> None:
    await peer.head(500, chunked=False)
    await _drip(peer, say.error("server_error", "slow and broken " * 20))


@_add(STALLED)
async def stall_midway(peer: Peer, say: Speech) -> None:
    await peer.head()
    await peer.send(say.opening)
    await peer.hold()


@_add(STALLED, forms=STREAMS)
async def dripping_frame_midway(peer: Peer, say: Speech) -> None:
    await peer.head(chunked=False)
    await peer.raw(say.opening)
    await _drip(peer, say.rest)


@_add(STALLED, forms=("sse",))
async def dripping_comment_midway(peer: Peer, say: Speech) -> None:
    await peer.head(chunked=False)
    await peer.raw(say.opening)
    await _drip(peer, b": " + b"z" * 300)


@_add(whole(within=TOTAL), forms=STREAMS)
async def slow_but_alive(peer: Peer, say: Speech) -> None:
    await peer.head()
    for at in range(0, len(say.tokens), 6):
        await peer.send(*say.tokens[at : at + 6])
        await asyncio.sleep(IDLE / 2)
    await peer.send(say.ending)
    await peer.end()


# An upstream's own comments and pings are signs of life.
@_add(whole(within=TOTAL), forms=("sse",))
async def comments_before_content(peer: Peer, say: Speech) -> None:
    await peer.head()
    for _ in range(6):
        await peer.send(b": still thinking\n\n")
        await asyncio.sleep(IDLE / 2)
    await peer.send(say.body)
    await peer.end()


def _again_and_again(marker: str) -> str:
    return f"{marker} {''.join(TOKENS[:11])}{TOKENS[11] * 1000}"


@_add(fails(504, (1, TRIES), begun=True, text=_again_and_again, within=TOTAL + SLACK))
async def endless(peer: Peer, say: Speech) -> None:
    await peer.head()
    await peer.send(say.opening)
    while True:
        await peer.send(say.tokens[12])
        await asyncio.sleep(0.05)


@_add(fails(504, (1, TRIES), within=TOTAL + SLACK), forms=("sse",))
async def endless_comments(peer: Peer, say: Speech) -> None:
    await peer.head()
    while True:
        await peer.send(b": still thinking\n\n")
        await asyncio.sleep(0.05)
