"""Events -> generateContent answers: the chunks of a stream, a whole answer, failures.

    data: {"candidates": [{"content": {"parts": […], "role": "model"}, "index": 0}], …}

Every chunk is one `data: ` line; there is no terminator, no comment and no sign of life: clients
stumble over each of them. Blocks never interleave: what belongs to a second open block waits until
the first is closed. A call goes out whole, in one part, when it closes. Thoughts are parts with
`thought: true`, sent to clients that asked to see them. A signature stands on the part that follows
it. The last chunk has the finishReason and the usage. An error after the first byte is a chunk with
an `error` and nothing after it. The API has no place for annotations of the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Any

from engine.chat import (
    ChatRequest,
    Citation,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from engine.dialects.arguments import object_of
from engine.dialects.filetypes import right_type
from engine.dialects.hosted import told, wants_json
from engine.dialects.outcomes import answer_for, message_for
from engine.dialects.pictures import SPOKEN
from engine.dialects.refused import why
from engine.errors import ExchangeError, RequestError
from engine.events import (
    ArgsDelta,
    CitationDelta,
    Close,
    ErrorEvent,
    Event,
    Finish,
    Open,
    ReasoningDelta,
    RefusalDelta,
    Reply,
    SignatureDelta,
    TextDelta,
    Usage,
    UsageEvent,
    merge_usage,
)
from engine.wire import dumps

from .decode import BESIDE, FINISHES, grounding
from .logprobs import logprobs_result
from .names import NAME
from .parse import wants_thoughts
from .signatures import carried

Fields = dict[str, object]

# A part nobody gives, cut out of an encoded chunk to get the bytes around its text.
_HOLE: Fields = {"text": {"": 0}}
_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"


class Encoder:
    """Chunks of one answer; the id and the model are those the client shall see.

    request tells whether its client asked to see thoughts; without it they are shown
    hides: they are not
    """

    def __init__(self, request_id: str, model: str, request: ChatRequest | None = None) -> None:
        self._head = {"modelVersion": model, "responseId": _ident(request_id)}
        self._shows = request is None or wants_thoughts(request)
        self.hides = not self._shows
        self._quiet = wants_json(request)
        self._usage: Usage | None = None
        self._citations: list[Citation] = []
        self._signature: str | None = None  # of the part that comes next
        self._refused = False
        self._broken = ""  # a call whose arguments are no object
        self._over = False
        self._at = -1  # the engine's number of the block that goes out now, -1 for none
        self._part: Part = _NOTHING
        self._pieces: list[str] = []  # of its arguments
        self._waiting: dict[int, list[Event]] = {}
        self._around = self._chunk([_HOLE]).split(dumps(_HOLE["text"]))

    def feed(self, events: list[Event]) -> bytes:
        """One byte string for all events. After Finish or ErrorEvent nothing comes any more."""
        if self._over:
            return b""
        out: list[bytes] = []
        before, after = self._around
        for event in events:
            if (
                type(event) is TextDelta
                and event.block == self._at
                and self._signature is None
                and event.logprobs is None
            ):
                out += (before, dumps(event.text), after)
                continue
            write = _WRITERS.get(type(event))
            if write is not None:
                write(self, event, out)
                if self._over:
                    break
        return b"".join(out)

    def finish(self) -> bytes:
        return b""

    def ping(self) -> bytes | None:
        return None

    # ---- chunks ----

    def _chunk(self, parts: list[Fields], **ending: object) -> bytes:
        content = {"parts": parts, "role": "model"}
        candidate: Fields = {"content": content, "index": 0, **ending}
        return _frame({"candidates": [candidate], **self._head})

    def _give(self, part: Fields, out: list[bytes], **beside: object) -> None:
        """A part, with the signature that waits for it."""
        if self._signature is not None:
            part = {**part, "thoughtSignature": self._signature}
            self._signature = None
        out.append(self._chunk([part], **beside))

    # ---- blocks ----

    def _of_block(self, event: Any, out: list[bytes]) -> None:
        """An event of the block that goes out now; of any other one it has to wait."""
        if self._at < 0 and type(event) is Open:
            self._at = event.block
        if event.block != self._at:
            self._waiting.setdefault(event.block, []).append(event)
            return
        _BLOCK_WRITERS[type(event)](self, event, out)
        while self._at < 0 and self._waiting:
            self._at = next(iter(self._waiting))
            for late in self._waiting.pop(self._at):
                _BLOCK_WRITERS[type(late)](self, late, out)

    def _open(self, event: Open, out: list[bytes]) -> None:
        part = self._part = event.part
        self._pieces = []
        if isinstance(part, ToolCall):
            self._pieces.append(part.args)
        elif isinstance(part, Reasoning):
            self._think(ReasoningDelta(event.block, part.text), out)
            sealed = SignatureDelta(event.block, part.signature or "", part.encrypted or "")
            self._sign(sealed, out)
        elif isinstance(part, Text | Refusal):
            self._refused = self._refused or isinstance(part, Refusal)
            if part.text:
                self._give({"text": part.text}, out)
        else:
            for found in _parts_of(part, self._quiet):
                self._give(found, out)

    def _say(self, event: TextDelta | RefusalDelta, out: list[bytes]) -> None:
        self._refused = self._refused or isinstance(event, RefusalDelta)
        told = event.logprobs if isinstance(event, TextDelta) else None
        self._give({"text": event.text}, out, **logprobs_result([told]))

    def _think(self, event: ReasoningDelta, out: list[bytes]) -> None:
        if event.text and self._shows:
            out.append(self._chunk([{"text": event.text, "thought": True}]))

    def _sign(self, event: SignatureDelta, out: list[bytes]) -> None:
        part = self._part
        if not isinstance(part, Reasoning):
            return
        bound = replace(part, signature=event.signature, encrypted=event.encrypted)
        sealed = carried(bound)
        if sealed is None:
            return
        if self._signature is not None:  # nothing came between two of them
            self._give({"text": ""}, out)
        self._signature = sealed

    def _args(self, event: ArgsDelta, out: list[bytes]) -> None:
        self._pieces.append(event.json)

    def _cite(self, event: CitationDelta, out: list[bytes]) -> None:
        self._citations.append(event.citation)

    def _close(self, event: Close, out: list[bytes]) -> None:
        part = self._part
        if isinstance(part, ToolCall):
            made = ToolCall(part.id, part.name, "".join(self._pieces), part.kind)
            found = part_of(made)
            if found is None:
                self._broken = self._broken or part.name
            else:
                self._give(found, out)
        self._at, self._part = -1, _NOTHING

    # ---- endings ----

    def _count(self, event: UsageEvent, out: list[bytes]) -> None:
        self._usage = merge_usage(self._usage, event.usage)

    def _finish(self, event: Finish, out: list[bytes]) -> None:
        self._over = True
        if self._broken and event.reason != "length":
            out.append(stream_failure(ErrorEvent("retryable", _no_object(self._broken))))
            return
        last: Fields = {"text": ""}
        if self._signature is not None:
            last["thoughtSignature"] = self._signature
        content = {"parts": [last], "role": "model"}
        candidate: Fields = {"content": content, **_ending(event, self._refused), "index": 0}
        candidate |= _beside(event, self._citations)
        told: Fields = {
            "candidates": [candidate],
            "usageMetadata": usage(self._usage),
            **self._head,
        }
        out.append(_frame(told))

    def _fail(self, event: ErrorEvent, out: list[bytes]) -> None:
        self._over = True
        out.append(stream_failure(event))


_NOTHING = Text("")

_Write = Callable[[Encoder, Any, list[bytes]], None]
_BLOCK_WRITERS: dict[type, _Write] = {
    Open: Encoder._open,
    TextDelta: Encoder._say,
    RefusalDelta: Encoder._say,
    ReasoningDelta: Encoder._think,
    SignatureDelta: Encoder._sign,
    ArgsDelta: Encoder._args,
    Close: Encoder._close,
}
_WRITERS: dict[type, _Write] = {
    **dict.fromkeys(_BLOCK_WRITERS, Encoder._of_block),
    CitationDelta: Encoder._cite,
    UsageEvent: Encoder._count,
    Finish: Encoder._finish,
    ErrorEvent: Encoder._fail,
}


def _frame(value: Fields) -> bytes:
    return b"data: %b\n\n" % dumps(value)


def _ident(request_id: str) -> str:
    return request_id.removeprefix("req_")


# ---- parts ----


def part_of(part: Part, quiet: bool = False) -> Fields | None:
    """A part that is whole; None for what has no form here, as arguments that are no object.

    quiet: nothing may be said in the place of what another provider's tools left
    """
    if isinstance(part, ToolCall):
        args = object_of(part)
        return None if args is None else {
            "functionCall": {"id": part.id, "name": part.name, "args": args}
        }  # fmt: skip
    if isinstance(part, Media):
        return _media(part)
    if isinstance(part, Opaque):
        if part.dialect == NAME and isinstance(part.raw, dict):
            return part.raw
        words = told(part, quiet=quiet)
        return {"text": words} if words else None
    if isinstance(part, ToolResult):
        return None
    return {"text": part.text} if part.text else None


def _parts_of(part: Part, quiet: bool) -> list[Fields]:
    """The parts for one of the answer: speech has its words before it."""
    found = part_of(part, quiet)
    spoken = part.extras.get(SPOKEN) if isinstance(part, Media) else None
    words: list[Fields] = [{"text": spoken}] if spoken else []
    return words if found is None else [*words, found]


def _media(part: Media) -> Fields | None:
    if part.data is not None:
        mime = right_type(part.data, part.mime) or "image/png"
        return {"inlineData": {"mimeType": mime, "data": part.data}}
    uri = part.file_id or part.url
    told = {"mimeType": part.mime} if part.mime else {}
    told |= {"displayName": part.name} if part.name else {}
    return {"fileData": {**told, "fileUri": uri}} if uri else None


def _no_object(name: str) -> str:
    return f"the arguments of a call of `{name}` are no JSON object"


# A turn that its provider paused, in the words of the APIs that have it.
_PAUSES = ("pause_turn", "CONTINUATION")
_REASONS = {"length": "MAX_TOKENS", "content_filter": "SAFETY", "other": "OTHER"}


def _ending(finish: Finish, refused: bool) -> Fields:
    """finishReason: the upstream's own word where it is one of this API."""
    raw, reason = finish.raw, finish.reason
    if FINISHES.get(raw) == reason or (reason == "other" and raw.isupper()):
        return {"finishReason": raw}
    if reason == "other" and raw in _PAUSES:
        return {"finishReason": "CONTINUATION"}
    if refused and reason == "stop":
        return {"finishReason": "SAFETY"}
    return {"finishReason": _REASONS.get(reason, "STOP")}


