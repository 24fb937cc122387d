"""An upstream whose model is told what to say, in Chat Completions and in Responses.

A script makes, of the results of tools that came so far, the next answer: a text, or calls.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

UPSTREAM_KEY = "sk-cli-stub-5b7a90d2"
Fields = dict[str, Any]


@dataclass(slots=True)
class Say:
    """An answer. calls: names and arguments; customs: names and free text."""

    text: str = ""
    calls: tuple[tuple[str, Fields], ...] = ()
    customs: tuple[tuple[str, str], ...] = ()
    thinking: str = ""


Script = Callable[[list[str], Fields], Say]


@dataclass(slots=True)
class Upstream:
    """script: (results so far, the body) -> what to say. status: answer with this error instead."""

    script: Script = lambda results, body: Say("Hello!")
    status: int = 0
    code: str = ""
    url: str = ""
    requests: list[Fields] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body: Fields = json.loads(await request.content.read())
        assert request.headers["Authorization"] == f"Bearer {UPSTREAM_KEY}"
        self.requests.append(body)
        if self.status:
            error = {"message": f"This is a {self.status}.", "type": "x", "code": self.code or None,
                     "param": None}  # fmt: skip
            return web.json_response({"error": error}, status=self.status)
        chat = request.path.endswith("/chat/completions")
        turns = body["messages"] if chat else body["input"]
        say = self.script(_results(turns), body)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for data in _chat(say) if chat else _responses(say, len(self.requests)):
            await response.write(data)
        return response


def _results(turns: list[Fields]) -> list[str]:
    found = [turn for turn in turns if turn.get("role") == "tool" or "output" in turn]
    return [str(turn.get("content", turn.get("output"))) for turn in found]


def _chat(say: Say) -> Iterator[bytes]:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas: list[Fields] = [{"role": "assistant"}]
    if say.thinking:
        deltas.append({"reasoning_content": say.thinking})
    if say.text:
        deltas += [{"content": piece} for piece in (say.text[:3], say.text[3:]) if piece]
    wrapped = tuple((name, {"input": text}) for name, text in say.customs)
    for index, (name, args) in enumerate(say.calls + wrapped):
        function = {"name": name, "arguments": ""}
        call = {"index": index, "id": f"call_{index}", "type": "function", "function": function}
        deltas.append({"tool_calls": [call]})
        text = json.dumps(args)
        for at in range(0, len(text), 9):
            piece = {"index": index, "function": {"arguments": text[at : at + 9]}}
            deltas.append({"tool_calls": [piece]})
    reason = "tool_calls" if say.calls or say.customs else "stop"
    for delta, finish in [*((delta, None) for delta in deltas), ({}, reason)]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        yield b"data: %b\n\n" % json.dumps({**head, "choices": [choice]}).encode()
    usage = {"prompt_tokens": 50, "completion_tokens": 7, "total_tokens": 57,
             "prompt_tokens_details": {"cached_tokens": 20}}  # fmt: skip
    yield b"data: %b\n\n" % json.dumps({**head, "choices": [], "usage": usage}).encode()
    yield b"data: [DONE]\n\n"


def _responses(say: Say, number: int) -> Iterator[bytes]:
    items = list(_items(say, number))
    usage = {"input_tokens": 50, "output_tokens": 7, "total_tokens": 57,
             "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 0},
             "output_tokens_details": {"reasoning_tokens": 0}}  # fmt: skip
    head = {"id": f"resp_{number}", "object": "response", "created_at": 1, "model": "m"}
    begun = {**head, "status": "in_progress", "output": []}
    ended = {**head, "status": "completed", "output": items, "usage": usage}
    events: list[Fields] = [{"type": "response.created", "response": begun}]
    for index, item in enumerate(items):
        events += [
            {"type": "response.output_item.added", "output_index": index, "item": item},
            {"type": "response.output_item.done", "output_index": index, "item": item},
        ]
    events.append({"type": "response.completed", "response": ended})
    for at, event in enumerate(events):
        value = json.dumps({**event, "sequence_number": at})
        yield f"event: {event['type']}\ndata: {value}\n\n".encode()


def _items(say: Say, number: int) -> Iterator[Fields]:
    if say.thinking:
        summary = [{"type": "summary_text", "text": say.thinking}]
        yield {"type": "reasoning", "id": f"rs_{number}", "summary": summary,
               "encrypted_content": f"secret-{number}"}  # fmt: skip
    if say.text:
        part = {"type": "output_text", "text": say.text, "annotations": []}
        yield {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed",
               "content": [part]}  # fmt: skip
    for at, (name, args) in enumerate(say.calls):
        yield {"type": "function_call", "id": f"fc_{number}{at}", "call_id": f"call_{number}{at}",
               "name": name, "arguments": json.dumps(args), "status": "completed"}  # fmt: skip
    for at, (name, text) in enumerate(say.customs):
        yield {"type": "custom_tool_call", "id": f"ctc_{number}{at}", "status": "completed",
               "call_id": f"cust_{number}{at}", "name": name, "input": text}  # fmt: skip


@asynccontextmanager
async def scripted() -> AsyncIterator[Upstream]:
    made = Upstream()
    runner = web.ServerRunner(web.Server(made.handle, access_log=None), shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield made
    finally:
        await runner.cleanup()
