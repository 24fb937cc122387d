"""Offline estimate of prompt tokens, made to err on the high side: a client that plans with too
low a figure overflows the model's context.

Text counts by its UTF-8 length, four bytes of ASCII or about 0.9 wide characters a token, times a
factor that a route may know better. Base64 never counts as text: a picture is a fixed sum, a file
goes by its size.
"""

from __future__ import annotations

from math import ceil

from engine.chat import (
    ChatRequest,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from engine.wire import dumps

FACTOR = 1.2
_PER_MESSAGE = 4
_PER_TOOL = 8
_MEDIA = 1600
_MOST_FOR_FILE = 60_000
_LEAST = 50  # tokens of text from which a factor can be learned
_WIDE = 0.9  # tokens of one Chinese, Japanese or Korean character


def estimate(request: ChatRequest, factor: float = FACTOR) -> int:
    """Prompt tokens of a request."""
    total = 0.0
    for message in request.messages:
        total += _PER_MESSAGE + sum(_part(part, factor) for part in message.parts)
    for tool in request.tools:
        total += _PER_TOOL + weight(_wording(tool)) * factor
    return ceil(total)


def factor_of(request: ChatRequest, told: int) -> float | None:
    """The factor that estimates so many tokens; None where it is not the text that counts."""
    if any(_shows(part) for message in request.messages for part in message.parts):
        return None
    fixed = estimate(request, 0.0)
    text = estimate(request, 1.0) - fixed
    return (told - fixed) / text if text >= _LEAST else None


def _shows(part: Part) -> bool:
    """Whether there is a picture or a file in it."""
    if isinstance(part, ToolResult):
        return any(map(_shows, part.parts))
    return isinstance(part, Media)


def estimate_text(text: str, factor: float = FACTOR) -> int:
    """Tokens of a text."""
    return ceil(weight(text) * factor)


def said(part: Part) -> float:
    """What a part of an answer weighs: text, thinking, a call of a tool, a picture."""
    if isinstance(part, Media):
        return _media(part)
    if isinstance(part, ToolCall):
        return weight(part.name + part.args)
    return weight(part.text) if isinstance(part, Text | Reasoning | Refusal) else 0.0


def weight(text: str) -> float:
    """Tokens of a text before the factor; what its pieces weigh adds up."""
    if text.isascii():
        return len(text) / 4
    # A three-byte character has two bytes beyond its one character: that counts them.
    wide = (len(text.encode("utf-8", "replace")) - len(text)) / 2
    return wide * _WIDE + max(0.0, len(text) - wide) / 4


def _part(part: Part, factor: float) -> float:
    if isinstance(part, Media):
        return _media(part)
    if isinstance(part, ToolResult):
        return _PER_MESSAGE + sum(_part(inner, factor) for inner in part.parts)
    if isinstance(part, ToolCall):
        return _PER_TOOL + weight(part.name + part.args) * factor
    if isinstance(part, Opaque):
        return weight(dumps(part.raw).decode()) * factor
    if isinstance(part, Reasoning):
        return weight(part.text + "".join(part.summary or [])) * factor
    return weight(part.text) * factor


def _media(part: Media) -> float:
    if part.kind != "file" or part.data is None:
        return _MEDIA
    size = len(part.data) * 3 / 4
    text = part.mime is not None and part.mime.startswith("text/")
    return size / 4 if text else min(max(_MEDIA, size / 20), _MOST_FOR_FILE)


def _wording(tool: Tool) -> str:
    schema = tool.raw if tool.kind == "hosted" else tool.schema
    return tool.name + (tool.description or "") + dumps(schema).decode()
