"""Going on from an answer, and lists of what was answered: what `previous_response_id` means."""

from __future__ import annotations

from dataclasses import replace

from engine.chat import ChatRequest, Message
from engine.errors import RequestError

from .items import read_items
from .parse import CONTINUED, INPUT, INSTRUCTIONS

Fields = dict[str, object]
_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc",
             "function_call_output": "fco", "custom_tool_call": "ctc",
             "custom_tool_call_output": "ctco"}  # fmt: skip


def previous(request: ChatRequest) -> str | None:
    """The answer that a request goes on from."""
    ident = request.extras.get("previous_response_id")
    return ident if isinstance(ident, str) else None


def stores(request: ChatRequest) -> bool:
    """Whether its answer is to be kept."""
    return request.extras.get("store") is not False


def items_of(request: ChatRequest) -> list[object]:
    """What the client sent as input, as items."""
    given = request.extras.get(INPUT)
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return list(given) if isinstance(given, list) else []


def continued(request: ChatRequest, before: list[object]) -> ChatRequest:
    """The request with the conversation that it goes on from in front of its own items.

    Instructions are not part of a conversation: those of earlier requests hold no more.
    """
    own = [message for message in request.messages if INSTRUCTIONS in message.extras]
    extras = {n: v for n, v in request.extras.items() if n != "previous_response_id"}
    extras[CONTINUED] = previous(request)
    turns: list[Message] = read_items([*before, *items_of(request)])
    return replace(request, messages=[*own, *turns], extras=extras)


def not_found(ident: str) -> RequestError:
    message = f"Previous response with id '{ident[:200]}' not found."
    return RequestError("previous_response_not_found", message, param="previous_response_id")


def listed(items: list[object], ident: str) -> list[Fields]:
    """Items as the API lists them: each with an id, its content in parts."""
    tail = ident.removeprefix("resp_")
    return [_listed(item, f"{tail}{at:02x}") for at, item in enumerate(items)]


def _listed(item: object, tail: str) -> Fields:
    fields = dict(item) if isinstance(item, dict) else {}
    kind = fields.setdefault("type", "message")
    fields.setdefault("id", f"{_PREFIXES.get(str(kind), 'item')}_{tail}")
    if kind == "message":
        content = fields.get("content")
        if isinstance(content, str):
            part: Fields = {"type": "input_text", "text": content}
            if fields.get("role") == "assistant":
                part = {"type": "output_text", "text": content, "annotations": [], "logprobs": []}
            fields["content"] = [part]
    if kind not in ("reasoning", "custom_tool_call", "item_reference"):
        fields.setdefault("status", "completed")
    return fields


def page(items: list[Fields], *, after: str, limit: int, ascending: bool) -> Fields:
    """A page of a list. after: the id of the last item of the page before, "" for the first."""
    ordered = items if ascending else items[::-1]
    begin = next((at + 1 for at, item in enumerate(ordered) if item["id"] == after), 0)
    shown = ordered[begin : begin + limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else "",
        "last_id": shown[-1]["id"] if shown else "",
        "has_more": begin + limit < len(ordered),
    }
