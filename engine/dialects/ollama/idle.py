"""Requests that ask nothing of a model: they have it loaded, or unloaded (`keep_alive: 0`).

Ollama takes a chat without messages, or a prompt that is empty, for that, and answers at once with
an empty text and `done_reason` `load` or `unload`: one object, also where a stream was asked for.
An upstream that is an Ollama is asked itself; for all others there is nothing to load.
"""

from __future__ import annotations

import re

from engine.chat import ChatRequest
from engine.wire import dumps

from .encode import form_of, head

# A duration of zero as Go writes them.
_ZERO = re.compile(r"[-+]?(0+(\.0*)?([nuµm]?s|m|h)?)+")


def idle(request: ChatRequest, model: str, created: int) -> bytes | None:
    """The body of the answer, None for a request that asks something. model: as the client names
    it; created: in seconds."""
    if request.messages:
        return None
    said = {"done": True, "done_reason": "unload" if _unloads(request) else "load"}
    return dumps({**head(model, created), **form_of(request).say(""), **said}) + b"\n"


def _unloads(request: ChatRequest) -> bool:
    kept = request.extras.get("keep_alive")
    if isinstance(kept, str):
        return _ZERO.fullmatch(kept) is not None
    return isinstance(kept, int | float) and not isinstance(kept, bool) and kept == 0
