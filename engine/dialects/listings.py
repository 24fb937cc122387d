"""Lists of models in each client's shape."""

from __future__ import annotations

from collections.abc import Iterable


def model(id: str, owner: str, now: int) -> dict[str, object]:
    """One model as the OpenAI API shows it. now: epoch seconds, the time it began to be served."""
    return {"id": id, "object": "model", "created": now, "owned_by": owner}


def models(entries: Iterable[tuple[str, str]], now: int) -> dict[str, object]:
    """The OpenAI list of models; an entry is a model's id and its owner. An id is listed once."""
    known: dict[str, str] = {}
    for id, owner in entries:
        known.setdefault(id, owner)
    return {"object": "list", "data": [model(id, owner, now) for id, owner in known.items()]}
