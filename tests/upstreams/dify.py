"""An agent app of Dify, by its documented API.

    POST /v1/chat-messages     server-sent events; `blocking` is refused, as for agents

Pings are lines without data. Each turn of `plan` is one answer; the last one is kept.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from engine.shell.stub import listening

KEY = "app-key-of-tests-0001"


@dataclass
class Turn:
    """One answer. refusal: (status, code, message) over HTTP; error: (code, message) in the midst;
    replaced: what moderation puts in the answer's place; cut: it just ends."""

    pieces: tuple[str, ...] = ("Good ", "day.")
    thought: str = ""
    refusal: tuple[int, str, str] | None = None
    error: tuple[str, str] | None = None
    replaced: str = ""
    cut: bool = False


@dataclass
class Dify:
    """The app. conversations: what was asked in each."""

    plan: list[Turn] = field(default_factory=lambda: [Turn()])
    conversations: dict[str, list[str]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = json.loads(await request.read())
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return _refusal(401, "unauthorized", "Access token is invalid")
        if body["response_mode"] != "streaming":
            return _refusal(400, "invalid_param", "Agent Chat App does not support blocking mode")
        self.asked.append(body)
        turn = self.plan[0] if len(self.plan) == 1 else self.plan.pop(0)
        if turn.refusal is not None:
            return _refusal(*turn.refusal)
        name = body.get("conversation_id") or f"conv-{len(self.conversations) + 1}"
        if body.get("conversation_id") and name not in self.conversations:
            return _refusal(404, "not_found", "Conversation Not Exists.")
        self.conversations.setdefault(name, []).append(body["query"])
        return await self._stream(request, turn, name)

    async def _stream(self, request: web.BaseRequest, turn: Turn, name: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"event: ping\n\n")
        for event in _events(turn):
            known = {"task_id": "t-1", "message_id": "m-1", "conversation_id": name, **event}
            await response.write(f"data: {json.dumps(known)}\n\n".encode())
        await response.write_eof()
        return response


def _events(turn: Turn) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    if turn.thought:
        thought = {"event": "agent_thought", "id": "a-1", "thought": turn.thought, "tool": "search"}
        out += [{**thought, "observation": ""}, {**thought, "observation": "found"}]
    out += [{"event": "agent_message", "answer": piece} for piece in turn.pieces]
    if turn.error is not None:
        return [*out, {"event": "error", "code": turn.error[0], "message": turn.error[1]}]
    if turn.replaced:
        out.append({"event": "message_replace", "answer": turn.replaced})
    usage = {"prompt_tokens": 9, "completion_tokens": 2}
    end = {"event": "message_end", "metadata": {"usage": usage, "retriever_resources": []}}
    return out if turn.cut else [*out, end]


def _refusal(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"status": status, "code": code, "message": message}, status=status)


@asynccontextmanager
async def running(service: Dify) -> AsyncIterator[str]:
    """Serve it; gives its URL, with the path of the API."""
    async with listening(service.handle) as url:
        yield f"{url}/v1"
