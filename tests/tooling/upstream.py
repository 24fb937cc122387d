"""An upstream that speaks Chat Completions and says what a test's script tells it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Body = dict[str, Any]


@dataclass
class Say:
    """One answer. calls: (name, arguments); cut: the connection breaks off behind the text."""

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    status: int = 200
    cut: bool = False
    finish: str = ""

    @property
    def reason(self) -> str:
        return self.finish or ("tool_calls" if self.calls else "stop")


Script = Callable[[Body], Say]


def results(body: Body) -> list[str]:
    """What came of the calls so far, as the upstream is told."""
    return [turn["content"] for turn in body["messages"] if turn["role"] == "tool"]


def calling(name: str, text: str = "", /, **arguments: object) -> Script:
    """Calls one tool, then says what it was told."""

    def script(body: Body) -> Say:
        told = results(body)
        if told:
            return Say(f"It says: {told[-1]}")
        return Say(text, ((name, json.dumps(arguments)),))

    return script


@dataclass
class Upstream:
    url: str = ""
    script: Script = lambda body: Say("nothing")
    asked: list[Body] = field(default_factory=list)

    def offered(self, at: int = -1) -> list[str]:
        """Names of the tools that a request offered."""
        return [tool["function"]["name"] for tool in self.asked[at].get("tools", [])]

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        _check(body["messages"])
        say = self.script(body)
        if say.status != 200:
            error = {"message": "scripted", "type": "x", "code": None}
            return web.json_response({"error": error}, status=say.status)
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        if body.get("stream"):
            return await self._stream(request, say, usage)
        message: Body = {"role": "assistant", "content": say.text or None}
        if say.calls:
            message["tool_calls"] = self._calls(say)
        choice = {"index": 0, "message": message, "finish_reason": say.reason}
        whole = {
            "id": "c1", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [choice], "usage": usage,
        }  # fmt: skip
        return web.json_response(whole)

    def _calls(self, say: Say) -> list[Body]:
        return [
            {
                "id": f"call_{len(self.asked)}_{at}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for at, (name, arguments) in enumerate(say.calls)
        ]

    async def _stream(self, request: web.Request, say: Say, usage: Body) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)

        async def send(delta: Body, finish: str | None = None, **more: object) -> None:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            chunk = {
                "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                "choices": [choice], **more,
            }  # fmt: skip
            await answer.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

        for at in range(0, len(say.text), 7):
            await send({"role": "assistant", "content": say.text[at : at + 7]})
        if say.cut:
            assert request.transport is not None
            await asyncio.sleep(0.05)
            request.transport.abort()
            return answer
        for at, call in enumerate(self._calls(say)):
            head = {"name": call["function"]["name"], "arguments": ""}
            await send({"tool_calls": [{**call, "index": at, "function": head}]})
            rest = {"arguments": call["function"]["arguments"]}
            await send({"tool_calls": [{"index": at, "function": rest}]})
        await send({}, say.reason)
        await send({}, usage=usage)
        await answer.write(b"data: [DONE]\n\n")
        await answer.write_eof()
        return answer


def _check(messages: list[Body]) -> None:
    """As the API does: every call has its result behind it, and no result lacks its call."""
    owed: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            owed.remove(message["tool_call_id"])
            continue
        assert not owed, f"calls without results: {owed}"
        owed = [call["id"] for call in message.get("tool_calls") or []]
    assert not owed, f"calls without results: {owed}"


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    behind = Upstream()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", behind.chat)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    behind.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield behind
    finally:
        await runner.cleanup()