def _beside(finish: Finish, cited: list[Citation]) -> Fields:
    """What stands beside the parts: as the upstream told it, if it speaks this API.

    Its pages only where all of its citations are still there: a transform may have taken some.
    """
    details = finish.details if isinstance(finish.details, dict) else {}
    out: Fields = {name: details[name] for name in BESIDE if name in details}
    words, pages = why(finish), out.get("groundingMetadata")
    if words:
        out["finishMessage"] = words
    known = grounding(pages) if isinstance(pages, dict) else []
    if pages is None or cited != known:
        out.pop("groundingMetadata", None)
        built = _grounding(cited)
        out |= {} if built is None else {"groundingMetadata": built}
    return out


def _grounding(found: list[Citation]) -> Fields | None:
    """The pages an answer rests on, None if there are none."""
    pages = [note for note in found if note.url]
    if not pages:
        return None
    chunks = [{"web": {"uri": note.url, "title": note.title or ""}} for note in pages]
    supports = [
        {"segment": {"text": note.text}, "groundingChunkIndices": [at]}
        for at, note in enumerate(pages)
        if note.text
    ]
    return {"groundingChunks": chunks, "groundingSupports": supports}


# ---- whole answers ----


def reply(answer: Reply, request_id: str, model: str, request: ChatRequest | None = None) -> bytes:
    """The body of a whole answer.

    Raises ExchangeError(retryable) for a call whose arguments are no JSON object, which this API
    cannot say; if the answer was cut off by its length, such a call is left out.
    """
    shows = request is None or wants_thoughts(request)
    refused = any(isinstance(part, Refusal) for part in answer.parts)
    finish = Finish(answer.finish, answer.raw_finish, details=answer.details)
    notes = [note for part in answer.parts if isinstance(part, Text) for note in part.citations]
    candidate: Fields = {
        "content": {"parts": _parts(answer, shows, wants_json(request)), "role": "model"},
        **_ending(finish, refused),
        "index": 0,
    }
    candidate |= _beside(finish, notes) | logprobs_result(answer.logprobs)
    return dumps(
        {
            "candidates": [candidate],
            "usageMetadata": usage(answer.usage),
            "modelVersion": model,
            "responseId": _ident(request_id),
        }
    )


