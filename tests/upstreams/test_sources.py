"""Sources of an answer that no text is open for, over real sockets: told where the client's API
has a place, else named."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from engine.wire import dumps
from tests.security.stage import KEY, Echo, Received, Staged, staged

ROUTE = """
version: 1
name: finds
dialect: openai_chat
base_url: %URL%
models: [m1]
"""
URL = "https://a.example"
CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TEXT, CALLS = {"content": "So."}, {"tool_calls": [CALL]}
PAGES = {"search_results": [{"title": "A", "url": URL}], "citations": [URL]}
FOUND = {"results": [{"title": "A", "url": URL}]}
GROQ = {
    "executed_tools": [{"index": 0, "type": "search", "arguments": "{}", "search_results": FOUND}]
}


@dataclass
class Site(Echo):
    """Says the deltas, and the tail on the last chunk, which has no choice."""

    deltas: list[dict[str, Any]] = field(default_factory=list)
    tail: dict[str, Any] = field(default_factory=dict)

    async def respond(self, request: web.BaseRequest, got: Received) -> web.StreamResponse:
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        last = {"usage": usage, **self.tail}
        if not got.json.get("stream"):
            message = {name: value for delta in self.deltas for name, value in delta.items()}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response({"id": "c", "choices": [choice], **last})
        choices: list[Any] = [{"index": 0, "delta": delta} for delta in self.deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        chunks = [*({"choices": [choice]} for choice in choices), {"choices": [], **last}]
        frames = [b"data: %b\n\n" % dumps({"id": "c", **chunk}) for chunk in chunks]
        body = b"".join([*frames, b"data: [DONE]\n\n"])
        return web.Response(body=body, content_type="text/event-stream")


SAID = [{"role": "user", "content": "Hi"}]
CHAT: dict[str, Any] = {"model": "m1", "messages": SAID, "max_tokens": 9, "stream": False}
INPUT: dict[str, Any] = {"model": "m1", "input": "Hi"}
GEMINI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "messages": ("/v1/messages", CHAT),
    "messages, stream": ("/v1/messages", {**CHAT, "stream": True}),
    "responses": ("/v1/responses", INPUT),
    "responses, stream": ("/v1/responses", {**INPUT, "stream": True}),
    "gemini": ("/v1beta/models/m1:generateContent", GEMINI),
    "gemini, stream": ("/v1beta/models/m1:streamGenerateContent?alt=sse", GEMINI),
    "ollama": ("/api/chat", CHAT),
}
NO_LATE = {"messages, stream", "responses, stream", "ollama"}


async def ask(on: Staged, who: str) -> str:
    """The answer, headers first."""
    path, body = ASKED[who]
    status, answer = await on.call("POST", path, dumps(body), {"Authorization": f"Bearer {KEY}"})
    assert 200 == status
    return answer


def unsaid(on: Staged) -> list[str]:
    """What the client was not told, as the log has it once the gateway is down."""
    lines = map(json.loads, on.written.getvalue().splitlines())
    (attempt,) = [line for line in lines if line.get("event") == "attempt"]
    found: list[str] = attempt.get("unsaid", [])
    return found


@pytest.mark.parametrize("who", ASKED)
@pytest.mark.parametrize(
    ("deltas", "tail", "cannot"),
    [
        ([TEXT], PAGES, {"ollama"}),
        ([TEXT, CALLS], PAGES, NO_LATE),
        ([TEXT, {**CALLS, **GROQ}], {}, NO_LATE),
        ([{"content": "", **GROQ}, TEXT], {}, {"ollama"}),
        ([CALLS], PAGES, set(ASKED)),
    ],
    ids=["behind the end", "behind a call", "with a call", "before", "without a text"],
)
async def test_sources_go_to_the_next_text_or_to_the_last_or_are_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    who: str,
    deltas: list[dict[str, Any]],
    tail: dict[str, Any],
    cannot: set[str],
) -> None:
    site = Site(deltas=deltas, tail=tail)
    async with staged(tmp_path, monkeypatch, {"finds": ROUTE}, env={}, echo=site) as on:
        answer = await ask(on, who)
    assert (who not in cannot) == (URL in answer)
    groq = ["executed_tools"] if "executed_tools" in str(deltas) else []
    lost = [] if who not in cannot else ["citations"] if TEXT in deltas else ["annotations"]
    assert sorted(lost + groq) == unsaid(on)
    named = bool(lost + groq) and "stream" not in who
    assert named == ("x-penstock-answer-dropped" in answer.lower())
