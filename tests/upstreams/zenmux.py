"""A service that behaves as zenmux's Anthropic surface with Kimi's thinking models is known to.

    POST /v1/messages

It takes `x-api-key` and one version only. A turn of the assistant that called a tool without saying
what was thought is a 400; so is a temperature for kimi-k2.5.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from engine.shell.stub import listening

MODELS = ("moonshotai/kimi-k2.5", "moonshotai/kimi-k2-thinking")
CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}


@dataclass
class Zenmux:
    """The service. Attributes may be changed while it runs.

    keys     those it takes
    content  what it answers; asked, heads: what it was sent
    first    what the first answers hold instead, one each
    next     (status, body) of answers that come first; broken: streams that fail in the middle
    """

    keys: set[str] = field(default_factory=lambda: {"sk-zen-0001"})
    content: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"type": "thinking", "thinking": "They greet.", "signature": "kimi-1"},
            {"type": "text", "text": "Good day."},
        ]
    )
    first: list[list[dict[str, Any]]] = field(default_factory=list)
    next: list[tuple[int, Any]] = field(default_factory=list)
    broken: bool = False
    delay: float = 0.0
    asked: list[dict[str, Any]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if (request.method, request.path) != ("POST", "/v1/messages"):
            return _refusal(404, "not_found_error", "no such path")
        body = json.loads(await request.read())
        self.asked.append(body)
        self.heads.append({name.lower(): value for name, value in request.headers.items()})
        await asyncio.sleep(self.delay)
        if self.next:
            status, told = self.next.pop(0)
            return web.json_response(told, status=status)
        refused = self._refused(body)
        if refused is not None:
            return refused
        content = self.first.pop(0) if self.first else self.content
        if body.get("stream"):
            return await self._stream(request, _events(body, content))
        return web.json_response({**_message(body), "content": content, "stop_reason": "x"})

    def _refused(self, body: dict[str, Any]) -> web.Response | None:
        heads = self.heads[-1]
        if heads.get("x-api-key") not in self.keys:
            return _refusal(401, "authentication_error", "invalid x-api-key")
        if heads.get("anthropic-version") != "2023-06-01":
            return _refusal(400, "invalid_request_error", "unknown anthropic-version")
        if body["model"] not in MODELS:
            return _refusal(404, "not_found_error", f"model: {body['model']}")
        if body["model"].endswith("k2.5") and {"temperature", "top_p"} & body.keys():
            return _refusal(400, "invalid_request_error", "invalid temperature: only 1 is allowed")
        off = body.get("thinking", {}).get("type") == "disabled"
        at = None if off else _without_thinking(body["messages"])
        if at is not None:
            words = "thinking is enabled but reasoning_content is missing in assistant tool call "
            return _refusal(400, "invalid_request_error", f"{words}message at index {at}")
        return None

    async def _stream(
        self, request: web.BaseRequest, events: list[dict[str, Any]]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            text = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
            await response.write(text.encode())
            if self.broken and event["type"] == "content_block_delta":
                await response.write(
                    b'event: error\ndata: {"type":"error","error":'
                    b'{"type":"overloaded_error","message":"Overloaded"}}\n\n'
                )
                break
        await response.write_eof()
        return response


def _events(body: dict[str, Any], content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = [{"type": "message_start", "message": _message(body)}]
    for index, block in enumerate(content):
        empty, deltas = _block(block)
        out.append({"type": "content_block_start", "index": index, "content_block": empty})
        out += [{"type": "content_block_delta", "index": index, "delta": d} for d in deltas]
        out.append({"type": "content_block_stop", "index": index})
    reason = "tool_use" if content[-1]["type"] == "tool_use" else "end_turn"
    delta = {"stop_reason": reason, "stop_sequence": None}
    out.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 21}})
    return [*out, {"type": "message_stop"}]


def _block(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """How a block begins, and its pieces."""
    if block["type"] == "thinking":
        pieces = [
            {"type": "thinking_delta", "thinking": block["thinking"]},
            {"type": "signature_delta", "signature": block["signature"]},
        ]
        return {"type": "thinking", "thinking": "", "signature": ""}, pieces
    if block["type"] == "tool_use":
        text = json.dumps(block["input"])
        return {**block, "input": {}}, [
            {"type": "input_json_delta", "partial_json": piece} for piece in (text[:5], text[5:])
        ]
    half = len(block["text"]) // 2
    pieces = [
        {"type": "text_delta", "text": piece}
        for piece in (block["text"][:half], block["text"][half:])
    ]
    return {"type": "text", "text": ""}, pieces


def _without_thinking(messages: list[dict[str, Any]]) -> int | None:
    for at, message in enumerate(messages):
        blocks = message["content"] if isinstance(message["content"], list) else []
        kinds = [block["type"] for block in blocks]
        if message["role"] == "assistant" and "tool_use" in kinds:
            before = blocks[: kinds.index("tool_use")]
            if not any(b["type"] == "thinking" and b["thinking"] for b in before):
                return at
    return None


def _message(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"],
        "content": [], "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 1},
    }  # fmt: skip


def _refusal(status: int, kind: str, message: str) -> web.Response:
    error = {"type": kind, "message": message}
    return web.json_response({"error": error, "type": "error"}, status=status)


@asynccontextmanager
async def running(service: Zenmux) -> AsyncIterator[str]:
    """Serve it; gives its URL."""
    async with listening(service.handle) as url:
        yield url
