"""The keys that say how answers are read: rules, streams, whole answers, errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from engine.errors import OUTCOMES
from engine.options import Condition, Path, Regex, Selector, Word, option
from engine.parsers import PARSERS
from engine.parsers.frames import AnswerFrames
from engine.parsers.sse import Sse
from engine.parsers.websocket import Websocket

CLASSES = tuple(OUTCOMES)
_EVENT = ("=", "req", "model", "session", "vars", "let", "data", "event", "noted")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallsRule:
    each: Path | None = option(None, "the calls; the other paths then start at one of them")
    index: Path | None = option(None, "tells parallel calls apart")
    id: Path | Literal["auto"] | None = option(None, "the call's id; `auto` makes one")
    name: Path | None = option(None, "the tool's name")
    arguments: Path | None = option(None, "a piece of JSON text, or the whole as an object")


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRule:
    input: Path | None = option(None, "tokens read")
    output: Path | None = option(None, "tokens written")
    cached: Path | None = option(None, "of the input: read from a cache")
    cache_write: Path | None = option(None, "of the input: written to a cache")
    reasoning: Path | None = option(None, "of the output: thinking")
    input_includes: Literal["cached", "nothing"] = option("cached", "whether input counts cached")
    output_excludes: Literal["reasoning", "nothing"] = option(
        "nothing", "whether output leaves thinking out"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishRule:
    SHORTHAND: ClassVar[str] = "path"

    path: Word = option(doc="a constant, or where the reason is found")
    map: dict[str, str] = option(
        {}, "the upstream's words to stop, length, tool_calls, content_filter; `*` for the rest"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEmitter:
    message: Path | None = option(None, "the upstream's words")
    class_: Word = option(Word("retryable"), "an outcome class, or where the word is", name="class")
    map: dict[str, str] = option({}, "the upstream's words to outcome classes; `*` for the rest")
    retry_after: list[str] = option(
        [],
        "where the waiting time is: a path, or a duration",
        lone=True,
        example="$.wait",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSpec:
    """One rule: selectors say which records, emitters what they mean. First match wins."""

    event: list[str] = option([], "event names of the framing", lone=True)
    match: Selector | None = option(None, "values at paths", example="{type: delta}")
    not_: Selector | None = option(None, "values that must not stand there", name="not")
    has: Path | None = option(None, "something must stand there")
    when: Condition | None = option(
        None, "an expression on `data`; slow, for rare cases", roots=_EVENT
    )
    each: Path | None = option(None, "go over a list; all else is then about one item")
    text: Path | None = option(None, "a piece of the answer")
    reasoning: Path | None = option(None, "a piece of thinking")
    reasoning_signature: Path | None = option(None, "the signature of the thinking")
    image: Path | None = option(None, "a picture: a URL, a `data:` URI, or base64")
    tool_calls: ToolCallsRule | None = option(None, "calls of tools")
    usage: UsageRule | None = option(None, "token counts, absolute")
    finish: FinishRule | None = option(None, "why the answer ended")
    error: ErrorEmitter | None = option(None, "the upstream failed")
    annotation: Path | None = option(None, "sources and notes beside the answer")
    set: dict[str, Path] = option({}, "session variables learned from the record")
    note: dict[str, Word] = option(
        {},
        "kept for the rest of this answer: constants, or what paths find, as `noted` in `when`",
        example="{answer: $.id}",
    )
    end: bool = option(False, "the answer is over")
    ignore: bool = option(False, "nothing of interest")
    continue_: bool = option(False, "look at the rules below too", name="continue")


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatSpec:
    SHORTHAND: ClassVar[str] = "word"
    AT_MOST_ONE: ClassVar[tuple[str, ...]] = ("word", "sse", "frames", "websocket")

    word: str | None = option(None, "the framing, when it needs no options", choices=tuple(PARSERS))
    sse: Sse | None = option(None, "server-sent events")
    frames: AnswerFrames | None = option(None, "length-prefixed frames")
    websocket: Websocket | None = option(None, "messages of a websocket")

    @property
    def name(self) -> str:
        """The word of the framing, whether it has options or not."""
        named = {"sse": self.sse, "frames": self.frames, "websocket": self.websocket}
        return self.word or next(name for name, options in named.items() if options is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    format: FormatSpec | None = option(None, "the framing; it wins over the content type")
    use: Literal["auto", "always", "never"] = option(
        "auto", "whether the upstream is asked to stream: as the client did, always, never"
    )
    done: list[str] = option([], "payloads that mark the end", lone=True, example='"[DONE]"')
    reduce: Literal["delta", "snapshot", "snapshot_tolerant", "path_patch"] = option(
        "delta", "what a record holds: the new piece, or all so far, or a patch of a document"
    )
    finish_optional: bool = option(False, "the end marker or end of input alone closes the answer")
    min_text: int = option(0, "fewer characters at the end are an `empty_response`")
    unmatched: Literal["ignore", "warn", "error"] = option("warn", "records no rule knows")
    event_from: str = option(":event-type", "frame header that names the event (aws_eventstream)")
    events: list[RuleSpec] | None = option(None, "rules, first match wins")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseSpec:
    format: Literal["json", "text"] = option("json", "how the whole body is read")
    min_text: int = option(0, "fewer characters are an `empty_response`")
    events: list[RuleSpec] | None = option(None, "rules, first match wins")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSelectors:
    """What is asked of an answer as a whole; all of it must hold."""

    status: list[int | str] = option([], "codes or `4xx`, `5xx`", lone=True)
    match: Selector | None = option(None, "values in the JSON body")
    header: dict[str, str] = option({}, "headers: text, or `/pattern/`")
    body: Regex | None = option(None, "a pattern on the body")
    content_type: str | None = option(None, "beginning of the content type")
    when: Condition | None = option(
        None,
        "an expression",
        roots=("=", "req", "model", "session", "vars", "let", "data", "status"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRuleSpec(AnswerSelectors):
    as_: str = option(doc="the outcome class", name="as", choices=CLASSES)
    retry_after: list[str] = option(
        [], "where the waiting time is: `header.retry-after`, a path, or a duration", lone=True
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # what is compiled of each is kept
class ErrorsSpec:
    message: Path | None = option(
        None, "the upstream's own words in an error body; `$` is its text where it is no JSON"
    )
    rules: list[ErrorRuleSpec] = option([], "first match wins")
