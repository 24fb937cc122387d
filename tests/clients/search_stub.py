"""An upstream that searches the web as each provider does: what it found stands in the answer as
blocks, items, annotations or grounding of its own, and the text cites it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from engine.shell.stub import listening

Fields = dict[str, Any]
URL, TITLE, QUERY = "https://a.example/aare", "The Aare", "river of Bern"
BEFORE, CITED = "I look. ", "The Aare flows there."
TEXT = BEFORE + CITED
_USAGE = {"input_tokens": 10, "output_tokens": 5}


def _sse(value: Fields, event: str = "") -> str:
    return (f"event: {event}\n" if event else "") + f"data: {json.dumps(value)}\n\n"


# ---- Chat Completions ----

_LINK = {"url": URL, "title": TITLE, "start_index": len(BEFORE), "end_index": len(TEXT)}
_NOTE = {"type": "url_citation", "url_citation": _LINK}
_COUNTS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def _chat(streams: bool) -> Iterator[str]:
    head = {"id": "c", "created": 1, "model": "m"}
    if not streams:
        message = {"role": "assistant", "content": TEXT, "annotations": [_NOTE]}
        choice: Fields = {"index": 0, "message": message, "finish_reason": "stop"}
        yield json.dumps({"object": "chat.completion", **head, "choices": [choice],
                          "usage": _COUNTS})  # fmt: skip
        return
    for delta, reason in (
        ({"role": "assistant", "content": BEFORE}, None),
        ({"content": CITED}, None),
        ({"annotations": [_NOTE]}, None),
        ({}, "stop"),
    ):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        yield _sse({"object": "chat.completion.chunk", **head, "choices": [choice]})
    yield _sse({"object": "chat.completion.chunk", **head, "choices": [], "usage": _COUNTS})
    yield "data: [DONE]\n\n"


# ---- Messages ----

_PLACE = {"type": "web_search_result_location", "url": URL, "title": TITLE,
          "encrypted_index": "xyz", "cited_text": "flows through"}  # fmt: skip
_BLOCKS: list[Fields] = [
    {"type": "text", "text": BEFORE},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search",
     "input": {"query": QUERY}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1",
     "content": [{"type": "web_search_result", "url": URL, "title": TITLE,
                  "encrypted_content": "abc", "page_age": None}]},
    {"type": "text", "text": CITED, "citations": [_PLACE]},
]  # fmt: skip
_MESSAGE: Fields = {"id": "msg", "type": "message", "role": "assistant", "model": "m"}


def _messages(streams: bool) -> Iterator[str]:
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    if not streams:
        yield json.dumps({**_MESSAGE, "content": _BLOCKS, **ending, "usage": _USAGE})
        return
    for event in _message_events(ending):
        yield _sse(event, event["type"])


def _message_events(ending: Fields) -> Iterator[Fields]:
    begun = {**_MESSAGE, "content": [], "stop_reason": None, "stop_sequence": None}
    yield {"type": "message_start", "message": {**begun, "usage": _USAGE}}
    for index, block in enumerate(_BLOCKS):
        bare, deltas = _parted(block)
        yield {"type": "content_block_start", "index": index, "content_block": bare}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": ending, "usage": _USAGE}
    yield {"type": "message_stop"}


def _parted(block: Fields) -> tuple[Fields, list[Fields]]:
    if "input" in block:
        text = json.dumps(block["input"])
        pieces = [
            {"type": "input_json_delta", "partial_json": part} for part in (text[:6], text[6:])
        ]
        return {**block, "input": {}}, pieces
    if block["type"] != "text":
        return block, []
    notes = [{"type": "citations_delta", "citation": note} for note in block.get("citations", [])]
    return {"type": "text", "text": ""}, [*notes, {"type": "text_delta", "text": block["text"]}]


# ---- Responses ----

_ITEMS: list[Fields] = [
    {"id": "ws_1", "type": "web_search_call", "status": "completed",
     "action": {"type": "search", "query": QUERY}},
    {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
     "content": [{"type": "output_text", "text": TEXT, "logprobs": [],
                  "annotations": [{"type": "url_citation", **_LINK}]}]},
]  # fmt: skip


def _response(status: str, output: list[Fields]) -> Fields:
    usage = {**_USAGE, "total_tokens": 15, "input_tokens_details": {"cached_tokens": 0},
             "output_tokens_details": {"reasoning_tokens": 0}}  # fmt: skip
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "m",
        "output": output, "error": None, "incomplete_details": None, "instructions": None,
        "tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "metadata": {},
        "usage": usage if output else None,
    }  # fmt: skip


def _responses(streams: bool) -> Iterator[str]:
    if not streams:
        yield json.dumps(_response("completed", _ITEMS))
        return
    for number, (kind, fields) in enumerate(_response_events()):
        yield _sse({"type": kind, "sequence_number": number, **fields}, kind)


def _response_events() -> Iterator[tuple[str, Fields]]:
    search, message = _ITEMS
    (part,) = message["content"]
    yield "response.created", {"response": _response("in_progress", [])}
    place: Fields = {"output_index": 0}
    yield "response.output_item.added", {**place, "item": {**search, "status": "in_progress"}}
    for step in ("in_progress", "searching", "completed"):
        yield f"response.web_search_call.{step}", {**place, "item_id": "ws_1"}
    yield "response.output_item.done", {**place, "item": search}
    place = {"output_index": 1}
    yield "response.output_item.added", {**place, "item": {**message, "content": []}}
    place |= {"item_id": "msg_1", "content_index": 0}
    bare = {**part, "text": "", "annotations": []}
    yield "response.content_part.added", {**place, "part": bare}
    for piece in (BEFORE, CITED):
        yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}
    note = {"annotation_index": 0, "annotation": part["annotations"][0]}
    yield "response.output_text.annotation.added", {**place, **note}
    yield "response.output_text.done", {**place, "text": TEXT, "logprobs": []}
    yield "response.content_part.done", {**place, "part": part}
    yield "response.output_item.done", {"output_index": 1, "item": message}
    yield "response.completed", {"response": _response("completed", _ITEMS)}


# ---- Gemini ----

_GROUNDING = {
    "webSearchQueries": [QUERY],
    "searchEntryPoint": {"renderedContent": "<div>chips</div>"},
    "groundingChunks": [{"web": {"uri": URL, "title": TITLE}}],
    "groundingSupports": [
        {"segment": {"startIndex": len(BEFORE), "endIndex": len(TEXT), "text": CITED},
         "groundingChunkIndices": [0]}
    ],
}  # fmt: skip


def _gemini(streams: bool) -> Iterator[str]:
    parts: list[Fields] = [{"text": BEFORE}, {"text": CITED}]
    last: Fields = {"text": "", "thoughtSignature": "c2lnbmVk"}

    def chunk(*given: Fields, **more: object) -> Fields:
        content = {"parts": list(given), "role": "model"}
        usage = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
        return {"candidates": [{"content": content, "index": 0, **more}], "usageMetadata": usage,
                "modelVersion": "m", "responseId": "r"}  # fmt: skip

    ending = {"finishReason": "STOP", "groundingMetadata": _GROUNDING}
    if not streams:
        yield json.dumps(chunk(*parts, last, **ending))
        return
    yield from (_sse(chunk(part)) for part in parts)
    yield _sse(chunk(last, **ending))


# ---- the server ----

SPEAKERS: dict[str, Callable[[bool], Iterator[str]]] = {
    "chat": _chat, "messages": _messages, "responses": _responses, "gemini": _gemini,
}  # fmt: skip
_PATHS = {"/chat/completions": "chat", "/messages": "messages", "/responses": "responses"}


@dataclass(slots=True)
class Stub:
    """asked: the bodies that came."""

    url: str = ""
    asked: list[Fields] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.asked.append(body)
        kind = _PATHS.get(request.path, "gemini")
        streams = body.get("stream") is True or "stream" in request.path
        text = "".join(SPEAKERS[kind](streams))
        return web.Response(
            text=text, content_type="text/event-stream" if streams else "application/json"
        )


@asynccontextmanager
async def search_stub() -> AsyncIterator[Stub]:
    stub = Stub()
    async with listening(stub.handle) as url:
        stub.url = url
        yield stub
