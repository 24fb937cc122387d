"""Answers that an upstream keeps: what is asked about them arrives there, with the account that
made them and no other. The upstream keeps the answers of its two accounts apart."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import openai
import pytest
import pytest_asyncio
from aiohttp import web
from openai import AsyncOpenAI

from engine.shell.stub import listening
from tests.faults.client import CLIENT_KEY
from tests.faults.stage import Gateway, gateway

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
ROUTE = """\
version: 1
extends: openai-responses
base_url: "URL/v1"
auth: { from: { file: keys.txt }, bearer: "{{ account.key }}" }
retry: { attempts: 2, backoff: { initial: 10ms, max: 20ms } }
models: [m]
"""


@dataclass(slots=True)
class Upstream:
    """held: (key, id) -> answer; asked: key, method, path and query of every request."""

    held: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        key = request.headers["Authorization"].removeprefix("Bearer ")
        body = await request.read()
        self.asked.append((key, request.method, request.path_qs.removeprefix("/v1/responses")))
        if request.method == "POST" and request.path == "/v1/responses":
            return await self._make(request, key, json.loads(body))
        ident, _, rest = request.path.removeprefix("/v1/responses/").partition("/")
        answer = self.held.get((key, ident))
        if answer is None:
            message = f"Response with id '{ident}' not found."
            return web.json_response({"error": {"message": message}}, status=404)
        if request.method == "DELETE":
            del self.held[key, ident]
            return web.json_response({"id": ident, "object": "response", "deleted": True})
        if rest == "input_items":
            listed = {"object": "list", "data": [], "first_id": "", "last_id": ""}
            return web.json_response({**listed, "has_more": False})
        return web.json_response({**answer, "status": "cancelled"} if rest == "cancel" else answer)

    async def _make(
        self, request: web.BaseRequest, key: str, body: dict[str, Any]
    ) -> web.StreamResponse:
        before = body.get("previous_response_id")
        if before is not None and (key, before) not in self.held:
            error = {"message": "not found", "code": "previous_response_not_found"}
            return web.json_response({"error": error}, status=400)
        ident = f"resp_{len(self.asked)}"
        part = {"type": "output_text", "text": key, "annotations": []}
        item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                "content": [part]}  # fmt: skip
        answer = {"id": ident, "object": "response", "created_at": 1, "model": body["model"],
                  "status": "completed", "output": [item], "parallel_tool_calls": True,
                  "tool_choice": "auto", "tools": [], "store": body.get("store", True)}  # fmt: skip
        self.held[key, ident] = answer
        if not body.get("stream"):
            return web.json_response(answer)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        begun = {**answer, "status": "in_progress", "output": []}
        for at, (kind, value) in enumerate((("created", begun), ("completed", answer))):
            event = {"type": f"response.{kind}", "sequence_number": at, "response": value}
            await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        return response


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Gateway, Upstream]]:
    upstream = Upstream()
    async with listening(upstream.handle) as url:
        home = tmp_path_factory.mktemp("gateway")
        (home / "routes").mkdir()
        (home / "routes" / "keys.txt").write_text("one-0001\ntwo-0002\n")
        async with gateway(home, {"kept": ROUTE.replace("URL", url)}) as gate:
            yield gate, upstream


Running = tuple[Gateway, Upstream]


def client(gate: Gateway) -> AsyncOpenAI:
    url = f"http://127.0.0.1:{gate.port}/v1"
    return AsyncOpenAI(base_url=url, api_key=CLIENT_KEY, max_retries=0, timeout=20)


async def made(gate: Gateway, stream: bool, **fields: Any) -> Any:
    responses = client(gate).responses
    if not stream:
        return await responses.create(model="m", input="hi", **fields)
    async with responses.stream(model="m", input="hi", **fields) as events:
        async for _ in events:
            pass
        return await events.get_final_response()


@pytest.mark.parametrize("stream", [False, True])
async def test_each_answer_is_asked_for_with_its_own_account(
    running: Running, stream: bool
) -> None:
    gate, upstream = running
    answers = [await made(gate, stream) for _ in range(4)]
    owners = {answer.output_text for answer in answers}
    assert {"one-0001", "two-0002"} == owners
    for answer in answers:
        responses = client(gate).responses
        assert answer.id == (await responses.retrieve(answer.id)).id
        assert [] == (await responses.input_items.list(answer.id, limit=5, order="asc")).data
        assert "cancelled" == (await responses.cancel(answer.id)).status
        await responses.delete(answer.id)
        asked = [
            ("GET", f"/{answer.id}"), ("GET", f"/{answer.id}/input_items?limit=5&order=asc"),
            ("POST", f"/{answer.id}/cancel"), ("DELETE", f"/{answer.id}"),
        ]  # fmt: skip
        assert [(answer.output_text, *each) for each in asked] == upstream.asked[-4:]
        with pytest.raises(openai.NotFoundError):
            await responses.retrieve(answer.id)


async def test_going_on_from_an_answer_takes_its_account(running: Running) -> None:
    gate, _ = running
    first = [await made(gate, False) for _ in range(2)]
    for answer in [*first, *first]:
        again = await made(gate, True, previous_response_id=answer.id)
        assert answer.output_text == again.output_text
        then = await made(gate, False, previous_response_id=again.id)
        assert answer.output_text == then.output_text


async def test_what_nobody_knows_is_asked_of_nobody(running: Running) -> None:
    gate, upstream = running
    kept = await made(gate, False, store=False)
    count = len(upstream.asked)
    for ident in ("resp_none", kept.id):
        with pytest.raises(openai.NotFoundError):
            await client(gate).responses.retrieve(ident)
    assert count == len(upstream.asked)


async def test_an_answer_that_is_kept_is_given_whole(running: Running) -> None:
    gate, _ = running
    answer = await made(gate, False)
    with pytest.raises(openai.BadRequestError, match="whole"):
        await client(gate).responses.retrieve(answer.id, stream=True)
