"""The official SDKs of four dialects, asked alike."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import ollama

from tests.upstreams.stand import KEYS, Front

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Oslo", "Paris"]}},
    "required": ["city"],
    "additionalProperties": False,
}


@dataclass(slots=True)
class Question:
    """prompt; limit: tokens; stop: a text that ends the answer; tool: `weather` has to be called.

    result: what the tool said of the `call` that an earlier answer made.
    """

    prompt: str
    stream: bool = False
    limit: int | None = None
    stop: str = ""
    tool: bool = False
    call: tuple[str, str, dict[str, Any]] | None = None
    result: str = ""


@dataclass(slots=True)
class Said:
    """An answer in words that all SDKs share. calls: id, name, arguments. usage: input, output."""

    text: str = ""
    finish: str = ""
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    usage: tuple[int, int] = (0, 0)


_FINISHES = {
    "stop": "stop", "end_turn": "stop", "stop_sequence": "stop", "completed": "stop",
    "length": "length", "max_tokens": "length", "max_output_tokens": "length",
    "tool_calls": "tool", "tool_use": "tool",
}  # fmt: skip


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


# ---- Chat Completions ----


async def chat(front: Front, model: str, asked: Question) -> Said:
    function = {"name": "weather", "parameters": SCHEMA}
    turns: list[Any] = [{"role": "user", "content": asked.prompt}]
    if asked.call is not None:
        ident, name, args = asked.call
        made = {"name": name, "arguments": json.dumps(args)}
        call = {"id": ident, "type": "function", "function": made}
        turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
        turns.append({"role": "tool", "tool_call_id": ident, "content": asked.result})
    fields: Any = {
        "model": model,
        "messages": turns,
        "temperature": 0,
        **_given(
            max_tokens=asked.limit,
            stop=asked.stop,
            tools=asked.tool and [{"type": "function", "function": function}],
            tool_choice=asked.tool and asked.call is None and "required",
        ),
    }
    if not asked.stream:
        answer: Any = await front.openai.chat.completions.create(**fields)
    else:
        fields["stream_options"] = {"include_usage": True}
        async with front.openai.chat.completions.stream(**fields) as events:
            async for _ in events:
                pass
            answer = events.current_completion_snapshot
    (choice,) = answer.choices
    calls = [
        (call.id, call.function.name, json.loads(call.function.arguments))
        for call in choice.message.tool_calls or ()
    ]
    usage = (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    return Said(choice.message.content or "", _FINISHES[choice.finish_reason], calls, usage)


# ---- Responses ----


async def responses(front: Front, model: str, asked: Question) -> Said:
    turns: list[Any] = [{"role": "user", "content": asked.prompt}]
    if asked.call is not None:
        ident, name, args = asked.call
        call = {"call_id": ident, "name": name, "arguments": json.dumps(args)}
        turns.append({"type": "function_call", **call})
        turns.append({"type": "function_call_output", "call_id": ident, "output": asked.result})
    tool = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
    fields: Any = {
        "model": model,
        "input": turns,
        "temperature": 0,
        "store": False,
        **_given(
            max_output_tokens=asked.limit,
            tools=asked.tool and [tool],
            tool_choice=asked.tool and asked.call is None and "required",
        ),
    }
    if not asked.stream:
        answer: Any = await front.openai.responses.create(**fields)
    else:
        events = [
            event async for event in await front.openai.responses.create(**fields, stream=True)
        ]
        answer = events[-1].response
    calls = [
        (item.call_id, item.name, json.loads(item.arguments))
        for item in answer.output
        if item.type == "function_call"
    ]
    why = answer.incomplete_details
    finish = "tool" if calls else _FINISHES[why.reason if why else answer.status]
    return Said(
        answer.output_text, finish, calls, (answer.usage.input_tokens, answer.usage.output_tokens)
    )


# ---- Messages ----


async def messages(front: Front, model: str, asked: Question) -> Said:
    turns: list[Any] = [{"role": "user", "content": asked.prompt}]
    if asked.call is not None:
        ident, name, args = asked.call
        call = {"type": "tool_use", "id": ident, "name": name, "input": args}
        result = {"type": "tool_result", "tool_use_id": ident, "content": asked.result}
        turns.append({"role": "assistant", "content": [call]})
        turns.append({"role": "user", "content": [result]})
    fields: Any = {
        "model": model,
        "messages": turns,
        "max_tokens": asked.limit or 1000,
        "extra_body": {"temperature": 0},
        **_given(
            stop_sequences=asked.stop and [asked.stop],
            tools=asked.tool and [{"name": "weather", "input_schema": SCHEMA}],
            tool_choice=asked.tool and asked.call is None and {"type": "any"},
        ),
    }
    if not asked.stream:
        answer: Any = await front.anthropic.messages.create(**fields)
    else:
        async with front.anthropic.messages.stream(**fields) as events:
            answer = await events.get_final_message()
    text = "".join(block.text for block in answer.content if block.type == "text")
    calls = [(b.id, b.name, b.input) for b in answer.content if b.type == "tool_use"]
    usage = (answer.usage.input_tokens, answer.usage.output_tokens)
    return Said(text, _FINISHES[answer.stop_reason], calls, usage)


# ---- Ollama ----


async def by_ollama(front: Front, model: str, asked: Question) -> Said:
    """It knows no choice of tools: what has to be called is then up to the model."""
    turns: list[Any] = [{"role": "user", "content": asked.prompt}]
    if asked.call is not None:
        _, name, args = asked.call
        called = {"function": {"name": name, "arguments": args}}
        turns.append({"role": "assistant", "content": "", "tool_calls": [called]})
        turns.append({"role": "tool", "tool_name": name, "content": asked.result})
    function = {"name": "weather", "description": "The weather", "parameters": SCHEMA}
    client = ollama.AsyncClient(front.url, headers={"Authorization": f"Bearer {KEYS[0]}"})
    fields: Any = {
        "model": model,
        "messages": turns,
        "stream": asked.stream,
        "options": {"temperature": 0, **_given(num_predict=asked.limit, stop=asked.stop)},
        **_given(tools=asked.tool and [{"type": "function", "function": function}]),
    }
    answer: Any = await client.chat(**fields)
    parts = [part async for part in answer] if asked.stream else [answer]
    calls = [
        (f"call_{at}", call.function.name, dict(call.function.arguments))
        for at, call in enumerate(c for part in parts for c in part.message.tool_calls or ())
    ]
    last = parts[-1]
    return Said(
        "".join(part.message.content or "" for part in parts),
        "tool" if calls else _FINISHES[last.done_reason],
        calls,
        (last.prompt_eval_count or 0, last.eval_count or 0),
    )


CLIENTS: dict[str, Callable[[Front, str, Question], Awaitable[Said]]] = {
    "chat": chat, "responses": responses, "messages": messages, "ollama": by_ollama,
}  # fmt: skip
