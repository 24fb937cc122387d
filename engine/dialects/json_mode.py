"""An answer that is any JSON, asked of OpenAI's APIs and of one that has no field for it.

Chat and Responses refuse to be asked for JSON where no message holds the word, and Responses do not
look into `instructions`. Clients of other APIs need not say it.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.chat import Message, Text

AS_JSON = "Answer with one JSON value and nothing else."
_WORD = "json"


def named(messages: Iterable[Message]) -> bool:
    """Whether any of these says the word."""
    return any(_WORD in message.text.lower() for message in messages)


def wish() -> Message:
    """What says it."""
    return Message("system", [Text(AS_JSON)])
