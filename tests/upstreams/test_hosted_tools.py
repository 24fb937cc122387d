"""An upstream that runs code itself, for clients of another API, over real sockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from engine.wire import dumps
from tests.security.stage import Echo, Received, Staged, staged

ROUTE = """
version: 1
name: runs
extends: gemini
base_url: %URL%
models: [m1]
"""
PARTS = [
    {"executableCode": {"language": "PYTHON", "code": "print(6*7)"}},
    {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "42\n"}},
    {"text": "It is 42."},
    {"toolCall": {"id": "x", "toolType": "GOOGLE_SEARCH_WEB", "args": {}}},
]
SAID = "\n```python\nprint(6*7)\n```\n\n```\n42\n```\nIt is 42."


class Site(Echo):
    """Runs code, and looks something up."""

    async def respond(self, request: web.BaseRequest, got: Received) -> web.StreamResponse:
        content = {"parts": PARTS, "role": "model"}
        body = dumps({"candidates": [{"content": content, "finishReason": "STOP", "index": 0}]})
        if ":stream" in request.path:
            stream = b"data: " + body + b"\n\n"
            return web.Response(body=stream, content_type="text/event-stream")
        return web.Response(body=body, content_type="application/json")


@pytest.fixture
def site() -> Site:
    return Site()


async def ask(on: Staged, **more: Any) -> tuple[str, str]:
    """Headers and body."""
    status, answer = await on.ask("m1", "", messages=[{"role": "user", "content": "Hi"}], **more)
    assert 200 == status
    heads, _, body = answer.partition("\n\n")
    return heads.lower(), body


async def test_code_and_its_outcome_are_told_and_the_rest_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: Site
) -> None:
    async with staged(tmp_path, monkeypatch, {"runs": ROUTE}, env={}, echo=site) as on:
        heads, body = await ask(on)
        assert SAID == json.loads(body)["choices"][0]["message"]["content"]
        assert "x-penstock-answer-dropped: toolcall" in heads
        heads, body = await ask(on, stream=True)
        frames = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
        deltas = [choice["delta"] for frame in frames for choice in frame["choices"]]
        assert SAID == "".join(delta.get("content") or "" for delta in deltas)
        assert "answer-dropped" not in heads
        heads, body = await ask(on, response_format={"type": "json_object"})
        assert "It is 42." == json.loads(body)["choices"][0]["message"]["content"]
        assert "dropped: codeexecutionresult, executablecode, toolcall" in heads
