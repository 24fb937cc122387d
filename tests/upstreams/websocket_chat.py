"""A chat over a websocket, as the pattern of the route `websocket-chat` has it.

    POST   /c/api/conversations        DELETE /c/api/conversations/{id}
    GET    /c/api/chat                 the websocket

It greets, and what is said before it has greeted is a mistake, as is a ping or a challenge that
nobody answers. Each turn of `plan` is what it does for one question; the last one is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from engine.shell.stub import listening

CONVERSATIONS = "/c/api/conversations"


@dataclass
class Turn:
    """What it does with one question.

    status   of the upgrade; 101 takes it, 0 leaves it unanswered
    close    (code, reason) after `pieces`; None: the answer is finished
    end      instead of that: `abort` breaks off, `stall` says nothing any more
    """

    pieces: tuple[str, ...] = ("Good ", "day.")
    thought: str = ""
    status: int = 101
    close: tuple[int, str] | None = None
    error: dict[str, str] | None = None
    end: str = ""
    raw: bytes = b""  # bytes on the wire in place of a frame


@dataclass
class WebsocketChat:
    """The service. told: what was said in each conversation; mistakes: of its caller."""

    plan: list[Turn] = field(default_factory=lambda: [Turn()])
    told: dict[str, list[str]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    closed: list[int | None] = field(default_factory=list)
    upgrades: list[web.BaseRequest] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    made: int = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == CONVERSATIONS:
            self.made += 1
            self.told[f"c{self.made}"] = []
            return web.json_response({"id": f"c{self.made}"})
        if request.method == "DELETE":
            self.deleted.append(request.path.rpartition("/")[2])
            return web.Response(status=204)
        self.upgrades.append(request)
        turn = self.plan[0] if len(self.plan) == 1 else self.plan.pop(0)
        if turn.status == 0:
            await asyncio.sleep(30)
        if turn.status != 101:
            headers = {"Retry-After": "0"}
            return web.json_response({"message": "no way"}, status=turn.status, headers=headers)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await self._talk(socket, request, turn)
        self.closed.append(socket.close_code)
        return socket

    async def _talk(
        self, socket: web.WebSocketResponse, request: web.BaseRequest, turn: Turn
    ) -> None:
        with contextlib.suppress(TimeoutError):
            early = await socket.receive(timeout=0.02)
            self.mistakes.append(f"{early.data} was said before the greeting")
        await socket.send_json({"event": "connected", "requestId": "r-1"})
        await self._expect(socket, {"event": "setOptions", "requestId": "r-1"})
        asked = await self._heard(socket)
        name = asked.get("conversationId", "")
        if name not in self.told:
            await self._fail(socket, "conversation-not-found", f"no conversation {name}")
            return
        self.told[name].append(asked["content"][0]["text"])
        await self._challenge(socket)
        await self._answer(socket, request, turn)

    async def _challenge(self, socket: web.WebSocketResponse) -> None:
        await socket.send_json({"event": "ping"})
        await self._expect(socket, {"event": "pong"})
        await socket.send_json({"event": "challenge", "method": "hashed", "parameter": "p-1"})
        token = hashlib.sha256(b"p-1").hexdigest()
        await self._expect(socket, {"event": "challengeResponse", "token": token})

    async def _answer(
        self, socket: web.WebSocketResponse, request: web.BaseRequest, turn: Turn
    ) -> None:
        await socket.send_json({"event": "startMessage", "messageId": "m1"})
        if turn.thought:
            await socket.send_json({"event": "chainOfThought", "text": turn.thought})
        for piece in turn.pieces:
            await socket.send_json({"event": "appendText", "text": piece})
        assert request.transport is not None
        if turn.raw:
            request.transport.write(turn.raw)
        elif turn.error is not None:
            await self._fail(socket, turn.error["errorCode"], turn.error["message"])
            return
        elif turn.close is not None:
            await socket.close(code=turn.close[0], message=turn.close[1].encode())
        elif turn.end == "abort":
            await asyncio.sleep(0.05)
            request.transport.abort()
        elif not turn.end:
            await socket.send_json({"event": "done", "messageId": "m1"})
        while not socket.closed:
            await socket.receive()

    async def _fail(self, socket: web.WebSocketResponse, code: str, message: str) -> None:
        await socket.send_json({"event": "error", "errorCode": code, "message": message})
        while not socket.closed:
            await socket.receive()

    async def _heard(self, socket: web.WebSocketResponse) -> dict[str, Any]:
        message = await socket.receive()
        if message.type is not WSMsgType.TEXT:
            self.mistakes.append(f"{message.type.name} instead of a text")
            return {}
        found = json.loads(message.data)
        assert isinstance(found, dict)
        return found

    async def _expect(self, socket: web.WebSocketResponse, wanted: dict[str, Any]) -> None:
        heard = await self._heard(socket)
        if heard != wanted:
            self.mistakes.append(f"{heard} instead of {wanted}")


@asynccontextmanager
async def running(service: WebsocketChat) -> AsyncIterator[str]:
    """Serve it; gives its URL."""
    async with listening(service.handle) as url:
        yield url
