"""A chat over the Connect protocol, as the pattern of the route `connect-chat` has it.

    POST /apiv2/example.chat.v1.ChatService/Chat      application/connect+json

A body that is no envelope is refused in the trailer with `invalid_argument`, a token that it does
not know over HTTP. Each turn of `plan` is one answer; the last one is kept.
"""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from engine.shell.stub import listening

DATA, END = 0, 2


def envelope(value: Any, flag: int = DATA, *, packed: bool = False) -> bytes:
    data = json.dumps(value, ensure_ascii=False).encode()
    if packed:
        flag, data = flag | 1, gzip.compress(data)
    return bytes([flag]) + struct.pack(">I", len(data)) + data


def text(words: str) -> dict[str, Any]:
    return {"op": "append", "mask": "block.text.content", "block": {"text": {"content": words}}}


@dataclass
class Turn:
    """One answer. error: what the trailer tells; cut: it ends without a trailer, `done` is missing;
    raw: bytes in place of what follows the words."""

    pieces: tuple[str, ...] = ("Good ", "day.")
    thought: str = ""
    packed: bool = False
    error: dict[str, str] | None = None
    cut: bool = False
    raw: bytes = b""


@dataclass
class ConnectChat:
    """The service. asked: the messages that came; heads: their headers."""

    plan: list[Turn] = field(default_factory=lambda: [Turn()])
    tokens: set[str] = field(default_factory=lambda: {"token-one.e30.c2ln"})
    asked: list[Any] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.heads.append({name.lower(): value for name, value in request.headers.items()})
        if self.heads[-1].get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            told = {"code": "unauthenticated", "message": "who are you"}
            return web.json_response(told, status=401)
        response = web.StreamResponse(headers={"Content-Type": "application/connect+json"})
        await response.prepare(request)
        for piece in self._answer(body):
            await response.write(piece)
        await response.write_eof()
        return response

    def _answer(self, body: bytes) -> list[bytes]:
        size = struct.unpack(">I", body[1:5])[0] if len(body) > 5 else -1
        if body[:1] != b"\0" or size != len(body) - 5:
            return [_failed("invalid_argument", "promised another number of bytes")]
        self.asked.append(json.loads(body[5:]))
        turn = self.plan[0] if len(self.plan) == 1 else self.plan.pop(0)
        out: list[Any] = [
            {"heartbeat": {}},
            {"op": "set", "mask": "chat.lastRequest", "chat": {"id": "chat-1"}},
            {"op": "set", "mask": "message", "message": {"id": "m-1", "role": "assistant"}},
        ]
        if turn.thought:
            out.append(
                {"op": "set", "mask": "block.think", "block": {"think": {"content": turn.thought}}}
            )
        out += map(text, turn.pieces)
        sent = [envelope(value, packed=turn.packed) for value in out]
        if turn.raw or turn.cut:
            return [*sent, turn.raw]
        if turn.error is not None:
            return [*sent, _failed(turn.error["code"], turn.error["message"])]
        return [*sent, envelope({"done": {}}), envelope({"metadata": {}}, END, packed=turn.packed)]


def _failed(code: str, message: str) -> bytes:
    return envelope({"error": {"code": code, "message": message}}, END)


@asynccontextmanager
async def running(service: ConnectChat) -> AsyncIterator[str]:
    """Serve it; gives its URL."""
    async with listening(service.handle) as url:
        yield url
