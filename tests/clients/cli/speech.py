"""What a scripted model says, in the wire form of each dialect, and how each is asked and fails.

Messages, Gemini and Ollama are held to the rules of the stubs of the same names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.clients import anthropic_stub, gemini_stub, ollama_stub

Fields = dict[str, Any]


@dataclass(slots=True)
class Say:
    """An answer. calls: names and arguments; customs: names and free text.

    hangs: after the text nothing more comes, not even an end.
    """

    text: str = ""
    calls: tuple[tuple[str, Fields], ...] = ()
    customs: tuple[tuple[str, str], ...] = ()
    thinking: str = ""
    hangs: bool = False


@dataclass(frozen=True, slots=True)
class Dialect:
    """path: a pattern. key: the header of the upstream's key, with what stands before it.

    results   the texts of all results of tools in a body
    say       (an answer, the number of the request) as pieces of a stream
    fail      (status, message, code) as the body of an error
    check     raises ValueError for a body that the real service refuses; given the path and betas
    """

    path: str
    key: tuple[str, str] | None
    results: Callable[[Fields], list[str]]
    say: Callable[[Say, int], Iterator[bytes]]
    fail: Callable[[int, str, str], object]
    check: Callable[[Fields, str, str], None] = lambda body, path, betas: None
    media: str = "text/event-stream"


# ---- Chat Completions and Responses ----


def _results(turns: list[Fields]) -> list[str]:
    found = [turn for turn in turns if turn.get("role") == "tool" or "output" in turn]
    return [str(turn.get("content", turn.get("output"))) for turn in found]


def _chat(say: Say, number: int) -> Iterator[bytes]:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas: list[Fields] = [{"role": "assistant"}]
    if say.thinking:
        deltas.append({"reasoning_content": say.thinking})
    if say.text:
        deltas += [{"content": piece} for piece in (say.text[:3], say.text[3:]) if piece]
    wrapped = tuple((name, {"input": text}) for name, text in say.customs)
    for index, (name, args) in enumerate(say.calls + wrapped):
        function = {"name": name, "arguments": ""}
        ident = f"call_{number}{index}"
        call = {"index": index, "id": ident, "type": "function", "function": function}
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


def _openai_error(status: int, message: str, code: str) -> object:
    return {"error": {"message": message, "type": "x", "code": code or None, "param": None}}


# ---- Messages ----


def _blocks(say: Say, number: int) -> Iterator[tuple[Fields, list[Fields]]]:
    """Each block as it begins, and its deltas."""
    if say.thinking:
        deltas = [
            {"type": "thinking_delta", "thinking": say.thinking},
            {"type": "signature_delta", "signature": anthropic_stub.SIGNATURE},
        ]
        yield {"type": "thinking", "thinking": "", "signature": ""}, deltas
    if say.text:
        pieces = (say.text[:3], say.text[3:])
        yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": p} for p in pieces]
    for at, (name, args) in enumerate(say.calls):
        text = json.dumps(args)
        cuts = range(0, len(text), 9)
        yield (
            {"type": "tool_use", "id": f"toolu_{number}{at}", "name": name, "input": {}},
            [{"type": "input_json_delta", "partial_json": text[cut : cut + 9]} for cut in cuts],
        )


def _messages(say: Say, number: int) -> Iterator[bytes]:
    usage = {"input_tokens": 30, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 0,
             "output_tokens": 1}  # fmt: skip
    head: Fields = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": "m",
            "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}  # fmt: skip
    events: list[Fields] = [{"type": "message_start", "message": head}]
    for index, (block, deltas) in enumerate(_blocks(say, number)):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        ]
        events.append({"type": "content_block_stop", "index": index})
    ended = {"stop_reason": "tool_use" if say.calls else "end_turn", "stop_sequence": None}
    events.append({"type": "message_delta", "delta": ended, "usage": {"output_tokens": 7}})
    for event in [*events, {"type": "message_stop"}]:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _messages_error(status: int, message: str, code: str) -> object:
    if code == "context_length_exceeded":  # there is no such code: only these words
        message = "prompt is too long: 210000 tokens > 200000 maximum"
    return anthropic_stub.error_body(status, message)


def _message_results(body: Fields) -> list[str]:
    blocks = [
        block
        for turn in body["messages"]
        if isinstance(turn["content"], list)
        for block in turn["content"]
    ]
    return [json.dumps(b["content"]) for b in blocks if b["type"] == "tool_result"]


def _check_messages(body: Fields, path: str, betas: str) -> None:
    try:
        anthropic_stub.check(body, betas)
    except anthropic_stub.Refused as refused:
        raise ValueError(str(refused)) from refused


# ---- Gemini ----


def _gemini(say: Say, number: int) -> Iterator[bytes]:
    parts: list[Fields] = [{"text": say.thinking, "thought": True}] if say.thinking else []
    parts += [{"text": piece} for piece in (say.text[:3], say.text[3:]) if piece]
    parts += [{"functionCall": {"name": name, "args": args}} for name, args in say.calls]
    usage = {"promptTokenCount": 50, "cachedContentTokenCount": 20, "candidatesTokenCount": 7,
             "totalTokenCount": 57}  # fmt: skip
    for at, part in enumerate(parts):
        candidate: Fields = {"content": {"parts": [part], "role": "model"}, "index": 0}
        if at == len(parts) - 1:
            candidate["finishReason"] = "STOP"
        chunk = {"candidates": [candidate], "usageMetadata": usage, "responseId": "r"}
        yield b"data: %b\r\n\r\n" % json.dumps(chunk).encode()


def _gemini_results(body: Fields) -> list[str]:
    parts = [part for turn in body["contents"] for part in turn["parts"]]
    return [json.dumps(part["functionResponse"]) for part in parts if "functionResponse" in part]


def _check_gemini(body: Fields, path: str, betas: str) -> None:
    found = re.fullmatch(r".*/models/([^/:]+):\w+", path)
    assert found is not None, path
    try:
        gemini_stub.check(gemini_stub.camel(body), found[1])
    except gemini_stub.Refused as refused:
        raise ValueError(str(refused)) from refused


# ---- Ollama ----


def _ollama(say: Say, number: int) -> Iterator[bytes]:
    head = {"model": "m", "created_at": "2026-01-01T00:00:00.123456789Z"}
    said: list[Fields] = [{"content": "", "thinking": say.thinking}] if say.thinking else []
    said += [{"content": piece} for piece in (say.text[:3], say.text[3:]) if piece]
    said += [
        {"content": "", "tool_calls": [{"function": {"name": name, "arguments": args}}]}
        for name, args in say.calls
    ]
    for message in said:
        line = {**head, "message": {"role": "assistant", **message}, "done": False}
        yield json.dumps(line).encode() + b"\n"
    ended = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop",
             "prompt_eval_count": 50, "eval_count": 7}  # fmt: skip
    yield json.dumps({**head, **ended}).encode() + b"\n"


def _check_ollama(body: Fields, path: str, betas: str) -> None:
    try:
        ollama_stub.check(body)
    except ollama_stub.Refused as refused:
        raise ValueError(str(refused)) from refused


BEARER = ("Authorization", "Bearer ")
DIALECTS = (
    Dialect(".*/chat/completions", BEARER, lambda body: _results(body["messages"]), _chat,
            _openai_error),
    Dialect(".*/responses", BEARER, lambda body: _results(body["input"]), _responses,
            _openai_error),
    Dialect(".*/messages", ("x-api-key", ""), _message_results, _messages,
            _messages_error, _check_messages),
    Dialect(".*:(streamG|g)enerateContent", ("x-goog-api-key", ""), _gemini_results, _gemini,
            lambda status, message, code: [gemini_stub.error_body(status, message)],
            _check_gemini),
    Dialect(".*/api/chat", None, lambda body: _results(body["messages"]), _ollama,
            lambda status, message, code: {"error": message}, _check_ollama,
            "application/x-ndjson"),
)  # fmt: skip