def _parts(answer: Reply, shows: bool, quiet: bool) -> list[Fields]:
    out: list[Fields] = []
    signature: str | None = None
    for part in answer.parts:
        if isinstance(part, Reasoning):
            if part.text and shows:
                out.append({"text": part.text, "thought": True})
            sealed = carried(part)
            if sealed:
                out += [{"text": "", "thoughtSignature": signature}] if signature else []
                signature = sealed
            continue
        for found in _parts_of(part, quiet):
            out.append({**found, "thoughtSignature": signature} if signature else found)
            signature = None
        if isinstance(part, ToolCall) and object_of(part) is None and answer.finish != "length":
            raise ExchangeError("retryable", _no_object(part.name))
    if signature:
        out.append({"text": "", "thoughtSignature": signature})
    return out


def usage(counts: Usage | None) -> Fields:
    """`usageMetadata`. Without any counts it is zero and marked as estimated."""
    counts = counts or Usage(estimated=True)
    read, said, thought = counts.input or 0, counts.output or 0, counts.reasoning
    raw = counts.raw
    ours = isinstance(raw, dict) and "promptTokenCount" in raw
    tools = raw.get("toolUsePromptTokenCount") if ours else None  # type: ignore[attr-defined]
    out: Fields = dict(raw) if ours else {}  # type: ignore[call-overload]
    out["promptTokenCount"] = max(0, read - (tools if isinstance(tools, int) else 0))
    out["candidatesTokenCount"] = max(0, said - (thought or 0))
    out["totalTokenCount"] = read + said
    if thought is not None:
        out["thoughtsTokenCount"] = thought
    if counts.cache_read is not None:
        out["cachedContentTokenCount"] = counts.cache_read
    if counts.estimated:
        out["penstockEstimated"] = True
    return out


