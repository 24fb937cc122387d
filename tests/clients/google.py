"""Google's SDK in front of every upstream, and a Gemini upstream behind every SDK.

`gemini` translates clients of its own dialect too, `gemini_passed` passes them through on bytes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anthropic import AsyncAnthropic
from google import genai
from google.genai import types
from openai import AsyncOpenAI

from tests.faults.client import CLIENT_KEY
from tests.faults.stage import gateway

from . import anthropic_stub, gemini_stub, openai_stub, pairs
from .pairs import Said, World

ROUTES = ("chat", "messages", "gemini", "gemini_passed")


def _route(name: str, url: str) -> str:
    models = ", ".join(
        f'{{ id: "{name}.{model}", upstream: "{model}" }}' for model in gemini_stub.MODELS
    )
    return f"""\
version: 1
extends: gemini
base_url: "{url}/v1beta"
auth: {{ header: {{ x-goog-api-key: "{gemini_stub.UPSTREAM_KEY}" }} }}
retry: {{ attempts: 2, backoff: {{ initial: 10ms, max: 20ms }} }}
timeouts: {{ total: 15s }}
{"" if name.endswith("passed") else "transforms: [think_tags]"}
models: [{models}]
"""


@dataclass(slots=True)
class Google(World):
    """A gateway in front of three stubs, and clients of three kinds."""

    gemini: gemini_stub.Stub
    google: Any

    def sent(self, route: str) -> dict[str, Any]:
        if route.startswith("gemini"):
            return self.gemini.requests[-1]
        return World.sent(self, route)


@asynccontextmanager
async def google(home: Path) -> AsyncIterator[Google]:
    async with (
        openai_stub.openai_stub() as chat,
        anthropic_stub.anthropic_stub() as messages,
        gemini_stub.gemini_stub() as gemini,
    ):
        routes = {name: pairs._route(name, chat.url, messages.url) for name in ROUTES[:2]}
        routes |= {name: _route(name, gemini.url) for name in ROUTES[2:]}
        async with gateway(home, routes) as running:
            url = f"http://127.0.0.1:{running.port}"
            one = AsyncOpenAI(base_url=f"{url}/v1", api_key=CLIENT_KEY, max_retries=0, timeout=20)
            two = AsyncAnthropic(base_url=url, api_key=CLIENT_KEY, max_retries=0, timeout=20)
            three = client(url)
            async with one, two, three.aio as aio:
                yield Google(running.port, chat, messages, one, two, gemini, aio)


def client(url: str, key: str = CLIENT_KEY) -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url, timeout=20_000))


# ---- the Google client ----


async def ask_google(world: Google, model: str, stream: bool, contents: Any, **config: Any) -> Said:
    """One question. The SDK's own loop of calls is off."""
    config["automatic_function_calling"] = {"disable": True}
    given = {"model": model, "contents": contents, "config": config}
    if not stream:
        return said([await world.google.models.generate_content(**given)])
    made = await world.google.models.generate_content_stream(**given)
    return said([chunk async for chunk in made])


def said(answers: list[Any]) -> Said:
    parts = [
        part
        for answer in answers
        for candidate in answer.candidates or ()
        for part in (candidate.content and candidate.content.parts) or ()
    ]
    last = answers[-1]
    counts = last.usage_metadata
    calls = [part.function_call for part in parts if part.function_call]
    sealed = [part.thought_signature for part in parts if part.thought_signature]
    reason = last.candidates[0].finish_reason if last.candidates else None
    return Said(
        text="".join(part.text for part in parts if part.text and not part.thought),
        thinking="".join(part.text for part in parts if part.text and part.thought),
        signature=sealed[0] if sealed else None,
        calls=[(call.id, call.name, call.args) for call in calls],
        finish=reason.value if reason else "",
        usage=(
            (counts.prompt_token_count or 0) + (counts.tool_use_prompt_token_count or 0),
            counts.cached_content_token_count or 0,
            (counts.candidates_token_count or 0) + (counts.thoughts_token_count or 0),
            counts.thoughts_token_count or 0,
        ),
        turn={"role": "model", "parts": [part for part in parts if part.text != ""]},
    )
