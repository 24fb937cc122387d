"""Conversations in the form of Bedrock's Converse API, for the filter `as_bedrock`.

The API has no dialect here: a route says the rest of the request, and reads the answers by rules.
System messages are left out wherever they stand (they belong in `system`), unless there is nothing
else: then they are given as its blocks. Roles take turns, results of tools stand first in their
turn, blank texts go. Thinking goes along if it was signed: an unsigned one the API refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from engine.chat import (
    Media,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from engine.dialects.filetypes import right_type
from engine.dialects.foreign import native, native_tools
from engine.dialects.names import Limits
from engine.dialects.pictures import handed_on
from engine.dialects.profile import PROFILE, Profile
from engine.dialects.provenance import unmarked
from engine.errors import RequestError
from engine.wire import JsonError, loads

NAME = "bedrock"
Block = dict[str, object]
_SYSTEM = ("system", "developer")
_OPENING: Block = {"text": "(The conversation begins here.)"}  # the first turn must be the user's
_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_FILES = {
    "application/pdf": "pdf", "text/plain": "txt", "text/markdown": "md", "text/csv": "csv",
    "text/html": "html",
}  # fmt: skip
_ODD = re.compile(r"[^A-Za-z0-9 ()\[\]-]+")
_IDS = Limits().ids


def messages(items: list[Message], profile: Profile = PROFILE) -> list[object]:
    """`messages` of a request. Raises RequestError(unsupported) for what has no form here."""
    given = handed_on(native(items, NAME), NAME)
    turns = [turn for turn in given if turn.role not in _SYSTEM]
    if not turns:
        return [block for turn in given for part in turn.parts for block in _blocks(part)]
    out: list[dict[str, object]] = []
    for turn in turns:
        role = "assistant" if turn.role == "assistant" else "user"
        found = [block for part in turn.parts for block in _blocks(part)]
        if not found:
            continue
        if out and out[-1]["role"] == role:
            before = out[-1]["content"]
            assert isinstance(before, list)
            found = [*before, *found]
            out.pop()
        out.append({"role": role, "content": sorted(found, key=_rank)})
    if out and out[0]["role"] == "assistant":
        out.insert(0, {"role": "user", "content": [_OPENING]})
    return list(out)


def _rank(block: Block) -> int:
    return 0 if "toolResult" in block or "reasoningContent" in block else 1


def _blocks(part: Part) -> list[Block]:
    write = _WRITERS.get(type(part))
    found = write(part) if write is not None else None
    return [] if found is None else [found]


def _text(part: Text | Refusal) -> Block | None:
    return {"text": part.text} if part.text.strip() else None


def _reasoning(part: Reasoning) -> Block | None:
    signature, origin = unmarked(part.signature or "")
    if not signature or origin not in ("", NAME, "anthropic_messages") or not part.text:
        return None
    return {"reasoningContent": {"reasoningText": {"text": part.text, "signature": signature}}}


def _media(part: Media) -> Block:
    if part.data is None:
        raise _unsupported(f"{part.kind} by URL", part)
    source = {"bytes": part.data}
    mime = right_type(part.data, part.mime) or ""
    if part.kind == "image" and mime in _IMAGES:
        return {"image": {"format": _IMAGES[mime], "source": source}}
    if part.kind == "file" and mime in _FILES:
        name = _ODD.sub(" ", part.name or "document").strip() or "document"
        return {"document": {"format": _FILES[mime], "name": name, "source": source}}
    raise _unsupported(f"{part.kind} of type {mime}", part)


def _unsupported(what: str, part: Part) -> RequestError:
    message = f"{what} cannot be sent to the upstream of this model"
    return RequestError("unsupported", message, about=part)


def _call(part: ToolCall) -> Block:
    try:
        value = loads(part.args) if part.args.strip() and part.kind == "function" else {}
    except JsonError:
        value = part.args
    if part.kind == "custom":
        value = {"input": part.args}
    given = value if isinstance(value, dict) else {"arguments": value}
    return {"toolUse": {"toolUseId": _IDS.fit(part.id), "name": part.name, "input": given}}


def _result(part: ToolResult) -> Block:
    said = [block for inner in part.parts for block in _blocks(inner)] or [{"text": "(no output)"}]
    result: Block = {"toolUseId": _IDS.fit(part.call_id), "content": said}
    if part.is_error:
        result["status"] = "error"
    return {"toolResult": result}


_WRITERS: dict[type, Callable[[Any], Block | None]] = {
    Text: _text,
    Refusal: _text,
    Reasoning: _reasoning,
    Media: _media,
    ToolCall: _call,
    ToolResult: _result,
}


def tools(items: list[Tool]) -> list[object]:
    """`toolConfig.tools`."""
    return [_tool(tool) for tool in native_tools(items, NAME)]


def _tool(tool: Tool) -> object:
    schema: object = tool.schema or {"type": "object", "properties": {}}
    if tool.kind == "custom":
        text = {"type": "string"}
        schema = {"type": "object", "properties": {"input": text}, "required": ["input"]}
    spec: Block = {"name": tool.name, "inputSchema": {"json": schema}}
    if tool.description:
        spec["description"] = tool.description
    return {"toolSpec": spec}


def tool_choice(choice: ToolChoice) -> object:
    """`toolConfig.toolChoice`; the API cannot be told to call none."""
    if choice.mode == "named" and choice.names:
        return {"tool": {"name": choice.names[0]}}
    return {"any": {}} if choice.mode == "required" else {"auto": {}}
