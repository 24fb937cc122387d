"""Results of tools right behind their calls, and in the order of these.

Responses let other items stand between a call and its result, Messages take the results of a step
in several turns, and who goes by ids may send results in any order. Most upstreams want them at
once, and where there are no ids the order alone says which is which.
"""

from __future__ import annotations

from dataclasses import replace

from engine.chat import Message, Part, Role, ToolCall, ToolResult

_Place = tuple[int, int]  # of a call: its turn, and which of the turn's calls it is
_Found = dict[int, list[tuple[int, ToolResult]]]  # turn -> its results, each with its call's place


def in_place(messages: list[Message]) -> list[Message]:
    """The same list if all results are where they belong. One without a call stays where it is."""
    found, displaced = _gathered(messages)
    if not displaced:
        return messages
    moved = {id(result) for results in found.values() for _, result in results}
    out: list[Message] = []
    for at, message in enumerate(messages):
        left = [part for part in message.parts if id(part) not in moved]
        if len(left) == len(message.parts):
            out.append(message)
        elif left:
            out.append(replace(message, role=_role(message, left), parts=left))
        if at in found:
            results = sorted(found[at], key=lambda item: item[0])
            out.append(Message("tool", [result for _, result in results]))
    return out


def _gathered(messages: list[Message]) -> tuple[_Found, bool]:
    """The results of each turn, and whether any of them is elsewhere or in another order."""
    places: dict[str, _Place] = {}
    found: _Found = {}
    displaced, last, here = False, (-1, 0), -1
    for at, message in enumerate(messages):
        for part in message.parts:
            place = places.get(part.call_id) if isinstance(part, ToolResult) else None
            if place is not None and isinstance(part, ToolResult):
                found.setdefault(place[0], []).append((place[1], part))
                displaced = displaced or place[0] != here or place < last
                last = place
        if any(not isinstance(part, ToolResult) for part in message.parts):
            here = at
        calls = [part for part in message.parts if isinstance(part, ToolCall)]
        places |= {call.id: (at, rank) for rank, call in enumerate(calls)}
    return found, displaced


def _role(message: Message, left: list[Part]) -> Role:
    return message.role if all(isinstance(part, ToolResult) for part in left) else "user"
