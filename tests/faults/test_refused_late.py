"""Requests that turn out to be what the upstream cannot be told, before and after the headers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from .client import CLIENT_KEY
from .stage import Gateway, gateway

ROUTE = """\
version: 1
extends: anthropic
base_url: "URL"
auth: { header: { Authorization: "Bearer {{ values.token }}" } }
timeouts: { early_headers: 100ms }
values: { token: { request: { url: "URLtoken" }, extract: [ { body: true } ] } }
profile: { on_unsupported: refuse }
models: [m]
"""
ASKED = {
    "model": "m",
    "stream": True,
    "messages": [{"role": "user", "content": "Hi"}],
    "logit_bias": {"7": 1},
}
HEADERS = {"Authorization": f"Bearer {CLIENT_KEY}"}
SLOW = 2.5  # seconds; headers go within 1 s


@asynccontextmanager
async def serving(home: Path, wait: float) -> AsyncIterator[Gateway]:
    async def token(request: web.Request) -> web.Response:
        await asyncio.sleep(wait)
        return web.Response(text="t")

    app = web.Application()
    app.router.add_get("/token", token)
    async with TestServer(app) as upstream:
        route = ROUTE.replace("URL", str(upstream.make_url("/")))
        async with gateway(home, {"slow": route}) as gate:
            yield gate


async def ask(gate: Gateway) -> tuple[int, str]:
    """Status and body; a health check goes over the same connection, which must still be fit."""
    url = f"http://127.0.0.1:{gate.port}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as http:
        async with http.post(f"{url}/v1/chat/completions", json=ASKED, headers=HEADERS) as answer:
            found = answer.status, await answer.text()
        async with http.get(f"{url}/healthz") as healthy:
            assert 200 == healthy.status
    return found


async def logged(gate: Gateway) -> Any:
    """The one line of the request; a thread writes it."""
    while True:
        lines = [json.loads(line) for line in gate.log().splitlines() if line.startswith("{")]
        found = [line for line in lines if line.get("event") in ("request", "refused")]
        if found:
            assert 1 == len(found)
            return found[0]
        await asyncio.sleep(0.05)


async def test_what_reaches_no_route_is_logged_as_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, 0) as gate, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{gate.port}"
        asked = {**ASKED, "model": "unknown"}
        async with http.post(f"{url}/v1/chat/completions", json=asked, headers=HEADERS) as answer:
            assert 404 == answer.status
        line = await logged(gate)
    assert ("refused", "/v1/chat/completions", 404, "model_not_found") == (
        line["event"], line["path"], line["status"], line["kind"],
    )  # fmt: skip


async def test_before_the_headers_it_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, 0) as gate:
        status, body = await ask(gate)
        assert (400, "invalid_request_error") == (status, json.loads(body)["error"]["type"])
        assert "logit_bias" in json.loads(body)["error"]["message"]
        line = await logged(gate)
    assert (400, "invalid_request") == (line["status"], line["outcome"])


async def test_after_the_headers_it_is_told_in_band(tmp_path: Path) -> None:
    async with serving(tmp_path, SLOW) as gate:
        status, body = await ask(gate)
        line = await logged(gate)
    frames = [text for text in body.split("\n\n") if text.startswith("data: ")]
    assert (200, True) == (status, body.startswith(":"))
    assert "logit_bias" in json.loads(frames[0].removeprefix("data: "))["error"]["message"]
    assert 1 == body.count("logit_bias")
    assert (200, "invalid_request") == (line["status"], line["outcome"])
