"""Where another gateway falls short, over a Chat and a Messages upstream that answer oddly.

The rows that a well-formed answer shows (keys, event names, numbers, types) are held up by the
witness and by tests/grammar.py in every test of this folder.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.answers import judge
from tests.faults.client import CLIENT_KEY
from tests.faults.stage import gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
Fields = dict[str, Any]
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
CALL = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
_ROUTES = {
    "chat": 'extends: openai\nbase_url: "{url}/v1"',
    "messages": 'extends: anthropic\nbase_url: "{url}/v1"',
}


@dataclass(slots=True)
class Odd:
    """An upstream. sent: the bodies that came; waiting: requests that have no answer yet."""

    url: str = ""
    sent: list[Fields] = field(default_factory=list)
    waiting: int = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body: Fields = json.loads(await request.content.read())
        self.sent.append(body)
        if body["model"] == "silent":
            self.waiting += 1
            try:
                await asyncio.sleep(30)
            finally:
                self.waiting -= 1
        if body["model"] == "busy":
            error = {"type": "rate_limit_error", "message": "Slow down.", "code": None}
            value = {"type": "error", "error": {**error, "param": None}}
            return web.json_response(value, status=429, headers={"Retry-After": "7"})
        if request.path.endswith("/messages"):
            return self._message(body)
        return self._completion(body)

    def _message(self, body: Fields) -> web.Response:
        if body["model"] == "wrong":
            error = {"type": "overloaded_error", "message": "Overloaded"}
            return web.json_response({"type": "error", "error": error})
        answer: Fields = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
            "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn",
            "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
        }  # fmt: skip
        if body["model"] == "thinks":
            thought = {"type": "thinking", "thinking": "well", "signature": "c2ln"}
            answer["content"].insert(0, thought)
        headers = {"Set-Cookie": "a=" + "x" * 12_000} if body["model"] == "cookies" else None
        return web.json_response(answer, headers=headers)

    def _completion(self, body: Fields) -> web.Response:
        text = '"hi \\ud83d there"' if body["model"] == "surrogate" else '"hi"'
        if not body.get("stream"):
            message = f'{{"role": "assistant", "content": {text}}}'
            if body["model"] == "thinks":
                message = '{"role": "assistant", "content": "hi", "reasoning_content": "well"}'
            if body["model"] == "calls":
                message = json.dumps({"role": "assistant", "content": None, "tool_calls": [CALL]})
            return web.Response(
                text=f'{{"id": "c", "object": "chat.completion", "created": 1, "model": "m", '
                f'"choices": [{{"index": 0, "message": {message}, "finish_reason": "stop"}}], '
                f'"usage": {json.dumps(USAGE)}}}',
                content_type="application/json",
            )
        delta = f'{{"role": "assistant", "content": {text}}}'
        if body["model"] == "calls":
            delta = json.dumps({"role": "assistant", "tool_calls": [CALL]})
        head = '"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"'
        frames = [
            f'{{{head}, "choices": [{{"index": 0, "delta": {delta}}}]}}',
            f'{{{head}, "choices": [{{"index": 0, "delta": {{}}, "finish_reason": "stop"}}]}}',
            "[DONE]",
        ]
        return web.Response(
            text="".join(f"data: {frame}\n\n" for frame in frames),
            content_type="text/event-stream",
        )


@dataclass(slots=True)
class World:
    url: str
    odd: Odd
    session: aiohttp.ClientSession
    headers: dict[str, str] = field(default_factory=dict)

    async def ask(
        self, path: str, model: str, key: str = CLIENT_KEY, **more: Any
    ) -> tuple[int, Any]:
        """Status and body, which must be as its dialect says."""
        given = "input" if path == RESPONSES else "messages"
        body = {"model": model, given: [{"role": "user", "content": "hello"}], **more}
        if path == "/v1/messages":
            body.setdefault("max_tokens", 100)
        headers = {"Authorization": f"Bearer {key}"}
        async with self.session.post(self.url + path, json=body, headers=headers) as answer:
            data = await answer.read()
            assert "set-cookie" not in answer.headers
            self.headers = {name.lower(): value for name, value in answer.headers.items()}
            judge(path, body, answer.status, data)
            return answer.status, data.decode() if body.get("stream") else json.loads(data)


@asynccontextmanager
async def _served(home: Path) -> AsyncIterator[World]:
    odd = Odd()
    server = web.Server(odd.handle, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        names = ("plain", "calls", "surrogate", "wrong", "cookies", "silent", "busy", "thinks")
        routes = {
            name: f"version: 1\n{lines.format(url=url)}\nauth: {{ bearer: k }}\n"
            "retry: { attempts: 1 }\ntransforms: [think_tags]\n"
            f"models: [{', '.join(f'{{ id: {name}.{m}, upstream: {m} }}' for m in names)}]\n"
            for name, lines in _ROUTES.items()
        }
        async with gateway(home, routes) as running, aiohttp.ClientSession() as session:
            yield World(f"http://127.0.0.1:{running.port}", odd, session)
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with _served(tmp_path_factory.mktemp("gateway")) as made:
        yield made


BOTH = pytest.mark.parametrize("path", [CHAT, MESSAGES])
OPENAI_TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
TOOLS = [{"name": "weather", "input_schema": SCHEMA}]


async def test_gap_1_a_plain_answer_has_every_key(served: World) -> None:
    _, answer = await served.ask(CHAT, "chat.plain")
    (choice,) = answer["choices"]
    assert (None, None) == (choice["logprobs"], choice["message"]["refusal"])


async def test_gap_2_every_chunk_has_a_finish_reason(served: World) -> None:
    _, told = await served.ask(CHAT, "chat.plain", stream=True)
    chunks = [json.loads(line[6:]) for line in told.split("\n\n") if line.startswith("data: {")]
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert [None] * (len(reasons) - 1) + ["stop"] == reasons


@pytest.mark.parametrize("upstream", ["chat", "messages"])
@pytest.mark.parametrize("model", ["plain", "calls"])
async def test_gaps_3_4_5_and_7_a_stream_of_responses_has_all_that_is_required(
    served: World, upstream: str, model: str
) -> None:
    tools = [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}]
    _, told = await served.ask(RESPONSES, f"{upstream}.{model}", tools=tools, stream=True)
    names = [line[7:] for line in told.split("\n") if line.startswith("event: ")]
    assert ["response.created", "response.completed"] == [names[0], names[-1]]


@pytest.mark.parametrize("upstream", ["chat", "messages"])
async def test_gap_6_thinking_is_a_reasoning_item(served: World, upstream: str) -> None:
    _, answer = await served.ask(RESPONSES, f"{upstream}.thinks", reasoning={"summary": "auto"})
    assert ["reasoning", "message"] == [item["type"] for item in answer["output"]]
    assert [{"type": "summary_text", "text": "well"}] == answer["output"][0]["summary"]


async def test_gap_9_a_thinking_block_without_signature_has_an_empty_one(served: World) -> None:
    _, answer = await served.ask(MESSAGES, "chat.thinks")
    block = answer["content"][0]
    assert ("thinking", "well", "") == (block["type"], block["thinking"], block["signature"])


@BOTH
@pytest.mark.parametrize("upstream", ["chat", "messages"])
@pytest.mark.parametrize("stream", [False, True])
async def test_gaps_10_and_11_the_upstreams_own_words_and_its_waiting_time(
    served: World, path: str, upstream: str, stream: bool
) -> None:
    body: Any = {"stream": True} if stream else {}
    status, answer = await served.ask(path, f"{upstream}.busy", **body)
    told = json.loads(answer) if stream else answer
    assert (429, "7") == (status, served.headers["retry-after"])
    assert "Slow down." == told["error"]["message"]


@BOTH
async def test_gap_16_a_wrong_key_is_unauthorized(served: World, path: str) -> None:
    status, _ = await served.ask(path, "chat.plain", key="wrong")
    assert 401 == status


async def test_gap_17_every_field_goes_to_an_upstream_of_the_same_dialect(served: World) -> None:
    fields: Any = {"thinking": {"type": "adaptive"}, "context_management": {"edits": []}}
    await served.ask(MESSAGES, "messages.plain", **fields)
    assert fields == {name: served.odd.sent[-1].get(name) for name in fields}


@BOTH
async def test_gap_12_an_error_inside_a_200_is_an_error(served: World, path: str) -> None:
    status, answer = await served.ask(path, "messages.wrong")
    assert (503 if path == CHAT else 529) == status
    assert "Overloaded" in answer["error"]["message"]


@BOTH
async def test_gap_13_a_long_header_of_the_upstream_does_no_harm(served: World, path: str) -> None:
    status, _ = await served.ask(path, "messages.cookies")
    assert 200 == status


@BOTH
@pytest.mark.parametrize("upstream", ["chat", "messages"])
@pytest.mark.parametrize("stream", [False, True])
async def test_gap_14_a_client_that_leaves_before_the_answer_ends_the_request(
    served: World, path: str, upstream: str, stream: bool
) -> None:
    asked = asyncio.ensure_future(served.ask(path, f"{upstream}.silent", stream=stream))
    while not served.odd.waiting:
        await asyncio.sleep(0.01)
    asked.cancel()
    for _ in range(100):
        if not served.odd.waiting:
            break
        await asyncio.sleep(0.01)
    assert 0 == served.odd.waiting


@BOTH
async def test_gap_15_an_unknown_model_is_not_found(served: World, path: str) -> None:
    status, _ = await served.ask(path, "no-such-model")
    assert 404 == status


async def test_gap_18_one_call_at_a_time_is_passed_on(served: World) -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    await served.ask(MESSAGES, "chat.plain", tools=TOOLS, tool_choice=choice)
    assert served.odd.sent[-1]["parallel_tool_calls"] is False


async def test_gap_19_no_choice_of_tools_without_tools(served: World) -> None:
    status, _ = await served.ask(CHAT, "messages.plain", parallel_tool_calls=False)
    assert (200, False) == (status, "tool_choice" in served.odd.sent[-1])


@BOTH
@pytest.mark.parametrize("stream", [False, True])
async def test_gap_20_a_call_without_id_and_index_is_whole(
    served: World, path: str, stream: bool
) -> None:
    tools = OPENAI_TOOLS if path == CHAT else TOOLS
    _, answer = await served.ask(path, "chat.calls", tools=tools, stream=stream)
    told = answer if stream else json.dumps(answer)
    assert ("tool_calls" if path == CHAT else "tool_use") in told
    assert '"id":""' not in told.replace(" ", "")
    assert '"stop"' not in told
    assert '"end_turn"' not in told


@BOTH
@pytest.mark.parametrize("stream", [False, True])
async def test_gap_21_half_a_character_costs_nothing_else(
    served: World, path: str, stream: bool
) -> None:
    _, answer = await served.ask(path, "chat.surrogate", stream=stream)
    told = answer if stream else json.dumps(answer, ensure_ascii=False)
    assert "hi \ufffd there" in told


async def test_gap_23_the_route_says_what_the_upstream_speaks(served: World) -> None:
    await served.ask(MESSAGES, "chat.plain")
    assert "messages" in served.odd.sent[-1]
    assert "input" not in served.odd.sent[-1]
