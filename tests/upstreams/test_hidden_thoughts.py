"""A model that thinks and breaks off, for a client that is shown no thoughts, over sockets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import web

from tests.security.stage import KEY, Echo, Received, staged

ROUTE = """
version: 1
name: thinks
dialect: openai_chat
base_url: "%URL%"
models: [m1]
retry: { attempts: 2, backoff: { initial: 10ms, max: 20ms } }
"""
STREAM = "/v1beta/models/m1:streamGenerateContent?alt=sse"


def _frame(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


class Site(Echo):
    """Breaks off while it thinks, and answers when it is asked again."""

    async def respond(self, request: web.BaseRequest, got: Received) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(_frame({"reasoning_content": "hm"}))
        if len(self.asked) == 1:
            assert request.transport is not None
            request.transport.close()
        else:
            await answer.write(_frame({"content": "so"}) + _frame({}, "stop"))
            await answer.write(b"data: [DONE]\n\n")
        return answer


@pytest.mark.parametrize("shown", [False, True])
async def test_thoughts_that_nobody_sees_do_not_begin_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    site = Site()
    body = {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "generationConfig": {"thinkingConfig": {"includeThoughts": shown}},
    }
    async with staged(tmp_path, monkeypatch, {"thinks": ROUTE}, env={}, echo=site) as on:
        _, told = await on.call("POST", STREAM, json.dumps(body).encode(), {"x-goog-api-key": KEY})
    assert (1 if shown else 2) == len(site.asked)
    assert (shown, not shown) == ('"hm"' in told, '"so"' in told)
    assert shown == ('"error"' in told)
