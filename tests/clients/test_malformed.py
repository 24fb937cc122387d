"""Requests with a wrong value in every place: refused, or answered, but never a server's error.

The upstream answers whatever it is asked, so an error is the gateway's own.
"""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.answers import judge
from tests.clients import anthropic_stub, openai_stub
from tests.faults.client import CLIENT_KEY
from tests.faults.stage import gateway

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
Fields = dict[str, Any]
WRONG: list[Any] = [
    None, True, -1, 10**30, "", "x", [], [None], [[]], ["x"], {}, {"type": "x"}, [{"type": "x"}]
]  # fmt: skip
PNG = "iVBORw0KGgo="
_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_FORM = {"name": "f", "schema": _SCHEMA, "strict": True}
_FUNCTION = {"name": "weather", "description": "d", "parameters": _SCHEMA}
_CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
_SOURCE = {"type": "base64", "media_type": "image/png", "data": PNG}

# A request of each client dialect with most of what it may hold: path, body.
REQUESTS: dict[str, tuple[str, Fields]] = {
    "chat": ("/v1/chat/completions", {
        "model": "MODEL", "stream": False, "stream_options": {"include_usage": True},
        "temperature": 1, "top_p": 1, "max_tokens": 9, "max_completion_tokens": 9, "n": 1,
        "stop": ["x"], "seed": 1, "logprobs": True, "top_logprobs": 1, "user": "u",
        "logit_bias": {"1": 1}, "metadata": {"a": "b"}, "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": _FORM},
        "tools": [{"type": "function", "function": _FUNCTION}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": True,
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "s"}]},
            {"role": "user", "name": "n", "content": [
                {"type": "text", "text": "t"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]},
            {"role": "assistant", "content": "a", "refusal": None, "tool_calls": [_CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "r"},
        ],
    }),
    "messages": ("/v1/messages", {
        "model": "MODEL", "stream": False, "max_tokens": 2000, "temperature": 1, "top_p": 1,
        "top_k": 1, "stop_sequences": ["x"], "metadata": {"user_id": "u"},
        "service_tier": "auto", "thinking": {"type": "enabled", "budget_tokens": 1024},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": _SCHEMA}},
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "weather", "description": "d", "input_schema": _SCHEMA}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "t"}, {"type": "image", "source": _SOURCE}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "t", "signature": "s"},
                {"type": "redacted_thinking", "data": "d"},
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "x"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c1", "is_error": False,
                 "content": [{"type": "text", "text": "r"}]}]},
        ],
    }),
    "responses": ("/v1/responses", {
        "model": "MODEL", "stream": False, "store": False, "instructions": "i",
        "temperature": 1, "top_p": 1, "max_output_tokens": 99, "metadata": {"a": "b"},
        "include": ["reasoning.encrypted_content"], "parallel_tool_calls": True,
        "reasoning": {"effort": "low", "summary": "auto"}, "truncation": "disabled",
        "previous_response_id": None, "prompt_cache_key": "k", "top_logprobs": 1,
        "text": {"format": {"type": "json_schema", **_FORM}, "verbosity": "low"},
        "tools": [{"type": "function", **_FUNCTION, "strict": False},
                  {"type": "custom", "name": "c", "format": {"type": "text"}},
                  {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}]}],
        "tool_choice": {"type": "function", "name": "weather"},
        "input": [
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "t"},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}]},
            {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "t"}],
             "content": [{"type": "reasoning_text", "text": "t"}], "encrypted_content": "e"},
            {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [
                {"type": "output_text", "text": "t", "annotations": [], "logprobs": []}]},
            {"type": "function_call", "id": "fc", "call_id": "c1", "name": "weather",
             "arguments": "{}", "status": "completed"},
            {"type": "function_call_output", "call_id": "c1", "output": "r"},
        ],
    }),
    "gemini": ("/v1beta/models/MODEL:generateContent", {
        "systemInstruction": {"parts": [{"text": "s"}]},
        "generationConfig": {
            "temperature": 1, "topP": 1, "topK": 1, "candidateCount": 1, "maxOutputTokens": 9,
            "stopSequences": ["x"], "seed": 1, "responseMimeType": "application/json",
            "responseSchema": _SCHEMA, "thinkingConfig": {"includeThoughts": True}},
        "safetySettings": [{"category": "c", "threshold": "t"}],
        "tools": [{"functionDeclarations": [_FUNCTION]}],
        "toolConfig": {"functionCallingConfig": {
            "mode": "ANY", "allowedFunctionNames": ["weather"]}},
        "contents": [
            {"role": "user", "parts": [
                {"text": "t"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}]},
            {"role": "model", "parts": [
                {"text": "t", "thought": True, "thoughtSignature": "cw=="},
                {"functionCall": {"id": "c1", "name": "weather", "args": {"city": "x"}}}]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "c1", "name": "weather", "response": {"r": 1}}}]},
        ],
    }),
    "ollama": ("/api/chat", {
        "model": "MODEL", "stream": False, "think": True, "format": _SCHEMA, "keep_alive": "5m",
        "options": {"temperature": 1, "top_p": 1, "top_k": 1, "num_predict": 9, "seed": 1,
                    "stop": ["x"], "num_ctx": 2048},
        "tools": [{"type": "function", "function": _FUNCTION}],
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "t", "images": [PNG]},
            {"role": "assistant", "content": "a", "thinking": "t", "tool_calls": [
                {"function": {"name": "weather", "arguments": {"city": "x"}}}]},
            {"role": "tool", "tool_name": "weather", "content": "r"},
        ],
    }),
    "embeddings": ("/v1/embeddings", {
        "model": "MODEL", "input": ["a"], "encoding_format": "float", "dimensions": 3, "user": "u",
    }),
}  # fmt: skip
_ROUTES = {
    "up-chat": 'extends: openai\nbase_url: "{url}/v1"\nauth: {{ bearer: k }}',
    "up-messages": 'extends: anthropic\nbase_url: "{url}/v1"\nauth: {{ bearer: k }}',
}


