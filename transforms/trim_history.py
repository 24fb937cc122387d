"""Send only the newest part of a long conversation (a sliding window).

Whole turns go first, the oldest of them first. A turn is a user message with everything up to the
next one; within the newest turn, older tool rounds may go. A tool call and its result are never
parted. It makes upstream prompt caches miss, so it is for upstreams that need it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from engine.transform import (
    OMIT,
    ChatRequest,
    Context,
    Message,
    Part,
    Reasoning,
    Refusal,
    Refuse,
    Template,
    Text,
    ToolCall,
    ToolResult,
    option,
)

API = 1
RETRIES = ("context_length",)
SYSTEM = ("system", "developer")
Group = list[int]  # indexes of messages that stay or go together
Size = Callable[[str], int]
Keep = Literal["system", "last", "first"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    turns: int | None = option(None, "turns sent at most, the newest included")
    messages: int | None = option(None, "messages sent at most, kept ones included")
    chars: int | None = option(None, "characters sent at most (text, reasoning, tool traffic)")
    tokens: int | None = option(None, "tokens sent at most, estimated as UTF-8 bytes / 4")
    keep: list[Keep] = option(
        ["system", "last"],
        "what never goes: system texts; the newest message (without `last`, one that does not fit"
        " is refused); the first user message",
    )
    on_overflow: Literal["halve", "nothing"] = option(
        "halve", "once the upstream said context_length: send half as much, or the same again"
    )
    summary: Template | None = option(
        None, "what a system text says in the place of the turns that go; nothing: there is none"
    )

    def __post_init__(self) -> None:
        for name in ("turns", "messages", "chars", "tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be 1 or more")


class Transform:
    def __init__(self, options: Options, context: Context) -> None:
        self.options = options
        self._halve = options.on_overflow == "halve" and context.previous == "context_length"

    def shape(self, request: ChatRequest) -> ChatRequest:
        if not request.messages:
            return request
        window = _Window(request.messages, self.options.keep)
        limits = self._limits()
        while window.over(limits) and window.drop():
            pass
        if self._halve:
            self._shrink(window)
        if "last" not in self.options.keep and window.over(limits):
            raise Refuse("the newest message alone is over the limit", cls="context_length")
        return replace(request, messages=self._summed_up(request, window.messages()))

    def _summed_up(self, request: ChatRequest, messages: list[Message]) -> list[Message]:
        """With the summary below the system texts, if anything went."""
        template = self.options.summary
        said = template() if template and len(messages) < len(request.messages) else None
        if said is None or said is OMIT or not str(said).strip():
            return messages
        place = next((i for i, m in enumerate(messages) if m.role not in SYSTEM), len(messages))
        summary = Message("system", [Text(str(said).strip())])
        return [*messages[:place], summary, *messages[place:]]

    def _limits(self) -> dict[str, int]:
        wanted = {
            "turns": self.options.turns,
            "messages": self.options.messages,
            "chars": self.options.chars,
            "bytes": self.options.tokens and self.options.tokens * 4,
        }
        return {name: limit for name, limit in wanted.items() if limit is not None}

    def _shrink(self, window: "_Window") -> None:
        before = window.sizes["messages"]
        half = {"bytes": window.sizes["bytes"] // 2}
        while window.over(half) and window.drop():
            pass
        if window.sizes["messages"] == before:
            raise Refuse(
                "the conversation is too long and cannot be shortened", cls="context_length"
            )


class _Window:
    """The messages still sent and their sizes; `drop` gives up the oldest that may go."""

    def __init__(self, messages: list[Message], keep: list[Keep]) -> None:
        fixed = {i for i, m in enumerate(messages) if "system" in keep and m.role in SYSTEM}
        turns = _turns(messages, _groups(messages, fixed))
        first = next((i for i, m in enumerate(messages) if m.role == "user"), None)
        self._all = messages
        self._gone: set[int] = set()
        self._kept = {first} if "first" in keep else set()
        self._waiting = _order(turns)
        self._chars = [_size(message, len) for message in messages]
        self._bytes = [_size(message, _utf8) for message in messages]
        self._heads = {turn[0][0] for turn in turns if messages[turn[0][0]].role == "user"}
        self.sizes = {
            "turns": len(self._heads),
            "messages": len(messages),
            "chars": sum(self._chars),
            "bytes": sum(self._bytes),
        }

    def over(self, limits: dict[str, int]) -> bool:
        return any(self.sizes[name] > limit for name, limit in limits.items())

    def drop(self) -> bool:
        """Give up the next turn or group; False when nothing is left that may go."""
        if not self._waiting:
            return False
        unit = self._waiting.pop()
        goes = [index for index in unit if index not in self._kept]
        self._gone.update(goes)
        self.sizes["turns"] -= len(self._heads.intersection(unit))
        self.sizes["messages"] -= len(goes)
        self.sizes["chars"] -= sum(self._chars[index] for index in goes)
        self.sizes["bytes"] -= sum(self._bytes[index] for index in goes)
        return True

    def messages(self) -> list[Message]:
        return [message for index, message in enumerate(self._all) if index not in self._gone]


def _groups(messages: list[Message], fixed: set[int]) -> list[Group]:
    """Messages that only go together: a tool call, its results and whatever lies between."""
    made_at: dict[str, int] = {}
    starts: list[int] = []
    for index, message in enumerate(messages):
        if index in fixed:
            continue
        starts.append(index)
        for part in message.parts:
            if isinstance(part, ToolCall):
                made_at[part.id] = index
            elif isinstance(part, ToolResult):
                while starts[-1] > made_at.get(part.call_id, index):
                    starts.pop()
    ranges = pairwise([*starts, len(messages)])
    return [[i for i in range(start, end) if i not in fixed] for start, end in ranges]


def _turns(messages: list[Message], groups: list[Group]) -> list[list[Group]]:
    """Groups by turn: each begins with a user message that answers no tool call."""
    turns: list[list[Group]] = []
    for group in groups:
        head = messages[group[0]]
        answers = any(isinstance(part, ToolResult) for part in head.parts)
        if not turns or (head.role == "user" and not answers):
            turns.append([group])
        else:
            turns[-1].append(group)
    return turns


def _order(turns: list[list[Group]]) -> list[Group]:
    """What may go, last first: older turns whole, then the tool rounds inside the newest one.

    The newest turn keeps its first group (the question) and its last.
    """
    if not turns:
        return []
    older = [[i for group in turn for i in group] for turn in turns[:-1]]
    return [*older, *turns[-1][1:-1]][::-1]


def _size(message: Message, size: Size) -> int:
    return sum(_part_size(part, size) for part in message.parts)


def _part_size(part: Part, size: Size) -> int:
    match part:
        case Text(text) | Refusal(text) | Reasoning(text):
            return size(text)
        case ToolCall(_, name, args):
            return size(name) + size(args)
        case ToolResult(_, parts):
            return sum(_part_size(inner, size) for inner in parts)
        case _:
            return 0


def _utf8(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
