"""Results of tools right behind their calls, and in the order of these.

Responses let other items stand between a call and its result, Messages take the results of a step
in several turns, and who goes by ids may send results in any order. Most upstreams want them at
once, and where there are no ids the order alone says which is which. A result whose call is not
there (Ollama takes one, and of calls that only their API has nothing is left elsewhere) is told in
words: most upstreams refuse it else.
"""

from __future__ import annotations

from dataclasses import replace

from engine.chat import Message, Part, Text, ToolCall, ToolResult

_BEGIN, _END = "<tool_result>\n", "\n</tool_result>"
_Place = tuple[int, int]  # of a call: its turn, and which of the turn's calls it is
_Found = dict[int, list[tuple[int, ToolResult]]]  # turn -> its results, each with its call's place


def in_place(messages: list[Message]) -> list[Message]:
    """The same list if all results are where they belong."""
    found, displaced = _gathered(messages)
    if not displaced:
        return messages
    moved = {id(result) for results in found.values() for _, result in results}
    out: list[Message] = []
    for at, message in enumerate(messages):
        left = [part for part in message.parts if id(part) not in moved]
        if any(isinstance(part, ToolResult) for part in message.parts):
            if left:
                out.append(replace(message, role="user", parts=_in_words(left)))
        else:
            out.append(message)
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
            if not isinstance(part, ToolResult):
                continue
            place = places.get(part.call_id)
            displaced = displaced or place is None or place[0] != here or place < last
            if place is not None:
                found.setdefault(place[0], []).append((place[1], part))
                last = place
        if any(not isinstance(part, ToolResult) for part in message.parts):
            here = at
        calls = [part for part in message.parts if isinstance(part, ToolCall)]
        places |= {call.id: (at, rank) for rank, call in enumerate(calls)}
    return found, displaced


def _in_words(parts: list[Part]) -> list[Part]:
    out: list[Part] = []
    for part in parts:
        if not isinstance(part, ToolResult):
            out.append(part)
        elif all(isinstance(held, Text) for held in part.parts):
            out.append(Text(f"{_BEGIN}{part.text}{_END}"))
        else:
            out += [Text(_BEGIN), *part.parts, Text(_END)]
    return out
