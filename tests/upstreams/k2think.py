"""A site that behaves as k2think.ai is known to, its ugly sides included.

    POST /api/v1/auths/signin         email, password -> token, in the body, as a cookie, or both
    POST /api/chat/completions        one whole answer, tags in the text
    POST /api/guest/chat/completions  no login; a stream in which each chunk repeats all
    GET  /api/models

What comes without the cookie `token` meets the firewall: 405 and a page. Errors are FastAPI's
`{"detail": …}`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from engine.shell.stub import listening

MODEL = "MBZUAI-IFM/K2-Think-v2"
THOUGHT = "<think>They greet.</think>\n<answer>{}</answer>"
DETAILS = '<details type="reasoning" done="true"><summary>Thought</summary>They greet.</details>'

Told = Callable[[dict[str, Any]], str]


def echo(body: dict[str, Any]) -> str:
    last = body["messages"][-1]["content"]
    return THOUGHT.format(f"You said: {last}")


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass
class Site:
    """The site. Attributes may be changed while it runs.

    tells      where a login's token stands: cookie, json, both
    model      the name it knows its model by
    next       answers of the chat that come first: (status, body)
    refuses    people whose password it does not take; fails: logins it answers with 503
    go_on      what a guest's stream waits for before its last chunk
    usage      whether it tells usage
    logins, calls  by person; asked: bodies of chats; inside, most: logins at once
    """

    tells: str = "both"
    model: str = MODEL
    answer: Told = echo
    next: list[tuple[int, Any]] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)
    fails: int = 0
    delay: float = 0.0
    login_delay: float = 0.0
    lasts: float = 90_000.0
    usage: bool = True
    go_on: asyncio.Event = field(default_factory=_set)
    tokens: dict[str, str] = field(default_factory=dict)
    logins: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    asked: list[dict[str, Any]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    tried: int = 0
    inside: int = 0
    most: int = 0
    peers: set[Any] = field(default_factory=set)

    def expire(self, *people: str) -> None:
        """Their tokens are no longer good; those of all, if nobody is named."""
        self.tokens = {t: who for t, who in self.tokens.items() if people and who not in people}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.transport is not None:
            self.peers.add(request.transport.get_extra_info("peername"))
        road = {
            ("POST", "/api/v1/auths/signin"): self._signin,
            ("POST", "/api/chat/completions"): self._chat,
            ("POST", "/api/guest/chat/completions"): self._guest,
            ("GET", "/api/models"): self._models,
        }.get((request.method, request.path))
        if road is None:
            return web.json_response({"detail": "Not Found"}, status=404)
        return await road(request)

    async def _signin(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = json.loads(await request.read())
        self.tried += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await asyncio.sleep(self.login_delay)
        finally:
            self.inside -= 1
        who = asked["email"]
        if self.fails > 0:
            self.fails -= 1
            return web.json_response({"detail": "Service Unavailable"}, status=503)
        if who in self.refuses or asked["password"] != f"word of {who}":
            detail = "The email or password provided is incorrect."
            return web.json_response({"detail": detail}, status=400)
        self.logins[who] += 1
        token = self._token(who)
        told = {"id": who, "email": who}
        answer = web.json_response(told if self.tells == "cookie" else {**told, "token": token})
        if self.tells != "json":
            answer.set_cookie("token", token, httponly=True)
        return answer

    def _token(self, who: str) -> str:
        """A JWT as the site's: HS256, `id` and `exp`."""
        claims = {"id": who, "exp": int(time.time() + self.lasts), "n": self.logins[who]}
        parts = [{"alg": "HS256", "typ": "JWT"}, claims]
        coded = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in parts]
        token = b".".join([*coded, b"c2ln"]).decode()
        self.tokens[token] = who
        return token

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        body = json.loads(await request.read())
        cookie = request.cookies.get("token")
        if not cookie:
            return web.Response(status=405, text="<html>405</html>", content_type="text/html")
        self.heads.append(dict(request.headers))
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        who = self.tokens.get(bearer)
        if who is None or cookie != bearer:
            return web.json_response({"detail": "401 Unauthorized"}, status=401)
        self.calls[who] += 1
        self.asked.append(body)
        known = body["model"] == self.model
        await asyncio.sleep(self.delay)
        if self.next:
            status, told = self.next.pop(0)
            if isinstance(told, str):
                return web.Response(status=status, text=told)
            return web.json_response(told, status=status)
        if not known:
            return web.json_response({"detail": "Model not found"}, status=400)
        choice = {"message": {"role": "assistant", "content": self.answer(body)}, "index": 0}
        usage = {"prompt_tokens": 434, "completion_tokens": 173, "total_tokens": 607}
        whole = {"object": "chat.completion", "choices": [choice]}
        return web.json_response({**whole, "usage": usage} if self.usage else whole)

    async def _guest(self, request: web.BaseRequest) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.asked.append(body)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        whole = f"{DETAILS}<answer>You said: {body['messages'][-1]['content']}</answer>"
        for end in (len(DETAILS) - 20, len(DETAILS) + 4, len(DETAILS) + 12, len(whole)):
            chunk = {"choices": [{"delta": {"content": whole[:end]}}]}
            if end == len(whole):
                await self.go_on.wait()
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    async def _models(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"data": [{"id": self.model, "name": "K2", "owned_by": "MBZUAI"}]})


def people(count: int, password: str = "k2_password") -> str:
    """A file of accounts."""
    names = [f"p{number}@example.com" for number in range(count)]
    return "".join(json.dumps({"email": n, password: f"word of {n}"}) + "\n" for n in names)


@asynccontextmanager
async def running(site: Site, port: int = 0) -> AsyncIterator[str]:
    """Serve the site; gives its URL."""
    async with listening(site.handle, port=port) as url:
        yield url
