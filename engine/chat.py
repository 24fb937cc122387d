"""The conversation, free of any dialect: what every client sends and every upstream receives.

Fields that no other dialect knows are kept in `extras`, under the name the client gave them.
The classes are mutable for speed only: nobody assigns to a value after handing it on (the one
exception is `ChatRequest.dropped`, which `render` fills).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

JSON = object
Extras = dict[str, object]


@dataclass(slots=True)
class Opaque:
    """Something only its own dialect understands, re-emitted there unchanged."""

    dialect: str
    kind: str
    raw: JSON
    origin: str = ""


@dataclass(slots=True)
class Citation:
    kind: str
    url: str | None = None
    title: str | None = None
    text: str | None = None
    start: int | None = None
    end: int | None = None
    raw: JSON = None


@dataclass(slots=True)
class Text:
    text: str
    citations: list[Citation] = field(default_factory=list)
    extras: Extras = field(default_factory=dict)


@dataclass(slots=True)
class Media:
    """An image, file, audio or video: by bytes (base64, never decoded on the way), URL or id.

    uploaded: its id is the upstream's own, whose client only knows the bytes
    """

    kind: Literal["image", "file", "audio", "video"]
    mime: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    name: str | None = None
    detail: str | None = None
    extras: Extras = field(default_factory=dict)
    uploaded: bool = False


@dataclass(slots=True)
class Reasoning:
    text: str = ""
    summary: list[str] | None = None
    signature: str | None = None
    encrypted: str | None = None
    id: str | None = None
    origin: str = ""
    extras: Extras = field(default_factory=dict)


@dataclass(slots=True)
class ToolCall:
    """A call the model makes. `args` is raw JSON text (custom: free text), never re-encoded."""

    id: str
    name: str
    args: str
    kind: Literal["function", "custom"] = "function"
    extras: Extras = field(default_factory=dict)


@dataclass(slots=True)
class Refusal:
    text: str
    category: str | None = None


@dataclass(slots=True)
class ToolResult:
    call_id: str
    parts: list[Part] = field(default_factory=list)
    is_error: bool | None = None
    name: str | None = None
    extras: Extras = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All text, a line for each of its parts: tools return them as things of their own."""
        return "\n".join(filter(None, (text_of([part]) for part in self.parts)))


Part = Text | Media | Reasoning | ToolCall | ToolResult | Refusal | Opaque

Role = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(slots=True)
class Message:
    """One turn. dialect: whose words its extras and those of its parts are; "" if it has none."""

    role: Role
    parts: list[Part]
    name: str | None = None
    extras: Extras = field(default_factory=dict)
    dialect: str = field(default="", compare=False)

    @property
    def text(self) -> str:
        """The text parts joined; tool results count as text, media and reasoning do not."""
        return text_of(self.parts)


def text_of(parts: list[Part]) -> str:
    """All text among the parts, joined without separator, since an answer comes in pieces.

    Only results of tools have lines of their own: some clients put them beside what is said next.
    """
    lines = [""]
    for part in parts:
        if isinstance(part, ToolResult):
            lines += [part.text, ""]
        elif isinstance(part, Text | Refusal):
            lines[-1] += part.text
    return lines[0] if len(lines) == 1 else "\n".join(filter(None, lines))


def media_parts(messages: Iterable[Message]) -> Iterator[Media]:
    """All media of a conversation, those in results of tools too."""
    for message in messages:
        for part in message.parts:
            inner = part.parts if isinstance(part, ToolResult) else [part]
            yield from (each for each in inner if isinstance(each, Media))


@dataclass(slots=True)
class Tool:
    """A tool on offer. hosted: the provider runs it; `raw` is all there is to say of it."""

    name: str
    description: str | None = None
    schema: JSON = None
    kind: Literal["function", "custom", "hosted"] = "function"
    strict: bool | None = None
    raw: JSON = None
    extras: Extras = field(default_factory=dict)
    dialect: str = field(default="", compare=False)


@dataclass(slots=True)
class ToolChoice:
    mode: Literal["auto", "none", "required", "named", "other"]
    names: list[str] = field(default_factory=list)
    raw: JSON = None


@dataclass(slots=True)
class Sampling:
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence: float | None = None
    frequency: float | None = None
    seed: int | None = None
    logit_bias: dict[str, object] | None = None


@dataclass(slots=True)
class Think:
    """Whether and how much to think; `show`: whether the client wants to see (None: not said)."""

    mode: Literal["off", "on", "adaptive"] | None = None
    effort: str | None = None
    budget: int | None = None
    show: bool | None = None

    @property
    def asked(self) -> bool:
        """Whether anything is said of thinking itself."""
        return not (self.mode is None and self.effort is None and self.budget is None)


@dataclass(slots=True)
class Output:
    """modalities: `text` and `image`, where pictures are asked for."""

    max_tokens: int | None = None
    stop: list[str] = field(default_factory=list)
    format: Literal["text", "json", "schema"] | None = None
    schema: JSON = None
    schema_name: str | None = None
    schema_about: str | None = None
    strict: bool | None = None
    n: int = 1
    logprobs: int | None = None
    verbosity: str | None = None
    modalities: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ChatRequest:
    """One request, parsed once and kept over all attempts."""

    dialect: str
    model: str
    messages: list[Message]
    tools: list[Tool] = field(default_factory=list)
    tool_choice: ToolChoice | None = None
    parallel: bool | None = None
    sampling: Sampling = field(default_factory=Sampling)
    think: Think = field(default_factory=Think)
    out: Output = field(default_factory=Output)
    stream: bool = False
    want_usage: bool = False
    user: str | None = None
    metadata: dict[str, object] | None = None
    extras: Extras = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
