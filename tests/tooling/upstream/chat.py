"""Chat Completions."""

from __future__ import annotations

from collections.abc import Iterator

from .words import OUTPUT, Body, Heard, Say, Turn, none_owed, owe, seal, sse

ROUTE = "dialect: openai_chat\nbase_url: %URL%/v1\n"
PATH = "/v1/chat/completions"
HEAD = {"id": "c1", "created": 1, "model": "m"}


def _usage(say: Say) -> Body | None:
    counts = {"prompt_tokens": say.read, "completion_tokens": OUTPUT}
    return {**counts, "total_tokens": say.read + OUTPUT} if say.read else None


def hear(body: Body, path: str) -> Heard:
    heard = Heard(body, body.get("stream", False))
    heard.offered = [tool["function"]["name"] for tool in body.get("tools") or []]
    heard.forbidden = body.get("tool_choice") == "none"
    owed: list[str] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            owe(owed, message["tool_call_id"])
            heard.results.append(message["content"])
            continue
        none_owed(owed)
        calls = message.get("tool_calls") or []
        owed = [call["id"] for call in calls]
        if message["role"] == "assistant":
            named = [(call["id"], call["function"]["name"]) for call in calls]
            bound = [item["data"] for item in message.get("reasoning_details", [])]
            thought = message.get("reasoning_content", "")
            heard.turns.append(Turn(named, [*bound, thought.partition("#")[2]]))
    none_owed(owed)
    return heard


def thought(say: Say, n: int) -> str:
    """A thought whose seal is part of the text, for who has no place for it."""
    return f"{say.thought} #{seal(n)}"


def _bound(say: Say, n: int) -> Body:
    """A thought as OpenRouter tells it."""
    item = {"type": "reasoning.encrypted", "index": 0, "data": seal(n)}
    return {"reasoning_content": say.thought, "reasoning_details": [item]}


def _calls(say: Say, n: int) -> list[Body]:
    return [
        {"id": ident, "type": "function", "function": {"name": name, "arguments": args}}
        for ident, name, args in say.numbered(n)
    ]


def whole(say: Say, n: int) -> Body:
    message: Body = {"role": "assistant", "content": say.text or None}
    if say.thought:
        message |= _bound(say, n)
    if say.calls:
        message["tool_calls"] = _calls(say, n)
    choice = {"index": 0, "message": message, "finish_reason": say.reason}
    return {"object": "chat.completion", **HEAD, "choices": [choice], "usage": _usage(say)}


def frames(say: Say, n: int) -> Iterator[str]:
    def chunk(delta: Body, finish: str | None = None, **more: object) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return sse({"object": "chat.completion.chunk", **HEAD, "choices": [choice], **more})

    if say.thought:
        yield chunk({"role": "assistant", **_bound(say, n)})
    for piece in say.pieces:
        yield chunk({"role": "assistant", "content": piece})
    for at, call in enumerate(_calls(say, n)):
        head = {"name": call["function"]["name"], "arguments": ""}
        yield chunk({"tool_calls": [{**call, "index": at, "function": head}]})
        rest = {"arguments": call["function"]["arguments"]}
        yield chunk({"tool_calls": [{"index": at, "function": rest}]})
    yield chunk({}, say.reason)
    yield chunk({}, usage=_usage(say))
    yield "data: [DONE]\n\n"


def refusal(status: int) -> Body:
    return {"error": {"message": "scripted", "type": "x", "code": None}}
