"""Answers that go on, that others take over, or that are held: faults in the middle of them.

The upstream answers by the model's name: one behaviour for each attempt, the last one ever after.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
import pytest_asyncio
from aiohttp import web
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from .client import CLIENT_KEY
from .stage import Gateway, gateway

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
HI: Any = [{"role": "user", "content": "Hi"}]
FIRST, REST = "It was a dark ", "and stormy night."
WHOLE = FIRST + REST

# What becomes of an attempt: its text and how it ends, or a status.
MODELS: dict[str, list[tuple[str, str] | int]] = {
    "goes-on": [(FIRST, "length"), (REST, "stop")],
    "cut-later": [(FIRST, "length"), ("and ", "cut")],
    "busy-later": [(FIRST, "length"), 429],
    "silent-later": [(FIRST, "length"), ("", "stall")],
    "endless-later": [(FIRST, "length"), ("and ", "stall")],
    "cut": [(FIRST, "cut")],
    "busy": [429],
    "silent": [("", "stall")],
    "endless": [(FIRST, "stall")],
    "good": [(WHOLE, "stop")],
}


@dataclass(slots=True)
class Upstream:
    """asked: attempts by model; left: calls that were closed before their end."""

    url: str = ""
    asked: dict[str, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        model = (await request.json())["model"]
        number = self.asked[model] = self.asked.get(model, 0) + 1
        behaviour = MODELS[model][min(number, len(MODELS[model])) - 1]
        if isinstance(behaviour, int):
            return web.json_response({"error": {"message": "busy"}}, status=behaviour)
        text, end = behaviour
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if text:
            await response.write(_chunk({"content": text}))
        if end == "cut":
            assert request.transport is not None
            request.transport.close()
        elif end == "stall":
            await self._stall(model)
        else:
            await response.write(_chunk({}, end) + b"data: [DONE]\n\n")
        return response

    async def _stall(self, model: str) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.left.append(model)
            raise


def _chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    value = {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


@asynccontextmanager
async def behind() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    app = web.Application()
    app.router.add_post("/chat/completions", upstream.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield upstream
    finally:
        await runner.cleanup()


CHAT = """\
version: 1
dialect: openai_chat
base_url: "URL"
stream: { use: always }
retry: { attempts: 2, backoff: { initial: 5ms, max: 10ms } }
timeouts: { connect: 400ms, first_byte: 600ms, idle: 600ms }
"""


def route(url: str, prefix: str, more: str) -> str:
    models = ", ".join(f"{{ id: {prefix}-{name}, upstream: {name} }}" for name in MODELS)
    return f"{CHAT}{more}models: [{models}]\n".replace("URL", url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Gateway, Upstream]]:
    async with behind() as upstream:
        spare = "[{ to: spare, model: spare-good }]"
        routes = {
            "on": route(upstream.url, "on", "continuation: { max: 3 }\n"),
            "leads": route(upstream.url, "leads", f"fallback: {spare}\n"),
            "held": route(upstream.url, "held", f"hold: full\nfallback: {spare}\n"),
            "spare": route(upstream.url, "spare", ""),
        }
        home: Path = tmp_path_factory.mktemp("gateway")
        async with gateway(home, routes) as gate:
            yield gate, upstream


@dataclass(slots=True)
class Got:
    """What a client made of an answer: its text, why it ended, whether it failed."""

    text: str = ""
    finish: str | None = None
    failed: bool = False


async def by_chat(gate: Gateway, model: str) -> Got:
    url, got = f"http://127.0.0.1:{gate.port}/v1", Got()
    client = AsyncOpenAI(base_url=url, api_key=CLIENT_KEY, max_retries=0, timeout=20)
    try:
        chunks = await client.chat.completions.create(model=model, messages=HI, stream=True)
        async for chunk in chunks:
            for choice in chunk.choices:
                got.text += choice.delta.content or ""
                got.finish = choice.finish_reason or got.finish
    except openai.APIError:
        got.failed = True
    return got


_REASONS = {"end_turn": "stop", "max_tokens": "length"}


async def by_messages(gate: Gateway, model: str) -> Got:
    url, got = f"http://127.0.0.1:{gate.port}", Got()
    client = AsyncAnthropic(base_url=url, api_key=CLIENT_KEY, max_retries=0, timeout=20)
    try:
        events = await client.messages.create(model=model, messages=HI, max_tokens=999, stream=True)
        async for event in events:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                got.text += event.delta.text
            elif event.type == "message_delta":
                got.finish = _REASONS[str(event.delta.stop_reason)]
    except anthropic.APIError:
        got.failed = True
    return got


CLIENTS = pytest.mark.parametrize("ask", [by_chat, by_messages])


@CLIENTS
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("on-goes-on", Got(WHOLE, "stop")),
        ("on-cut-later", Got(FIRST + "and ", None, failed=True)),
        ("on-busy-later", Got(FIRST, "length")),
        ("on-silent-later", Got(FIRST, "length")),
        ("on-endless-later", Got(FIRST + "and ", None, failed=True)),
        ("leads-cut", Got(FIRST, None, failed=True)),
        ("leads-busy", Got(WHOLE, "stop")),
        ("leads-silent", Got(WHOLE, "stop")),
        ("leads-endless", Got(FIRST, None, failed=True)),
        ("held-cut", Got(WHOLE, "stop")),
        ("held-busy", Got(WHOLE, "stop")),
        ("held-silent", Got(WHOLE, "stop")),
        ("held-endless", Got(WHOLE, "stop")),
    ],
)
async def test_a_fault_never_looks_like_an_answer(
    running: tuple[Gateway, Upstream], ask: Any, model: str, expected: Got
) -> None:
    gate, upstream = running
    upstream.asked.clear()
    assert expected == await ask(gate, model)


@pytest.mark.parametrize("model", ["on-endless-later", "leads-endless", "held-endless"])
async def test_who_leaves_in_the_middle_takes_the_upstream_along(
    running: tuple[Gateway, Upstream], model: str
) -> None:
    gate, upstream = running
    upstream.asked.clear()
    upstream.left.clear()
    body = json.dumps({"model": model, "messages": HI, "stream": True})
    _, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{gate.port}\r\n"
    head += f"Authorization: Bearer {CLIENT_KEY}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    name = model.partition("-")[2]
    async with asyncio.timeout(5):
        while upstream.asked.get(name, 0) < len(MODELS[name]):
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    writer.close()
    async with asyncio.timeout(5):
        while not upstream.left:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert ([name], len(MODELS[name])) == (upstream.left, upstream.asked[name])
    assert "good" not in upstream.asked
