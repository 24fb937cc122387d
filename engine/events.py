"""What a model says, as a closed set of small events; and `fold`, which makes one Reply of them.

Order, as a client's encoder may rely on it: Start first, once; Open(b) before any delta of block
b; Close(b) once; block numbers count from 0 in the order of Open; last of all exactly one Finish
or one ErrorEvent. A citation may come when its text is closed. UsageEvent carries absolute values
and may come at any time. Ping may come anywhere. Inside the engine (before `route/pipeline.py` has
numbered them) deltas may come without Open and Close.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field

from .chat import JSON, Citation, Media, Opaque, Part, Reasoning, Refusal, Text, ToolCall
from .errors import ExchangeError

FINISHES = ("stop", "length", "tool_calls", "content_filter", "other")


@dataclass(slots=True)
class Usage:
    """Token counts. input includes cached tokens, output includes reasoning; None = not told.

    cache_write_1h is the part of cache_write that lives for an hour.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    estimated: bool = False
    raw: JSON = None
    cache_write_1h: int | None = None


@dataclass(slots=True)
class Start:
    """factor: for an estimate of what was read (dialects/tokens.py), 0 where none was learned."""

    id: str = ""
    model: str = ""
    created: int = 0
    factor: float = 0.0


@dataclass(slots=True)
class Open:
    block: int
    part: Part


@dataclass(slots=True)
class TextDelta:
    block: int
    text: str
    logprobs: JSON = None


@dataclass(slots=True)
class ReasoningDelta:
    """More thinking. summary: which part of a summary it belongs to, None if it is no summary.

    A part after the first begins with a blank line, so that all texts joined read as one.
    """

    block: int
    text: str
    summary: int | None = None


@dataclass(slots=True)
class SignatureDelta:
    block: int
    signature: str = ""
    encrypted: str = ""


@dataclass(slots=True)
class ArgsDelta:
    """A fragment of a tool call's arguments: raw JSON text.

    id and name are set by sources that do not open a block first; `index` tells such a source's
    parallel calls apart.
    """

    block: int
    json: str
    id: str = ""
    name: str = ""


@dataclass(slots=True)
class CitationDelta:
    block: int
    citation: Citation


@dataclass(slots=True)
class RefusalDelta:
    block: int
    text: str


@dataclass(slots=True)
class Close:
    block: int


@dataclass(slots=True)
class UsageEvent:
    usage: Usage


@dataclass(slots=True)
class Finish:
    """reason is one of FINISHES; raw is the upstream's own word.

    stop     the stop sequence that ended the answer, if it was one and it was told
    details  what the upstream says of its reason, in its own shape
    seconds  how long the answer took, `waited` of them before its first words; 0: nobody measured
    tier, fingerprint  what served it (`service_tier`, `system_fingerprint`), as OpenAI's APIs tell
    """

    reason: str
    raw: str = ""
    stop: str | None = None
    details: JSON = None
    seconds: float = 0.0
    waited: float = 0.0
    tier: str = ""
    fingerprint: str = ""


@dataclass(slots=True)
class ErrorEvent:
    """The attempt failed; cls is an outcome class of `engine.errors.OUTCOMES`."""

    cls: str
    message: str
    status: int = 0
    code: str = ""
    retry_after: float | None = None

    @classmethod
    def of(cls, error: ExchangeError) -> ErrorEvent:
        """What was raised, as an event."""
        return cls(error.cls, error.message, error.status, error.code, error.retry_after)

    def error(self) -> ExchangeError:
        """The event as an exception."""
        return ExchangeError(
            self.cls,
            self.message,
            status=self.status,
            code=self.code,
            retry_after=self.retry_after,
        )


@dataclass(slots=True)
class Ping:
    pass


@dataclass(slots=True)
class Annotation:
    """Something an upstream says about its answer that is not the answer (sources, notes)."""

    value: JSON


@dataclass(slots=True)
class StateSet:
    """Session state learned from the answer (`set:` in a rule); never leaves the engine."""

    values: dict[str, object]


@dataclass(slots=True)
class End:
    """The upstream's end marker (`done`, `end: true`); never leaves the engine."""


Event = (
    Start
    | Open
    | TextDelta
    | ReasoningDelta
    | SignatureDelta
    | ArgsDelta
    | CitationDelta
    | RefusalDelta
    | Close
    | UsageEvent
    | Finish
    | ErrorEvent
    | Ping
    | Annotation
    | StateSet
    | End
)

CONTENT = (Open, TextDelta, ReasoningDelta, SignatureDelta, ArgsDelta, RefusalDelta, CitationDelta)


def tells(events: list[Event], *, hidden: bool = False) -> bool:
    """Whether these say something to a client. hidden: it is not shown what was thought."""
    if not hidden:
        return not _TELLING.isdisjoint(map(type, events))
    return any(type(event) in _TELLING and not _thought(event) for event in events)


_TELLING = frozenset(CONTENT)


def _thought(event: Event) -> bool:
    if isinstance(event, Open):
        return isinstance(event.part, Reasoning)
    return isinstance(event, ReasoningDelta | SignatureDelta)


