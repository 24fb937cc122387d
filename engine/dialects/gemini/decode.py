"""generateContent answers -> events.

A whole answer is one chunk, and an answer to a stream may come as one list of chunks, so all is
read by `StreamDecoder`. Only candidate 0 is read (more are passed through or refused). Blocks are
numbered in the order of Open; text and thoughts close when another kind begins. A call comes whole
in one part. A signature becomes a Reasoning before the part it stands on, see contents.py.

Usage counts all there is so far in every chunk: the last one holds. `STOP` is said of calls too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.chat import Citation, Media, Opaque, Part, Reasoning, Text, ToolCall
from engine.dialects.outcomes import classify_text, error_event, read_error, unless_empty
from engine.dialects.pictures import in_words
from engine.events import (
    ArgsDelta,
    CitationDelta,
    Close,
    ErrorEvent,
    Event,
    Finish,
    Open,
    ReasoningDelta,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
)
from engine.wire import Record, dumps

from .contents import kind_of
from .logprobs import read_logprobs
from .names import NAME
from .signatures import signed, standard

MakeId = Callable[[], str]
Fields = dict[str, object]

FINISHES: dict[str, str] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        ("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII",
         "MODEL_ARMOR", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
        "content_filter",
    ),
}  # fmt: skip
# The model tried to call a tool and failed: of thoughts alone no answer is made.
_BROKEN = frozenset(
    {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS",
     "MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE"}
)  # fmt: skip
# What stands beside the parts of a candidate, and is told as it came where nothing of it changed.
BESIDE = ("finishMessage", "safetyRatings", "urlContextMetadata", "groundingMetadata")
_MOST = 2**53  # a count beyond it is nonsense


def read_usage(raw: Fields) -> Usage:
    """Canonical counts out of `usageMetadata`: input has what tools read in it, output thoughts."""
    prompt, tools = _count(raw.get("promptTokenCount")), _count(raw.get("toolUsePromptTokenCount"))
    said, thought = _count(raw.get("candidatesTokenCount")), _count(raw.get("thoughtsTokenCount"))
    nothing = said is None and thought is None
    return Usage(
        input=None if prompt is None else prompt + (tools or 0),
        output=None if nothing else (said or 0) + (thought or 0),
        cache_read=_count(raw.get("cachedContentTokenCount")),
        reasoning=thought,
        estimated=raw.get("penstockEstimated") is True,
        raw=raw,
    )


def _count(value: object) -> int | None:
    if not isinstance(value, int | float):
        return None
    return int(min(max(value, 0), _MOST))


def _fields(value: object) -> Fields:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def first_candidate(value: Fields) -> Fields | None:
    """Candidate 0. Where the index is left out it is 0."""
    items = _list(value.get("candidates"))
    return next((item for item in items if isinstance(item, dict) and not item.get("index")), None)


class StreamDecoder:
    """Chunks of one answer -> events. make_id gives an id to a call that comes without."""

    def __init__(self, make_id: MakeId) -> None:
        self._make_id = make_id
        self._started = False
        self._over = False
        self._finished = False
        self._called = False
        self._answered = False  # something but thoughts was said
        self._logprobs: Fields | None = None  # of the text that comes next
        self._beside: Fields = {}  # what is said of the answer, for clients of this API
        self._next = 0
        self._prose: type | None = None  # kind of the open block
        self._at = -1  # its number
        self._cited: set[tuple[str | None, str | None]] = set()  # address and title

    def feed(self, record: Record) -> list[Event]:
        value: Any = record.value
        if self._over:
            return []
        if not isinstance(value, dict):
            return self._odd(record)
        return self.chunk(value)

    def finish(self) -> list[Event]:
        return []

    def chunk(self, value: Fields) -> list[Event]:
        found = read_error(value) if "error" in value else None
        if found is not None:
            return self._fail(error_event(found))
        out: list[Event] = []
        candidate = first_candidate(value)
        if not self._started and (candidate or "responseId" in value):
            self._started = True
            out.append(Start(_text(value.get("responseId")), _text(value.get("modelVersion"))))
        if candidate is not None and not self._finished:
            self._candidate(candidate, out)
        elif not self._finished:
            self._blocked(_fields(value.get("promptFeedback")), out)
        usage = value.get("usageMetadata")
        if usage and isinstance(usage, dict):
            out.append(UsageEvent(read_usage(usage)))
        return out

    def _blocked(self, feedback: Fields, out: list[Event]) -> None:
        """The prompt was refused: there are no candidates."""
        reason = _text(feedback.get("blockReason"))
        if reason:
            if not self._started:
                self._started = True
                out.append(Start())
            if told := _text(feedback.get("blockReasonMessage")):
                self._beside["finishMessage"] = told
            self._end("content_filter", reason, out)

    def _odd(self, record: Record) -> list[Event]:
        """A list of chunks, an empty frame, or what is none of the dialect."""
        if isinstance(record.value, list):
            found = read_error(record.value)
            if found is not None:
                return self._fail(error_event(found))
            return [event for value in record.value if isinstance(value, dict)
                    for event in self.chunk(value)]  # fmt: skip
        if not record.data.strip():
            return []
        return self._fail(ErrorEvent("retryable", "the upstream sent a frame that is not JSON"))

    def _fail(self, error: ErrorEvent) -> list[Event]:
        self._over = True
        return [] if self._finished else [error]

    # ---- a candidate ----

    def _candidate(self, candidate: Fields, out: list[Event]) -> None:
        parts = [part for part in _list(_fields(candidate.get("content")).get("parts"))
                 if isinstance(part, dict)]  # fmt: skip
        if "logprobsResult" in candidate:
            self._logprobs = read_logprobs(candidate["logprobsResult"])
        last = max((at for at, part in enumerate(parts) if _speaks(part)), default=-1)
        if last < 0:  # the sources belong to the text before: nothing of it follows any more
            self._cite(candidate, out)
        for at, part in enumerate(parts):
            self._part(part, out)
            if at == last:
                self._cite(candidate, out)
        self._beside |= {name: candidate[name] for name in BESIDE if candidate.get(name)}
        raw = _text(candidate.get("finishReason"))
        if not raw or raw == "FINISH_REASON_UNSPECIFIED":
            return
        if raw in _BROKEN and not self._answered:
            told = _text(candidate.get("finishMessage")) or "the model's tool call is malformed"
            out += self._fail(ErrorEvent("retryable", told, code=raw))
            return
        self._end(FINISHES.get(raw, "other"), raw, out)

    def _end(self, reason: str, raw: str, out: list[Event]) -> None:
        self._finished = True
        self._close(out)
        if self._called and reason in ("stop", "other"):
            reason = "tool_calls"
        out.append(Finish(reason, raw, details=self._beside or None))

    # ---- parts ----

    def _part(self, part: Fields, out: list[Event]) -> None:
        text = part.get("text")
        signature = _text(part.get("thoughtSignature"))
        if part.get("thought") is True:
            drawn = _fields(part.get("inlineData"))  # a draft; a thought is words everywhere else
            self._think(in_words(_media(drawn)) if drawn else _text(text), signature, out)
            return
        if signature:
            self._sign(signature, text == "", out)
        if isinstance(text, str):
            self._say(text, out)
        elif "functionCall" in part:
            self._call(_fields(part["functionCall"]), out)
        elif "inlineData" in part:
            self._whole(_media(_fields(part["inlineData"])), out)
        elif "fileData" in part and _fields(part["fileData"]).get("fileUri"):
            self._whole(_file(_fields(part["fileData"])), out)
        else:
            kind = next((name for name in part if name != "thoughtSignature"), "")
            if kind:
                raw = {name: value for name, value in part.items() if name != "thoughtSignature"}
                self._whole(Opaque(NAME, kind, raw), out)

    def _say(self, text: str, out: list[Event]) -> None:
        if text:
            self._begin(Text, Text(""), out)
            out.append(TextDelta(self._at, text, self._logprobs))
            self._logprobs = None

    def _think(self, text: str, signature: str, out: list[Event]) -> None:
        if signature:
            self._close(out)
            self._whole(signed(signature, Reasoning(text)), out)
        elif text:
            self._begin(Reasoning, Reasoning(origin=NAME), out)
            out.append(ReasoningDelta(self._at, text))

    def _sign(self, signature: str, alone: bool, out: list[Event]) -> None:
        thought = signed(signature, Reasoning())
        if alone:
            thought.extras["text"] = ""
        self._whole(thought, out)

    def _call(self, call: Fields, out: list[Event]) -> None:
        self._close(out)
        self._called = True
        args = dumps(_fields(call.get("args"))).decode()
        made = ToolCall(_text(call.get("id")) or self._make_id(), _text(call.get("name")), "")
        block = self._take(made)
        out += [Open(block, made), ArgsDelta(block, args), Close(block)]

    def _whole(self, part: Part, out: list[Event]) -> None:
        self._close(out)
        block = self._take(part)
        out += [Open(block, part), Close(block)]

    def _begin(self, kind: type, part: Part, out: list[Event]) -> None:
        if self._prose is not kind:
            self._close(out)
            self._prose, self._at = kind, self._take(part)
            out.append(Open(self._at, part))

    def _close(self, out: list[Event]) -> None:
        if self._prose is not None:
            out.append(Close(self._at))
            self._prose, self._at = None, -1

    def _take(self, part: Part) -> int:
        self._answered = self._answered or not isinstance(part, Reasoning)
        self._next += 1
        return self._next - 1

    def _cite(self, candidate: Fields, out: list[Event]) -> None:
        notes = [*grounding(_fields(candidate.get("groundingMetadata"))),
                 *_sources(_fields(candidate.get("citationMetadata")))]  # fmt: skip
        fresh = [note for note in notes if (note.url, note.title) not in self._cited]
        self._cited |= {(note.url, note.title) for note in fresh}
        out += [CitationDelta(self._at, note) for note in fresh]


def _speaks(part: Fields) -> bool:
    return bool(part.get("text")) and part.get("thought") is not True


def _media(data: Fields) -> Media:
    mime = _text(data.get("mimeType"))
    return Media(kind_of(mime), mime or None, data=standard(_text(data.get("data"))))


def _file(data: Fields) -> Media:
    mime, name = _text(data.get("mimeType")), data.get("displayName")
    title = name if isinstance(name, str) else None
    return Media(kind_of(mime), mime or None, url=_text(data["fileUri"]), name=title)


_SOURCES = ("web", "retrievedContext", "maps", "image")


def _page(chunk: Fields) -> Fields:
    """What an answer rests on: a page, a document of a store, a place, a picture on a page."""
    found = next((_fields(chunk[name]) for name in _SOURCES if name in chunk), {})
    return {**found, "uri": found.get("uri") or found.get("sourceUri")}


def grounding(found: Fields) -> list[Citation]:
    """The pages that the answer rests on, each with the text it supports."""
    chunks = [_fields(chunk) for chunk in _list(found.get("groundingChunks"))]
    pages = [_page(chunk) for chunk in chunks]
    texts: dict[int, str] = {}
    for support in _list(found.get("groundingSupports")):
        said = _text(_fields(_fields(support).get("segment")).get("text"))
        for at in _list(_fields(support).get("groundingChunkIndices")):
            if isinstance(at, int):
                texts.setdefault(at, said)
    return [
        Citation(
            "web",
            _text(page["uri"]) or None,
            _text(page.get("title")) or None,
            texts.get(at) or None,
            raw=None if page["uri"] else chunks[at],
        )
        for at, page in enumerate(pages)
        if page["uri"] or page.get("title")
    ]


def is_grounding(found: Citation) -> bool:
    """Whether this API told it, as a source without an address."""
    return isinstance(found.raw, dict) and not found.raw.keys().isdisjoint(_SOURCES)


def _sources(found: Fields) -> list[Citation]:
    items = _list(found.get("citationSources")) or _list(found.get("citations"))
    sources = [item for item in map(_fields, items) if item.get("uri")]
    return [
        Citation("web", _text(item["uri"]), _text(item.get("title")) or None) for item in sources
    ]


class WholeDecoder:
    """A whole answer, one record, as a Decoder."""

    def __init__(self, make_id: MakeId) -> None:
        self._make_id = make_id

    def feed(self, record: Record) -> list[Event]:
        if record.value is None:
            return [ErrorEvent(*classify_text(record.data))]
        return decode_whole(record.value, self._make_id)

    def finish(self) -> list[Event]:
        return []


def decode_whole(value: object, make_id: MakeId) -> list[Event]:
    """Events of a whole answer, or of a stream's chunks that came as one list.

    Always one Finish or one ErrorEvent at the end. One object is whole in itself, so a missing
    finishReason counts as STOP; a list without one was cut off.
    """
    decoder = StreamDecoder(make_id)
    if isinstance(value, list):
        out = decoder.feed(Record("", b"[]", value))
        ended = any(isinstance(event, Finish | ErrorEvent) for event in out)
        cut = ErrorEvent("truncated", "the upstream's answer ended before it was whole")
        return _finish_last(out if ended else [*out, cut])
    if not isinstance(value, dict):
        return [ErrorEvent("retryable", "the upstream's answer is not an object")]
    found = read_error(value)
    if found is not None:
        return [error_event(found)]
    candidate = first_candidate(value)
    if candidate is None:
        out = decoder.chunk(value)
        blocked = any(isinstance(event, Finish) for event in out)
        nothing = ErrorEvent("empty_response", "the upstream's answer has no candidates")
        return _finish_last(out) if blocked else [nothing]
    reason = candidate.get("finishReason")
    if not reason:
        value = {**value, "candidates": [{**candidate, "finishReason": "STOP"}]}
    return unless_empty(_finish_last(decoder.chunk(value)), reason)


def _finish_last(events: list[Event]) -> list[Event]:
    return sorted(events, key=lambda event: isinstance(event, Finish | ErrorEvent))
