"""An upstream that speaks Ollama's API, and refuses what Ollama refuses.

The model says how it answers:

    talk        canonical text; with tools and a user's turn last: two parallel calls; after tool
                results: what they said; with a schema: a person; with an image: how large it is
    bytes       the same, a stream arriving byte by byte
    thinks      thinking before the text
    breaks      a stream that ends with an error line; cut: one that ends without its last line
    forever     a stream without end
    error-NNN   status NNN, as Ollama words it
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from .endless import counted, without_end
from .openai_stub import CITIES, PERSON, PIECES

MODELS = (
    "talk", "bytes", "thinks", "breaks", "cut", "forever",
    *(f"error-{status}" for status in (400, 404, 500, 503)),
)  # fmt: skip
THOUGHT = ("well, ", "好")
_KNOWN = {
    "format", "keep_alive", "logprobs", "messages", "model", "options", "stream", "think", "tools",
    "top_logprobs",
}  # fmt: skip
_OPTIONS = {
    "frequency_penalty", "num_ctx", "num_predict", "presence_penalty", "seed", "stop",
    "temperature", "top_k", "top_p",
}  # fmt: skip
_TURN = {"role", "content", "thinking", "images", "tool_calls", "tool_name"}
COUNTS = {
    "total_duration": 900, "load_duration": 100, "prompt_eval_count": 19,
    "prompt_eval_duration": 300, "eval_count": 46, "eval_duration": 500,
}  # fmt: skip
Fields = dict[str, Any]


class Refused(Exception):
    """What Ollama answers 400 to, or silently drops: here nothing is dropped."""


def check(body: Fields) -> None:
    strange = sorted(set(body) - _KNOWN) + sorted(set(body.get("options") or {}) - _OPTIONS)
    if strange:
        raise Refused(f"unknown field {strange[0]}")
    if not isinstance(body.get("stream"), bool | None):
        raise Refused("json: cannot unmarshal into Go struct field ChatRequest.stream of type bool")
    for message in body["messages"]:
        _check_message(message)
    for tool in body.get("tools") or []:
        if tool["type"] != "function" or tool["function"]["parameters"]["type"] != "object":
            raise Refused("invalid tool")


def _check_message(message: Fields) -> None:
    if message["role"] not in ("system", "user", "assistant", "tool"):
        raise Refused("invalid role")
    if not isinstance(message.get("content", ""), str):
        raise Refused("json: cannot unmarshal array into Go struct field of type string")
    if set(message) - _TURN:
        raise Refused(f"unknown field {sorted(set(message) - _TURN)}")
    for image in message.get("images") or ():
        base64.b64decode(image, validate=True)
    for call in message.get("tool_calls") or ():
        if not isinstance(call["function"]["arguments"], dict):
            raise Refused("json: cannot unmarshal string into tool call arguments")


def calls_of(body: Fields) -> list[Fields]:
    if not body.get("tools") or body["messages"][-1]["role"] != "user":
        return []
    name = body["tools"][0]["function"]["name"]
    return [{"function": {"name": name, "arguments": {"city": city}}} for city in CITIES]


def pieces_of(body: Fields) -> list[str]:
    """The text of an answer, in the pieces that a stream has."""
    turns = body["messages"]
    if turns[-1]["role"] == "tool":
        begun = max(at for at, turn in enumerate(turns) if turn.get("tool_calls"))
        return ["; ".join(f"{turn['tool_name']} {turn['content']}" for turn in turns[begun + 1 :])]
    if isinstance(body.get("format"), dict):
        return [PERSON[at : at + 5] for at in range(0, len(PERSON), 5)]
    images = turns[-1].get("images") or []
    if images:
        return ["; ".join(f"an image of {len(base64.b64decode(image))} bytes" for image in images)]
    return list(PIECES)


def lines(body: Fields) -> Iterator[Fields]:
    head = {"model": body["model"], "created_at": "2026-01-01T00:00:00.123456789Z"}
    thoughts = THOUGHT if body["model"] == "thinks" else ()
    said: list[Fields] = [{"content": "", "thinking": piece} for piece in thoughts]
    calls = calls_of(body)
    if calls:
        said += [{"content": "", "tool_calls": [call]} for call in calls]
    else:
        said += [{"content": piece} for piece in pieces_of(body)]
    for message in said:
        yield {**head, "message": {"role": "assistant", **message}, "done": False}
    last = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    yield {**head, **last, **COUNTS}


def loaded(body: Fields) -> Fields:
    said = {"message": {"role": "assistant", "content": ""}, "done": True}
    reason = "unload" if body.get("keep_alive") == 0 else "load"
    return {"model": body["model"], "created_at": "2026-01-01T00:00:00Z", **said,
            "done_reason": reason}  # fmt: skip


def whole(body: Fields) -> Fields:
    *said, last = lines(body)
    message: Fields = {"role": "assistant", "content": ""}
    for line in said:
        for name, value in line["message"].items():
            if name != "role":
                message[name] = message[name] + value if name in message else value
    return {**last, "message": message}


@dataclass(slots=True)
class Stub:
    """requests: the bodies that came, refused ones too."""

    url: str = ""
    requests: list[Fields] = field(default_factory=list)
    open_streams: int = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/api/tags":
            return web.json_response({"models": [{"name": name} for name in MODELS]})
        if request.path != "/api/chat":
            return web.Response(status=404, text="404 page not found")
        body: Fields = json.loads(await request.content.read())
        self.requests.append(body)
        try:
            check(body)
        except (Refused, ValueError) as refused:
            return web.json_response({"error": str(refused)}, status=400)
        model: str = body["model"]
        if model.startswith("error-"):
            status = int(model.removeprefix("error-"))
            headers = {"Retry-After": "40"} if status == 429 else None
            said = {"error": f"this is a {status}"}
            return web.json_response(said, status=status, headers=headers)
        if model not in MODELS:
            return web.json_response({"error": f"model '{model}' not found"}, status=404)
        if not body["messages"]:  # one object, whatever was asked for
            return web.json_response(loaded(body))
        if body.get("stream") is False:
            return web.json_response(whole(body))
        return await counted(self, self._stream(request, body))

    async def _stream(self, request: web.BaseRequest, body: Fields) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for said, line in enumerate(lines(body), 1):
            data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
            if said == 6 and body["model"] == "breaks":
                await response.write(b'{"error":"the model runner has stopped"}\n')
                return response
            if said == 6 and body["model"] == "cut":
                return response
            if said == 6 and body["model"] == "forever":
                await without_end(response, data)
            one_by_one = body["model"] == "bytes"
            for at in range(0, len(data), 1 if one_by_one else len(data)):
                await response.write(data[at : at + 1] if one_by_one else data)
        return response


@asynccontextmanager
async def ollama_stub() -> AsyncIterator[Stub]:
    stub = Stub()
    runner = web.ServerRunner(
        web.Server(stub.handle, access_log=None, handler_cancellation=True), shutdown_timeout=0.5
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield stub
    finally:
        await runner.cleanup()
