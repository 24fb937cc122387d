"""SIGTERM under streams (F38, R8): what can finish does, the rest is told."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from .client import CLIENT_KEY, CLIENTS, Reply, Wire, wire
from .rows import Peer, Speech, ask, new_marker
from .speech import text_of
from .stage import IDLE, KINDS, Stage, gateway, stage
from .test_leaving import drip, silence

EACH = 4  # streams of each kind and sort
DIALECT = CLIENTS["openai_chat"]
SCRIPTS = {"drip": drip, "silence": silence}


async def slow(peer: Peer, say: Speech) -> None:
    """Some 1.5 s: long enough to be under way, short enough for the grace time."""
    await peer.head()
    parts = [*say.tokens, say.ending]
    for at in range(0, len(parts), 6):
        await peer.send(*parts[at : at + 6])
        await asyncio.sleep(min(0.2, IDLE / 2))
    await peer.end()


def streams(here: Stage, model: str, kinds: list[str]) -> list[tuple[str, asyncio.Task[Reply]]]:
    """Streams under way, by marker."""
    markers = [(new_marker(), kind) for kind in kinds for _ in range(EACH)]
    return [
        (
            marker,
            asyncio.ensure_future(ask(here, "openai_chat", f"{kind}.{model}", marker, True)),
        )
        for marker, kind in markers
    ]


async def hears_of_the_stop(here: Stage, watcher: Wire, latecomer: Wire) -> None:
    """Readiness turns at once; new requests are refused in the dialect, new connections at all."""
    told = time.monotonic()
    await watcher.ask("GET", "/readyz")
    assert 503 == (await watcher.reply()).status
    assert time.monotonic() - told < 0.5
    headers = {"Authorization": f"Bearer {CLIENT_KEY}"}
    body = json.dumps(DIALECT.body("passed.healthy", new_marker(), False)).encode()
    await latecomer.ask("POST", DIALECT.path, headers, body)
    refused = await latecomer.reply()
    assert 503 == refused.status
    assert [] == DIALECT.problems(DIALECT.read_error(refused.body).error)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", here.gateway.port)


async def test_a_server_that_is_told_to_stop_ends_what_it_has_begun(tmp_path: Path) -> None:
    kinds = [name for name, kind in KINDS.items() if kind.stream != "whole"]
    # Shorter than `total`, longer than `slow`: endless streams are alive when the grace time ends.
    async with stage(tmp_path, {**SCRIPTS, "slow": slow}, drain="2500ms") as here:
        port = here.gateway.port
        async with wire(port) as watcher, wire(port) as latecomer:
            for line in (watcher, latecomer):
                await line.ask("GET", "/readyz")
                assert 200 == (await line.reply()).status
            finishing, endless = streams(here, "slow", kinds), streams(here, "drip", kinds)
            waiting = asyncio.ensure_future(
                ask(here, "openai_chat", "plain.drip", new_marker(), False)
            )
            await asyncio.sleep(0.4)
            here.gateway.process.send_signal(signal.SIGTERM)
            told = time.monotonic()
            await asyncio.sleep(0.02)
            await hears_of_the_stop(here, watcher, latecomer)
        for marker, task in finishing:
            seen = DIALECT.read_stream((await task).body)
            assert (text_of(marker), ["stop"], []) == (seen.text, seen.finishes, seen.wrong)
        for _, task in endless:
            reply = await task
            seen = DIALECT.read_stream(reply.body)
            assert (True, True, [], []) == (reply.whole, seen.terminated, seen.finishes, seen.wrong)
            assert [] == DIALECT.problems(seen.error)
        assert (await waiting).status in (503, 504)
        assert 0 == await asyncio.wait_for(here.gateway.process.wait(), 5)
        assert time.monotonic() - told < 2.5 + 2.5
        assert 0 == sum(map(here.upstream.open_calls, list(here.upstream.calls)))
    lines = [json.loads(line) for line in here.gateway.log().splitlines() if '"request"' in line]
    outcomes = Counter(line["outcome"] for line in lines if line["event"] == "request")
    # Nobody has gone: those whose time was over were told so.
    assert {"ok": len(finishing), "unavailable": len(endless) + 1} == outcomes


async def test_a_request_whose_body_is_late_is_refused_whole(tmp_path: Path) -> None:
    """It would be begun only to be cut off."""
    body = json.dumps(DIALECT.body("passed.drip", new_marker(), True)).encode()
    lines = {"Authorization": f"Bearer {CLIENT_KEY}", "Content-Length": str(len(body))}
    async with stage(tmp_path, SCRIPTS, ["passed"], drain="2s") as here:
        busy = asyncio.ensure_future(ask(here, "openai_chat", "passed.drip", new_marker(), True))
        async with wire(here.gateway.port) as line:
            await line.ask("POST", DIALECT.path, lines, body[:9])
            await asyncio.sleep(0.2)
            here.gateway.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.2)
            line.writer.write(body[9:])
            refused = await asyncio.wait_for(line.reply(), 5)
        assert (503, True) == (refused.status, refused.whole)
        assert (await busy).whole


async def test_a_server_without_work_stops_at_once(tmp_path: Path) -> None:
    async with stage(tmp_path, {}, ["passed"], drain="60s") as here:
        await ask(here, "openai_chat", "passed.healthy", new_marker(), True)
        begun = time.monotonic()
        assert 0 == await here.gateway.stop()
        assert time.monotonic() - begun < 3


async def test_sigint_stops_as_sigterm_does(tmp_path: Path) -> None:
    async with gateway(tmp_path, {}, drain="60s") as running:
        running.process.send_signal(signal.SIGINT)
        assert 0 == await asyncio.wait_for(running.process.wait(), 5)
