"""Services that behave as iFlow's were known to, before they closed; their ugly sides included.

    GET  /oauth                       agrees at once and goes back with a code
    POST /oauth/token                 codes and refresh tokens, each good once; Basic or form
    GET  /api/oauth/getUserInfo       an access token for the key that calls the model
    GET  /v1/models                   few, unless the client calls itself iFlow-Cli
    POST /v1/chat/completions         wants both headers and a signature, else 406

Refusals come with status 200; answers are gzip that no header tells, lines end in CRLF.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

from aiohttp import web

from engine.shell.stub import listening

BUSY = {"success": False, "code": "500", "message": "当前找我聊的人太多了", "data": None}
BLOCKED = {
    "status": "434",
    "msg": "Invalid apiKey，get your apiKey: https://iflow.cn/",
    "body": None,
}
AGENT = "iFlow-Cli"


def signature(key: str, session: str, stamp: str) -> str:
    """The test vector of the signature is in the tests."""
    text = f"{AGENT}:{session}:{stamp}"
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


@dataclass
class Iflow:
    """The services. Attributes may be changed while they run.

    keys      API keys that are good; blocked: those that are answered with status 434
    lifetime  seconds of an access token
    busy      refreshes that are refused with status 200; keyless: exchanges that fail
    parts     what the answers of one question say, each but the last cut off for its length
    call      arguments for the tool `weather`, which streams call; first: (tool, arguments) of the
              first streams, one each
    next      (status, body) of chats that come first
    asked, heads  chats; refreshed: refresh tokens that were spent
    """

    keys: set[str] = field(default_factory=lambda: {"sk-test-0000"})
    blocked: set[str] = field(default_factory=set)
    lifetime: int = 172_800
    busy: int = 0
    keyless: int = 0
    parts: list[str] = field(default_factory=lambda: ["Good day."])
    think: str = "They greet."
    call: dict[str, Any] | None = None
    first: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    packed: bool = False
    breaks: bool = False
    signs: bool = True
    next: list[tuple[int, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    refreshed: list[str] = field(default_factory=list)
    refreshers: set[str] = field(default_factory=lambda: {"rt-1"})
    codes: set[str] = field(default_factory=set)
    pages: list[dict[str, str]] = field(default_factory=list)
    tokens: int = 1
    exchanged: int = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        road = {
            "/oauth": self._page,
            "/oauth/token": self._token,
            "/api/oauth/getUserInfo": self._user,
            "/v1/models": self._models,
            "/v1/chat/completions": self._chat,
        }.get(request.path)
        return web.Response(status=404) if road is None else await road(request)

    # ---- the login ----

    async def _page(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = dict(request.query)
        self.pages.append(asked)
        code = f"code-{len(self.pages)}"
        self.codes.add(code)
        back = f"{asked['redirect']}?{urlencode({'code': code, 'state': asked['state']})}"
        return web.Response(status=302, headers={"Location": back})

    async def _token(self, request: web.BaseRequest) -> web.StreamResponse:
        form = {
            name: values[0] for name, values in parse_qs((await request.read()).decode()).items()
        }
        if not request.headers.get("Authorization", "").startswith("Basic "):
            return web.json_response({"error": "invalid_client"}, status=401)
        if form["grant_type"] == "authorization_code":
            good = form["code"] in self.codes
            self.codes.discard(form["code"])
        else:
            if self.busy > 0:
                self.busy -= 1
                return web.json_response(BUSY)
            good = form["refresh_token"] in self.refreshers
            self.refreshers.discard(form["refresh_token"])
            self.refreshed.append(form["refresh_token"])
        if not good:
            return web.json_response({"error": "invalid_grant"}, status=400)
        self.tokens += 1
        self.refreshers.add(f"rt-{self.tokens}")
        return web.json_response(
            {
                "access_token": f"at-{self.tokens}", "refresh_token": f"rt-{self.tokens}",
                "token_type": "bearer", "scope": "", "expires_in": self.lifetime,
            }
        )  # fmt: skip

    async def _user(self, request: web.BaseRequest) -> web.StreamResponse:
        self.exchanged += 1
        if self.keyless > 0:
            self.keyless -= 1
            return web.json_response(BUSY)
        key = f"sk-of-{request.query['accessToken']}"
        self.keys.add(key)
        return web.json_response({"success": True, "data": {"apiKey": key, "email": "a@b.example"}})

    # ---- the model ----

    async def _models(self, request: web.BaseRequest) -> web.StreamResponse:
        names = ["glm-4.6"] + ["iflow-rome-30ba3b"] * (request.headers.get("User-Agent") == AGENT)
        return web.json_response({"data": [{"id": name} for name in names]})

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        body = json.loads(await request.read())
        heads = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(body)
        self.heads.append(heads)
        key = heads.get("authorization", "").removeprefix("Bearer ")
        said = signature(key, heads.get("session-id", ""), heads.get("x-iflow-timestamp", ""))
        if self.signs and heads.get("x-iflow-signature") != said:
            return web.Response(status=406)
        if self.next:
            status, told = self.next.pop(0)
            if isinstance(told, bytes):
                return web.Response(status=status, body=told, content_type="application/json")
            return web.json_response(told, status=status)
        if key in self.blocked or key not in self.keys or heads.get("x-api-key") != key:
            return web.json_response(BLOCKED)
        part = min(self._part(body), len(self.parts) - 1)
        finish = "stop" if part == len(self.parts) - 1 else "length"
        if body.get("stream"):
            return await self._stream(request, part, finish)
        message = {
            "role": "assistant",
            "content": self.parts[part],
            "reasoning_content": self.think,
        }
        choice = {"index": 0, "message": message, "finish_reason": finish}
        whole = {
            "id": f"c{part}",
            "object": "chat.completion",
            "choices": [choice],
            "usage": _usage(part),
        }
        data = json.dumps(whole).encode()
        data = gzip.compress(data) if self.packed else data
        return web.Response(body=data, content_type="application/json")

    def _part(self, body: dict[str, Any]) -> int:
        """How much of the answer the conversation already holds."""
        last = body["messages"][-1]
        said = last["content"] if last["role"] == "assistant" else ""
        return next((n for n in range(len(self.parts)) if said == "".join(self.parts[:n])), 0)

    async def _stream(self, request: web.BaseRequest, part: int, finish: str) -> web.StreamResponse:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "reasoning_content": self.think}]
        deltas += [{"content": self.parts[part]}]
        call = ("weather", self.call) if self.call is not None else None
        call = self.first.pop(0) if self.first else call
        if call is not None:
            text, finish = json.dumps(call[1]), "tool_calls"
            deltas[1:] = [
                {"tool_calls": [{"index": 0, "id": f"c{len(self.asked)}", "type": "function",
                                 "function": {"name": call[0], "arguments": text[:4]}}]},
                {"tool_calls": [{"index": 0, "function": {"arguments": text[4:]}}]},
            ]  # fmt: skip
        head = {"id": f"c{part}", "object": "chat.completion.chunk", "created": 1, "model": "x"}
        chunks: list[Any] = [
            {**head, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas
        ]
        chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        chunks.append({**head, "choices": [], "usage": _usage(part)})
        if self.breaks:
            chunks[2:] = [{"error": {"message": "broken in the middle"}}]
        lines = [f"data: {json.dumps(chunk)}\r\n\r\n" for chunk in chunks] + [
            "data: [DONE]\r\n\r\n"
        ]
        data = "".join(lines).encode()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        data = gzip.compress(data) if self.packed else data
        for at in range(0, len(data), 97):
            await response.write(data[at : at + 97])
            await asyncio.sleep(0)
        await response.write_eof()
        return response


def _usage(part: int) -> dict[str, int]:
    return {"prompt_tokens": 5 + part, "completion_tokens": 3, "total_tokens": 8 + part}


@asynccontextmanager
async def running(service: Iflow) -> AsyncIterator[str]:
    """Serve them; gives their URL."""
    async with listening(service.handle) as url:
        yield url
