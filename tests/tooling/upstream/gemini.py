"""Gemini. A signature stands on the first call of a turn, and comes back there."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .words import INPUT, OUTPUT, Body, Heard, Refused, Say, Turn, none_owed, owe, seal, sse

ROUTE = "dialect: gemini\nbase_url: %URL%/v1beta\n"
PATH = r"/v1beta/models/m:(generateContent|streamGenerateContent)"
_FINISHES = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS"}


def hear(body: Body, path: str) -> Heard:
    heard = Heard(body, "stream" in path)
    mode = body.get("toolConfig", {}).get("functionCallingConfig", {}).get("mode")
    heard.forbidden = mode == "NONE"
    heard.offered = [
        declared["name"]
        for tool in body.get("tools", [])
        for declared in tool.get("functionDeclarations", [])
    ]
    owed: list[str] = []
    for content in body["contents"]:
        parts = content["parts"]
        if not parts:
            raise Refused("parts must not be empty")
        if content["role"] == "model":
            none_owed(owed)
            turn = _turn(parts)
            owed = [ident for ident, _ in turn.calls]
            heard.turns.append(turn)
            continue
        for part in parts:
            if "functionResponse" in part:
                owe(owed, part["functionResponse"]["id"])
                heard.results.append(_result(part["functionResponse"]["response"]))
        none_owed(owed)
    none_owed(owed)
    return heard


def _turn(parts: list[Body]) -> Turn:
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    first = next((part for part in parts if "functionCall" in part), {})
    seals = [first["thoughtSignature"]] if "thoughtSignature" in first else []
    return Turn([(call["id"], call["name"]) for call in calls], seals)


def _result(response: Body) -> str:
    if "error" in response:
        return f"Error: {response['error']}"
    return str(response.get("result", json.dumps(response)))


def _parts(say: Say, n: int) -> list[Body]:
    parts: list[Body] = []
    if say.thought:
        parts.append({"text": say.thought, "thought": True})
    parts += [{"text": piece} for piece in say.pieces]
    parts += [
        {"functionCall": {"id": ident, "name": name, "args": json.loads(args)}}
        for ident, name, args in say.numbered(n)
    ]
    if say.thought and say.calls:
        parts[-len(say.calls)]["thoughtSignature"] = seal(n)
    return parts


def _chunk(parts: list[Body], n: int, finish: str = "") -> Body:
    candidate: Body = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = _FINISHES[finish]
    usage = {"promptTokenCount": INPUT, "candidatesTokenCount": OUTPUT,
             "totalTokenCount": INPUT + OUTPUT}  # fmt: skip
    return {"candidates": [candidate], "usageMetadata": usage, "responseId": f"r{n}"}


def whole(say: Say, n: int) -> Body:
    return _chunk(_parts(say, n), n, say.reason)


def frames(say: Say, n: int) -> Iterator[str]:
    for part in _parts(say, n):
        yield sse(_chunk([part], n))
    yield sse(_chunk([], n, say.reason))


def refusal(status: int) -> Body:
    return {"error": {"code": status, "message": "scripted", "status": "X"}}
