"""A gateway with a route for each dialect of upstreams, and behind all of them one scripted model.

A route named `…_passed` passes clients of its own dialect through on bytes; all others translate,
and always ask for a stream: the model tells nothing else.
Its model is `NAME-m`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.stage import gateway

from .upstream import UPSTREAM_KEY, Upstream, scripted

_BEARER = f'bearer: "{UPSTREAM_KEY}"'
_PRESETS = {
    "chat": ("openai", "/v1", _BEARER),
    "responses": ("openai-responses", "/v1", _BEARER),
    "messages": ("anthropic", "/v1", f'header: {{ x-api-key: "{UPSTREAM_KEY}" }}'),
    "gemini": ("gemini", "/v1beta", f'header: {{ x-goog-api-key: "{UPSTREAM_KEY}" }}'),
    "ollama": ("ollama", "", ""),
}
_ROUTE = """\
version: 1
extends: {preset}
base_url: "{url}"
{auth}
retry: {{ attempts: 1 }}
{lines}
discover: null
models: [{{ id: "{name}-m", upstream: m }}]
"""


@dataclass(slots=True)
class World:
    url: str
    upstream: Upstream


def _route(name: str, url: str) -> str:
    kind, _, passed = name.partition("_")
    preset, path, auth = _PRESETS[kind]
    return _ROUTE.format(
        preset=preset,
        url=url + path,
        auth=f"auth: {{ {auth} }}" if auth else "",
        lines="" if passed else "transforms: [think_tags]\nstream: { use: always }",
        name=name,
    )


@asynccontextmanager
async def world(home: Path, routes: tuple[str, ...]) -> AsyncIterator[World]:
    async with scripted() as upstream:
        texts = {name: _route(name, upstream.url) for name in routes}
        async with gateway(home, texts) as running:
            yield World(f"http://127.0.0.1:{running.port}", upstream)
