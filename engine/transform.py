"""The public door of transforms: every name a file in `transforms/` may import.

A transform is one Python file beside the YAML, named in a route's `transforms:`. It defines
`Transform` with any of these methods, and `Options` (a frozen, keyword-only dataclass) if it has
options. `API = 1` names this contract. docs/transforms.md tells the whole story.

    shape(request) -> ChatRequest         the conversation, before rendering
    patch(request) -> HttpRequest         the rendered request, before credentials are placed
    sign(request) -> HttpRequest          the outgoing request, final bytes
    classify(response) -> str | None      the upstream's answer: an outcome class, or None
    feed_record(record) -> list[Record]   one parsed record, before the rules
    feed(event) -> list[Event]            one event
    finish() -> list[Event]               what was held back, once the content is over
    extract(response) -> Extracted | None the value in a fetched answer
    produce() -> Generator                a conversation that yields requests and returns a value

A fresh instance serves each attempt (each fetch, for values). All methods are synchronous and
see values only: no network, no clock, no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from .chat import (
    ChatRequest,
    Citation,
    Media,
    Message,
    Opaque,
    Output,
    Part,
    Reasoning,
    Refusal,
    Role,
    Sampling,
    Text,
    Think,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    media_parts,
    text_of,
)
from .errors import Refuse
from .events import (
    Annotation,
    ArgsDelta,
    CitationDelta,
    Close,
    ErrorEvent,
    Event,
    Finish,
    Open,
    Ping,
    ReasoningDelta,
    RefusalDelta,
    SignatureDelta,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
)
from .options import (
    OMIT,
    Condition,
    Duration,
    Omit,
    Path,
    Regex,
    Secret,
    Size,
    Template,
    option,
)
from .spoken import Loose, SpokenCall, SpokenCalls, repair_json, written
from .wire import HttpRequest, HttpResponse, JsonError, Record, dumps, loads

API = 1

Stage = Literal[
    "shape", "patch", "sign", "classify", "feed_record", "feed", "finish", "extract", "produce"
]

# Parameter names of each method, `self` left out: the loader checks a transform against them.
METHODS: dict[Stage, tuple[str, ...]] = {
    "shape": ("request",),
    "patch": ("request",),
    "sign": ("request",),
    "classify": ("response",),
    "feed_record": ("record",),
    "feed": ("event",),
    "finish": (),
    "extract": ("response",),
    "produce": (),
}


@dataclass(frozen=True, slots=True)
class Model:
    """The model the client asked for: `id` as listed, `upstream` as sent."""

    id: str
    upstream: str
    max_output: int | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """What `extract` or `produce` found; good for so many seconds (None: the route's ttl)."""

    content: str | dict[str, str]
    expires_in: float | None = None


Extracted = str | dict[str, str] | Value


@dataclass(frozen=True, slots=True)
class Context:
    """What a transform may know of the attempt it serves. Values only.

    attempt   counts from 1; `previous` is the outcome class of the attempt before, None at first
    request   as the client sent it, before any `shape`; None where a value is fetched without one
    now       epoch seconds; frozen in fixtures, as is `random`
    """

    route: str
    attempt: int = 1
    previous: str | None = None
    request: ChatRequest | None = None
    model: Model | None = None
    account: Mapping[str, Secret] = field(default_factory=dict)
    values: Mapping[str, Secret] = field(default_factory=dict)
    session: Mapping[str, object] = field(default_factory=dict)
    recalled: Mapping[str, str] = field(default_factory=dict)
    vars: Mapping[str, object] = field(default_factory=dict)
    let: Mapping[str, object] = field(default_factory=dict)
    now: float = 0.0
    random: Random = field(default_factory=Random)


__all__ = [
    "API", "METHODS", "OMIT", "Annotation", "ArgsDelta", "ChatRequest", "Citation",
    "CitationDelta", "Close", "Condition", "Context", "Duration", "ErrorEvent", "Event",
    "Extracted", "Finish", "HttpRequest", "HttpResponse", "JsonError", "Loose", "Media",
    "Message", "Model", "Omit", "Opaque", "Open", "Output", "Part", "Path", "Ping", "Reasoning",
    "ReasoningDelta", "Record", "Refusal", "RefusalDelta", "Refuse", "Regex", "Role",
    "Sampling", "Secret", "SignatureDelta", "Size", "SpokenCall", "SpokenCalls", "Stage",
    "Start", "Template", "Text", "TextDelta", "Think", "Tool", "ToolCall", "ToolChoice",
    "ToolResult", "Usage", "UsageEvent", "Value", "dumps", "loads", "media_parts", "option",
    "repair_json", "text_of", "written",
]  # fmt: skip
