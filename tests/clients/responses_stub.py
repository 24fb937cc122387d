"""An upstream that speaks Responses as OpenAI does, and refuses what OpenAI refuses.

It answers as `openai_stub` does, with the same models; `thinks` gives a summary of two parts and an
encrypted form, which must come back whole. It stores what it is not told to forget.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from .endless import counted, without_end
from .openai_stub import CITIES, MODELS, PERSON, PIECES, UPSTREAM_KEY, Refused, error_body

__all__ = ["MODELS", "SECRET", "UPSTREAM_KEY", "Stub", "responses_stub"]

SECRET = "gAAAA-secret"
THOUGHTS = ("well, ", "好")
_KNOWN = {
    "background", "context_management", "conversation", "include", "input", "instructions",
    "max_output_tokens", "max_tool_calls", "metadata", "model", "parallel_tool_calls",
    "previous_response_id", "prompt", "prompt_cache_key", "reasoning", "safety_identifier",
    "service_tier", "store", "stream", "stream_options", "temperature", "text", "tool_choice",
    "tools", "top_logprobs", "top_p", "truncation", "user",
}  # fmt: skip
_INCLUDE = ("reasoning.encrypted_content", "message.output_text.logprobs")
_CONTENT = {
    "user": ("input_text", "input_image", "input_file"), "system": ("input_text",),
    "developer": ("input_text",), "assistant": ("output_text", "refusal"),
}  # fmt: skip
Fields = dict[str, Any]


def check(body: Fields, held: dict[str, Any]) -> list[Fields]:
    """All items of the conversation; Refused for what OpenAI answers 400 to."""
    unknown = sorted(set(body) - _KNOWN)
    if unknown:
        raise Refused(f"Unknown parameter: '{unknown[0]}'.", unknown[0], "unknown_parameter")
    for name in ("tool_choice", "parallel_tool_calls"):
        if body.get(name) is not None and not body.get("tools"):
            raise Refused(f"'{name}' is only allowed when 'tools' are specified.", name)
    for what in body.get("include") or ():
        if what not in _INCLUDE:
            raise Refused(f"Invalid value: '{what}'.", "include")
    if body.get("max_output_tokens", 16) < 16:
        raise Refused("Expected a value >= 16.", "max_output_tokens", "integer_below_min_value")
    return _conversation(body, held)


def _conversation(body: Fields, held: dict[str, Any]) -> list[Fields]:
    before: list[Fields] = []
    previous = body.get("previous_response_id")
    if previous is not None:
        if previous not in held:
            raise Refused(
                f"Previous response with id '{previous}' not found.", "previous_response_id",
                "previous_response_not_found",
            )  # fmt: skip
        before = held[previous]
    given = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    _check_items(items, before)
    return before + items


def _check_items(items: list[Fields], before: list[Fields]) -> None:
    if not items:
        raise Refused("Invalid 'input': empty array.", "input", "empty_array")
    known = {item["id"] for item in before if "id" in item}
    owed = [item["call_id"] for item in before if item.get("type") == "function_call"]
    for at, item in enumerate(items):
        where, kind = f"input[{at}]", item.get("type", "message")
        if kind == "message":
            _check_message(item, where)
        elif kind == "reasoning":
            if item.get("encrypted_content") != SECRET and item.get("id") not in known:
                raise Refused(f"Item with id '{item.get('id')}' not found.", where)
        elif kind in ("function_call", "custom_tool_call"):
            owed.append(item["call_id"])
        elif kind in ("function_call_output", "custom_tool_call_output"):
            if item["call_id"] not in owed:
                raise Refused("No tool call found for function call output.", where)
            owed.remove(item["call_id"])
        else:
            raise Refused(f"Invalid value: '{kind}'.", f"{where}.type")
    if owed:
        raise Refused(f"No tool output found for function call {owed[0]}.", "input")


def _check_message(item: Fields, where: str) -> None:
    allowed = _CONTENT.get(item["role"])
    if allowed is None:
        raise Refused(f"Invalid value: '{item['role']}'.", f"{where}.role")
    for part in item["content"] if isinstance(item["content"], list) else ():
        if part["type"] not in allowed:
            raise Refused(f"Invalid value: '{part['type']}'.", f"{where}.content")


# ---- what is answered ----


def _text(item: Fields) -> str:
    content = item.get("output", item.get("content"))
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or ())


def pieces_of(body: Fields, items: list[Fields]) -> list[str]:
    last = items[-1]
    if last.get("type", "").endswith("_output"):
        calls = [at for at, item in enumerate(items) if item.get("type", "").endswith("_call")]
        results = [item for item in items[calls[-1] + 1 :] if "output" in item]
        return ["; ".join(map(_text, results))]
    if ((body.get("text") or {}).get("format") or {}).get("type") == "json_schema":
        return [PERSON[at : at + 5] for at in range(0, len(PERSON), 5)]
    parts = last["content"] if isinstance(last["content"], list) else []
    images = [part["image_url"] for part in parts if part["type"] == "input_image"]
    if images:
        return ["; ".join(images)]
    turns = [item for item in items if item.get("role") == "user"]
    if _text(last) == "recall":
        return [" | ".join(map(_text, turns))]
    return list(PIECES)


def output_of(body: Fields, items: list[Fields]) -> list[Fields]:
    """The items of an answer."""
    out: list[Fields] = []
    if body["model"] == "thinks":
        thought: Fields = {"id": "rs_1", "type": "reasoning", "summary": [
            {"type": "summary_text", "text": text} for text in THOUGHTS]}  # fmt: skip
        if "reasoning.encrypted_content" in (body.get("include") or ()):
            thought["encrypted_content"] = SECRET
        out.append(thought)
    functions = [tool for tool in body.get("tools") or () if tool["type"] in ("function", "custom")]
    if functions and not items[-1].get("type", "").endswith("_output"):
        cities = CITIES if body.get("parallel_tool_calls") is not False else CITIES[:1]
        return out + [_call(functions[0], at, city) for at, city in enumerate(cities)]
    text = "".join(pieces_of(body, items))
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return [*out, {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
                   "content": [part]}]  # fmt: skip


def _call(tool: Fields, at: int, city: str) -> Fields:
    head = {"id": f"fc_{at}", "call_id": f"call_{at}", "name": tool["name"]}
    if tool["type"] == "custom":
        return {"type": "custom_tool_call", **head, "input": city}
    args = json.dumps({"city": city}, ensure_ascii=False)
    return {"type": "function_call", "status": "completed", **head, "arguments": args}


def response_of(body: Fields, ident: str, output: list[Fields], status: str) -> Fields:
    done = status == "completed"
    said = sum(len(part["text"]) for item in output for part in item.get("content", ()))
    usage = {
        "input_tokens": 19, "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": said, "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 19 + said,
    }  # fmt: skip
    return {
        "id": ident, "object": "response", "created_at": 1_750_000_000, "status": status,
        "completed_at": 1_750_000_001 if done else None, "model": body["model"], "output": output,
        "error": None, "incomplete_details": None, "instructions": body.get("instructions"),
        "tools": body.get("tools") or [], "tool_choice": body.get("tool_choice") or "auto",
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False, "metadata": {},
        "temperature": 1.0, "top_p": 1.0, "usage": usage if done else None,
        "previous_response_id": body.get("previous_response_id"), "store": body.get("store", True),
    }  # fmt: skip


def events_of(body: Fields, ident: str, items: list[Fields]) -> Iterator[tuple[str, Fields]]:
    output = output_of(body, items)
    begun = response_of(body, ident, [], "in_progress")
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, item in enumerate(output):
        place = {"output_index": index}
        bare = {**item, "content": [], "summary": [], "arguments": "", "input": ""}
        bare = {name: value for name, value in bare.items() if name in item}
        bare.pop("encrypted_content", None)
        yield "response.output_item.added", {**place, "item": bare}
        yield from _inner(item, {**place, "item_id": item["id"]}, body, items)
        yield "response.output_item.done", {**place, "item": item}
    yield "response.completed", {"response": response_of(body, ident, output, "completed")}


def _inner(
    item: Fields, place: Fields, body: Fields, items: list[Fields]
) -> Iterator[tuple[str, Fields]]:
    if item["type"] == "message":
        (part,), place = item["content"], {**place, "content_index": 0}
        yield "response.content_part.added", {**place, "part": {**part, "text": ""}}
        for piece in pieces_of(body, items):
            yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}
        yield "response.output_text.done", {**place, "text": part["text"], "logprobs": []}
        yield "response.content_part.done", {**place, "part": part}
    for at, part in enumerate(item.get("summary", ())):
        there, empty = {**place, "summary_index": at}, {**part, "text": ""}
        yield "response.reasoning_summary_part.added", {**there, "part": empty}
        yield "response.reasoning_summary_text.delta", {**there, "delta": part["text"]}
        yield "response.reasoning_summary_text.done", {**there, "text": part["text"]}
        yield "response.reasoning_summary_part.done", {**there, "part": part}
    fields = {"arguments": "function_call_arguments", "input": "custom_tool_call_input"}
    for name, what in fields.items():
        text = item.get(name, "")
        for at in range(0, len(text), 3):
            yield f"response.{what}.delta", {**place, "delta": text[at : at + 3]}
        if text:
            yield f"response.{what}.done", {**place, name: text, "name": item["name"]}


# ---- the server ----


@dataclass(slots=True)
class Stub:
    """requests: the bodies that came, refused ones too. held: conversations by response id."""

    url: str = ""
    requests: list[Fields] = field(default_factory=list)
    held: dict[str, list[Fields]] = field(default_factory=dict)
    open_streams: int = 0
    count: Any = field(default_factory=lambda: itertools.count(1))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {UPSTREAM_KEY}":
            return _fail(401)
        body: Fields = json.loads(await request.content.read())
        self.requests.append(body)
        try:
            items = check(body, self.held)
        except Refused as refused:
            known = error_body(str(refused), "invalid_request_error", refused.param, refused.code)
            return web.json_response(known, status=400)
        model: str = body["model"]
        if model.startswith("error-"):
            return _fail(int(model.removeprefix("error-")))
        ident = f"resp_stub{next(self.count)}"
        output = output_of(body, items)
        if body.get("store", True):
            self.held[ident] = items + output
        if body.get("stream"):
            return await counted(self, self._stream(request, body, ident, items))
        return web.json_response(response_of(body, ident, output, "completed"))

    async def _stream(
        self, request: web.BaseRequest, body: Fields, ident: str, items: list[Fields]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for number, (kind, fields) in enumerate(events_of(body, ident, items)):
            value = {"type": kind, "sequence_number": number, **fields}
            data = f"event: {kind}\ndata: {json.dumps(value, ensure_ascii=False)}\n\n".encode()
            step = 1 if body["model"] == "bytes" else len(data)
            for at in range(0, len(data), step):
                await response.write(data[at : at + step])
            if number == 8 and body["model"] == "breaks":
                error = {"code": "server_error", "message": "The server had an error."}
                last = {**response_of(body, ident, [], "failed"), "error": error}
                value = {"type": "response.failed", "sequence_number": 9, "response": last}
                await response.write(
                    f"event: response.failed\ndata: {json.dumps(value)}\n\n".encode()
                )
                return response
            if number == 8 and body["model"] == "forever":
                await without_end(response, data)
            if number == 8 and body["model"] == "cut":
                await asyncio.sleep(0.03)
                assert request.transport is not None
                request.transport.abort()
                return response
        return response


def _fail(status: int) -> web.Response:
    body = error_body(f"This is a {status}.", "some_error", None, None)
    if status == 429:
        body["error"]["code"] = "rate_limit_exceeded"
    headers = {"Retry-After": "40"} if status == 429 else None
    return web.json_response(body, status=status, headers=headers)


@asynccontextmanager
async def responses_stub() -> AsyncIterator[Stub]:
    stub = Stub()
    server = web.Server(stub.handle, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield stub
    finally:
        await runner.cleanup()
