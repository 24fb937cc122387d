"""Dialects: the wire formats of chat APIs. One folder each, the same four files in every folder.

    parse.py    a client's request body -> ChatRequest
    render.py   ChatRequest -> an upstream's request body, as the profile demands
    decode.py   an upstream's records -> events
    encode.py   events -> a client's bytes; whole answers; failures

All dialects meet in `engine/chat.py` and `engine/events.py` and never in each other. Beside the
folders stand `contract`, which says what a dialect is, and what they share: `outcomes` (errors in
everybody's words), `profile`, `listings`, `tokens`, `splice` (requests that pass through
untouched) and `frames` (answers that do; a folder's tap.py watches them). Everything is pure and
synchronous. A new dialect is a folder whose `__init__.py` makes its `DIALECT`, and a line in the
table.
"""

from __future__ import annotations

from . import anthropic_messages, gemini, ollama, openai_chat, openai_responses
from .contract import HERE, Decoder, Dialect, Encoder, Target

DIALECTS: dict[str, Dialect] = {
    found.name: found
    for found in (
        openai_chat.DIALECT,
        openai_responses.DIALECT,
        anthropic_messages.DIALECT,
        ollama.DIALECT,
        gemini.DIALECT,
    )
}

__all__ = ["DIALECTS", "HERE", "Decoder", "Dialect", "Encoder", "Target"]
