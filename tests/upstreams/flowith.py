"""A service that behaves as flowith's knowledge API is known to, over real sockets.

    POST /external/use/knowledge-base/seek     {messages, model, stream, kb_list}; Bearer token
    GET  /external/use/knowledge-base/models   {"models": [...], "count": n}

Streams are `data:` blocks sent as text/plain: `searching`, `seeds`, then one `final` per delta,
then `[DONE]`, tagged or bare. More than 12 calls of a token within a minute are 429. How
refusals are worded is not known: the words are ours, as JSON for 4xx, else as text.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from engine.shell.stub import listening

TOKENS = ("flo_" + "a1" * 32, "flo_" + "b2" * 32, "flo_" + "c3" * 32)
MODELS = ["gpt-4.1", "claude-sonnet-4", "gemini-2.5-pro"]
ROLES = ("system", "user", "assistant")
WINDOW, LIMIT = 60.0, 12
SEED = {
    "id": "7d1f", "tokens": 12, "content": "Paris is the capital of France.", "order": 1,
    "source_id": "s-1", "source_title": "Atlas", "nip": False,
}  # fmt: skip
Cut = Literal["whole", "between", "bytes"]
# What an answer may be instead of a good one.
Mood = int | Literal[
    "empty", "nothing", "stall", "stall-inside", "stall-body", "reset", "page", "silent-end"
]  # fmt: skip


@dataclass
class Seen:
    """A question as it came."""

    token: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(turn["role"], turn["content"]) for turn in self.body["messages"]]


@dataclass
class Flowith:
    """The service. Attributes may be changed while it runs.

    answer      the deltas of an answer to a question
    moods       what the next questions get, one each; then good answers
    refused     token -> the status it always gets
    cut         how the bytes of a stream are parted: not, between the two newlines, one by one
    tagged      whether the end marker is a `final` or stands bare
    content     the content type of streams and of whole answers
    pause       seconds between events
    path        where it answers; listed_at: where it lists models, if not there
    fields      the name of the text in a whole answer
    """

    answer: Callable[[Seen], list[str]] = lambda seen: ["You said: ", seen.said[-1][1]]
    moods: deque[Mood] = field(default_factory=deque)
    refused: dict[str, int] = field(default_factory=dict)
    models: list[str] = field(default_factory=lambda: list(MODELS))
    cut: Cut = "between"
    tagged: bool = True
    content: str = "text/plain; charset=UTF-8"
    pause: float = 0.0
    path: str = "/external/use/knowledge-base"
    fields: str = "content"
    listed_at: str = ""
    limit: int = LIMIT
    asked: list[Seen] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    _calls: dict[str, deque[float]] = field(default_factory=dict)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if (request.method, request.path) == ("GET", f"{self.listed_at or self.path}/models"):
            self.listed.append(token)
            status = self._status(token)
            if status != 200:
                return _refusal(status)
            return web.json_response({"models": self.models, "count": len(self.models)})
        if (request.method, request.path) != ("POST", f"{self.path}/seek"):
            return web.Response(status=404, text="<h1>404</h1>", content_type="text/html")
        seen = Seen(token, dict(request.headers), json.loads(await request.read()))
        self.asked.append(seen)
        fault = _fault(seen)
        status = 400 if fault else self._status(token)
        return _refusal(status, fault) if status != 200 else await self._answer(request, seen)

    def forget(self) -> None:
        """The minute is over."""
        self._calls.clear()

    def _status(self, token: str) -> int:
        if token not in TOKENS:
            return 401
        calls, now = self._calls.setdefault(token, deque()), time.monotonic()
        while calls and now - calls[0] >= WINDOW:
            calls.popleft()
        calls.append(now)
        return 429 if len(calls) > self.limit else self.refused.get(token, 200)

    async def _answer(self, request: web.BaseRequest, seen: Seen) -> web.StreamResponse:
        mood = self.moods.popleft() if self.moods else None
        if isinstance(mood, int):
            return _refusal(mood)
        if mood == "page":
            return web.Response(status=502, text="<html>Bad gateway", content_type="text/html")
        if mood == "nothing":
            return web.Response(text="", content_type="text/plain")
        if mood == "stall":
            await asyncio.sleep(3600)
        pieces = [] if mood == "empty" else self.answer(seen)
        if seen.body["stream"]:
            return await self._stream(request, pieces, mood)
        return await self._whole(request, pieces, mood)

    async def _whole(
        self, request: web.BaseRequest, pieces: list[str], mood: str | None
    ) -> web.StreamResponse:
        kind = "application/json" if self.content.startswith("text/plain") else self.content
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        body = json.dumps({"tag": "final", self.fields: "".join(pieces)}).encode()
        await response.write(body[:10])
        if mood == "stall-body":
            await asyncio.sleep(3600)
        await response.write(body[10:])
        await response.write_eof()
        return response

    async def _stream(
        self, request: web.BaseRequest, pieces: list[str], mood: str | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": self.content})
        await response.prepare(request)
        for number, block in enumerate(self._blocks(pieces, ended=mood != "silent-end")):
            if number == 3 and mood in ("stall-inside", "reset"):
                if mood == "stall-inside":
                    await asyncio.sleep(3600)
                assert request.transport is not None
                request.transport.abort()
                return response
            for part in self._parts(block):
                await response.write(part)
                await asyncio.sleep(0)  # else parts travel together
            await asyncio.sleep(self.pause)
        await response.write_eof()
        return response

    def _blocks(self, pieces: list[str], *, ended: bool) -> list[bytes]:
        events: list[Any] = [{"tag": "searching", "content": "Searching the knowledge base"}]
        events.append({"tag": "seeds", "content": [SEED]})
        events += [{"tag": "final", "content": piece} for piece in pieces]
        blocks = [f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events]
        end = 'data: {"tag":"final","content":"[DONE]"}\n\n' if self.tagged else "data: [DONE]\n\n"
        return [block.encode() for block in (*blocks, *([end] if ended else []))]

    def _parts(self, block: bytes) -> list[bytes]:
        if self.cut == "bytes":
            return [bytes([byte]) for byte in block]
        return [block[:-1], block[-1:]] if self.cut == "between" else [block]


def _fault(seen: Seen) -> str:
    """What is wrong with a question: knowledge bases and plain turns are mandatory."""
    known, turns = seen.body.get("kb_list"), seen.body.get("messages")
    if not isinstance(known, list) or not known or not all(map(_is_uuid, known)):
        return "kb_list is required"
    if not turns or not all(isinstance(turn["content"], str) for turn in turns):
        return "messages are required"
    strange = [turn["role"] for turn in turns if turn["role"] not in ROLES]
    if strange:
        return f"unknown role {strange[0]}"
    if not _is_uuid(seen.headers.get("X-Request-ID")):
        return "X-Request-ID is required"
    wanted = "text/event-stream" if seen.body["stream"] else "application/json"
    return "" if seen.headers.get("Accept") == wanted else "not acceptable"


def _is_uuid(text: object) -> bool:
    try:
        return str(uuid.UUID(str(text))) == text
    except ValueError:
        return False


def _refusal(status: int, why: str = "") -> web.Response:
    why = why or f"refused with {status}"
    if status >= 500:
        return web.Response(status=status, text=why, content_type="text/plain")
    return web.json_response({"error": why}, status=status)


@asynccontextmanager
async def running(site: Flowith) -> AsyncIterator[str]:
    """Serve it; gives its URL."""
    async with listening(site.handle) as url:
        yield url


def numbered(*texts: str) -> Callable[[Seen], list[str]]:
    """Answers in turn, each as one delta; the last one for ever."""
    left = itertools.chain(texts, itertools.repeat(texts[-1]))
    return lambda seen: [next(left)]
