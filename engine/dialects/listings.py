"""Lists of models in each client's shape.

now: epoch seconds, the time the models began to be served; an entry is a model's id and its owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from .outcomes import Family

Fields = dict[str, object]
Entries = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Shape:
    """How a family of clients sees a model, by id, owner and time, and a list of them."""

    model: Callable[[str, str, int], Fields]
    models: Callable[[Entries, int], Fields]


def model(id: str, owner: str, now: int) -> Fields:
    """One model as the OpenAI API shows it."""
    return {"id": id, "object": "model", "created": now, "owned_by": owner}


def models(entries: Entries, now: int) -> Fields:
    """The OpenAI list of models. An id is listed once."""
    return {"object": "list", "data": [model(id, owner, now) for id, owner in _once(entries)]}


def _stamp(now: int) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _anthropic_model(id: str, owner: str, now: int) -> Fields:
    return {
        "type": "model",
        "id": id,
        "display_name": id,
        "created_at": _stamp(now),
        "lifecycle": "active",
    }


def _anthropic_models(entries: Entries, now: int) -> Fields:
    """The Anthropic list, all in one page. An id is listed once."""
    data = [_anthropic_model(id, owner, now) for id, owner in _once(entries)]
    ends = [item["id"] for item in data] or [None]
    return {"data": data, "has_more": False, "first_id": ends[0], "last_id": ends[-1]}


def _gemini_model(id: str, owner: str, now: int) -> Fields:
    return {
        "name": f"models/{id}",
        "version": "001",
        "displayName": id,
        "description": f"served by {owner}",
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }


def _gemini_models(entries: Entries, now: int) -> Fields:
    """The Gemini list, all in one page. An id is listed once."""
    return {"models": [_gemini_model(id, owner, now) for id, owner in _once(entries)]}


def _once(entries: Entries) -> list[tuple[str, str]]:
    known: dict[str, str] = {}
    for id, owner in entries:
        known.setdefault(id, owner)
    return list(known.items())


def _ollama_details(owner: str) -> Fields:
    return {
        "parent_model": "",
        "format": "",
        "family": owner,
        "families": [owner],
        "parameter_size": "",
        "quantization_level": "",
    }


def _ollama_model(id: str, owner: str, now: int) -> Fields:
    """What /api/show says. Capabilities are those of the gateway, not of the model."""
    return {
        "modified_at": _stamp(now),
        "license": "",
        "modelfile": "",
        "parameters": "",
        "template": "",
        "details": _ollama_details(owner),
        "model_info": {"general.architecture": owner, "general.basename": id},
        "capabilities": ["completion", "tools", "vision", "thinking"],
    }


def _ollama_models(entries: Entries, now: int) -> Fields:
    """What /api/tags lists. Nothing lies on a disk: sizes are 0. An id is listed once."""
    return {
        "models": [
            {
                "name": id,
                "model": id,
                "modified_at": _stamp(now),
                "size": 0,
                "digest": sha256(id.encode("utf-8", "replace")).hexdigest(),
                "details": _ollama_details(owner),
            }
            for id, owner in _once(entries)
        ]
    }


SHAPES: dict[Family, Shape] = {
    "openai": Shape(model, models),
    "anthropic": Shape(_anthropic_model, _anthropic_models),
    "ollama": Shape(_ollama_model, _ollama_models),
    "gemini": Shape(_gemini_model, _gemini_models),
}
