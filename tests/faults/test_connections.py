"""Connections to the upstream: reuse, poison, none at all; and what is sent while it is silent.

These need routes or an order of calls of their own; all else about answers stands in the rows.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import product
from pathlib import Path

import pytest
import pytest_asyncio

from .answers import reset_on_a_reused_connection
from .client import CLIENT_KEY, CLIENTS, Reply, Seen, call
from .rows import Peer, Speech, ask, new_marker
from .speech import TOKENS, text_of
from .stage import CONNECT, KINDS, TRIES, Stage, gateway, route, stage
from .upstream import Script, healthy, upstream

DIALECTS = tuple(CLIENTS)


async def poison(peer: Peer, say: Speech) -> None:
    """A second answer, a moment after the first: too late to be read with it."""
    await healthy(peer, say)
    await asyncio.sleep(0.002)
    await peer.answer(say.word("somebody else's answer") + say.ending)


async def late(peer: Peer, say: Speech) -> None:
    """Silent for longer than a client waits for its headers."""
    await asyncio.sleep(2.5)
    await healthy(peer, say)


async def late_and_broken(peer: Peer, say: Speech) -> None:
    await asyncio.sleep(0.9)
    await peer.close()


async def silent(peer: Peer, say: Speech) -> None:
    await peer.hold()


async def in_turn(peer: Peer, say: Speech) -> None:
    """Two answers, the second one begun well after the first is over."""

    def frame(index: int, delta: Mapping[str, str], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "finish_reason": finish}
        return b"data: %b\n\n" % json.dumps({"id": "x", "choices": [choice]}).encode()

    await peer.head()
    await peer.send(frame(0, {"content": "one"}), frame(0, {}, "stop"))
    await asyncio.sleep(1.5)
    await peer.send(frame(1, {"content": "two"}), frame(1, {}, "stop"), b"data: [DONE]\n\n")
    await peer.end()


SCRIPTS: Mapping[str, Script] = {
    "poison": poison,
    "late": late,
    "late-and-broken": late_and_broken,
    "silent": silent,
    "in-turn": in_turn,
    "reset-on-reuse": reset_on_a_reused_connection,
}


def read(client: str, reply: Reply, stream: bool) -> Seen:
    dialect = CLIENTS[client]
    return (dialect.read_stream if stream else dialect.read_whole)(reply.body)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with stage(tmp_path_factory.mktemp("gateway"), SCRIPTS) as made:
        yield made


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_a_reset_on_a_reused_connection_is_mended_by_a_fresh_one(
    here: Stage, client: str, kind: str, stream: bool
) -> None:
    await ask(here, client, f"{kind}.healthy", new_marker(), stream)
    marker = new_marker()
    reply = await ask(here, client, f"{kind}.reset-on-reuse", marker, stream)
    assert text_of(marker) == read(client, reply, stream).text
    reused, fresh = (call.turn for call in here.upstream.calls[marker])
    assert reused > 1
    assert 1 == fresh


@pytest.mark.parametrize("reuse", [True, False], ids=["pooled", "fresh"])
async def test_nobody_gets_an_answer_that_was_not_asked_for(tmp_path: Path, reuse: bool) -> None:
    edits = {} if reuse else {"limits:": "upstream: { reuse: false }\nlimits:"}
    async with stage(tmp_path, SCRIPTS, ["passed"], edits=edits) as here:
        for at in range(20):
            marker, stream = new_marker(), at % 4 < 2
            reply = await ask(here, "openai_chat", "passed.poison", marker, stream)
            assert text_of(marker) == read("openai_chat", reply, stream).text
            # A connection for reuse is fit for it only once the poison has arrived.
            await asyncio.sleep(0.02 if reuse else 0)


async def test_answers_that_come_one_after_the_other_all_come(tmp_path: Path) -> None:
    edits = {"idle: 1500ms": "idle: 3s"}
    async with stage(tmp_path, SCRIPTS, ["passed"], edits=edits) as here:
        body = {**CLIENTS["openai_chat"].body("passed.in-turn", "say", True), "n": 2}
        headers = {"Authorization": f"Bearer {CLIENT_KEY}", "Content-Type": "application/json"}
        path, sent = CLIENTS["openai_chat"].path, json.dumps(body).encode()
        reply = await call(here.gateway.port, "POST", path, headers, sent)
    assert (1, 1, 1) == tuple(map(reply.body.count, (b'"one"', b'"two"', b"[DONE]")))


@contextmanager
def refusing() -> Iterator[int]:
    """A port where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextmanager
