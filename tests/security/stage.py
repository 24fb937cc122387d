"""A gateway in front of an upstream that repeats whatever it is sent: the stage of these tests.

The upstream answers as the last user message says (`mode:NAME`); every answer that is an error
holds the request's own credentials: in its body, its headers and its stream.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web

from engine.shell.app import Gateway, gateway
from engine.shell.settings import Settings, load_settings
from engine.shell.shelf import Shelf

KEY = "sk-stage-client-Q7vX2mN9"
CHAT = "/v1/chat/completions"
HELD = 60.0  # seconds of an upstream's silence, longer than anybody waits for it


@dataclass
class Received:
    """One request as it came to the upstream."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def whole(self) -> str:
        """Everything of it, as one text."""
        lines = [f"{self.method} {self.target}", *(f"{n}: {v}" for n, v in self.headers)]
        return "\n".join([*lines, "", self.body.decode("utf-8", "replace")])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[[web.BaseRequest, Received], Awaitable[web.StreamResponse]]


@dataclass
class Echo:
    """The upstream. `asked` are the requests it got; `answer` may replace its answers."""

    asked: list[Received] = field(default_factory=list)
    answer: Answer | None = None
    url: str = ""
    port: int = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        pairs = [(name.decode(), value.decode("latin-1")) for name, value in request.raw_headers]
        received = Received(request.method, request.raw_path, pairs, body)
        self.asked.append(received)
        return await (self.answer or self.respond)(request, received)

    async def respond(self, request: web.BaseRequest, got: Received) -> web.StreamResponse:
        """As the body says."""
        hit = re.search(rb"mode:(\w+)", got.body)
        return await answer_as(hit[1].decode() if hit else "good", request, got)


def saying(said: object) -> Answer:
    """An answer that is the same whatever was asked."""

    async def answer(request: web.BaseRequest, got: Received) -> web.StreamResponse:
        return web.json_response(said)

    return answer


GOOD = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "fine"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
STATUSES = (400, 401, 402, 403, 404, 413, 422, 429, 500, 503, 529)
MODES = (
    "good", *(f"status{status}" for status in STATUSES), "text401", "quoted401", "long401",
    "page500", "notjson", "empty", "nothing", "cut", "redirect", "first", "within", "garbage",
    "hangup", "slow",
)  # fmt: skip


async def answer_as(mode: str, request: web.BaseRequest, got: Received) -> web.StreamResponse:
    echo = f"refused: {got.whole}"
    headers = {"x-echo": quote(got.whole, safe=" :/=,;"), "www-authenticate": _one_line(got.whole)}
    if mode.startswith("status"):
        body = json.dumps({"error": {"message": echo, "code": _words(got.whole, -400)}})
        kind = "application/json"
        return web.Response(
            status=int(mode[6:]), text=body, content_type=kind, headers=_short(headers)
        )
    whole = {
        "text401": lambda: web.Response(status=401, text=_words(got.whole, 290)),
        "quoted401": lambda: web.json_response({"error": quote(got.whole)}, status=403),
        "long401": lambda: web.json_response({"message": _padded(got)}, status=403),
        "page500": lambda: web.Response(status=500, text=f"<html>{echo}", content_type="text/html"),
        "notjson": lambda: web.Response(text=echo),
        "empty": lambda: web.Response(text=""),
        "nothing": lambda: web.Response(status=204),
        "redirect": lambda: web.Response(status=302, headers={"Location": f"/?{quote(echo)}"}),
    }
    if mode in whole:
        return whole[mode]()
    if mode == "hangup":
        assert request.transport is not None
        request.transport.abort()
        await asyncio.sleep(1)
    if mode == "slow":
        await asyncio.sleep(HELD)
    if b'"stream":true' in got.body.replace(b" ", b""):
        return await _stream(mode, request, echo)
    if mode in ("first", "within", "garbage"):
        return web.json_response({"error": {"message": echo}})
    text = json.dumps(GOOD)
    return web.Response(text=text[:60] if mode == "cut" else text, content_type="application/json")


