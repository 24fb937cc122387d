"""The same question put by the official SDK of each client dialect, and what each makes of it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import ollama
from google.genai import types

from .everywhere import KEY, World
from .google import client as google_client

HELLO = "hello"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: dict[str, Any] = {"name": "weather", "description": "tells the weather"}


@dataclass(slots=True)
class Heard:
    """An answer as every SDK can say it. usage: input and output tokens."""

    text: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    called: bool = False
    usage: tuple[int, int] = (0, 0)


Ask = Callable[[World, str, bool, bool], Awaitable[Heard]]


async def _chat(world: World, model: str, stream: bool, tools: bool) -> Heard:
    function = {"type": "function", "function": {**WEATHER, "parameters": SCHEMA}}
    asked: Any = {"model": model, "messages": [{"role": "user", "content": HELLO}],
                  **({"tools": [function]} if tools else {})}  # fmt: skip
    if stream:
        options: Any = {"include_usage": True}
        async with world.openai.chat.completions.stream(**asked, stream_options=options) as made:
            async for _ in made:
                pass
            answer: Any = await made.get_final_completion()
    else:
        answer = await world.openai.chat.completions.create(**asked)
    (choice,) = answer.choices
    made_calls = choice.message.tool_calls or ()
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in made_calls]
    counts = (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    return Heard(choice.message.content or "", calls, choice.finish_reason == "tool_calls", counts)


async def _responses(world: World, model: str, stream: bool, tools: bool) -> Heard:
    function = {"type": "function", **WEATHER, "parameters": SCHEMA, "strict": False}
    asked: Any = {"model": model, "input": HELLO, **({"tools": [function]} if tools else {})}
    if stream:
        async with world.openai.responses.stream(**asked) as made:
            async for _ in made:
                pass
            answer: Any = await made.get_final_response()
    else:
        answer = await world.openai.responses.create(**asked)
    items = [item for item in answer.output if item.type == "function_call"]
    calls = [(item.name, json.loads(item.arguments)) for item in items]
    counts = (answer.usage.input_tokens, answer.usage.output_tokens)
    return Heard(answer.output_text, calls, bool(calls), counts)


async def _messages(world: World, model: str, stream: bool, tools: bool) -> Heard:
    turns = [{"role": "user", "content": HELLO}]
    asked: Any = {"model": model, "max_tokens": 100, "messages": turns}
    if tools:
        asked["tools"] = [{**WEATHER, "input_schema": SCHEMA}]
    if stream:
        async with world.anthropic.messages.stream(**asked) as made:
            async for _ in made:
                pass
            answer: Any = await made.get_final_message()
    else:
        answer = await world.anthropic.messages.create(**asked)
    text = "".join(block.text for block in answer.content if block.type == "text")
    calls = [(block.name, block.input) for block in answer.content if block.type == "tool_use"]
    counts = answer.usage
    read = counts.input_tokens + (counts.cache_read_input_tokens or 0)
    read += counts.cache_creation_input_tokens or 0
    return Heard(text, calls, answer.stop_reason == "tool_use", (read, counts.output_tokens))


async def _gemini(world: World, model: str, stream: bool, tools: bool) -> Heard:
    function = {**WEATHER, "parameters_json_schema": SCHEMA}
    config: Any = {"tools": [{"function_declarations": [function]}]} if tools else {}
    config["automatic_function_calling"] = {"disable": True}
    parts: list[types.Part] = []
    async with google_client(world.url, KEY).aio as google:
        asked: Any = {"model": model, "contents": HELLO, "config": config}
        chunks: list[Any]
        if stream:
            made = await google.models.generate_content_stream(**asked)
            chunks = [chunk async for chunk in made]
        else:
            chunks = [await google.models.generate_content(**asked)]
    for chunk in chunks:
        parts += chunk.candidates[0].content.parts or []
    text = "".join(part.text or "" for part in parts if not part.thought)
    found = [part.function_call for part in parts if part.function_call]
    calls = [(call.name or "", dict(call.args or {})) for call in found]
    counts = chunks[-1].usage_metadata
    said = counts.candidates_token_count + (counts.thoughts_token_count or 0)
    return Heard(text, calls, bool(calls), (counts.prompt_token_count, said))


async def _ollama(world: World, model: str, stream: bool, tools: bool) -> Heard:
    function = {"type": "function", "function": {**WEATHER, "parameters": SCHEMA}}
    asked: Any = {"model": model, "messages": [{"role": "user", "content": HELLO}],
                  **({"tools": [function]} if tools else {})}  # fmt: skip
    headers = {"Authorization": f"Bearer {KEY}"}
    client: Any = ollama.AsyncClient(host=world.url, headers=headers, timeout=20)
    made = await client.chat(**asked, stream=stream)
    lines = [line async for line in made] if stream else [made]
    found = [call.function for line in lines for call in line.message.tool_calls or ()]
    calls = [(call.name, dict(call.arguments)) for call in found]
    text = "".join(line.message.content or "" for line in lines)
    return Heard(text, calls, bool(calls), (lines[-1].prompt_eval_count, lines[-1].eval_count))


ASK: dict[str, Ask] = {
    "chat": _chat, "responses": _responses, "messages": _messages, "gemini": _gemini,
    "ollama": _ollama,
}  # fmt: skip
