"""A service that streams XML in events, over real sockets, to the official SDK's kind of client."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.security.stage import Echo, Received, Staged, staged

ROUTE = """
version: 1
name: events
base_url: %URL%
models: [m1]
transforms: [prompted_tools, flatten_history]
request: { path: /ask, raw: "<ask>{{ req.prompt }}</ask>" }
stream:
  format: { sse: { text: true } }
  events:
    - { event: d, text: "$ | regex_search('<t>(.*?)</t>') | unescape_html" }
    - { event: end, finish: stop }
errors: { message: "$ | regex_search('<msg>(.*?)</msg>') | unescape_html" }
"""
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = '&lt;tool_call&gt;{"name":"f","arguments":{"a":"b"}}&lt;/tool_call&gt;'


class Site(Echo):
    """Calls the tool that it is offered, refuses to be asked about nothing, else greets."""

    async def respond(self, request: web.BaseRequest, got: Received) -> web.StreamResponse:
        asked = unescape(got.body.decode())
        if "nothing" in asked:
            return web.Response(status=422, text="<fault><msg>a &amp; b</msg></fault>")
        pieces = [CALL] if "tool_call" in asked else ["Good &amp; ", "well."]
        events = [f"event: d\ndata: <d><t>{piece}</t></d>\n\n" for piece in pieces]
        text = "".join(events) + "event: end\ndata: <end/>\n\n"
        return web.Response(text=text, content_type="text/event-stream")


@pytest.fixture
def site() -> Site:
    return Site()


async def told(on: Staged, text: str, **more: Any) -> tuple[int, Any, str]:
    """Status, body and headers."""
    status, answer = await on.ask("m1", "", messages=[{"role": "user", "content": text}], **more)
    heads, _, body = answer.partition("\n\n")
    return status, json.loads(body), heads


async def test_text_tools_and_errors_come_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: Site
) -> None:
    async with staged(tmp_path, monkeypatch, {"events": ROUTE}, env={}, echo=site) as on:
        status, body, heads = await told(on, "Hi", temperature=1)
        assert (200, "Good & well.") == (status, body["choices"][0]["message"]["content"])
        assert "x-penstock-dropped: temperature" in heads.lower()
        status, body, _ = await told(on, "Hi", tools=[TOOL])
        (call,) = body["choices"][0]["message"]["tool_calls"]
        assert ("f", '{"a":"b"}') == (call["function"]["name"], call["function"]["arguments"])
        assert body["usage"]["completion_tokens"] > 0
        status, body, _ = await told(on, "nothing")
        assert (422, "a & b") == (status, body["error"]["message"])
