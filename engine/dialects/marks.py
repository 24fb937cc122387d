"""Marks of what a prompt cache shall keep, from one dialect's words to another's.

Messages says `cache_control: {type: ephemeral, ttl: 5m | 1h}` on a block, Chat and Responses
`prompt_cache_breakpoint: {mode: explicit, ttl: 30m | 12h}` on a part. Times are the nearest the
other has. A mark on an empty text, which no API takes, moves to the text before it. Marks of system
texts, which are joined for another dialect, are not carried.
"""

from __future__ import annotations

from dataclasses import replace

from engine.chat import ChatRequest, Extras, Message, Part, Text

from .answered import in_place
from .foreign import bare
from .profile import Profile

_FIELDS = {
    "anthropic_messages": "cache_control",
    "openai_chat": "prompt_cache_breakpoint",
    "openai_responses": "prompt_cache_breakpoint",
}
_TTLS = {"5m": "30m", "1h": "12h", "30m": "5m", "12h": "1h"}


def carry_marks(request: ChatRequest, target: str, profile: Profile) -> ChatRequest:
    """The request with its marks in the target's words, where profile and dialects allow it."""
    field, own = _FIELDS.get(target), _FIELDS.get(request.dialect)
    if profile.cache_marks != "send" or target == request.dialect or not (field and own):
        return request
    messages = [_turn(message, own, field) for message in request.messages]
    return replace(request, messages=in_place(messages))


def _turn(message: Message, own: str, field: str) -> Message:
    marks = _marks(message.parts, own)
    if message.role in ("system", "developer") or not any(marks):
        return message
    plain = bare(message)
    parts = [
        replace(part, extras={field: _said(mark, field)} if own != field else {field: mark})
        if mark and isinstance(part, Text)
        else part
        for part, mark in zip(plain.parts, marks, strict=True)
    ]
    return replace(plain, parts=parts)


def _marks(parts: list[Part], own: str) -> list[Extras | None]:
    """The mark of each part; an empty text has none."""
    found: list[Extras | None] = []
    last = -1  # the last text that says something
    for part in parts:
        found.append(None)
        mark = part.extras.get(own) if isinstance(part, Text) else None
        if isinstance(part, Text) and part.text.strip():
            last = len(found) - 1
        if isinstance(mark, dict) and last >= 0:
            found[last] = mark
    return found


def _said(mark: Extras, field: str) -> Extras:
    ttl = mark.get("ttl")
    told = {"ttl": _TTLS[ttl]} if isinstance(ttl, str) and ttl in _TTLS else {}
    kind: Extras = {"type": "ephemeral"} if field == "cache_control" else {"mode": "explicit"}
    return {**kind, **told}