@dataclass(slots=True)
class Reply:
    """A whole answer: what `fold` makes of the events."""

    id: str = ""
    model: str = ""
    created: int = 0
    parts: list[Part] = field(default_factory=list)
    finish: str = ""
    raw_finish: str = ""
    usage: Usage | None = None
    error: ErrorEvent | None = None
    annotations: list[JSON] = field(default_factory=list)
    logprobs: list[JSON] = field(default_factory=list)
    stop: str | None = None
    details: JSON = None
    seconds: float = 0.0
    waited: float = 0.0
    tier: str = ""
    fingerprint: str = ""

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def reasoning(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Reasoning))

    @property
    def calls(self) -> list[ToolCall]:
        return [part for part in self.parts if isinstance(part, ToolCall)]


def merge_usage(old: Usage | None, new: Usage) -> Usage:
    """Field by field the last value that is not None: counts are absolute, never summed."""
    if old is None:
        return new
    return Usage(
        input=old.input if new.input is None else new.input,
        output=old.output if new.output is None else new.output,
        cache_read=old.cache_read if new.cache_read is None else new.cache_read,
        cache_write=old.cache_write if new.cache_write is None else new.cache_write,
        reasoning=old.reasoning if new.reasoning is None else new.reasoning,
        estimated=old.estimated and new.estimated,
        raw=old.raw if new.raw is None else new.raw,
        cache_write_1h=old.cache_write_1h if new.cache_write_1h is None else new.cache_write_1h,
    )


class Folder:
    """Folds numbered events into a Reply. Feed it every event; `reply` is always up to date.

    Text is collected as fragments and joined once by `done`, so that a long answer costs one copy.
    """

    def __init__(self) -> None:
        self.reply = Reply()
        self._parts: dict[int, Part] = {}
        self._pieces: dict[int, list[str]] = {}

    def feed(self, events: list[Event]) -> None:
        for event in events:
            kind = type(event)
            if kind is TextDelta or kind is ReasoningDelta or kind is RefusalDelta:
                self._pieces[event.block].append(event.text)  # type: ignore[union-attr]
                if kind is TextDelta and event.logprobs is not None:  # type: ignore[union-attr]
                    self.reply.logprobs.append(event.logprobs)  # type: ignore[union-attr]
                elif kind is ReasoningDelta and event.summary is not None:  # type: ignore[union-attr]
                    self._summarise(event)  # type: ignore[arg-type]
            elif kind is ArgsDelta:
                self._pieces[event.block].append(event.json)  # type: ignore[union-attr]
            else:
                self._rare(event)

    def _summarise(self, event: ReasoningDelta) -> None:
        part, at = self._parts[event.block], event.summary
        if not isinstance(part, Reasoning) or at is None:
            return
        parts = part.summary = part.summary if part.summary is not None else []
        if len(parts) <= at:
            parts += [""] * (at + 1 - len(parts))
        parts[at] += event.text if parts[at] or not at else event.text.removeprefix("\n\n")

    def _rare(self, event: Event) -> None:
        reply = self.reply
        match event:
            case Open(block, part):
                part = _own(part)
                self._parts[block] = part
                self._pieces[block] = []
                reply.parts.append(part)
            case UsageEvent(usage):
                reply.usage = merge_usage(reply.usage, usage)
            case Start(id, model, created):
                reply.id, reply.model, reply.created = id, model, created
            case Finish(reason, raw, stop, details, seconds, waited):
                reply.finish, reply.raw_finish = reason, raw
                reply.stop, reply.details = stop, details
                reply.seconds, reply.waited = seconds, waited
                reply.tier, reply.fingerprint = event.tier, event.fingerprint
            case ErrorEvent():
                reply.error = event
            case Annotation(value):
                reply.annotations.append(value)
            case _:
                self._marginal(event)

    def _marginal(self, event: Event) -> None:
        """What is noted on a block beside its text."""
        if isinstance(event, SignatureDelta):
            part = self._parts[event.block]
            if isinstance(part, Reasoning):
                part.signature = event.signature or part.signature
                part.encrypted = event.encrypted or part.encrypted
        elif isinstance(event, CitationDelta):
            part = self._parts[event.block]
            if isinstance(part, Text):
                part.citations.append(event.citation)

    def done(self) -> Reply:
        """The Reply with all fragments joined. Calling it again after more events is fine."""
        for block, pieces in self._pieces.items():
            if not pieces:
                continue
            part = self._parts[block]
            joined = "".join(pieces)
            if isinstance(part, Text | Reasoning | Refusal):
                part.text += joined
            elif isinstance(part, ToolCall):
                part.args += joined
            pieces.clear()
        return self.reply


def _own(part: Part) -> Part:
    """A copy to fill: the part of an event is not ours."""
    if type(part) is Text:  # `copy` costs ten times as much
        return Text(part.text, [*part.citations], part.extras)
    part = copy(part)
    if isinstance(part, Reasoning) and part.summary is not None:
        part.summary = [*part.summary]
    return part


def fold(events: list[Event]) -> Reply:
    """One Reply out of a whole answer's events."""
    folder = Folder()
    folder.feed(events)
    return folder.done()


__all__ = [
    "CONTENT", "FINISHES", "Annotation", "ArgsDelta", "CitationDelta", "Close", "End", "ErrorEvent",
    "Event", "Finish", "Folder", "Media", "Opaque", "Open", "Ping", "ReasoningDelta", "Refusal",
    "RefusalDelta", "Reply", "SignatureDelta", "Start", "StateSet", "TextDelta", "Usage",
    "UsageEvent", "fold", "merge_usage", "tells",
]  # fmt: skip
