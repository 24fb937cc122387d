"""What a route that writes its own bodies never sends, and what is therefore lost of a request.

What writes media into a body are the filters of dialects (`as_openai` and its kin), a value that
uploads them, and transforms that see the final request. Where a route has none of these, what a
client sends of media is lost, and is named like any other loss. So is a field that no template,
condition or option of the route reads, and so are calls of tools in earlier turns where a route
that offers tools writes those turns as text.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.chat import ChatRequest, ToolCall, media_parts
from engine.dialects.losses import Lost, settle
from engine.dialects.profile import Profile
from engine.options import Template, Tree

from .http_spec import HttpSpec
from .nodes import Node
from .reach import FetchPlan, fetch_of
from .spec import RouteSpec
from .stages import Stage
from .values import ValuePlan
from .view import Asked, view

_WRITES = re.compile(r"\|\s*as_(?:anthropic|bedrock|gemini|ollama|openai)\b")
_MESSAGES = re.compile(r"\b(?:messages|let)\b")


@dataclass(frozen=True, slots=True)
class MediaPlan:
    """What a route does with media: what it fetches (None: nothing), and whether it sends none.

    mute     whether it offers tools and tells earlier turns, but not what they called
    unread   fields beside the conversation that it does not read
    """

    fetch: FetchPlan | None
    text_only: bool
    mute: bool
    unread: tuple[str, ...]


def media_of(
    spec: RouteSpec, request: HttpSpec, stages: Collection[Stage], names: Collection[str]
) -> MediaPlan:
    """names: the fields of requests that templates read."""
    only = text_only(spec, request, stages)
    return MediaPlan(
        fetch_of(spec.media, int(spec.limits.request)),
        only,
        only and {"tools", "messages"} <= set(names),
        unread(spec, request, stages, names),
    )


# Fields that bear on the answer. Who asks, and how it is told, may go unread without a word.
BEARING = (
    "tools", "tool_choice", "response_format", "reasoning", "max_tokens", "stop", "temperature",
    "top_p", "seed",
)  # fmt: skip
_SYSTEM = ("system", "system_text", "messages")  # what tells the system text


def unread(
    spec: RouteSpec, request: HttpSpec, stages: Collection[Stage], names: Collection[str]
) -> tuple[str, ...]:
    """The fields of requests that a route with bodies of its own never reads."""
    if not _own_bodies(spec, request) or any(stage.has("patch") for stage in stages):
        return ()
    system = () if any(name in names for name in _SYSTEM) else ("system",)
    return system + tuple(name for name in BEARING if name not in names)


def name_unread(chat: ChatRequest, fields: tuple[str, ...], profile: Profile) -> None:
    """Name those of the fields that the client has sent.

    Raises RequestError(unsupported) where the route wants that.
    """
    asked = Asked("", lambda: chat, chat.stream)
    lost = [name for name in view(asked, fields) if name not in chat.dropped]
    if lost:
        chat.dropped += lost
        settle(chat.dropped, profile.on_unsupported)


def name_calls(chat: ChatRequest, profile: Profile) -> None:
    """Name calls of tools that no transform has made text of.

    Raises RequestError(unsupported) where the route wants that.
    """
    calls = any(isinstance(part, ToolCall) for turn in chat.messages for part in turn.parts)
    if calls and "tool_calls" not in chat.dropped:
        chat.dropped.append("tool_calls")
        settle(chat.dropped, profile.on_unsupported)


def _own_bodies(spec: RouteSpec, request: HttpSpec) -> bool:
    bodies = (request.json, request.form, request.multipart, request.raw)
    return spec.dialect is None or any(body is not None for body in bodies)


def text_only(spec: RouteSpec, request: HttpSpec, stages: Collection[Stage]) -> bool:
    """Whether the route writes its bodies, and nothing in it writes media."""
    if not _own_bodies(spec, request):
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
