"""What upstreams say, byte for byte, and short words for the events of an answer."""

from __future__ import annotations

from typing import Any

from engine.chat import Reasoning, Text, ToolCall
from engine.events import (
    ArgsDelta,
    Close,
    Event,
    Finish,
    Open,
    ReasoningDelta,
    TextDelta,
    Usage,
    UsageEvent,
)
from engine.wire import dumps

C, R, A, G, L = "openai_chat", "openai_responses", "anthropic_messages", "gemini", "ollama"
STOP, TOOLS = Finish("stop"), Finish("tool_calls")
COUNTS = UsageEvent(Usage(input=10, output=5))


# ---- events ----


def text(at: int, *pieces: str) -> list[Event]:
    return [Open(at, Text("")), *(TextDelta(at, piece) for piece in pieces), Close(at)]


def thought(at: int, *pieces: str, signature: str | None = None, origin: str = "") -> list[Event]:
    deltas = [ReasoningDelta(at, piece) for piece in pieces]
    return [Open(at, Reasoning(signature=signature, origin=origin)), *deltas, Close(at)]


def called(at: int, ident: str, *pieces: str, name: str = "look") -> list[Event]:
    deltas = [ArgsDelta(at, piece) for piece in pieces]
    return [Open(at, ToolCall(ident, name, "")), *deltas, Close(at)]


# ---- Chat Completions ----


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "up",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}  # fmt: skip


def call(index: int | None = 0, ident: str | None = None, name: str | None = None,
         args: str | None = None) -> dict[str, Any]:  # fmt: skip
    inner = {k: v for k, v in (("name", name), ("arguments", args)) if v is not None}
    found: dict[str, Any] = {"function": inner}
    if index is not None:
        found["index"] = index
    if ident is not None:
        found["id"] = ident
    return found


def chat(*chunks: Any, done: int = 1) -> bytes:
    frames = [item if isinstance(item, bytes) else dumps(item) for item in chunks]
    return b"".join(b"data: %b\n\n" % frame for frame in frames) + b"data: [DONE]\n\n" * done


# ---- Messages ----

EMPTY, LETTER = {"type": "text", "text": ""}, {"type": "text_delta", "text": "a"}
Named = tuple[str, dict[str, Any]]


def message(*events: Named) -> bytes:
    begin = {
        "id": "msg",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "up",
        "usage": {"input_tokens": 7, "output_tokens": 1},
    }
    return named(("message_start", {"message": begin}), *events)


def named(*events: Named) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (name.encode(), dumps({"type": name, **value}))
        for name, value in events
    )


def block(index: int, opened: dict[str, Any], *deltas: dict[str, Any]) -> list[Named]:
    return [
        ("content_block_start", {"index": index, "content_block": opened}),
        *(("content_block_delta", {"index": index, "delta": delta}) for delta in deltas),
        ("content_block_stop", {"index": index}),
    ]


def use(index: int, ident: str, *pieces: str, name: str = "look") -> list[Named]:
    opened = {"type": "tool_use", "id": ident, "name": name, "input": {}}
    return block(index, opened, *({"type": "input_json_delta", "partial_json": p} for p in pieces))


def stop(reason: str = "end_turn", **usage: Any) -> list[Named]:
    return [over(reason, **usage), ("message_stop", {})]


def over(reason: str | None = "end_turn", **usage: Any) -> Named:
    return "message_delta", {"delta": {"stop_reason": reason},
                             "usage": {"output_tokens": 5, **usage}}  # fmt: skip


# ---- Responses ----

BEGUN: dict[str, Any] = {"id": "resp_1", "object": "response", "created_at": 1, "model": "up",
                         "output": [], "status": "in_progress"}  # fmt: skip
CREATED = {"type": "response.created", "response": BEGUN}


def responses(*events: dict[str, Any]) -> bytes:
    """A stream that begins, says these, and is numbered."""
    made = [{"sequence_number": at, **event} for at, event in enumerate((CREATED, *events))]
    return b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), dumps(e)) for e in made)


def ended(*output: dict[str, Any], status: str = "completed", **more: Any) -> dict[str, Any]:
    response = {**BEGUN, "status": status, "output": list(output), **more}
    return {"type": f"response.{status}", "response": response}


def function(args: str = '{"x":1}', ident: str = "a", **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "id": f"fc_{ident}", "call_id": ident, "name": "look",
            "arguments": args, "status": "completed", **more}  # fmt: skip


def added(at: int, item: dict[str, Any]) -> dict[str, Any]:
    bare = {**item, "arguments": ""} if "arguments" in item else item
    return {"type": "response.output_item.added", "output_index": at, "item": bare}


def done(at: int, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": at, "item": item}


def piece(at: int, item: dict[str, Any], args: str) -> dict[str, Any]:
    return {"type": "response.function_call_arguments.delta", "output_index": at,
            "item_id": item["id"], "delta": args}  # fmt: skip


def whole_args(at: int, item: dict[str, Any]) -> dict[str, Any]:
    kind = "response.function_call_arguments.done"
    told = {"name": item["name"], "arguments": item["arguments"]}
    return {"type": kind, "output_index": at, "item_id": item["id"], **told}


# ---- Gemini ----


def part(*parts: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    candidate = {"index": 0, "content": {"role": "model", "parts": list(parts)}}
    return {"candidates": [candidate | ({"finishReason": finish} if finish else {})], **more}


def gemini(*chunks: Any) -> bytes:
    return b"".join(b"data: %b\r\n\r\n" % dumps(item) for item in chunks)


# ---- Ollama ----


def line(finish: str | None = None, **said: Any) -> dict[str, Any]:
    last = {"done_reason": finish} if finish else {}
    message = {"role": "assistant", "content": "", **said}
    return {"model": "m", "message": message, "done": finish is not None, **last}


def lines(*values: Any) -> bytes:
    return b"".join(dumps(value) + b"\n" for value in values)


# ---- an upstream of no dialect ----


def records(*values: Any) -> bytes:
    return b"".join(b"data: %b\n\n" % dumps(value) for value in values)