async def _stream(mode: str, request: web.BaseRequest, echo: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    error = {"error": {"message": echo, "type": "server_error", "code": None}}
    delta: dict[str, Any] = {"index": 0, "delta": {"role": "assistant", "content": "fine"}}
    piece = {
        **GOOD,
        "object": "chat.completion.chunk",
        "choices": [{**delta, "finish_reason": None}],
    }
    last = {**piece, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    frames: dict[str, list[object]] = {
        "first": [error],
        "within": [piece, error],
        "garbage": [piece, f"]{echo}"],
        "cut": [piece],
    }
    for frame in frames.get(mode, [piece, last, "[DONE]"]):
        text = frame if isinstance(frame, str) else json.dumps(frame)
        await response.write(f"data: {_one_line(text)}\n\n".encode())
    await response.write_eof()
    return response


def _one_line(text: str) -> str:
    return re.sub(r"[\r\n]+", " ", text)


def _words(text: str, length: int) -> str:
    """So many characters of it, or the last ones; an upstream that cuts a secret in two hides it
    from anybody who would look for it."""
    words, out = _one_line(text).split(), ""
    while words and len(out) < abs(length):
        out = f"{out} {words.pop(0)}" if length > 0 else f"{words.pop()} {out}"
    return out


def _short(headers: dict[str, str]) -> dict[str, str]:
    return {
        name: _words(value, 4000).encode("ascii", "replace").decode()
        for name, value in headers.items()
    }


def _padded(got: Received) -> str:
    """The last 30 characters of a credential lie beyond the 500th character of the message."""
    words = re.findall(r"cnry\S{20,}", got.whole)
    return ("because " * 80)[:480] + (f" {words[0]}" if words else "")


@dataclass
class Staged:
    """What runs, and what it wrote."""

    gateway: Gateway
    echo: Echo
    settings: Settings
    written: io.BytesIO
    session: aiohttp.ClientSession

    async def ask(
        self,
        model: str,
        content: str,
        *,
        stream: bool = False,
        key: str = KEY,
        headers: Mapping[str, str] | None = None,
        **more: object,
    ) -> tuple[int, str]:
        """Status and everything else of an answer: its headers and its body."""
        body = {"model": model, "stream": stream, **more}
        body.setdefault("messages", [{"role": "user", "content": content}])
        sent = {"Authorization": f"Bearer {key}", **(headers or {})}
        return await self.call("POST", CHAT, json.dumps(body).encode(), sent)

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | list[tuple[str, str]] | None = None,
    ) -> tuple[int, str]:
        url = self.gateway.url + path
        async with self.session.request(method, url, data=body, headers=headers) as answer:
            text = (await answer.read()).decode("utf-8", "replace")
            heads = "".join(f"{name}: {value}\n" for name, value in answer.headers.items())
            return answer.status, f"{heads}\n{text}"


@asynccontextmanager
async def staged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    routes: Mapping[str, str],
    *,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
    echo: Echo | None = None,
) -> AsyncIterator[Staged]:
    """Routes are texts in which `%URL%` is the upstream's address; the log is at level debug."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(written, write_through=True))
    echo = echo or Echo()
    runner = web.ServerRunner(web.Server(echo.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", echo.port).start()
    echo.port = runner.addresses[0][1]
    echo.url = f"http://127.0.0.1:{echo.port}"
    folder = tmp_path / "routes"
    folder.mkdir(exist_ok=True)
    for name, text in routes.items():
        text = text.replace("%URL%", echo.url).replace("%HOST%", echo.url.partition("://")[2])
        (folder / f"{name}.yaml").write_text(text)
    given = {
        "listen.port": 0,
        "clients.keys": [KEY],
        "state": str(tmp_path / "state"),
        "log.level": "debug",
        "log.format": "json",
        "drain": "500ms",
        "watch": "off",
        **(overrides or {}),
    }
    settings = load_settings(None, env or {}, given)
    shelf = Shelf([folder], env=env or {})
    try:
        async with (
            gateway(settings, shelf, strict=True) as built,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        ):
            yield Staged(built, echo, settings, written, session)
    finally:
        logging.captureWarnings(False)
        await runner.cleanup()
