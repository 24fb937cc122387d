"""Media that a route never sends: a body of its own that takes texts of messages only.

What writes media into a body are the filters of dialects (`as_openai` and its kin), a value that
uploads them, and transforms that see the final request. Where a route has none of these, what a
client sends of media is lost, and is named like any other loss.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.chat import ChatRequest, media_parts
from engine.dialects.losses import Lost, settle
from engine.dialects.profile import Profile
from engine.options import Template, Tree

from .nodes import Node
from .reach import FetchPlan, fetch_of
from .spec import HttpSpec, RouteSpec
from .stages import Stage
from .values import ValuePlan

_WRITES = re.compile(r"\|\s*as_(?:anthropic|bedrock|gemini|ollama|openai)\b")
_MESSAGES = re.compile(r"\b(?:messages|let)\b")


@dataclass(frozen=True, slots=True)
class MediaPlan:
    """What a route does with media: what it fetches (None: nothing), and whether it sends none."""

    fetch: FetchPlan | None
    text_only: bool


def media_of(spec: RouteSpec, request: HttpSpec, stages: Collection[Stage]) -> MediaPlan:
    fetch = fetch_of(spec.media, int(spec.limits.request))
    return MediaPlan(fetch, text_only(spec, request, stages))


def text_only(spec: RouteSpec, request: HttpSpec, stages: Collection[Stage]) -> bool:
    """Whether the route writes its bodies, and nothing in it writes media."""
    bodies = (request.json, request.form, request.multipart, request.raw)
    if spec.dialect is not None and all(body is None for body in bodies):
        return False
    if any(stage.has("patch") for stage in stages):
        return False
    sources = _texts((request, spec.let, spec.values))
    return not any(_WRITES.search(text) and _MESSAGES.search(text) for text in sources)


def name_unseen(
    chat: ChatRequest, values: Mapping[str, ValuePlan], had: object, profile: Profile
) -> None:
    """Name what media a text-only route leaves out, but for what was uploaded.

    had: the values of this request. Raises RequestError(unsupported) where the route wants that.
    """
    names = had if isinstance(had, dict) else {}
    carried = {kind for name in names if name in values for kind in values[name].each}
    lost = dict.fromkeys(part.kind for part in media_parts(chat.messages))
    known = [name for name in chat.dropped if name not in carried]
    new = [Lost(kind) for kind in lost if kind not in carried and kind not in known]
    chat.dropped[:] = [*known, *new]
    settle(chat.dropped, profile.on_unsupported)


def _texts(value: Any) -> Iterator[str]:
    """What is written in templates, wherever they stand."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Template | Tree):
        yield from _texts(value.source)
    elif isinstance(value, Node):
        yield from _texts(value.value)
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _texts(getattr(value, field.name))
