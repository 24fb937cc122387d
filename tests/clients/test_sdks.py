"""The official SDK of every client dialect puts together the same message, whatever the upstream
speaks, over real sockets. The witness between them holds each answer against its dialect."""

from __future__ import annotations

import pytest

from .everywhere import UPSTREAMS, World
from .openai_stub import CITIES, TEXT
from .sdks import ASK

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # Google's SDK inherits from aiohttp's session, which aiohttp would rather it did not.
    pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning"),
]
PAIRS = [(client, upstream) for client in ASK for upstream in (*UPSTREAMS, f"{client}_passed")]
ON_PAIRS = pytest.mark.parametrize(("client", "upstream"), PAIRS)
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


@ON_PAIRS
@STREAMS
async def test_text_and_counts(world: World, client: str, upstream: str, stream: bool) -> None:
    """The upstream sends it byte by byte."""
    found = await ASK[client](world, f"{upstream}.bytes", stream, False)
    assert (TEXT, [], False) == (found.text, found.calls, found.called)
    read, made = found.usage
    assert read > 0
    assert made > 0


@pytest.mark.parametrize(("client", "upstream"), [(c, u) for c in ASK for u in UPSTREAMS])
async def test_thinking_is_no_text(world: World, client: str, upstream: str) -> None:
    found = await ASK[client](world, f"{upstream}.thinks", True, False)
    assert (TEXT, False) == (found.text, found.called)


@ON_PAIRS
@STREAMS
async def test_parallel_calls(world: World, client: str, upstream: str, stream: bool) -> None:
    found = await ASK[client](world, f"{upstream}.talk", stream, True)
    assert [("weather", {"city": city}) for city in CITIES] == found.calls
    assert found.called
