"""Messages of the model -> `system` and `messages` of a request, in the order this API demands.

Turns that came from this API stay as they are, but for blank texts, which it refuses. Others are
merged where one role follows itself, their tool results stand first and in the order of the calls,
and thinking goes along only if this API signed it, unless the profile says otherwise.
"""

from __future__ import annotations

from dataclasses import replace

from engine.chat import (
    Extras,
    Media,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from engine.dialects.foreign import native, settle_system
from engine.dialects.pictures import handed_on
from engine.dialects.profile import PROFILE, Profile

from .blocks import blocks, content_of
from .parse import NAME

_SYSTEM = ("system", "developer")
_MARK = "cache_control"
_ROLES: dict[Role, Role] = {"tool": "user", "developer": "system"}
_OPENING = "(The conversation begins here.)"  # the first turn must be the user's


def messages(
    items: list[Message], profile: Profile = PROFILE, dropped: list[str] | None = None
) -> list[object]:
    """`messages` of a request body: what follows the leading system messages.

    Where there are system messages only, they are given, as the blocks of `system`.
    """
    lead, turns = split(items, profile)
    if lead and not turns:
        return [found for message in lead for found in blocks(message.parts)]
    return render_turns(turns, profile, [] if dropped is None else dropped)


def split(items: list[Message], profile: Profile) -> tuple[list[Message], list[Message]]:
    """The system messages at the front, and the turns."""
    own = all(message.dialect == NAME for message in items)
    later = profile.later_system
    found = handed_on(native(items, NAME), NAME)
    found = settle_system(found, ("keep" if own else "user") if later == "as_sent" else later)
    count = next((at for at, m in enumerate(found) if m.role not in _SYSTEM), len(found))
    return found[:count], found[count:]


def system(lead: list[Message]) -> object:
    """A string where text is all there is to say, else blocks."""
    if any(message.extras or len(message.parts) != 1 or _marked(message) for message in lead):
        return [found for message in lead for found in blocks(message.parts)]
    return "\n\n".join(message.text for message in lead)


def _marked(message: Message) -> bool:
    return any(isinstance(part, Text) and _MARK in part.extras for part in message.parts)


def render_turns(turns: list[Message], profile: Profile, dropped: list[str]) -> list[object]:
    """The messages of a request body. Parts that have no form here are named in `dropped`."""
    merged: list[Message] = []
    for turn in turns:
        silent = turn.dialect == NAME and not turn.parts
        turn = _sayable(turn, profile, dropped)
        if not (turn.parts or silent):
            continue
        if merged and merged[-1].role == turn.role and not _both_ours(merged[-1], turn):
            merged[-1] = _joined(merged[-1], turn)
        else:
            merged.append(turn)
    if merged and merged[-1].role == "assistant" and merged[-1].parts:
        merged[-1] = replace(merged[-1], parts=_trimmed(merged[-1].parts))
    if not merged or (merged[0].role == "assistant" and merged[0].dialect != NAME):
        merged.insert(0, Message("user", [Text(_OPENING)]))
    return [_turn(turn, last) for turn, last in zip(merged, [None, *merged], strict=False)]


def _both_ours(one: Message, two: Message) -> bool:
    return one.dialect == two.dialect == NAME


def _joined(one: Message, two: Message) -> Message:
    return Message(one.role, one.parts + two.parts, None, one.extras | two.extras)


def _sayable(turn: Message, profile: Profile, dropped: list[str]) -> Message:
    """The turn with its role and parts as this API knows them."""
    parts: list[Part] = []
    for part in turn.parts:
        if isinstance(part, Opaque) and part.dialect != NAME:
            dropped.append(part.kind)
        elif isinstance(part, Reasoning):
            if _signed(part) or (profile.unsigned_thinking == "send" and part.text):
                parts.append(part)
        elif turn.dialect == NAME:
            _add_own(parts, part)
        elif not _blank(part):
            parts.append(_without_blanks(part) if isinstance(part, ToolResult) else part)
    return replace(turn, role=_ROLES.get(turn.role, turn.role), parts=parts)


def _add_own(parts: list[Part], part: Part) -> None:
    """Add a part of this API's own. The mark of a blank text moves to the part before it."""
    if isinstance(part, Text) and part.extras.get(_MARK, part) is None:
        extras = {name: value for name, value in part.extras.items() if name != _MARK}
        part = replace(part, extras=extras)
    if not _blank(part) or (isinstance(part, Text) and "block" in part.extras):
        parts.append(part)
        return
    mark = part.extras.get(_MARK) if isinstance(part, Text) else None
    last = parts[-1] if parts else None
    if mark is not None and isinstance(last, Text | Media | ToolCall | ToolResult):
        parts[-1] = replace(last, extras={**last.extras, _MARK: mark})


def _signed(part: Reasoning) -> bool:
    return part.origin == NAME and bool(part.signature or part.encrypted is not None)


def _blank(part: Part) -> bool:
    return isinstance(part, Text | Refusal) and not part.text.strip()


def _without_blanks(result: ToolResult) -> ToolResult:
    if "content" in result.extras:
        return result
    return replace(result, parts=[part for part in result.parts if not _blank(part)])


def _turn(turn: Message, before: Message | None) -> Extras:
    parts = turn.parts
    if turn.dialect != NAME:
        parts = _ordered(parts, before) if turn.role == "user" else _trimmed(parts)
    extras = {name: value for name, value in turn.extras.items() if name != "content"}
    content = content_of(parts, listed="content" in turn.extras)
    return {**extras, "role": turn.role, "content": content}


def _ordered(parts: list[Part], before: Message | None) -> list[Part]:
    """Tool results first, in the order of the calls they answer."""
    calls = [part.id for part in before.parts if isinstance(part, ToolCall)] if before else []
    place = {call_id: at for at, call_id in enumerate(calls)}

    def rank(part: Part) -> int:
        if isinstance(part, ToolResult):
            return place.get(part.call_id, len(place))
        return len(place) + 1

    return sorted(parts, key=rank)


def _trimmed(parts: list[Part]) -> list[Part]:
    """An assistant's turn must not end in white space when it is the last one."""
    last = parts[-1]
    if isinstance(last, Text):
        return [*parts[:-1], replace(last, text=last.text.rstrip())]
    return parts
