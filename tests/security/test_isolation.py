"""Nobody gets what belongs to somebody else: answers, cookies, connections, values."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import web

from tests.security.stage import GOOD, Echo, Received, staged

KEYS = [f"sk-owner-{number}-w8Zt3KpQ" for number in range(4)]
SESSIONS = ("", "one", "two", "three")
ROUTE = """
version: 1
base_url: %URL%
models: [{name}]
auth: {{ from: {{ client_key: true }}, bearer: '{{{{ account.key }}}}' }}
upstream: {{ cookies: {cookies} }}
session: {{ key: [req.user] }}
request:
  path: /talk
  json: {{ owner: '{{{{ req.prompt }}}}', stream: '{{{{ req.stream }}}}' }}
stream:
  done: '[DONE]'
  events: [ {{ text: '$.choices[0].delta.content' }} ]
response: {{ events: [ {{ text: '$.choices[0].message.content' }} ] }}
"""
DIALECT = """
version: 1
base_url: %URL%
dialect: openai_chat
models: [{name}]
auth: {{ from: {{ client_key: true }}, bearer: '{{{{ account.key }}}}' }}
upstream: {{ cookies: {cookies} }}
"""
POISON = "stolen by poison"


class Town(Echo):
    """Says back who asks, what key and which cookie came; spoils some of its connections."""

    def __init__(self) -> None:
        super().__init__(answer=self.say)
        self.count = 0

    async def say(self, request: web.BaseRequest, got: Received) -> web.StreamResponse:
        body = got.json
        owner = body.get("owner") or body["messages"][-1]["content"]
        heads = {name.lower(): value for name, value in got.headers}
        said = {"owner": owner, "key": heads["authorization"][7:], "jar": heads.get("cookie", "")}
        self.count += 1
        spoils = self.count % 7 == 0
        await asyncio.sleep(0.001 * (self.count % 5))
        headers = {"Set-Cookie": f"owner={owner.replace(' ', '_')}; Path=/"}
        response = await self.tell(request, body.get("stream"), json.dumps(said), headers)
        if spoils and request.transport is not None:
            text = json.dumps({**GOOD, "choices": [_choice(POISON)]})
            head = (
                f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}"
            )
            request.transport.write(f"{head}\r\n\r\n{text}".encode())
        return response

    async def tell(
        self, request: web.BaseRequest, streams: object, text: str, headers: dict[str, str]
    ) -> web.StreamResponse:
        if not streams:
            whole = web.json_response({**GOOD, "choices": [_choice(text)]}, headers=headers)
            await whole.prepare(request)
            await whole.write_eof()
            return whole
        response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
            delta = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
            chunk = {**GOOD, "object": "chat.completion.chunk", "choices": [delta]}
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
        last = {**GOOD, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        await response.write(f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())
        await response.write_eof()
        return response


def _choice(text: str) -> dict[str, object]:
    return {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}


def spoken(answer: str) -> str:
    """The text of an answer, streamed or whole."""
    body = answer.partition("\n\n")[2]
    if body.startswith("{"):
        return str(json.loads(body)["choices"][0]["message"]["content"])
    frames = [line[6:] for line in body.splitlines() if line.startswith("data: {")]
    chunks = [json.loads(frame) for frame in frames]
    return "".join(
        c["choices"][0]["delta"].get("content") or "" for c in chunks if c.get("choices")
    )


Owner = tuple[str, ...]
# May a request see the cookie of another one? Owners are (route, key number, session, request).
SHARED: dict[str, Callable[[Owner, Owner], bool]] = {
    "none": lambda mine, other: False,
    "route": lambda mine, other: mine[0] == other[0],
    "account": lambda mine, other: mine[:2] == other[:2],
    "session": lambda mine, other: mine[:3] == other[:3] and mine[2] != "-",
}


@pytest.mark.timeout(90)
async def test_two_thousand_requests_and_nobody_meets_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {f"r-{c}": ROUTE.format(name=f"r-{c}", cookies=c) for c in SHARED}
    dialects = ("none", "route", "account")
    texts |= {f"d-{c}": DIALECT.format(name=f"d-{c}", cookies=c) for c in dialects}
    random, town = Random(7), Town()
    names = sorted(texts)
    gate, crossings, cookies = asyncio.Semaphore(40), [], set()
    async with staged(
        tmp_path,
        monkeypatch,
        texts,
        echo=town,
        overrides={"clients.keys": KEYS, "log.level": "error"},
    ) as on:

        async def one(number: int) -> None:
            name, key = random.choice(names), random.randrange(len(KEYS))
            session = random.choice(SESSIONS)
            owner = f"{name} {key} {session or '-'} {number}"
            async with gate:
                more: dict[str, Any] = {"user": session} if session else {}
                status, answer = await on.ask(
                    name, owner, key=KEYS[key], stream=bool(number % 2), **more
                )
            said = json.loads(spoken(answer)) if status == 200 else {}
            jar = said.get("jar", "").removeprefix("owner=").split("_")
            mine = tuple(owner.split())
            allowed = len(jar) == 1 or SHARED[name.partition("-")[2]](mine, tuple(jar))
            if len(jar) > 1:
                cookies.add(name)
            if (said.get("owner"), said.get("key")) != (owner, KEYS[key]) or not allowed:
                crossings.append((owner, status, answer[-300:]))

        await asyncio.gather(*(one(number) for number in range(2000)))
    assert crossings == []
    assert cookies == {name for name in names if not name.endswith("none")}
    assert town.count >= 2000
