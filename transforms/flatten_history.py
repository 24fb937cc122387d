"""Make one user message of the whole conversation, for upstreams with one prompt field.

Too long for `max_chars`, it is written again with fewer turns: the oldest go first; the newest
message never goes. System texts stay, but for those that have no room even beside the newest
message alone. Coding clients put a system text after the user's message: that is none to answer, so
the newest message is the one before it.
"""

from bisect import bisect_left
from collections.abc import Callable
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
    media_parts,
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
    require_last: Role | None = option(
        None, "role the last message must have; system texts after it do not count"
    )

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
        usable = self._usable(request.messages)
        prompt = self._fit(usable)
        if not prompt:
            raise Refuse("the conversation has no text")
        kinds = dict.fromkeys(part.kind for part in media_parts(usable))
        request.dropped.extend(kind for kind in kinds if kind not in request.dropped)
        return replace(request, messages=[Message("user", [Text(prompt)])])

    def _usable(self, messages: list[Message]) -> list[Message]:
        if not messages:
            raise Refuse("messages must not be empty")
        required = self.options.require_last
        if required and messages[_newest(messages)].role != required:
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
        turns, system = _units(messages)

        def without(units: list[list[int]]) -> str:
            gone = {index for unit in units for index in unit}
            return self._write([m for i, m in enumerate(messages) if i not in gone])

        # A system text without room beside the newest message alone is not worth a turn.
        spared = _least(len(system), limit, lambda count: without(turns + system[:count]))
        if spared is None:
            return self._shorten(messages[_newest(messages)], limit)
        gone = system[:spared]
        count = _least(len(turns), limit, lambda count: without(gone + turns[:count]))
        return without(gone + turns[:count])

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


def _newest(messages: list[Message]) -> int:
    """Index of the last message that is no system text; of the last, where all are."""
    spoken = [index for index, message in enumerate(messages) if message.role not in SYSTEM]
    return spoken[-1] if spoken else len(messages) - 1


def _units(messages: list[Message]) -> tuple[list[list[int]], list[list[int]]]:
    """Indexes in the order they are given up: of turns, oldest first, and of system texts."""
    turns: list[list[int]] = []
    system: list[list[int]] = []
    newest = _newest(messages)
    for index, message in enumerate(messages):
        if index == newest:
            continue
        if message.role in SYSTEM:
            system.append([index])
        elif message.role == "user" or not turns:
            turns.append([index])
        else:
            turns[-1].append(index)
    return turns, system


def _least(most: int, limit: int, written: Callable[[int], str]) -> int | None:
    """The smallest count up to `most` with which the prompt keeps to the limit.

    Halving finds it in a few renderings; a template may be slow.
    """
    found = bisect_left(range(most + 1), True, key=lambda count: len(written(count)) <= limit)
    return found if found <= most else None
