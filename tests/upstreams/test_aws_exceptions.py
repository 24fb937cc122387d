"""An AWS event stream that breaks off with an exception no rule knows, over sockets."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from tests.parsers.cases_binary import EXCEPTION
from tests.parsers.wire_forms import aws_event
from tests.security.stage import Echo, Received, staged

ROUTE = """
version: 1
name: frames
base_url: "%URL%"
models: [m1]
request: { path: /x, json: { q: "{{ req.prompt }}" } }
stream:
  format: aws_eventstream
  events: [ { event: text, text: $.t }, { event: stop, finish: stop } ]
"""


@pytest.mark.parametrize("begun", [False, True])
async def test_its_words_reach_the_client_as_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    async def answer(request: web.BaseRequest, got: Received) -> web.StreamResponse:
        said = aws_event("text", b'{"t":"so"}') if begun else b""
        kind = "application/vnd.amazon.eventstream"
        return web.Response(body=said + EXCEPTION, content_type=kind)

    async with staged(
        tmp_path, monkeypatch, {"frames": ROUTE}, env={}, echo=Echo(answer=answer)
    ) as on:
        status, told = await on.ask("m1", "", stream=True)
    assert (200 if begun else 502) == status
    assert "throttlingException: slow" in told
    assert begun == ('"content":"so"' in told)
    assert '"finish_reason":"stop"' not in told
