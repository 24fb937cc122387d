"""A site of the Open WebUI family that lets guests in, as the pattern of `openwebui-guest` has it.

    GET  /api/v1/auths/           a guest's token, a JWT
    GET  /api/models              the models
    POST /api/chat/completions    server-sent events with phases

It wants the token as bearer and as cookie, and answers a chat with an id by another way. Each turn
of `plan` is one answer; the last one is kept.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from engine.shell.stub import listening

MODELS = ("openwebui-chat", "glm-like")


def jwt(claims: dict[str, Any]) -> str:
    packed = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{packed}.c2ln"


@dataclass
class Turn:
    """One answer. status: of a refusal; error: an event in the midst; cut: it just ends."""

    thought: str = ""
    pieces: tuple[str, ...] = ("Good ", "day.")
    status: int = 200
    detail: str = ""
    error: str = ""
    cut: bool = False


@dataclass
class OpenWebUI:
    """The site. tokens: those it takes, asked: bodies of chats."""

    plan: list[Turn] = field(default_factory=lambda: [Turn()])
    tokens: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/api/v1/auths/":
            claims = {"id": f"guest-{len(self.tokens)}", "exp": int(time.time()) + 86_400}
            self.tokens.append(jwt(claims))
            return web.json_response({**claims, "role": "guest", "token": self.tokens[-1]})
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if request.cookies.get("token") != token:
            return web.Response(status=405, text="<html>blocked</html>")
        if token not in self.tokens:
            return web.json_response({"detail": "Your session has expired"}, status=401)
        if request.path == "/api/models":
            return web.json_response({"data": [{"id": model} for model in MODELS]})
        body = json.loads(await request.read())
        self.asked.append(body)
        if {"chat_id", "session_id", "id"} & body.keys():
            return web.json_response({"status": True, "task_id": "t-1"})
        return await self._answer(request, body)

    async def _answer(self, request: web.BaseRequest, body: dict[str, Any]) -> web.StreamResponse:
        turn = self.plan[0] if len(self.plan) == 1 else self.plan.pop(0)
        if body["model"] not in MODELS:
            return web.json_response({"detail": "Model not found"}, status=400)
        if turn.status != 200:
            return web.json_response({"detail": turn.detail}, status=turn.status)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for data in _events(turn):
            event = {"type": "chat:completion", "data": data}
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
        if not turn.cut:
            await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response


def _events(turn: Turn) -> list[dict[str, Any]]:
    first, *rest = turn.pieces
    out: list[dict[str, Any]] = [{"phase": "answer", "delta_content": first}]
    if turn.thought:
        folded = (
            f'<details type="reasoning"><summary>Thought</summary>\n> {turn.thought}\n</details>\n'
        )
        out = [
            {"phase": "thinking", "delta_content": turn.thought},
            {"phase": "answer", "edit_content": folded + first},
        ]
    out += [{"phase": "answer", "delta_content": piece} for piece in rest]
    if turn.error:
        return [*out, {"error": {"detail": turn.error, "code": "INTERNAL_ERROR"}, "done": True}]
    if turn.cut:
        return out
    usage = {"prompt_tokens": 19, "completion_tokens": 7}
    return [*out, {"phase": "other", "usage": usage}, {"phase": "done", "done": True}]


@asynccontextmanager
async def running(service: OpenWebUI) -> AsyncIterator[str]:
    """Serve it; gives its URL."""
    async with listening(service.handle) as url:
        yield url
