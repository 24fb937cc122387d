"""Add to the system text, replace it, or let another role carry it.

`prepend` and `append` join the first system message (a new one if there is none), `replace` takes
the place of all. A template that says nothing changes nothing.
"""

from dataclasses import dataclass, replace
from typing import Literal

from engine.transform import OMIT, ChatRequest, Context, Message, Part, Template, Text, option

API = 1
SYSTEM = ("system", "developer")
GAP = "\n\n"  # between the pieces


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    prepend: Template | None = option(None, "text before the first system message's own")
    append: Template | None = option(None, "text after the first system message's own")
    replace: Template | None = option(None, "text instead of all system and developer messages")
    role: Literal["system", "developer", "user"] | None = option(
        None, "who carries system text; `user`: the first user message begins with it"
    )

    def __post_init__(self) -> None:
        if not (self.prepend or self.append or self.replace or self.role):
            raise ValueError("give `prepend`, `append`, `replace` or `role`")


class Transform:
    def __init__(self, options: Options, context: Context) -> None:
        self.options = options

    def shape(self, request: ChatRequest) -> ChatRequest:
        options = self.options
        messages = request.messages
        if instead := _said(options.replace):
            others = [message for message in messages if message.role not in SYSTEM]
            messages = [Message("system", [Text(instead)]), *others]
        before, after = _said(options.prepend), _said(options.append)
        if before or after:
            messages = _joined(messages, before, after)
        if options.role == "user":
            messages = _lifted(messages)
        elif options.role:
            role = options.role
            messages = [replace(m, role=role) if m.role in SYSTEM else m for m in messages]
        return replace(request, messages=messages)


def _said(template: Template | None) -> str:
    value = template() if template else None
    return "" if value is None or value is OMIT else str(value).strip()


def _joined(messages: list[Message], before: str, after: str) -> list[Message]:
    """The first system message with text before and after its own, or a new one in front."""
    place = next((i for i, message in enumerate(messages) if message.role in SYSTEM), None)
    if place is None:
        messages, place = [Message("system", []), *messages], 0
    old = messages[place]
    pieces: tuple[list[Part], ...] = ([Text(before)], old.parts, [Text(after)])
    parts: list[Part] = []
    for piece in filter(_has_text, pieces):
        parts += [Text(GAP), *piece] if parts else piece
    return [*messages[:place], replace(old, parts=parts), *messages[place + 1 :]]


def _has_text(parts: list[Part]) -> bool:
    return any(not isinstance(part, Text) or part.text for part in parts)


def _lifted(messages: list[Message]) -> list[Message]:
    """No system message is left: the first user message begins with their text."""
    text = GAP.join(message.text for message in messages if message.role in SYSTEM and message.text)
    others = [message for message in messages if message.role not in SYSTEM]
    if not text:
        return others
    place = next((i for i, message in enumerate(others) if message.role == "user"), None)
    if place is None:
        return [Message("user", [Text(text)]), *others]
    asked = others[place]
    parts: list[Part] = [Text(text), Text(GAP), *asked.parts] if asked.parts else [Text(text)]
    return [*others[:place], replace(asked, parts=parts), *others[place + 1 :]]
