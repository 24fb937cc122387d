"""Two clients, two upstreams: every pair of dialects, and what either SDK makes of an answer.

A way is named by the upstream and how its route treats the client of the same dialect: `chat` and
`messages` translate it, `chat_passed` and `messages_passed` pass it through.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anthropic import AsyncAnthropic
from anthropic.types import Message
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.faults.client import CLIENT_KEY
from tests.faults.stage import gateway

from . import anthropic_stub, openai_stub

CLIENTS = ("openai", "anthropic")
ROUTES = ("chat", "chat_passed", "messages", "messages_passed")
_HEAD = """\
version: 1
extends: {preset}
base_url: "{url}"
auth: {{ {auth} }}
retry: {{ attempts: 2, backoff: {{ initial: 10ms, max: 20ms }} }}
timeouts: {{ total: 15s }}
{lines}
models: [{models}]
"""


def _route(name: str, chat: str, messages: str) -> str:
    kind, _, passed = name.partition("_")
    preset, url, auth, known = {
        "chat": ("openai", chat, f'bearer: "{openai_stub.UPSTREAM_KEY}"', openai_stub.MODELS),
        "messages": (
            "anthropic",
            f"{messages}/v1",
            f'header: {{ x-api-key: "{anthropic_stub.UPSTREAM_KEY}" }}',
            anthropic_stub.MODELS,
        ),
    }[kind]
    models = ", ".join(f'{{ id: "{name}.{model}", upstream: "{model}" }}' for model in known)
    lines = "" if passed else "transforms: [think_tags]"
    return _HEAD.format(preset=preset, url=url, auth=auth, lines=lines, models=models)


@dataclass(slots=True)
class World:
    """A gateway in front of both stubs, and a client of each kind."""

    port: int
    chat: openai_stub.Stub
    messages: anthropic_stub.Stub
    openai: AsyncOpenAI
    anthropic: AsyncAnthropic

    def sent(self, route: str) -> dict[str, Any]:
        """The last body that the route's upstream got."""
        return (self.chat if route.startswith("chat") else self.messages).requests[-1]


@asynccontextmanager
async def world(home: Path) -> AsyncIterator[World]:
    async with openai_stub.openai_stub() as chat, anthropic_stub.anthropic_stub() as messages:
        routes = {name: _route(name, chat.url, messages.url) for name in ROUTES}
        async with gateway(home, routes) as running:
            url = f"http://127.0.0.1:{running.port}"
            one = AsyncOpenAI(base_url=f"{url}/v1", api_key=CLIENT_KEY, max_retries=0, timeout=20)
            two = AsyncAnthropic(base_url=url, api_key=CLIENT_KEY, max_retries=0, timeout=20)
            async with one, two:
                yield World(running.port, chat, messages, one, two)


@dataclass(slots=True)
class Said:
    """An answer, in words that both SDKs share.

    usage   input, of it from a cache, output, of it thinking
    turn    the assistant's turn as its client would send it back
    """

    text: str = ""
    thinking: str = ""
    signature: str | None = None
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    finish: str = ""
    usage: tuple[int, int, int, int] = (0, 0, 0, 0)
    turn: dict[str, Any] = field(default_factory=dict)


FINISHES = {
    "stop": "stop", "length": "length", "tool_calls": "tool", "content_filter": "refusal",
    "end_turn": "stop", "max_tokens": "length", "tool_use": "tool", "refusal": "refusal",
}  # fmt: skip


# ---- the OpenAI client ----


async def ask_openai(world: World, model: str, stream: bool, fields: dict[str, Any]) -> Said:
    create: Any = world.openai.chat.completions.create
    if not stream:
        answer = await create(model=model, **fields)
        ChatCompletion.model_validate_json(json.dumps(answer.to_dict()), strict=True)
        return _of_completion(answer)
    async with world.openai.chat.completions.stream(
        model=model, stream_options={"include_usage": True}, **fields
    ) as made:
        async for event in made:
            if event.type == "chunk":
                raw = json.dumps(event.chunk.to_dict())
                ChatCompletionChunk.model_validate_json(raw, strict=True)
        return _of_completion(made.current_completion_snapshot)


def _of_completion(answer: Any) -> Said:
    (choice,) = answer.choices
    message, counts = choice.message, answer.usage
    calls = [
        (call.id, call.function.name, json.loads(call.function.arguments))
        for call in message.tool_calls or ()
    ]
    turn: dict[str, Any] = {"role": "assistant", "content": message.content}
    thinking = (message.model_extra or {}).get("reasoning_content") or ""
    if thinking:
        turn["reasoning_content"] = thinking
    if calls:
        turn["tool_calls"] = [
            {"id": ident, "type": "function",
             "function": {"name": name, "arguments": json.dumps(args)}}
            for ident, name, args in calls
        ]  # fmt: skip
    cached, thought = counts.prompt_tokens_details, counts.completion_tokens_details
    return Said(
        text=message.content or "",
        thinking=thinking,
        calls=calls,
        finish=FINISHES[choice.finish_reason],
        usage=(
            counts.prompt_tokens,
            cached.cached_tokens or 0 if cached else 0,
            counts.completion_tokens,
            thought.reasoning_tokens or 0 if thought else 0,
        ),
        turn=turn,
    )


# ---- the Anthropic client ----


async def ask_anthropic(world: World, model: str, stream: bool, fields: dict[str, Any]) -> Said:
    fields = {"max_tokens": 1000, **fields}
    if not stream:
        create: Any = world.anthropic.messages.create
        return _of_message(await create(model=model, **fields))
    async with world.anthropic.messages.stream(model=model, **fields) as made:
        async for _ in made:
            pass
        return _of_message(await made.get_final_message())


def _of_message(answer: Any) -> Said:
    Message.model_validate_json(json.dumps(answer.to_dict()), strict=True)
    counts, blocks = answer.usage, answer.content
    thoughts = [block for block in blocks if block.type == "thinking"]
    read, written = counts.cache_read_input_tokens or 0, counts.cache_creation_input_tokens or 0
    details = counts.output_tokens_details
    return Said(
        text="".join(block.text for block in blocks if block.type == "text"),
        thinking="".join(block.thinking for block in thoughts),
        signature=thoughts[0].signature if thoughts else None,
        calls=[(b.id, b.name, b.input) for b in blocks if b.type == "tool_use"],
        finish=FINISHES.get(answer.stop_reason, answer.stop_reason),
        usage=(
            counts.input_tokens + read + written,
            read,
            counts.output_tokens,
            details.thinking_tokens if details else 0,
        ),
        turn={"role": "assistant", "content": [_again(block.to_dict()) for block in blocks]},
    )


def _again(block: dict[str, Any]) -> dict[str, Any]:
    """A block of an answer as it goes back: what the SDK adds to a parsed answer stays behind."""
    return {name: value for name, value in block.items() if name != "parsed_output"}
