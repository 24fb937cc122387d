"""Anthropic Messages. A thought comes back with its signature, before the calls it led to."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .words import INPUT, OUTPUT, Body, Heard, Refused, Say, Turn, none_owed, owe, seal, sse

ROUTE = "dialect: anthropic_messages\nbase_url: %URL%/v1\n"
PATH = "/v1/messages"
_STOPS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}


def hear(body: Body, path: str) -> Heard:
    heard = Heard(body, body.get("stream", False))
    heard.offered = [tool["name"] for tool in body.get("tools", [])]
    heard.forbidden = (body.get("tool_choice") or {}).get("type") == "none"
    owed: list[str] = []
    role = "assistant"
    for message in body["messages"]:
        if message["role"] == role:
            raise Refused("roles must alternate")
        role, content = message["role"], message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        turn = Turn()
        for block in blocks:
            _block(block, owed, turn, heard)
        if role == "user":
            none_owed(owed)
        else:
            owed = [ident for ident, _ in turn.calls]
            heard.turns.append(turn)
    none_owed(owed)
    return heard


def _block(block: Body, owed: list[str], turn: Turn, heard: Heard) -> None:
    kind = block["type"]
    if kind == "text" and not block["text"].strip():
        raise Refused("text content blocks must contain non-whitespace text")
    if kind == "thinking":
        if not block["signature"].startswith("c2VhbC1v"):
            raise Refused("Invalid `signature` in `thinking` block")
        turn.seals.append(block["signature"])
    elif kind == "tool_use":
        turn.calls.append((block["id"], block["name"]))
    elif kind == "tool_result":
        owe(owed, block["tool_use_id"])
        inner = block.get("content", "")
        text = inner if isinstance(inner, str) else "".join(part["text"] for part in inner)
        heard.results.append(f"Error: {text}" if block.get("is_error") else text)


def _blocks(say: Say, n: int) -> list[Body]:
    blocks: list[Body] = []
    if say.thought:
        blocks.append({"type": "thinking", "thinking": say.thought, "signature": seal(n)})
    if say.text:
        blocks.append({"type": "text", "text": say.text})
    for ident, name, args in say.numbered(n):
        blocks.append({"type": "tool_use", "id": ident, "name": name, "input": json.loads(args)})
    return blocks


_HEAD: Body = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}


def whole(say: Say, n: int) -> Body:
    usage = {"input_tokens": INPUT, "output_tokens": OUTPUT}
    ending = {"stop_reason": _STOPS[say.reason], "stop_sequence": None}
    return {**_HEAD, "content": _blocks(say, n), **ending, "usage": usage}


def frames(say: Say, n: int) -> Iterator[str]:
    def frame(kind: str, **fields: object) -> str:
        return sse({"type": kind, **fields}, kind)

    begun = {**whole(Say(), n), "stop_reason": None}
    begun["usage"] = {"input_tokens": INPUT, "output_tokens": 1}
    yield frame("message_start", message=begun)
    for index, block in enumerate(_blocks(say, n)):
        blank: Body = {name: "" for name in ("text", "thinking", "signature") if name in block}
        empty = {**block, **blank, **({"input": {}} if "input" in block else {})}
        yield frame("content_block_start", index=index, content_block=empty)
        for delta in _deltas(block, say):
            yield frame("content_block_delta", index=index, delta=delta)
        yield frame("content_block_stop", index=index)
    ending = {"stop_reason": _STOPS[say.reason], "stop_sequence": None}
    yield frame("message_delta", delta=ending, usage={"output_tokens": OUTPUT})
    yield frame("message_stop")


def _deltas(block: Body, say: Say) -> Iterator[Body]:
    if block["type"] == "text":
        yield from ({"type": "text_delta", "text": piece} for piece in say.pieces)
    elif block["type"] == "thinking":
        yield {"type": "thinking_delta", "thinking": block["thinking"]}
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        text = json.dumps(block["input"])
        for piece in (text[:5], text[5:]):
            yield {"type": "input_json_delta", "partial_json": piece}


def refusal(status: int) -> Body:
    return {"type": "error", "error": {"type": "x", "message": "scripted"}}
