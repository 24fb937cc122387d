"""A gateway in front of a stub of every upstream dialect, and a witness that reads its answers.

A client's model is `UPSTREAM.NAME`: every route translates, clients of its own dialect too;
`UPSTREAM_passed.NAME` passes these through on bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.faults.client import CLIENT_KEY
from tests.faults.stage import gateway

from . import anthropic_stub, gemini_stub, ollama_stub, openai_stub, responses_stub
from .witness import Witness, witness

KEY = CLIENT_KEY
UPSTREAMS = ("chat", "messages", "responses", "gemini", "ollama")
ERRORS = (400, 401, 404, 429, 500)
MODELS = (
    "talk", "bytes", "thinks", "breaks", "cut", "forever", *(f"error-{code}" for code in ERRORS)
)  # fmt: skip
_LINES = {
    "chat": ("openai", "{url}", f'bearer: "{openai_stub.UPSTREAM_KEY}"'),
    "messages": (
        "anthropic", "{url}/v1", f'header: {{ x-api-key: "{anthropic_stub.UPSTREAM_KEY}" }}',
    ),
    "responses": ("openai-responses", "{url}", f'bearer: "{responses_stub.UPSTREAM_KEY}"'),
    "gemini": (
        "gemini", "{url}/v1beta", f'header: {{ x-goog-api-key: "{gemini_stub.UPSTREAM_KEY}" }}',
    ),
    "ollama": ("ollama", "{url}", ""),
}  # fmt: skip
_ROUTE = """\
version: 1
extends: {preset}
base_url: "{url}"
{auth}
retry: {{ attempts: 1 }}
timeouts: {{ total: 15s }}
discover: null
{lines}
models: [{models}]
"""


def route(name: str, url: str) -> str:
    preset, place, key = _LINES[name.partition("_")[0]]
    models = ", ".join(f'{{ id: "{name}.{model}", upstream: "{model}" }}' for model in MODELS)
    return _ROUTE.format(
        preset=preset,
        url=place.format(url=url),
        auth=f"auth: {{ {key} }}" if key else "",
        lines="" if name.endswith("_passed") else "transforms: [think_tags]",
        models=models,
    )


@dataclass(slots=True)
class World:
    """url: of the witness, in front of the gateway; what it complained of fails a module's end."""

    url: str
    openai: AsyncOpenAI
    anthropic: AsyncAnthropic
    stubs: dict[str, Any]
    witness: Witness

    def stub(self, upstream: str) -> Any:
        """The stub behind a route or behind a model of it."""
        return self.stubs[upstream.partition(".")[0].partition("_")[0]]

    async def closed(self, upstream: str, within: float = 1.0) -> bool:
        """Whether no stream of a stub is open, at once or before `within` seconds are over."""
        for _ in range(round(within / 0.02)):
            if self.stub(upstream).open_streams == 0:
                return True
            await asyncio.sleep(0.02)
        return False


@asynccontextmanager
async def everywhere(home: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        stubs: dict[str, Any] = {
            "chat": await stack.enter_async_context(openai_stub.openai_stub()),
            "messages": await stack.enter_async_context(anthropic_stub.anthropic_stub()),
            "responses": await stack.enter_async_context(responses_stub.responses_stub()),
            "gemini": await stack.enter_async_context(gemini_stub.gemini_stub()),
            "ollama": await stack.enter_async_context(ollama_stub.ollama_stub()),
        }
        names = [f"{kind}{end}" for kind in UPSTREAMS for end in ("", "_passed")]
        routes = {name: route(name, stubs[name.partition("_")[0]].url) for name in names}
        running = await stack.enter_async_context(gateway(home, routes))
        seen = await stack.enter_async_context(witness(f"http://127.0.0.1:{running.port}"))
        seen.open = lambda: sum(stub.open_streams for stub in stubs.values())
        one = AsyncOpenAI(base_url=f"{seen.url}/v1", api_key=KEY, max_retries=0, timeout=20)
        two = AsyncAnthropic(base_url=seen.url, api_key=KEY, max_retries=0, timeout=20)
        async with one, two:
            yield World(seen.url, one, two, stubs, seen)
