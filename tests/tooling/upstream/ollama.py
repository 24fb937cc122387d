"""Ollama, whose calls have no ids: results stand in the order of the calls."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .words import INPUT, OUTPUT, Body, Heard, Refused, Say, Turn, seal

ROUTE = "dialect: ollama\nbase_url: %URL%\n"
PATH = "/api/chat"


def hear(body: Body, path: str) -> Heard:
    heard = Heard(body, body.get("stream", True))
    heard.offered = [tool["function"]["name"] for tool in body.get("tools", [])]
    owed: list[str] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            if not owed or message["tool_name"] != owed.pop(0):
                raise Refused(f"a result without a call: {message['tool_name']}")
            heard.results.append(message["content"])
            continue
        if owed:
            raise Refused(f"calls without results: {owed}")
        owed = [call["function"]["name"] for call in message.get("tool_calls", [])]
        if message["role"] == "assistant":
            thought = message.get("thinking", "").partition("#")[2]
            heard.turns.append(Turn([("", name) for name in owed], [thought]))
    if owed:
        raise Refused(f"calls without results: {owed}")
    return heard


def _lines(say: Say, n: int) -> Iterator[Body]:
    if say.thought:
        yield {"thinking": f"{say.thought} #{seal(n)}", "content": ""}
    for piece in say.pieces:
        yield {"content": piece}
    if say.calls:
        calls = [{"function": {"name": name, "arguments": json.loads(args)}}
                 for name, args in say.calls]  # fmt: skip
        yield {"content": "", "tool_calls": calls}


def _line(message: Body, **more: object) -> Body:
    head = {"model": "m", "created_at": "2025-01-01T00:00:00Z"}
    return {**head, "message": {"role": "assistant", **message}, "done": bool(more), **more}


def _ending(say: Say) -> Body:
    reason = "length" if say.reason == "length" else "stop"
    return {"done_reason": reason, "prompt_eval_count": INPUT, "eval_count": OUTPUT}


def whole(say: Say, n: int) -> Body:
    message: Body = {"content": ""}
    for said in _lines(say, n):
        text = message["content"] + said["content"]
        message = {**message, **said, "content": text}
    return _line(message, **_ending(say))


def frames(say: Say, n: int) -> Iterator[str]:
    for said in _lines(say, n):
        yield json.dumps(_line(said)) + "\n"
    yield json.dumps(_line({"content": ""}, **_ending(say))) + "\n"


def refusal(status: int) -> Body:
    return {"error": "scripted"}
