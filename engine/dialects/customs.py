"""Tools of free text for upstreams that know functions only.

A custom tool becomes a function with one string, `input`; calls of it in the history likewise. In
the answer the string is taken out of the arguments again while they stream in, so that the client
gets free text, piece by piece.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

from engine.chat import ChatRequest, Message, Part, Tool, ToolCall, ToolChoice
from engine.events import ArgsDelta, Close, Event, Open
from engine.wire import dumps

from .borrowed import only_mark

_SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}
_HINT = "Give the whole input as one text in `input`."
_HEAD = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_MOST_HEAD = 64  # characters in which the string must begin


def as_functions(
    request: ChatRequest,
) -> tuple[ChatRequest, Callable[[Event], list[Event]] | None]:
    """The request without custom tools, and what makes calls of them custom again."""
    names = {tool.name for tool in request.tools if tool.kind == "custom"}
    if not names and not any(map(_calls_custom, request.messages)):
        return request, None
    messages = [_turn(message) for message in request.messages]
    if not names:
        return replace(request, messages=messages), None
    choice = request.tool_choice
    if choice is not None and choice.mode == "named":
        choice = ToolChoice("named", choice.names)
    tools = [_function(tool) if tool.kind == "custom" else tool for tool in request.tools]
    request = replace(request, tools=tools, messages=messages, tool_choice=choice)
    return request, _Restorer(names).feed


def _function(tool: Tool) -> Tool:
    told = [tool.description or "", _HINT, _grammar(tool)]
    about, kept = "\n\n".join(filter(None, told)), only_mark(tool.extras)
    return Tool(tool.name, about, dict(_SCHEMA), extras=kept, dialect=tool.dialect)


def _grammar(tool: Tool) -> str:
    """The grammar that the text must follow, in words."""
    more = tool.extras.get("custom")
    form = more.get("format") if isinstance(more, dict) else tool.extras.get("format")
    if not isinstance(form, dict):
        return ""
    held = form.get("grammar")
    inner = held if isinstance(held, dict) else form
    text, syntax = inner.get("definition"), inner.get("syntax")
    return f"It must follow this grammar ({syntax}):\n{text}" if isinstance(text, str) else ""


def _calls_custom(message: Message) -> bool:
    return any(type(part) is ToolCall and part.kind == "custom" for part in message.parts)


def _turn(message: Message) -> Message:
    if not _calls_custom(message):
        return message
    return replace(message, parts=[_part(part) for part in message.parts])


def _part(part: Part) -> Part:
    if isinstance(part, ToolCall) and part.kind == "custom":
        args = dumps({"input": part.args}).decode()
        return ToolCall(part.id, part.name, args, extras=only_mark(part.extras))
    return part


class _Restorer:
    """Events of one answer; calls of the named tools become custom."""

    def __init__(self, names: set[str]) -> None:
        self._names = names
        self._open: dict[int, Unwrapper] = {}

    def feed(self, event: Event) -> list[Event]:
        if isinstance(event, Open):
            return self._begin(event)
        block = getattr(event, "block", -1)
        inside = self._open.get(block)
        if inside is None:
            return [event]
        if isinstance(event, ArgsDelta):
            text = inside.feed(event.json)
            return [ArgsDelta(block, text)] if text else []
        if isinstance(event, Close):
            del self._open[block]
            text = inside.finish()
            return [ArgsDelta(block, text), event] if text else [event]
        return [event]

    def _begin(self, event: Open) -> list[Event]:
        part = event.part
        if not isinstance(part, ToolCall) or part.name not in self._names:
            return [event]
        inside = self._open[event.block] = Unwrapper()
        call = replace(part, kind="custom", args="")
        text = inside.feed(part.args)
        out: list[Event] = [Open(event.block, call)]
        return [*out, ArgsDelta(event.block, text)] if text else out


class Unwrapper:
    """The string in `{"input": "…"}`, out of pieces of that JSON text.

    Text that does not begin so is given as it is.
    """

    def __init__(self) -> None:
        self._held = ""
        self._state = "head"  # head, text, over, raw

    def feed(self, piece: str) -> str:
        if self._state == "raw":
            return piece
        if self._state == "over":
            return ""
        self._held += piece
        if self._state == "head":
            found = _HEAD.match(self._held)
            if found is None:
                return self._give_up() if len(self._held) > _MOST_HEAD else ""
            self._held, self._state = self._held[found.end() :], "text"
        return self._text()

    def finish(self) -> str:
        """What is left when the call is over."""
        if self._state != "head":
            return ""
        try:
            value = json.loads(self._held)
        except ValueError:
            return self._give_up()
        text = value.get("input") if isinstance(value, dict) else None
        return text if isinstance(text, str) else "" if value == {} else self._give_up()

    def _give_up(self) -> str:
        self._state = "raw"
        held, self._held = self._held, ""
        return held

    def _text(self) -> str:
        """The whole characters of the string that are there."""
        held, at = self._held, 0
        while at < len(held) and held[at] != '"':
            step = _length(held, at)
            if at + step > len(held):
                break
            at += step
        else:
            if at < len(held):
                self._state = "over"
        self._held = held[at:]
        return str(json.loads(f'"{held[:at]}"', strict=False))


def _length(text: str, at: int) -> int:
    """Characters of JSON text that make the one at `at`, as far as can be seen."""
    if text[at] != "\\":
        return 1
    if text[at + 1 : at + 2] != "u":
        return 2
    if text[at + 2 : at + 3] in "dD" and text[at + 3 : at + 4] in "89abAB":
        return 12 if text[at + 6 : at + 8] in ("", "\\", "\\u") else 6
    return 6
