"""OpenAI Responses, which stores nothing here: a thought comes back in its encrypted form."""

from __future__ import annotations

from collections.abc import Iterator

from .words import INPUT, OUTPUT, Body, Heard, Refused, Say, Turn, none_owed, owe, seal, sse

ROUTE = "dialect: openai_responses\nbase_url: %URL%/v1\n"
PATH = "/v1/responses"
_ENCRYPTED = "reasoning.encrypted_content"


def hear(body: Body, path: str) -> Heard:
    heard = Heard(body, body.get("stream", False))
    heard.offered = [tool["name"] for tool in body.get("tools", [])]
    heard.forbidden = body.get("tool_choice") == "none"
    given = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    owed: list[str] = []
    turn: Turn | None = None
    for item in items:
        kind = item.get("type", "message")
        if kind == "function_call_output":
            turn = None
            owe(owed, item["call_id"])
            heard.results.append(item["output"])
        elif kind in ("reasoning", "function_call") or item.get("role") == "assistant":
            if turn is None:
                turn = Turn()
                heard.turns.append(turn)
            _said(item, kind, owed, turn)
        else:
            none_owed(owed)
            turn = None
    none_owed(owed)
    return heard


def _said(item: Body, kind: str, owed: list[str], turn: Turn) -> None:
    if kind == "reasoning":
        if not item.get("encrypted_content"):
            raise Refused(f"Item with id '{item.get('id')}' not found.")
        turn.seals.append(item["encrypted_content"])
    elif kind == "function_call":
        owed.append(item["call_id"])
        turn.calls.append((item["call_id"], item["name"]))


def _items(say: Say, n: int) -> list[Body]:
    items: list[Body] = []
    if say.thought:
        summary = [{"type": "summary_text", "text": say.thought}]
        thought = {"id": f"rs_{n}", "type": "reasoning", "summary": summary}
        items.append({**thought, "encrypted_content": seal(n)})
    if say.text:
        part = {"type": "output_text", "text": say.text, "annotations": [], "logprobs": []}
        items.append(
            {"id": f"msg_{n}", "type": "message", "role": "assistant", "status": "completed",
             "content": [part]}
        )  # fmt: skip
    items += [
        {"id": f"fc_{ident}", "type": "function_call", "status": "completed", "call_id": ident,
         "name": name, "arguments": args}
        for ident, name, args in say.numbered(n)
    ]  # fmt: skip
    return items


def whole(say: Say, n: int) -> Body:
    return _response(
        say, _items(say, n), n, "incomplete" if say.reason == "length" else "completed"
    )


def _response(say: Say, items: list[Body], n: int, status: str) -> Body:
    usage = {
        "input_tokens": INPUT, "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": OUTPUT, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": INPUT + OUTPUT,
    }  # fmt: skip
    cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
    return {
        "id": f"resp_{n}", "object": "response", "created_at": 1, "status": status, "model": "m",
        "output": items, "error": None, "incomplete_details": cut, "instructions": None,
        "tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "metadata": {},
        "temperature": 1.0, "top_p": 1.0, "usage": None if status == "in_progress" else usage,
    }  # fmt: skip


def frames(say: Say, n: int) -> Iterator[str]:
    for number, (kind, fields) in enumerate(_events(say, n)):
        yield sse({"type": kind, "sequence_number": number, **fields}, kind)


def _events(say: Say, n: int) -> Iterator[tuple[str, Body]]:
    items, begun = _items(say, n), _response(say, [], n, "in_progress")
    yield "response.created", {"response": begun}
    for index, item in enumerate(items):
        bare = {**item, "content": [], "summary": [], "arguments": ""}
        bare = {name: value for name, value in bare.items() if name in item}
        bare.pop("encrypted_content", None)
        yield "response.output_item.added", {"output_index": index, "item": bare}
        yield from _inner(item, {"output_index": index, "item_id": item["id"]}, say)
        yield "response.output_item.done", {"output_index": index, "item": item}
    last = whole(say, n)
    yield f"response.{last['status']}", {"response": last}


def _inner(item: Body, place: Body, say: Say) -> Iterator[tuple[str, Body]]:
    if item["type"] == "message":
        (part,), place = item["content"], {**place, "content_index": 0}
        yield "response.content_part.added", {**place, "part": {**part, "text": ""}}
        for piece in say.pieces:
            yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}
        yield "response.output_text.done", {**place, "text": part["text"], "logprobs": []}
        yield "response.content_part.done", {**place, "part": part}
    elif item["type"] == "reasoning":
        (part,), there = item["summary"], {**place, "summary_index": 0}
        yield "response.reasoning_summary_part.added", {**there, "part": {**part, "text": ""}}
        yield "response.reasoning_summary_text.delta", {**there, "delta": part["text"]}
        yield "response.reasoning_summary_text.done", {**there, "text": part["text"]}
        yield "response.reasoning_summary_part.done", {**there, "part": part}
    else:
        args = item["arguments"]
        yield "response.function_call_arguments.delta", {**place, "delta": args}
        done = {"name": item["name"], "arguments": args}
        yield "response.function_call_arguments.done", {**place, **done}


def refusal(status: int) -> Body:
    return {"error": {"message": "scripted", "type": "x", "code": None, "param": None}}
