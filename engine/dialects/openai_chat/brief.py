"""Chunks that say nothing but a piece of text, as nearly all are: read without looking for more."""

from __future__ import annotations

from typing import Any

from .sources import FIELDS


def only_text(chunk: Any) -> str:
    """The text of such a chunk; "" for any other value, whatever it is."""
    try:
        (choice,) = chunk["choices"]
        delta = choice["delta"]
        text = delta["content"]
        if (
            len(delta) == 1
            and type(text) is str
            and not (
                choice.get("finish_reason")
                or choice.get("index")
                or choice.get("logprobs")
                or chunk.get("usage")
                or "error" in chunk
            )
            and FIELDS.isdisjoint(chunk)
        ):
            return text
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    return ""