# ---- failures ----


def failure(
    kind: str, message: str, request_id: str = "", error: ExchangeError | RequestError | None = None
) -> tuple[int, bytes]:
    """Status and body for an outcome class or a client kind. The request id has no place in it."""
    upstream = error if isinstance(error, ExchangeError) else None
    status = upstream.status if upstream else 0
    after = upstream.retry_after if upstream else None
    shown = answer_for(kind, "gemini", status=status)
    words = message_for(kind, message, status=status)
    return shown.status, dumps(_error(shown.status, words, shown.type, after))


def stream_failure(event: ErrorEvent, *, type: str = "") -> bytes:
    """The chunk that ends a stream which has begun.

    type: the upstream's own status, kept on pass-through unless it is about its credential.
    """
    shown = answer_for(event.cls, "gemini", status=event.status)
    words = message_for(event.cls, event.message, status=event.status)
    word = type if type and words == event.message else shown.type
    return _frame(_error(shown.status, words, word, event.retry_after))


def _error(code: int, message: str, status: str, after: float | None) -> Fields:
    details: list[Fields] = []
    if after is not None:
        details.append({"@type": _RETRY_INFO, "retryDelay": f"{max(1, ceil(after))}s"})
    error: Fields = {"code": code, "message": message, "status": status}
    return {"error": {**error, "details": details}}
