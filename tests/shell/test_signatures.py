"""Signed requests over real sockets, checked by an upstream on the bytes that it got."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from engine.auth.aws_sigv4 import Keys, load
from engine.shell.app import gateway
from engine.shell.settings import load_settings
from engine.shell.shelf import Shelf
from engine.shell.stub import listening
from engine.wire import HttpRequest

SECRET = "a-secret-of-the-upstream"
Handle = Callable[[web.BaseRequest, bytes], Awaitable[web.StreamResponse]]

SIGNED = """
version: 1
extends: openai
base_url: URL
models: [m]
auth:
  from: { inline: { id: me, secret: "${env:SECRET}" } }
  sign:
    hmac:
      key: "{{ account.secret }}"
      payload: >-
        {{ sig.method }} {{ sig.path_query }} {{ sig.timestamp }} {{ sig.nonce }} {{ sig.body }}
      headers:
        X-Id: "{{ account.id }}"
        X-Time: "{{ sig.timestamp }}"
        X-Nonce: "{{ sig.nonce }}"
      query: { signature: "{{ sig.value }}" }
errors: { rules: [ { status: 401, as: auth_invalid }, { status: 503, as: overloaded } ] }
retry: { backoff: { initial: 1ms, jitter: none } }
"""
GOOD = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}],
}


def verify(request: web.BaseRequest, body: bytes) -> bool:
    """As the service would: the raw target without its last parameter, and the raw body."""
    target, _, signature = request.raw_path.rpartition("?signature=")
    parts = (request.method, target, request.headers["X-Time"], request.headers["X-Nonce"])
    signed = " ".join(parts).encode() + b" " + body
    return hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest() == signature


@asynccontextmanager
async def front(home: Path, route: str, handle: Handle) -> AsyncIterator[str]:
    """A gateway with one route in front of an upstream; gives the gateway's URL."""

    async def read(request: web.BaseRequest) -> web.StreamResponse:
        return await handle(request, await request.read())

    given = {"listen.port": 0, "clients.auth": "none", "state": str(home), "log.level": "error"}
    async with listening(read) as url:
        (home / "routes").mkdir()
        (home / "routes/r.yaml").write_text(route.replace("URL", f"{url}/v1"))
        shelf = Shelf([home / "routes"], env={"SECRET": SECRET})
        async with gateway(load_settings(None, {}, given), shelf) as running:
            yield running.url


async def ask(url: str) -> tuple[int, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": "naïve – 你好"}]}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/chat/completions", json=body) as answer,
    ):
        return answer.status, json.loads(await answer.read())


@pytest.mark.rows("IF-05")
async def test_the_upstream_agrees_with_the_signature_of_each_attempt(tmp_path: Path) -> None:
    nonces: list[str] = []

    async def handle(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        nonces.append(request.headers["X-Nonce"])
        if not verify(request, body):
            return web.json_response({}, status=401)
        return web.json_response(GOOD, status=503 if len(nonces) < 3 else 200)

    async with front(tmp_path, SIGNED, handle) as url:
        status, answer = await ask(url)
    assert (status, answer["choices"][0]["message"]["content"]) == (200, "hi")
    assert len(set(nonces)) == 3


async def test_a_clock_that_differs_is_learned_from_a_refusal(tmp_path: Path) -> None:
    times: list[int] = []
    ahead = 3600

    async def handle(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        times.append(int(request.headers["X-Time"]))
        theirs = time.time() + ahead
        good = verify(request, body) and abs(times[-1] - theirs) < 60
        date = {"Date": formatdate(theirs, usegmt=True)}
        return web.json_response(GOOD if good else {}, status=200 if good else 401, headers=date)

    async with front(tmp_path, SIGNED, handle) as url:
        assert (await ask(url))[0] == 200
        assert (await ask(url))[0] == 200
    assert len(times) == 3
    assert abs(times[1] - times[0] - ahead) < 30


async def test_a_refusal_with_the_right_time_is_not_tried_again(tmp_path: Path) -> None:
    asked = 0

    async def handle(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.json_response({}, status=401)

    async with front(tmp_path, SIGNED, handle) as url:
        assert (await ask(url))[0] == 502
    assert asked == 1


AWS = """
version: 1
extends: openai
base_url: URL
models: [m]
auth:
  from: { inline: { id: AKIDEXAMPLE, secret: "${env:SECRET}" } }
  sign:
    aws_sigv4:
      service: bedrock
      region: us-east-1
      credentials: { access_key: "{{ account.id }}", secret_key: "{{ account.secret }}" }
request: { path: "/model/{{ 'a.b:0' | urlpath }}/converse", query: { x: "1 2" } }
"""


async def test_the_signature_of_aws_holds_for_what_arrives(tmp_path: Path) -> None:
    """Signed anew from the received bytes, it comes to the same."""
    told: list[tuple[str, str]] = []

    async def handle(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        given = request.headers["Authorization"]
        names = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        headers = tuple((name, request.headers[name]) for name in names if name != "x-amz-date")
        moment = time.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
        now = time.mktime(moment) - time.timezone
        raw = HttpRequest("POST", f"http://{request.host}{request.raw_path}", headers, (), body)
        again = load()(raw, "bedrock", "us-east-1", Keys("AKIDEXAMPLE", SECRET), now)
        told.append((given, again.header("authorization") or ""))
        assert request.raw_path == "/v1/model/a.b%3A0/converse?x=1%202"
        return web.json_response(GOOD)

    async with front(tmp_path, AWS, handle) as url:
        assert (await ask(url))[0] == 200
    ((given, again),) = told
    assert given == again


BEDROCK = AWS.replace("extends: openai", "extends: bedrock-converse").partition("request:")[0]


async def test_the_preset_of_bedrock_is_signed(tmp_path: Path) -> None:
    told: list[str] = []
    reply = {
        "output": {"message": {"role": "assistant", "content": [{"text": "hi"}]}},
        "stopReason": "end_turn", "usage": {"inputTokens": 1, "outputTokens": 1},
    }  # fmt: skip

    async def handle(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        told.append(request.headers["Authorization"])
        assert request.raw_path == "/v1/model/m/converse"
        return web.json_response(reply)

    async with front(tmp_path, BEDROCK, handle) as url:
        status, answer = await ask(url)
    assert (status, answer["choices"][0]["message"]["content"]) == (200, "hi")
    assert "/us-east-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date" in told[0]