def deaf() -> Iterator[int]:
    """A port whose queue is full: nobody refuses, nobody accepts."""
    with ExitStack() as stack:
        held = stack.enter_context(socket.socket())
        held.bind(("127.0.0.1", 0))
        held.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(held.getsockname())
        yield held.getsockname()[1]


@pytest.mark.parametrize("where", [refusing, deaf])
async def test_no_connection_is_an_error_in_time(
    tmp_path: Path, where: Callable[[], AbstractContextManager[int]]
) -> None:
    asked = list(product(KINDS, DIALECTS, (True, False)))
    with where() as port:
        routes = {kind: route(kind, port, []) for kind in KINDS}
        async with upstream({}) as behind, gateway(tmp_path, routes) as before:
            here = Stage(before, behind)
            replies = await asyncio.gather(
                *(
                    ask(here, client, f"{kind}.healthy", new_marker(), stream)
                    for kind, client, stream in asked
                )
            )
        for (_, client, _), reply in zip(asked, replies, strict=True):
            assert reply.status in (502, 504)
            error = CLIENTS[client].read_error(reply.body).error
            assert [] == CLIENTS[client].problems(error)
            assert str(port) not in str(error)
            assert reply.seconds < TRIES * CONNECT + 1


# ---- early headers ----


EARLY = {"early_headers: never": "early_headers: 1s", "first_byte: 1500ms": "first_byte: 4s"}
EARLY_AND_SHORT = {
    "early_headers: never": "early_headers: 300ms",
    "connect: 1500ms": "connect: 600ms",
    "first_byte: 1500ms": "first_byte: 900ms",
    "attempts: 3": "attempts: 2",
}


async def test_a_client_that_waits_long_gets_its_headers_first(tmp_path: Path) -> None:
    async with stage(tmp_path, SCRIPTS, edits=EARLY) as here:
        markers = {kind: new_marker() for kind in KINDS}
        replies = await asyncio.gather(
            *(ask(here, "openai_chat", f"{kind}.late", markers[kind], True) for kind in KINDS)
        )
    for kind, reply in zip(KINDS, replies, strict=True):
        seen = read("openai_chat", reply, True)
        assert (text_of(markers[kind]), ["stop"], []) == (seen.text, seen.finishes, seen.wrong)
        assert reply.first < 2.4, "no sign of life before the answer"
        assert reply.body.startswith(b":"), "no comment first"


async def test_a_failure_after_the_headers_is_told_in_band(tmp_path: Path) -> None:
    async with stage(tmp_path, SCRIPTS, edits=EARLY_AND_SHORT) as here:
        replies = await asyncio.gather(
            *(
                ask(here, "openai_chat", f"{kind}.{name}", new_marker(), True)
                for kind in KINDS
                for name in ("silent", "late-and-broken")
            )
        )
    for reply in replies:
        seen = read("openai_chat", reply, True)
        assert (200, True, True, "") == (reply.status, reply.whole, seen.terminated, seen.text)
        assert ([], []) == (seen.finishes, CLIENTS["openai_chat"].problems(seen.error))


def test_the_answer_tells_loss_and_confusion() -> None:
    """The canonical answer is what the rows rely on."""
    assert len(TOKENS) == 40
    assert text_of("mark-1") != text_of("mark-2")
    assert text_of("x").encode().decode() == text_of("x")
