"""The official SDKs for Python over every upstream: many streams at once, and streams that are
left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from .everywhere import UPSTREAMS, World
from .openai_stub import TEXT

pytestmark = pytest.mark.asyncio(loop_scope="module")
CLIENTS = ("chat", "messages", "responses")
PAIRS = [(client, upstream) for client in CLIENTS for upstream in (*UPSTREAMS, f"{client}_passed")]
HELLO: Any = [{"role": "user", "content": "hello"}]


async def _chat(world: World, model: str) -> AsyncIterator[str]:
    made = await world.openai.chat.completions.create(model=model, messages=HELLO, stream=True)
    async with made:
        async for chunk in made:
            yield chunk.choices[0].delta.content or ""


async def _responses(world: World, model: str) -> AsyncIterator[str]:
    made = await world.openai.responses.create(model=model, input="hello", stream=True)
    async with made:
        async for event in made:
            if event.type == "response.output_text.delta":
                yield event.delta


async def _messages(world: World, model: str) -> AsyncIterator[str]:
    async with world.anthropic.messages.stream(model=model, max_tokens=100, messages=HELLO) as made:
        async for text in made.text_stream:
            yield text


STREAMS: dict[str, Callable[[World, str], AsyncIterator[str]]] = {
    "chat": _chat, "messages": _messages, "responses": _responses,
}  # fmt: skip


@pytest.mark.parametrize(
    ("client", "upstream"),
    [("chat", "messages"), ("messages", "chat"), ("responses", "gemini"), ("chat", "ollama"),
     ("messages", "responses")],
)  # fmt: skip
async def test_fifty_streams_at_once(world: World, client: str, upstream: str) -> None:
    async def one(at: int) -> str:
        name = "bytes" if at % 10 == 0 else "talk"
        return "".join([piece async for piece in STREAMS[client](world, f"{upstream}.{name}")])

    assert [TEXT] * 50 == await asyncio.gather(*map(one, range(50)))


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
async def test_leaving_a_stream_closes_it_upstream(
    world: World, client: str, upstream: str
) -> None:
    made = STREAMS[client](world, f"{upstream}.forever")
    async for _ in made:
        assert world.stub(upstream).open_streams == 1
        break
    await made.aclose()  # type: ignore[attr-defined]
    assert await world.closed(upstream)
