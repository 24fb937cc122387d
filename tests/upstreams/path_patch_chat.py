"""A web chat whose stream patches one document, as the pattern of `path-patch-chat` has it.

    POST /api/v0/chat_session/create   POST /api/v0/chat_session/delete
    POST /api/v0/chat/completion       server-sent events

Refusals come with status 200 and a code. Each turn of `plan` is one answer; the last one is kept.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from engine.shell.stub import listening

CONTENT = "response/fragments/-1/content"


@dataclass
class Turn:
    """One answer. fragments: kind and pieces, the first of which comes with the fragment itself.

    status   the last one; "" cuts the stream before it. error: of a toast in its place
    """

    fragments: tuple[tuple[str, tuple[str, ...]], ...] = (("RESPONSE", ("Good ", "day", ".")),)
    status: str = "FINISHED"
    error: tuple[str, str] | None = None


@dataclass
class PathPatchChat:
    """The service. asked: bodies of completions, deleted: chats that were."""

    plan: list[Turn] = field(default_factory=lambda: [Turn()])
    tokens: set[str] = field(default_factory=lambda: {"token-one-0001"})
    chats: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = json.loads(await request.read() or b"{}")
        path = request.path.removeprefix("/api/v0")
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return web.json_response({"code": 40003, "msg": "invalid token", "data": None})
        if path == "/chat_session/create":
            self.chats.append(f"s-{len(self.chats) + 1}")
            return _told(0, {"id": self.chats[-1]})
        if path == "/chat_session/delete":
            self.deleted.append(body["chat_session_id"])
            return _told(0, None)
        if body["chat_session_id"] not in self.chats:
            return _told(26, None)
        self.asked.append(body)
        return await self._stream(request)

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        turn = self.plan[0] if len(self.plan) == 1 else self.plan.pop(0)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event, value in _events(turn, 2 * len(self.asked)):
            name = f"event: {event}\n" if event else ""
            data = json.dumps(value, ensure_ascii=False)
            await response.write(f"{name}data: {data}\n\n".encode())
        await response.write_eof()
        return response


def _events(turn: Turn, message: int) -> Iterator[tuple[str, Any]]:
    yield "ready", {"request_message_id": message - 1, "response_message_id": message}
    yield "update_session", {"updated_at": 1_789_056_000}
    made = [{"type": kind, "content": pieces[0]} for kind, pieces in turn.fragments]
    yield "", {"v": {"response": {"message_id": message, "status": "WIP", "fragments": made[:1]}}}
    for at, (_, pieces) in enumerate(turn.fragments):
        if at:
            yield "", {"p": "response/fragments", "o": "APPEND", "v": [made[at]]}
        for number, piece in enumerate(pieces[1:]):
            yield "", {"v": piece} if number else {"p": CONTENT, "o": "APPEND", "v": piece}
    if turn.error is not None:
        yield "toast", {"type": "error", "content": turn.error[1], "finish_reason": turn.error[0]}
    elif turn.status:
        used = {"p": "accumulated_token_usage", "o": "SET", "v": 64}
        yield (
            "",
            {"p": "response", "o": "BATCH", "v": [used, {"p": "quasi_status", "v": "FINISHED"}]},
        )
        yield "", {"p": "response/status", "o": "SET", "v": turn.status}
    if turn.status:
        yield "close", {"click_behavior": "none"}


def _told(code: int, data: Any) -> web.Response:
    return web.json_response({"code": 0, "msg": "", "data": {"biz_code": code, "biz_data": data}})


@asynccontextmanager
async def running(service: PathPatchChat) -> AsyncIterator[str]:
    """Serve it; gives its URL."""
    async with listening(service.handle) as url:
        yield url
