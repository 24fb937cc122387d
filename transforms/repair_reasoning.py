"""Give assistant turns the thinking that their upstream wants back, and the client did not send.

Kimi refuses a conversation in which a turn with tool calls has no thinking, DeepSeek one in which
any turn has none. In this order: what the client sent, in `<thinking>` tags too; what the engine
remembers of its own answers; the placeholder.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from engine.transform import (
    ChatRequest,
    Context,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    option,
)

API = 1
RETRIES = ("reasoning_missing",)
RECALLS = True
TAGGED = re.compile(r"\s*<think(ing)?>(?P<thought>.*?)</think(ing)?>\s*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    require: Literal["tool_turns", "all_turns", "never"] = option(
        "tool_turns",
        "which assistant turns must have thinking; never: none may, for models that refuse it",
    )
    placeholder: str = option(
        " ", "the thinking of a turn that has none; some upstreams refuse an empty one"
    )
    field: Literal["as_sent", "reasoning_content", "reasoning"] = option(
        "as_sent", "name of the field in Chat requests; as_sent: the client's"
    )

    def __post_init__(self) -> None:
        if not self.placeholder:
            raise ValueError("`placeholder` must not be empty")


class Transform:
    def __init__(self, options: Options, context: Context) -> None:
        self.options = options
        self._recalled: Mapping[str, str] = context.recalled
        # The upstream said that some are missing all the same: then every turn gets its thinking.
        self._all = options.require == "all_turns" or context.previous == "reasoning_missing"

    def shape(self, request: ChatRequest) -> ChatRequest:
        turn = self._without if self.options.require == "never" else self._turn
        messages = [
            turn(message) if message.role == "assistant" else message
            for message in request.messages
        ]
        return replace(request, messages=messages)

    def _without(self, message: Message) -> Message:
        parts: list[Part] = [p for p in message.parts if not isinstance(p, Reasoning)]
        return replace(message, parts=parts)

    def _turn(self, message: Message) -> Message:
        calls = [part for part in message.parts if isinstance(part, ToolCall)]
        if not calls and not self._all:
            return message
        thoughts = [part for part in message.parts if isinstance(part, Reasoning)]
        others: list[Part] = [p for p in message.parts if not isinstance(p, Reasoning)]
        if any(thought.text.strip() for thought in thoughts):
            named: list[Part] = [self._named(thought) for thought in thoughts]
            return replace(message, parts=[*named, *others])
        text, others = _tagged(others)
        if not text:
            text = next((self._recalled[c.id] for c in calls if c.id in self._recalled), "")
        signed = [thought for thought in thoughts if thought.signature or thought.encrypted]
        if signed and not text:
            return message
        thought = Reasoning(text or self.options.placeholder)
        return replace(message, parts=[self._named(thought), *others])

    def _named(self, thought: Reasoning) -> Reasoning:
        if self.options.field == "as_sent":
            return thought
        return replace(thought, extras={**thought.extras, "field": self.options.field})


def _tagged(parts: list[Part]) -> tuple[str, list[Part]]:
    """The thinking in tags at the head of the text, and the parts without it."""
    for at, part in enumerate(parts):
        if isinstance(part, Text):
            found = TAGGED.match(part.text)
            if found is None:
                break
            left = part.text[found.end() :]
            rest: list[Part] = [replace(part, text=left)] if left else []
            return found["thought"].strip(), [*parts[:at], *rest, *parts[at + 1 :]]
    return "", parts