async def _agreeable(request: web.BaseRequest) -> web.StreamResponse:
    """Any answer, whatever was asked."""
    hello: Any = {"model": "talk", "messages": [{"role": "user", "content": "hello"}]}
    asked = json.loads(await request.content.read())
    if request.path.endswith("/embeddings"):
        return web.json_response(openai_stub.embedded({"model": "m", "input": "a"}))
    module: Any = anthropic_stub if request.path.endswith("/messages") else openai_stub
    if not asked.get("stream"):
        return web.json_response(module.whole(hello))
    events = module.events(hello) if module is anthropic_stub else module.chunks(hello)
    frames = [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" if "type" in e
              else f"data: {json.dumps(e)}\n\n" for e in events]  # fmt: skip
    return web.Response(text="".join([*frames, "data: [DONE]\n\n"][: len(frames) + (
        module is openai_stub)]), content_type="text/event-stream")  # fmt: skip


@asynccontextmanager
async def _served(home: Path) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(_agreeable, access_log=None), shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        routes = {
            name: f"version: 1\n{lines.format(url=url)}\nretry: {{ attempts: 1 }}\n"
            f"transforms: [think_tags]\nmodels: [{{ id: {name}.m, upstream: m }}]\n"
            for name, lines in _ROUTES.items()
        }
        async with gateway(home, routes) as running:
            yield f"http://127.0.0.1:{running.port}"
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with _served(tmp_path_factory.mktemp("gateway")) as made:
        yield made


def places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value within a value."""
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for name, item in inner:
        yield (*before, name)
        yield from places(item, (*before, name))


def mutants(body: Fields) -> Iterator[Fields]:
    for path in places(body):
        if path == ("model",):
            continue
        for wrong in WRONG:
            made = copy.deepcopy(body)
            holder: Any = made
            for step in path[:-1]:
                holder = holder[step]
            holder[path[-1]] = wrong
            yield made


async def _post(session: aiohttp.ClientSession, target: str, data: bytes) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {CLIENT_KEY}", "Content-Type": "application/json"}
    async with session.post(target, data=data, headers=headers) as answer:
        return answer.status, await answer.read()


@pytest.mark.parametrize("upstream", ["up-chat", "up-messages"])
@pytest.mark.parametrize("client", REQUESTS)
async def test_a_wrong_value_is_never_a_servers_error(url: str, client: str, upstream: str) -> None:
    if client == "embeddings" and upstream == "up-messages":
        return  # has none
    path, body = REQUESTS[client]
    model = f"{upstream}.m"
    path = path.replace("MODEL", model)
    body = {**body, "model": model} if "model" in body else body
    found: list[str] = []
    async with aiohttp.ClientSession() as session:
        status, said = await _post(session, url + path, json.dumps(body).encode())
        assert 200 == status, said
        for mutant in mutants(body):
            status, said = await _post(session, url + path, json.dumps(mutant).encode())
            if status >= 500:
                found.append(f"{status} {said.decode()} of {json.dumps(mutant)}")
            elif status >= 400:
                judge(path, mutant, status, said)
    assert [] == found[:5], len(found)


@pytest.mark.parametrize("client", REQUESTS)
async def test_a_body_that_is_no_request_is_never_a_servers_error(url: str, client: str) -> None:
    path = REQUESTS[client][0].replace("MODEL", "up-chat.m")
    async with aiohttp.ClientSession() as session:
        for data in (b"", b"null", b"[]", b"1", b'"x"', b"{", b"{}", b"\xff\xfe", b"[" * 5000,
                     b'{"model": "\\ud800"}', b'{"model": 1}', b'{"model": NaN}'):  # fmt: skip
            status, said = await _post(session, url + path, data)
            assert 400 <= status < 500, (status, said, data)
            judge(path, {}, status, said)
