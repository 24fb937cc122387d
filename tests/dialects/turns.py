"""How a conversation goes on, as each client says it: the answer it got, and what follows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from engine.chat import ChatRequest
from engine.dialects import DIALECTS, Target
from engine.wire import Headers, dumps

from .wire import A, C, G, L, R

Body = dict[str, Any]


def told(upstream: str, body: Body) -> ChatRequest:
    """A body as the upstream's own API reads it."""
    target = Target(model="up", stream=False)
    return DIALECTS[upstream].parse(dumps({**body, "model": "up"}), Headers(), target)


def goes_on(client: str, answer: bytes) -> Body:
    """The next request after a whole answer: every call has its result, or the user says more."""
    return _AFTER[client](json.loads(answer))


def one_call(client: str, ident: str = "a", result: str = "seen") -> Body:
    """A conversation with one call of `look`, by a client that gives it this id."""
    function = {"name": "look", "arguments": "{}"}
    answer = {
        C: {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [
            {"id": ident, "type": "function", "function": function}]}}]},
        R: {"output": [{"type": "function_call", "call_id": ident, **function}]},
        A: {"content": [{"type": "tool_use", "id": ident, "name": "look", "input": {}}]},
        G: {"candidates": [{"content": {"role": "model", "parts": [
            {"functionCall": {"id": ident, "name": "look", "args": {}}}]}}]},
        L: {"message": {"role": "assistant", "content": "", "tool_calls": [
            {"id": ident, "function": {"name": "look", "arguments": {}}}]}},
    }[client]  # fmt: skip
    return _AFTER[client](answer, result)


def _chat(answer: Any, result: str = "seen") -> Body:
    turn = answer["choices"][0]["message"]
    after = [{"role": "tool", "tool_call_id": call["id"], "content": result}
             for call in turn.get("tool_calls") or ()]  # fmt: skip
    return {"messages": [_GO, turn, *(after or [_ON])]}


def _responses(answer: Any, result: str = "seen") -> Body:
    items = answer["output"]
    after = [{"type": "function_call_output", "call_id": item["call_id"], "output": result}
             for item in items if item["type"] == "function_call"]  # fmt: skip
    return {"input": [_GO, *items, *(after or [_ON])]}


def _messages(answer: Any, result: str = "seen") -> Body:
    content = answer["content"]
    after = [{"type": "tool_result", "tool_use_id": block["id"], "content": result}
             for block in content if block["type"] == "tool_use"]  # fmt: skip
    last = {"role": "user", "content": after} if after else _ON
    return {"messages": [_GO, {"role": "assistant", "content": content}, last]}


def _gemini(answer: Any, result: str = "seen") -> Body:
    content = answer["candidates"][0]["content"]
    calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
    after: list[Any] = [
        {"functionResponse": {"name": call["name"], "response": {"result": result},
                              **({"id": call["id"]} if "id" in call else {})}}
        for call in calls
    ]  # fmt: skip
    last = {"role": "user", "parts": after or [{"text": "on"}]}
    return {"contents": [{"role": "user", "parts": [{"text": "go"}]}, content, last]}


def _ollama(answer: Any, result: str = "seen") -> Body:
    turn = answer["message"]
    after = [{"role": "tool", "tool_name": call["function"]["name"], "content": result}
             for call in turn.get("tool_calls") or ()]  # fmt: skip
    return {"messages": [_GO, turn, *(after or [_ON])]}


_GO, _ON = {"role": "user", "content": "go"}, {"role": "user", "content": "on"}
_AFTER: dict[str, Callable[..., Body]] = {
    C: _chat, R: _responses, A: _messages, G: _gemini, L: _ollama,
}  # fmt: skip
