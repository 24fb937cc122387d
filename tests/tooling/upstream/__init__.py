"""Upstreams that say what a test's script tells them to, one for each dialect, behind one address.

They refuse what the real services refuse: calls without results, results without calls, and turns
whose thoughts do not come back as they went out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from . import chat, gemini, messages, ollama, plain, responses, rules
from .words import Body, Heard, Refused, Say, Script, Tongue, Turn, seal

__all__ = ["TONGUES", "Body", "Heard", "Say", "Script", "Upstream", "calling", "upstream"]

TONGUES: dict[str, Tongue] = {
    "chat": chat,
    "messages": messages,
    "responses": responses,
    "gemini": gemini,
    "ollama": ollama,
    "rules": rules,
    "plain": plain,
}


def calling(name: str, text: str = "", /, **arguments: object) -> Script:
    """Calls one tool, then says what it was told."""

    def script(heard: Heard) -> Say:
        if heard.results:
            return Say(f"It says: {heard.results[-1]}")
        return Say(text, ((name, json.dumps(arguments)),))

    return script


@dataclass
class Upstream:
    """asked: all requests. refused: why some were; left: answers that the gateway went away from.

    clients   names of tools that are none of the engine's: their turns come from the client
    """

    url: str = ""
    script: Script = lambda heard: Say("nothing")
    asked: list[Body] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    left: int = 0
    clients: frozenset[str] = frozenset({"own"})
    _seals: dict[str, str] = field(default_factory=dict)

    def reset(self) -> None:
        self.left = 0
        for kept in (self.asked, self.heard, self.refused, self._seals):
            kept.clear()

    def offered(self, at: int = -1) -> list[str]:
        """Names of the tools that a request offered."""
        return self.heard[at].offered

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        tongue = next(t for t in TONGUES.values() if re.fullmatch(t.PATH, request.path))
        body = json.loads(await request.content.read())
        self.asked.append(body)
        number = len(self.asked)
        try:
            heard = tongue.hear(body, request.path)
            self._check(heard, tongue)
        except Refused as refused:
            self.refused.append(str(refused))
            return web.json_response(tongue.refusal(400), status=400)
        self.heard.append(heard)
        say = self.script(heard)
        if say.status != 200:
            return web.json_response(tongue.refusal(say.status), status=say.status)
        if say.thought:
            self._seals |= dict.fromkeys(say.ids(number), seal(number))
        try:
            return await self._say(request, tongue, heard, say, number)
        except (asyncio.CancelledError, ConnectionError):
            self.left += 1
            raise

    def _check(self, heard: Heard, tongue: Tongue) -> None:
        for turn in heard.turns:
            for wanted in self._wanted(turn):
                if wanted not in turn.seals:
                    raise Refused(f"the thought {wanted} is missing before its call")

    def _wanted(self, turn: Turn) -> Iterator[str]:
        """Seals that have to come back with a turn that never was the client's."""
        if any(name in self.clients for _, name in turn.calls):
            return
        for ident, _ in turn.calls:
            if ident in self._seals:
                yield self._seals[ident]

    async def _say(
        self, request: web.BaseRequest, tongue: Tongue, heard: Heard, say: Say, number: int
    ) -> web.StreamResponse:
        while say.silent:
            await asyncio.sleep(1)
        if heard.stream:
            return await self._stream(request, list(tongue.frames(say, number)), say)
        whole = tongue.whole(say, number)
        text = whole if isinstance(whole, str) else json.dumps(whole)
        if not (say.cut or say.endless):
            return web.Response(text=text, content_type="application/json")
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        answer.content_length = len(text.encode())
        await answer.prepare(request)
        await answer.write(text.encode()[:-20])
        await self._break(request, say, answer, b"")
        return answer

    async def _stream(
        self, request: web.BaseRequest, frames: list[str], say: Say
    ) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for frame in frames:
            await answer.write(frame.encode())
            if (say.cut or say.endless) and say.pieces[0] in frame:
                await self._break(request, say, answer, frame.encode())
                break
        else:
            await answer.write_eof()
        return answer

    async def _break(
        self, request: web.BaseRequest, say: Say, answer: web.StreamResponse, more: bytes
    ) -> None:
        while say.endless:
            await asyncio.sleep(0.02)
            if more:
                await answer.write(more)
        assert request.transport is not None
        await asyncio.sleep(0.05)
        request.transport.abort()


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    behind = Upstream()
    server = web.Server(behind.answer, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    behind.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield behind
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await runner.cleanup()
