"""The official SDKs in front of the gateway: one question, and what their user is told.

A conversation is what an SDK's user would write: the SDK's own objects go back as they came.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import ollama
from anthropic import APIError as AnthropicError
from anthropic import APIStatusError as AnthropicStatus
from google.genai import errors
from openai import APIError as OpenAIError
from openai import APIStatusError as OpenAIStatus

from tests.clients import google

from .stage import GRANTED, Stage

Turns = list[Any]
SCHEMA: Any = {"type": "object", "properties": {}}


@dataclass
class Told:
    """An answer, in words that all SDKs share.

    calls   (id, name, arguments)
    usage   input, output
    turn    what the SDK's user puts into the conversation
    error   what the SDK raised; status: of HTTP, 0 where the error came in the stream
    """

    text: str = ""
    thinking: str = ""
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    finish: str = ""
    usage: tuple[int, int] = (0, 0)
    turn: Turns = field(default_factory=list)
    error: str = ""
    status: int = 0


@dataclass(frozen=True)
class Client:
    """One SDK. tool: how it says a tool of its own; result: the turn that answers a call."""

    ask: Callable[[Stage, str, bool, Turns, list[Any], str], Awaitable[Told]]
    first: Callable[[str], Turns]
    tool: Any
    result: Callable[[tuple[str, str, Any], str], Any]


async def ask(
    on: Stage,
    who: str,
    model: str,
    stream: bool,
    turns: Turns | None = None,
    tools: bool = False,
    key: str = GRANTED,
) -> Told:
    """A question or a conversation. tools: the client offers its tool `own`."""
    client = CLIENTS[who]
    given = [client.tool] if tools else []
    try:
        return await client.ask(on, model, stream, turns or client.first("Go."), given, key)
    except (OpenAIError, AnthropicError) as error:
        status = error.status_code if isinstance(error, OpenAIStatus | AnthropicStatus) else 0
        return Told(error=str(error), status=status)
    except errors.APIError as error:
        return Told(error=str(error), status=error.code)
    except ollama.ResponseError as error:
        return Told(error=str(error), status=max(error.status_code, 0))
    except httpx.HTTPError as error:
        return Told(error=f"broken: {error!r}")


def then(who: str, turns: Turns, told: Told, result: str) -> Turns:
    """The conversation with an answer and the results of its calls."""
    client = CLIENTS[who]
    return [*turns, *told.turn, *(client.result(call, result) for call in told.calls)]


# ---- Chat Completions ----


async def _chat(
    on: Stage, model: str, stream: bool, turns: Turns, tools: list[Any], key: str
) -> Told:
    fields: dict[str, Any] = {"model": model, "messages": turns}
    if tools:
        fields["tools"] = tools
    client = await on.sdk("openai", key, lambda: on.openai(key))
    if stream:
        counts = {"include_usage": True}
        async with client.chat.completions.stream(**fields, stream_options=counts) as made:
            answer: Any = await made.get_final_completion()
    else:
        answer = await client.chat.completions.create(**fields)
    (choice,) = answer.choices
    message = choice.message
    calls = [
        (call.id, call.function.name, json.loads(call.function.arguments))
        for call in message.tool_calls or ()
    ]
    return Told(
        text=message.content or "",
        thinking=getattr(message, "reasoning_content", None) or "",
        calls=calls,
        finish={"tool_calls": "calls"}.get(choice.finish_reason, choice.finish_reason),
        usage=(answer.usage.prompt_tokens, answer.usage.completion_tokens),
        turn=[_plain(message)],
    )


def _plain(value: Any) -> Any:
    """An SDK's object as it goes back: what the SDK adds to a parsed answer stays behind."""
    found = value.model_dump(mode="json", exclude_none=True, warnings=False)
    return _without_parsed(found)


def _without_parsed(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_parsed(item) for item in value]
    if not isinstance(value, dict):
        return value
    gone = ("parsed", "parsed_output", "parsed_arguments")
    return {name: _without_parsed(held) for name, held in value.items() if name not in gone}


# ---- Messages ----

_ENDS = {"end_turn": "stop", "tool_use": "calls", "max_tokens": "length"}


async def _messages(
    on: Stage, model: str, stream: bool, turns: Turns, tools: list[Any], key: str
) -> Told:
    fields: dict[str, Any] = {"model": model, "messages": turns, "max_tokens": 4000}
    if tools:
        fields["tools"] = tools
    client = await on.sdk("anthropic", key, lambda: on.anthropic(key))
    if stream:
        async with client.messages.stream(**fields) as made:
            answer: Any = await made.get_final_message()
    else:
        answer = await client.messages.create(**fields)
    blocks = answer.content
    return Told(
        text="".join(block.text for block in blocks if block.type == "text"),
        thinking="".join(block.thinking for block in blocks if block.type == "thinking"),
        calls=[(block.id, block.name, block.input) for block in blocks if block.type == "tool_use"],
        finish=_ENDS.get(answer.stop_reason, answer.stop_reason),
        usage=(answer.usage.input_tokens, answer.usage.output_tokens),
        turn=[{"role": "assistant", "content": [_plain(block) for block in blocks]}],
    )


