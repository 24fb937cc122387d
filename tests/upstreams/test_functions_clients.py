"""Clients of `functions`, whose answers hold one call, and models that make two, over sockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.security.stage import Echo, saying, staged

ROUTE = """
version: 1
name: calls
extends: %s
base_url: %%URL%%
models: [m1]
"""
_GEMINI: list[dict[str, Any]] = [
    {"functionCall": {"name": name, "args": {}}} for name in ("look", "see")
]
_OLLAMA: list[dict[str, Any]] = [
    {"function": {"name": name, "arguments": {}}} for name in ("look", "see")
]
ANSWERS: dict[str, dict[str, Any]] = {
    "gemini": {"candidates": [{"content": {"role": "model", "parts": _GEMINI}, "index": 0,
                               "finishReason": "STOP"}]},
    "ollama": {"model": "m1", "done": True, "done_reason": "stop", "message": {
        "role": "assistant", "content": "", "tool_calls": _OLLAMA}},
}  # fmt: skip
LOOK = {"name": "look", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize("upstream", ANSWERS)
async def test_a_second_call_is_named_for_clients_that_have_room_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upstream: str
) -> None:
    site, asked = Echo(answer=saying(ANSWERS[upstream])), [{"role": "user", "content": "Hi"}]
    routes = {"calls": ROUTE % upstream}
    async with staged(tmp_path, monkeypatch, routes, env={}, echo=site) as on:
        _, told = await on.ask("m1", "", messages=asked, functions=[LOOK])
        heads, _, body = told.partition("\n\n")
        message = json.loads(body)["choices"][0]["message"]
        assert {"name": "look", "arguments": "{}"} == message["function_call"]
        assert "x-penstock-answer-dropped: tool_calls" in heads.lower()
        tools = [{"type": "function", "function": LOOK}]
        _, told = await on.ask("m1", "", messages=asked, tools=tools)
        heads, _, body = told.partition("\n\n")
        assert 2 == len(json.loads(body)["choices"][0]["message"]["tool_calls"])
        assert "answer-dropped" not in heads.lower()
