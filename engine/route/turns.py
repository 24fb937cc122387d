"""Parts of a conversation by its turns, for templates: what is old, what is new.

A turn is a user's message with everything up to the next one; results of tools belong to the turn
of their call. System texts belong to none.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.chat import Message, ToolResult

SYSTEM = ("system", "developer")


def older(value: Sequence[Message], turns: int) -> list[Message]:
    """The messages before the newest so many turns; no system texts."""
    return _parted(value, turns)[0]


def newest(value: Sequence[Message], turns: int = 1) -> list[Message]:
    """The messages of the newest so many turns; no system texts."""
    return _parted(value, turns)[1]


def _parted(messages: Sequence[Message], turns: int) -> tuple[list[Message], list[Message]]:
    said = [message for message in messages if message.role not in SYSTEM]
    heads = [at for at, message in enumerate(said) if _begins(message)]
    if turns < 1:
        return said, []
    place = heads[-turns] if turns <= len(heads) else 0
    return said[:place], said[place:]


def _begins(message: Message) -> bool:
    answers = any(isinstance(part, ToolResult) for part in message.parts)
    return message.role == "user" and not answers
