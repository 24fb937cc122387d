"""An upstream that speaks Messages as Anthropic does, and refuses what Anthropic refuses.

The model says how it answers:

    talk        canonical text; with tools and a user's turn last: text and two parallel calls;
                after tool results: what they said
    bytes       the same, a stream arriving byte by byte
    thinks      signed thinking before the text
    breaks      a stream that ends with an error event; cut: one that is cut
    forever     a stream without end
    stops       the text, ended by a stop sequence; long: by the limit; refuses: by a refusal
    error-NNN   status NNN, as Anthropic words it
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from .endless import counted, without_end
from .openai_stub import CITIES, PIECES

UPSTREAM_KEY = "sk-ant-stub-7d10aa42"
MODELS = (
    "talk", "bytes", "thinks", "breaks", "cut", "forever", "stops", "long", "refuses",
    *(f"error-{status}" for status in (400, 401, 403, 404, 413, 429, 500, 529)),
)  # fmt: skip
COUNTED = 2718  # tokens of any request
THOUGHT, SIGNATURE = ("well, ", "好"), "c2lnbmVk"
_KNOWN = {
    "cache_control", "container", "inference_geo", "max_tokens", "messages", "metadata", "model",
    "output_config", "service_tier", "speed", "stop_sequences", "stream", "system", "thinking",
    "tool_choice", "tools",
}  # fmt: skip
_BY_BETA = {"context_management": "context-management-2025-06-27"}
_BLOCKS: dict[str, tuple[set[str], set[str]]] = {
    "text": ({"text"}, {"citations"}),
    "image": ({"source"}, set()),
    "document": ({"source"}, {"title", "context", "citations"}),
    "tool_use": ({"id", "name", "input"}, {"caller"}),
    "tool_result": ({"tool_use_id"}, {"content", "is_error"}),
    "thinking": ({"thinking", "signature"}, set()),
    "redacted_thinking": ({"data"}, set()),
}
_BY_ROLE = {
    "user": {"text", "image", "document", "tool_result"},
    "assistant": {"text", "tool_use", "thinking", "redacted_thinking"},
    "system": {"text"},
}
_STARTS = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8", "application/pdf": b"%PDF"}
_ERRORS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
    404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 500: "api_error",
    529: "overloaded_error",
}  # fmt: skip
Fields = dict[str, Any]


class Refused(Exception):
    """What Anthropic answers 400 to."""


def wants(good: object, message: str) -> None:
    if not good:
        raise Refused(message)


def error_body(status: int, message: str) -> Fields:
    error = {"type": _ERRORS[status], "message": message}
    return {"type": "error", "error": error, "request_id": "req_stub"}


# ---- what is refused ----


def check(body: Fields, betas: str) -> None:
    known = _KNOWN | {name for name, beta in _BY_BETA.items() if beta in betas}
    unknown = sorted(set(body) - known)
    wants(not unknown, f"{unknown[:1]}: Extra inputs are not permitted")
    wants(type(body.get("max_tokens")) is int, "max_tokens: Field required")
    stops = body.get("stop_sequences", [])
    wants(all(stop.strip() for stop in stops), "stop_sequences: must contain non-whitespace")
    _check_tools(body)
    _check_thinking(body)
    system = body.get("system")
    if isinstance(system, list):
        _check_blocks(system, "system", "system")
    wants(system is None or system, "system: must not be empty")
    _check_messages(body.get("messages"))


def _check_tools(body: Fields) -> None:
    tools, choice = body.get("tools") or [], body.get("tool_choice")
    wants(choice is None or tools, "tool_choice: only with tools")
    for tool in tools:
        fields = {"name", "description", "input_schema", "strict", "cache_control", "type",
                  "eager_input_streaming"}  # fmt: skip
        wants(set(tool) <= fields, f"tools: Extra inputs are not permitted: {tool}")
        wants(re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", tool["name"]), "tools.name: pattern")
        wants(tool["input_schema"].get("type") == "object", "tools.input_schema.type: required")
    if choice is not None:
        wants(choice["type"] in ("auto", "any", "tool", "none"), "tool_choice.type: unknown")
        named = {"name"} if choice["type"] == "tool" else set()
        fields = {"type", "disable_parallel_tool_use"} - ({"disable_parallel_tool_use"}
                 if choice["type"] == "none" else set()) | named  # fmt: skip
        wants(set(choice) <= fields and named <= set(choice), f"tool_choice: {choice}")


def _check_thinking(body: Fields) -> None:
    thinking, effort = body.get("thinking"), (body.get("output_config") or {}).get("effort")
    wants(effort in (None, "low", "medium", "high", "xhigh", "max"), f"effort: {effort}")
    if thinking is None:
        return
    kinds = ("enabled", "disabled", "adaptive", "between_tools")
    wants(thinking["type"] in kinds, "thinking.type: unknown")
    if thinking["type"] == "enabled":
        budget = thinking["budget_tokens"]
        wants(1024 <= budget < body["max_tokens"], "thinking.budget_tokens: out of range")
    if thinking["type"] != "disabled":
        forced = (body.get("tool_choice") or {}).get("type") in ("any", "tool")
        wants(not forced, "Thinking may not be enabled when tool_choice forces tool use.")


def _check_messages(messages: object) -> None:
    wants(isinstance(messages, list) and messages, "messages: at least one is required")
    assert isinstance(messages, list)
    wants(messages[0]["role"] == "user", "messages: first message must use the user role")
    owed: list[str] = []
    for at, message in enumerate(messages):
        role, content = message["role"], message["content"]
        wants(set(message) == {"role", "content"}, f"messages[{at}]: Extra inputs")
        wants(role in _BY_ROLE, f"messages[{at}].role: {role}")
        wants(role != "system" or messages[at - 1]["role"] == "user", "system after a user turn")
        found = [{"type": "text", "text": content}] if isinstance(content, str) else content
        _check_blocks(found, role, f"messages[{at}]")
        results = [block["tool_use_id"] for block in found if block["type"] == "tool_result"]
        first = [block["type"] for block in found[: len(results)]]
        wants(set(first) <= {"tool_result"}, f"messages[{at}]: tool_result blocks come first")
        wants(sorted(results) == sorted(owed), f"tool_use ids without tool_result: {owed}")
        owed = [block["id"] for block in found if block["type"] == "tool_use"]
    wants(not owed, f"tool_use ids without tool_result: {owed}")
    last = messages[-1]
    wants(last["role"] != "assistant", "This model does not support assistant message prefill.")


def _check_blocks(blocks: list[Fields], role: str, where: str) -> None:
    wants(blocks or where == "system", f"{where}: content is required")
    for block in blocks:
        kind = block.get("type", "")
        wants(kind in _BY_ROLE[role], f"{where}: {kind} in a message of role {role}")
        needed, allowed = _BLOCKS[kind]
        fields = set(block) - {"type", "cache_control"}
        wants(needed <= fields <= needed | allowed, f"{where}: {kind}: {sorted(fields)}")
        if kind == "text":
            wants(block["text"].strip(), "text content blocks must be non-empty")
        if kind in ("image", "document"):
            _check_source(block["source"], kind)
        if kind in ("tool_use", "tool_result"):
            call_id = str(block.get("id", block.get("tool_use_id")))
            wants(re.fullmatch(r"[a-zA-Z0-9_-]+", call_id), f"{where}: id does not match pattern")
        if kind == "tool_use":
            wants(isinstance(block["input"], dict), f"{where}: input: not an object")
        if kind == "tool_result" and isinstance(block.get("content"), list):
            _check_blocks(block["content"], "user", f"{where}.content")
        if kind == "thinking":
            wants(block["signature"] == SIGNATURE, "Invalid `signature` in `thinking` block")


def _check_source(source: Fields, kind: str) -> None:
    wants(source["type"] in ("base64", "url", "text"), f"{kind}.source: {source['type']}")
    if source["type"] == "base64":
        data = base64.b64decode(source["data"], validate=True)
        start = _STARTS.get(source["media_type"], b"?")
        wants(data.startswith(start), f"{kind}: does not match the media type")


# ---- what is answered ----


def counts(text: str) -> Fields:
    return {
        "input_tokens": 14, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2,
        "output_tokens": len(text), "output_tokens_details": {"thinking_tokens": 2},
    }  # fmt: skip


def _results(blocks: list[Fields]) -> list[str]:
    told = []
    for block in blocks:
        inner = block.get("content", "")
        if isinstance(inner, list):
            inner = "".join(part.get("text", f"[{part['type']}]") for part in inner)
        told.append(("failed: " if block.get("is_error") else "") + inner)
    return told


def blocks_of(body: Fields) -> list[Fields]:
    """The content of an answer."""
    last = body["messages"][-1]
    found = last["content"] if isinstance(last["content"], list) else []
    results = [block for block in found if block["type"] == "tool_result"]
    if results:
        return [{"type": "text", "text": "; ".join(_results(results))}]
    images = [block["source"] for block in found if block["type"] == "image"]
    if images:
        told = [source.get("url") or _described(source) for source in images]
        return [{"type": "text", "text": "; ".join(told)}]
    out: list[Fields] = []
    if body["model"] == "thinks":
        out.append({"type": "thinking", "thinking": "".join(THOUGHT), "signature": SIGNATURE})
    out.append({"type": "text", "text": "".join(PIECES)})
    return out + _calls(body)


def _described(source: Fields) -> str:
    return f"{source['media_type']} of {len(base64.b64decode(source['data']))} bytes"


def _calls(body: Fields) -> list[Fields]:
    if not body.get("tools") or (body.get("tool_choice") or {}).get("type") == "none":
        return []
    single = (body.get("tool_choice") or {}).get("disable_parallel_tool_use")
    name = body["tools"][0]["name"]
    return [
        {"type": "tool_use", "id": f"toolu_{at}", "name": name, "input": {"city": city}}
        for at, city in enumerate(CITIES[:1] if single else CITIES)
    ]


def ending(body: Fields, blocks: list[Fields]) -> Fields:
    found = {"long": "max_tokens", "refuses": "refusal", "stops": "stop_sequence"}
    called = any(block["type"] == "tool_use" for block in blocks)
    reason = found.get(body["model"], "tool_use" if called else "end_turn")
    stop = body["stop_sequences"][0] if reason == "stop_sequence" else None
    return {"stop_reason": reason, "stop_sequence": stop}


def head(body: Fields) -> Fields:
    return {"id": "msg_stub", "type": "message", "role": "assistant", "model": body["model"]}


def whole(body: Fields) -> Fields:
    blocks = blocks_of(body)
    text = "".join(block.get("text", "") for block in blocks)
    return {**head(body), "content": blocks, **ending(body, blocks), "usage": counts(text)}


def events(body: Fields) -> Iterator[Fields]:
    blocks = blocks_of(body)
    text = "".join(block.get("text", "") for block in blocks)
    begun = {**counts(text), "output_tokens": 1}
    open_end = {"stop_reason": None, "stop_sequence": None}
    yield {"type": "message_start",
           "message": {**head(body), "content": [], **open_end, "usage": begun}}  # fmt: skip
    yield {"type": "ping"}
    for index, block in enumerate(blocks):
        blank: Fields = {name: "" for name in ("text", "thinking", "signature") if name in block}
        empty = {**block, **blank}
        if "input" in empty:
            empty["input"] = {}
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    told = {"output_tokens": len(text), "output_tokens_details": {"thinking_tokens": 2}}
    yield {"type": "message_delta", "delta": ending(body, blocks), "usage": told}
    yield {"type": "message_stop"}


def _deltas(block: Fields) -> Iterator[Fields]:
    if block["type"] == "text":
        found = PIECES if block["text"] == "".join(PIECES) else (block["text"],)
        yield from ({"type": "text_delta", "text": piece} for piece in found)
    elif block["type"] == "thinking":
        yield from ({"type": "thinking_delta", "thinking": piece} for piece in THOUGHT)
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        text = json.dumps(block["input"], ensure_ascii=False)
        for at in range(0, len(text) + 1, 4):
            yield {"type": "input_json_delta", "partial_json": text[at - 4 : at] if at else ""}
        yield {"type": "input_json_delta", "partial_json": text[at:]}


# ---- the server ----


@dataclass(slots=True)
class Stub:
    """requests: the bodies that came, refused ones too. betas: the header that came with each."""

    url: str = ""
    requests: list[Fields] = field(default_factory=list)
    betas: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    open_streams: int = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("x-api-key") != UPSTREAM_KEY:
            return _json(error_body(401, "invalid x-api-key"), 401)
        counts = request.path == "/v1/messages/count_tokens"
        assert counts or request.path == "/v1/messages"
        body: Fields = json.loads(await request.content.read())
        self.requests.append(body)
        self.betas.append(request.headers.get("anthropic-beta", ""))
        self.versions.append(request.headers["anthropic-version"])
        try:
            check({"max_tokens": 1, **body} if counts else body, self.betas[-1])
        except Refused as refused:
            return _json(error_body(400, str(refused)), 400)
        model: str = body["model"]
        if model.startswith("error-"):
            return _fail(int(model.removeprefix("error-")))
        if model not in MODELS:
            return _fail(404)
        if counts:
            return _json({"input_tokens": COUNTED})
        if not body.get("stream"):
            return _json(whole(body))
        return await counted(self, self._stream(request, body))

    async def _stream(self, request: web.BaseRequest, body: Fields) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        model, pieces = body["model"], 0
        for event in events(body):
            data = _frame(event)
            for piece in (
                [data[at : at + 1] for at in range(len(data))] if model == "bytes" else (data,)
            ):
                await response.write(piece)
            pieces += event["type"] == "content_block_delta"
            if pieces == 4 and model == "breaks":
                await response.write(_frame(error_body(529, "Overloaded")))
                return response
            if pieces == 4 and model == "forever":
                await without_end(response, data)
            if pieces == 4 and model == "cut":
                await asyncio.sleep(0.03)
                assert request.transport is not None
                request.transport.abort()
                return response
        return response


def _frame(event: Fields) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(value, ensure_ascii=False).encode(),
        status=status,
        content_type="application/json",
    )


def _fail(status: int) -> web.Response:
    response = _json(error_body(status, f"This is a {status}."), status)
    if status == 429:
        response.headers["Retry-After"] = "40"
    return response


@asynccontextmanager
async def anthropic_stub() -> AsyncIterator[Stub]:
    stub = Stub()
    server = web.Server(stub.handle, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield stub
    finally:
        await runner.cleanup()
