"""The three ways to the stub: directly (the control run), passed through, translated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from openai import AsyncOpenAI

from tests.faults.client import CLIENT_KEY
from tests.faults.stage import gateway

from .openai_stub import MODELS, UPSTREAM_KEY, Stub, openai_stub

WAYS = ("direct", "passed", "translated")

_ROUTE = """\
version: 1
extends: openai
base_url: "{url}"
auth: {{ bearer: "{key}" }}
retry: {{ attempts: 2, backoff: {{ initial: 10ms, max: 20ms }} }}
timeouts: {{ total: 15s }}
{lines}
models: [{models}]
"""


def route(way: str, url: str) -> str:
    models = ", ".join(f'{{ id: "{way}.{name}", upstream: "{name}" }}' for name in MODELS)
    lines = "transforms: [think_tags]" if way == "translated" else ""
    return _ROUTE.format(url=url, key=UPSTREAM_KEY, lines=lines, models=models)


@dataclass(slots=True)
class Way:
    """One way, and what stands behind it. model: the name that a client uses on it."""

    name: str
    url: str
    key: str
    stub: Stub

    def model(self, name: str) -> str:
        return name if self.name == "direct" else f"{self.name}.{name}"

    def client(self) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=self.url, api_key=self.key, max_retries=0, timeout=20)


@asynccontextmanager
async def ways(home: Path) -> AsyncIterator[dict[str, Way]]:
    async with openai_stub() as stub:
        routes = {way: route(way, stub.url) for way in WAYS[1:]}
        async with gateway(home, routes) as running:
            url = f"http://127.0.0.1:{running.port}/v1"
            found = {way: Way(way, url, CLIENT_KEY, stub) for way in WAYS[1:]}
            yield {"direct": Way("direct", stub.url, UPSTREAM_KEY, stub), **found}
