"""Make one user message of the whole conversation, for upstreams with one prompt field.

Too long for `max_chars`, it is written again with fewer turns: the oldest go first, then system
texts; the newest message never goes.
"""

from bisect import bisect_left
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from engine.transform import (
    OMIT,
    ChatRequest,
    Context,
    Message,
    Refuse,
    Role,
    Template,
    Text,
    option,
)

API = 1
AFTER = ("trim_history", "system_prompt", "prompted_tools")  # below, they find one message
SYSTEM = ("system", "developer")
LABELS = MappingProxyType(
    {
        "system": "System",
        "developer": "System",
        "user": "User",
        "assistant": "Assistant",
        "tool": "Tool",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    style: Literal["roles", "last_user", "template"] = option(
        "roles", "`label: text` lines, the last user message alone, or what `template` writes"
    )
    template: Template | None = option(
        None, "the prompt; each of `messages` has `.role` and `.text`", roots=("messages",)
    )
    labels: dict[str, str] = option(
        {}, "role and its label; an empty label leaves the text alone", example={"user": "用户"}
    )
    max_chars: int | None = option(None, "characters the prompt may have")
    drop: Literal["oldest_turn"] = option("oldest_turn", "what goes first when it is too long")
    too_long: Literal["refuse", "cut"] = option(
        "refuse", "the newest message alone is too long: refuse it, or cut its end"
    )
    require_last: Role | None = option(None, "role the last message must have")

    def __post_init__(self) -> None:
        if (self.style == "template") != (self.template is not None):
            raise ValueError("`style: template` and `template` go together")
        if unknown := self.labels.keys() - LABELS.keys():
            raise ValueError(f"`labels`: no role is named `{min(unknown)}`")
        if self.max_chars is not None and self.max_chars < 1:
            raise ValueError("`max_chars` must be 1 or more")


class Transform:
    def __init__(self, options: Options, context: Context) -> None:
        self.options = options
        named = options.labels
        self._labels = {**LABELS, **named}
        if "system" in named and "developer" not in named:
            self._labels["developer"] = named["system"]

    def shape(self, request: ChatRequest) -> ChatRequest:
        prompt = self._fit(self._usable(request.messages))
        if not prompt:
            raise Refuse("the conversation has no text")
        return replace(request, messages=[Message("user", [Text(prompt)])])

    def _usable(self, messages: list[Message]) -> list[Message]:
        if not messages:
            raise Refuse("messages must not be empty")
        required = self.options.require_last
        if required and messages[-1].role != required:
            raise Refuse(f"the last message must have the role {required}")
        if self.options.style != "last_user":
            return messages
        asked = [message for message in messages if message.role == "user"][-1:]
        if not asked:
            raise Refuse("no message has the role user")
        return asked

    def _fit(self, messages: list[Message]) -> str:
        limit = self.options.max_chars
        prompt = self._write(messages)
        if limit is None or len(prompt) <= limit:
            return prompt
        units = _units(messages)

        def without(count: int) -> str:
            gone = {index for unit in units[:count] for index in unit}
            return self._write([m for i, m in enumerate(messages) if i not in gone])

        # Halving finds the smallest count in a few renderings; a template may be slow.
        counts = range(1, len(units) + 1)
        found = bisect_left(counts, True, key=lambda count: len(without(count)) <= limit)
        return without(counts[found]) if found < len(counts) else self._shorten(messages[-1], limit)

    def _shorten(self, newest: Message, limit: int) -> str:
        text = newest.text.strip()
        over = len(self._write([newest])) - limit
        if self.options.too_long == "cut" and over < len(text):
            cut = replace(newest, parts=[Text(text[: len(text) - over])])
            prompt = self._write([cut])
            if len(prompt) <= limit:
                return prompt
        raise Refuse(
            f"the newest message is too long: the prompt would be {limit + over} characters,"
            f" {limit} are allowed",
            cls="context_length",
        )

    def _write(self, messages: list[Message]) -> str:
        if self.options.template:
            said = self.options.template(messages=messages)
            return "" if said is None or said is OMIT else str(said).strip()
        if self.options.style == "last_user":
            return messages[-1].text.strip()
        return "\n".join(
            self._line(message) for message in messages if message.text.strip()
        ).strip()

    def _line(self, message: Message) -> str:
        label = self._labels[message.role]
        return f"{label}: {message.text}" if label else message.text


def _units(messages: list[Message]) -> list[list[int]]:
    """Indexes in the order they are given up: turns, oldest first, then system texts."""
    turns: list[list[int]] = []
    system: list[list[int]] = []
    for index, message in enumerate(messages[:-1]):
        if message.role in SYSTEM:
            system.append([index])
        elif message.role == "user" or not turns:
            turns.append([index])
        else:
            turns[-1].append(index)
    return turns + system
