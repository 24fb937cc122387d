"""Heads of answers that hold what no header of ours may, waits that never end, and refusals whose
words cannot be read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .client import CLIENTS
from .rows import Peer, Speech, ask, new_marker
from .speech import text_of
from .stage import KINDS, Stage, stage

pytestmark = pytest.mark.asyncio(loop_scope="module")
# RFC 9110 §5.5: a tab, and bytes that are no UTF-8, may stand in a value.
ODD = b"x-request-id: caf\xe9\tau\r\nopenai-version: 1\xff\r\n"


def head(say: Speech, more: bytes) -> bytes:
    lines = f"HTTP/1.1 200 OK\r\nContent-Type: {say.content_type}\r\n".encode() + ODD + more
    return lines + b"\r\n"


async def odd(peer: Peer, say: Speech) -> None:
    await peer.raw(head(say, b"Content-Length: %d\r\n" % len(say.body)) + say.body)


async def odd_and_late(peer: Peer, say: Speech) -> None:
    """Its head is there when the client has waited long enough to get one, too."""
    await peer.raw(head(say, b"Transfer-Encoding: chunked\r\n"))
    await asyncio.sleep(2.5)
    await peer.send(say.body)
    await peer.end()


async def endless_wait(peer: Peer, say: Speech) -> None:
    await peer.answer(say.error("rate_limit_error", "slow"), 429, {"Retry-After": "9" * 400 + "d"})


async def refused_and_cut(peer: Peer, say: Speech) -> None:
    await peer.head(429, {"Retry-After": "60"}, length=500)
    await peer.raw(b'{"error":{"mess')
    await peer.close()


async def refused_at_length(peer: Peer, say: Speech) -> None:
    await peer.answer(say.error("rate_limit_error", "x" * 2 * 1024**2), 429, {"Retry-After": "60"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    scripts = {
        "odd": odd,
        "odd-and-late": odd_and_late,
        "endless-wait": endless_wait,
        "refused-and-cut": refused_and_cut,
        "refused-at-length": refused_at_length,
    }
    edits = {"early_headers: never": "early_headers: 1s", "first_byte: 1500ms": "first_byte: 4s"}
    async with stage(tmp_path_factory.mktemp("gateway"), scripts, edits=edits) as made:
        yield made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_what_a_head_may_not_hold_does_not_cost_the_answer(
    here: Stage, kind: str, stream: bool
) -> None:
    marker, dialect = new_marker(), CLIENTS["openai_chat"]
    reply = await ask(here, "openai_chat", f"{kind}.odd", marker, stream)
    seen = (dialect.read_stream if stream else dialect.read_whole)(reply.body)
    assert (200, text_of(marker)) == (reply.status, seen.text)
    assert ("caf??au", "1?") == (
        reply.headers["x-upstream-request-id"],
        reply.headers["openai-version"],
    )


async def test_nor_the_gateway_that_sends_its_headers_early(here: Stage) -> None:
    kinds = [name for name, kind in KINDS.items() if kind.stream != "whole"]
    markers = {kind: new_marker() for kind in kinds}
    replies = await asyncio.gather(
        *(ask(here, "openai_chat", f"{kind}.odd-and-late", markers[kind], True) for kind in kinds)
    )
    for kind, reply in zip(kinds, replies, strict=True):
        seen = CLIENTS["openai_chat"].read_stream(reply.body)
        assert (200, text_of(markers[kind])) == (reply.status, seen.text)
    assert here.gateway.process.returncode is None


async def test_a_wait_without_end_is_none(here: Stage) -> None:
    reply = await ask(here, "openai_chat", "passed.endless-wait", new_marker(), False)
    assert (429, None) == (reply.status, reply.headers.get("retry-after"))
    assert '"event":"crash"' not in here.gateway.log()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", ["refused-and-cut", "refused-at-length"])
async def test_a_refusal_whose_words_cannot_be_read_is_still_one(
    here: Stage, kind: str, model: str
) -> None:
    marker = new_marker()
    reply = await ask(here, "openai_chat", f"{kind}.{model}", marker, False)
    assert (429, "60") == (reply.status, reply.headers.get("retry-after"))