# ---- Responses ----


async def _responses(
    on: Stage, model: str, stream: bool, turns: Turns, tools: list[Any], key: str
) -> Told:
    fields: dict[str, Any] = {"model": model, "input": turns, "store": False}
    fields["include"] = ["reasoning.encrypted_content"]
    if tools:
        fields["tools"] = tools
    client = await on.sdk("openai", key, lambda: on.openai(key))
    if stream:
        async with client.responses.stream(**fields) as made:
            answer: Any = None
            async for event in made:
                answer = getattr(event, "response", answer)
    else:
        answer = await client.responses.create(**fields)
    if answer.error is not None:
        return Told(error=answer.error.message)
    calls = [
        (item.call_id, item.name, json.loads(item.arguments))
        for item in answer.output
        if item.type == "function_call"
    ]
    thoughts = [item for item in answer.output if item.type == "reasoning"]
    said = [part.text for item in thoughts for part in (*item.summary, *(item.content or ()))]
    finish = "calls" if calls else {"completed": "stop"}.get(answer.status, answer.status)
    return Told(
        text=answer.output_text,
        thinking="".join(said),
        calls=calls,
        finish=finish,
        usage=(answer.usage.input_tokens, answer.usage.output_tokens),
        turn=[_plain(item) for item in answer.output],
    )


# ---- Gemini ----


async def _gemini(
    on: Stage, model: str, stream: bool, turns: Turns, tools: list[Any], key: str
) -> Told:
    config: dict[str, Any] = {
        "thinking_config": {"include_thoughts": True},
        "automatic_function_calling": {"disable": True},
    }
    if tools:
        config["tools"] = tools
    fields: Any = {"model": model, "contents": turns, "config": config}
    client = await on.sdk("google", key, lambda: google.client(on.gateway.url, key).aio)
    if stream:
        made = await client.models.generate_content_stream(**fields)
        answers: list[Any] = [chunk async for chunk in made]
    else:
        answers = [await client.models.generate_content(**fields)]
    said = google.said(answers)
    return Told(
        text=said.text,
        thinking=said.thinking,
        calls=said.calls,
        finish="calls" if said.calls else said.finish.lower(),
        usage=(said.usage[0], said.usage[2]),
        turn=[said.turn],
    )


# ---- Ollama ----


class _Ollama(ollama.AsyncClient):
    def __init__(self, url: str, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        super().__init__(host=url, headers=headers, timeout=30)

    async def __aenter__(self) -> ollama.AsyncClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.aclose()


async def _ollama(
    on: Stage, model: str, stream: bool, turns: Turns, tools: list[Any], key: str
) -> Told:
    client = await on.sdk("ollama", key, lambda: _Ollama(on.gateway.url, key))
    fields: Any = {"model": model, "messages": turns, "stream": stream, "think": True}
    made: Any = await client.chat(**fields, tools=tools or None)
    parts = [part async for part in made] if stream else [made]
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    text = "".join(part.message.content or "" for part in parts)
    thinking = "".join(part.message.thinking or "" for part in parts)
    last = parts[-1]
    turn = {"role": "assistant", "content": text, "thinking": thinking, "tool_calls": calls}
    return Told(
        text=text,
        thinking=thinking,
        calls=[("", call.function.name, dict(call.function.arguments)) for call in calls],
        finish="calls" if calls else last.done_reason,
        usage=(last.prompt_eval_count or 0, last.eval_count or 0),
        turn=[turn],
    )


_FUNCTION = {"name": "own", "description": "The client's.", "parameters": SCHEMA}


def _said(text: str) -> Turns:
    return [{"role": "user", "content": text}]


CLIENTS = {
    "chat": Client(
        _chat,
        _said,
        {"type": "function", "function": _FUNCTION},
        lambda call, text: {"role": "tool", "tool_call_id": call[0], "content": text},
    ),
    "messages": Client(
        _messages,
        _said,
        {"name": "own", "description": "The client's.", "input_schema": SCHEMA},
        lambda call, text: {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call[0], "content": text}],
        },
    ),
    "responses": Client(
        _responses,
        _said,
        {"type": "function", "strict": False, **_FUNCTION},
        lambda call, text: {"type": "function_call_output", "call_id": call[0], "output": text},
    ),
    "gemini": Client(
        _gemini,
        lambda text: [{"role": "user", "parts": [{"text": text}]}],
        {"function_declarations": [{"name": "own", "description": "The client's."}]},
        lambda call, text: {
            "role": "user",
            "parts": [
                {
                    "function_response": {
                        "id": call[0],
                        "name": call[1],
                        "response": {"result": text},
                    }
                }
            ],
        },
    ),
    "ollama": Client(
        _ollama,
        _said,
        {"type": "function", "function": _FUNCTION},
        lambda call, text: {"role": "tool", "tool_name": call[1], "content": text},
    ),
}
