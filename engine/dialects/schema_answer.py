"""An answer of a given JSON Schema, from an upstream that has no field to ask for one.

By a tool: the model must call it, and its arguments are the answer's text. Where the client has
tools of its own, or wants thinking (which forbids a forced call), and where the profile says so,
the schema is told in words instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from engine.chat import ChatRequest, Message, Text, Tool, ToolCall, ToolChoice
from engine.events import ArgsDelta, Event, Open, TextDelta
from engine.wire import dumps

from .adapt import thinks
from .profile import Profile

_WORDS = "Answer with one JSON value and nothing else. It must fit this JSON Schema:\n"
_ABOUT = "Gives the answer. Call it once, with the whole answer."


def asked_otherwise(
    request: ChatRequest, profile: Profile
) -> tuple[ChatRequest, Callable[[Event], list[Event]] | None]:
    """The request asking in another way, and what makes text of the answer."""
    out = request.out
    if out.format != "schema" or profile.json_schema == "native":
        return request, None
    request = replace(request, out=replace(out, format=None, schema=None, strict=None))
    if profile.json_schema == "prompt" or request.tools or thinks(request):
        return in_words(request, out.schema), None
    name = out.schema_name or "answer"
    tool = Tool(name, _ABOUT, out.schema)
    request = replace(request, tools=[tool], tool_choice=ToolChoice("named", [name]), parallel=None)
    return request, _Said(name).feed


def in_words(request: ChatRequest, schema: object) -> ChatRequest:
    """The request with the schema told in a system message, and named as left out."""
    if "response_format" not in request.dropped:
        request.dropped.append("response_format")
    told = Message("system", [Text(_WORDS + dumps(schema).decode())])
    lead = [m for m in request.messages if m.role in ("system", "developer")]
    first = len(lead) if request.messages[: len(lead)] == lead else 0
    messages = [*request.messages[:first], told, *request.messages[first:]]
    return replace(request, messages=messages)


class _Said:
    """The arguments of the one call as text."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._blocks: set[int] = set()

    def feed(self, event: Event) -> list[Event]:
        if isinstance(event, Open) and isinstance(event.part, ToolCall):
            if event.part.name != self._name:
                return [event]
            self._blocks.add(event.block)
            return [Open(event.block, Text(event.part.args))]
        if isinstance(event, ArgsDelta) and event.block in self._blocks:
            return [TextDelta(event.block, event.json)] if event.json else []
        return [event]
