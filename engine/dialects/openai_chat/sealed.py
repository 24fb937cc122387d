"""What only its provider can read, beside the thinking and the calls of a Chat answer.

OpenRouter tells thinking a second time in `reasoning_details`, items of which are encrypted or
signed, and wants them back as they came. They travel as the secret text of a Reasoning. Google's
own OpenAI endpoint puts a signature beside a call: `extra_content.google.thought_signature`.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.chat import Extras, Part, Reasoning
from engine.wire import JsonError, dumps, loads

NAME = "openai_chat"
GOOGLE = "gemini"  # whose signatures Google's own OpenAI endpoint puts beside a call
DETAILS = "reasoning_details"
_TEXTS = ("text", "summary")


def gathered(items: list[Extras], more: object) -> None:
    """Add items of a stream; a text that goes on joins the one before it."""
    for item in more if isinstance(more, list) else ():
        if not isinstance(item, dict):
            continue
        last = items[-1] if items else {}
        if _goes_on(last, item):
            said = {name: value for name, value in item.items() if value is not None}
            texts = {name: f"{last.get(name) or ''}{said[name]}" for name in _TEXTS if name in said}
            items[-1] = {**last, **said, **texts}
        else:
            items.append(item)


def _goes_on(last: Extras, item: Extras) -> bool:
    kind = item.get("type")
    same = bool(last) and kind == last.get("type") and item.get("index") == last.get("index")
    return same and kind in ("reasoning.text", "reasoning.summary")


def readable(items: object) -> str:
    """The plain words of items; those that are encrypted have none."""
    out = ""
    for item in items if isinstance(items, list) else ():
        texts = [item.get(name) for name in _TEXTS] if isinstance(item, dict) else []
        out += next((text for text in texts if isinstance(text, str) and text), "")
    return out


def secret(items: list[Extras]) -> str:
    """The secret text of these; "" where all of it is plain words."""
    bound = any(item.get("data") or item.get("signature") for item in items)
    return dumps(items).decode() if bound else ""


def details(parts: Iterable[Part]) -> list[object]:
    """The items again, of all thoughts of a turn."""
    out: list[object] = []
    for part in parts:
        if isinstance(part, Reasoning) and part.origin == NAME and part.encrypted:
            out += told(part.encrypted)
    return out


def told(text: str) -> list[object]:
    """The items of one secret text."""
    try:
        found = loads(text.encode())
    except JsonError:
        return []
    return found if isinstance(found, list) else []


def beside(call: Extras) -> str:
    """The signature that stands beside a call, "" if there is none."""
    found: object = call.get("extra_content")
    for name in ("google", "thought_signature"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""
