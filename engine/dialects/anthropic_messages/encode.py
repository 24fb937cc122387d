"""Events -> Messages answers: the events of a stream, a whole answer, failures.

    message_start → blocks → message_delta (once, with usage) → message_stop

Each block is `content_block_start`, its deltas, `content_block_stop`; blocks are numbered without
gaps and never interleave: what belongs to a second open block waits until the first is closed. The
signature of thinking comes just before its stop, "" where there is none. message_start counts the
input by an estimate, message_delta by what the upstream told. An error after the first byte is an
`event: error` and nothing after it. The API has no place for annotations of the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
from engine.dialects.arguments import object_of, unsaid
from engine.dialects.hosted import instead, wants_json
from engine.dialects.outcomes import answer_for, message_for
from engine.dialects.provenance import seal
from engine.dialects.refused import EXPLANATION, why
from engine.dialects.tokens import FACTOR, estimate
from engine.errors import ExchangeError, RequestError
from engine.events import (
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
    Reply,
    SignatureDelta,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
    merge_usage,
)
from engine.wire import dumps, dumps_text

from .decode import FINISHES
from .parse import NAME

Fields = dict[str, object]

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
# What stands around a piece of text.
_BEFORE = (
    b"event: content_block_delta\ndata: "
    b'{"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":'
)
_AFTER = b"}}\n\n"


class Encoder:
    """Events of one answer; the id and the model are those the client shall see.

    request gives the estimate of the input; without it (bytes that pass through) it is 0.
    """

    def __init__(self, request_id: str, model: str, request: ChatRequest | None = None) -> None:
        self._id = request_id
        self._model = model
        self._request = request
        self._quiet = wants_json(request)
        self._usage: Usage | None = None
        self._refused = False
        self._over = False
        self._blocks = 0  # how many have begun
        self._at = -1  # the engine's number of the block that goes out now, -1 for none
        self._part: Part = _NOTHING  # what it is
        self._begun = False  # its start went out
        self._before = b""  # what stands before a piece of its text
        self._signature = ""
        self._lead: str | None = None  # how the arguments begin, until they say something
        self._waiting: dict[int, list[Event]] = {}

    def feed(self, events: list[Event]) -> bytes:
        """One byte string for all events. After Finish or ErrorEvent nothing comes any more."""
        if self._over:
            return b""
        out: list[bytes] = []
        for event in events:
            if type(event) is TextDelta and event.block == self._at and self._before:
                out += (self._before, dumps(event.text), _AFTER)
                continue
            write = _WRITERS.get(type(event))
            if write is not None:
                write(self, event, out)
                if self._over:
                    break
        return b"".join(out)

    def say(self, block: int, text: str) -> bytes:
        if block != self._at or not self._before:
            return self.feed([TextDelta(block, text)])
        return b"".join((self._before, dumps_text(text), _AFTER))

    def finish(self) -> bytes:
        return b""

    def ping(self) -> bytes | None:
        return None if self._over else PING

    # ---- blocks ----

    def _of_block(self, event: Any, out: list[bytes]) -> None:
        """An event of the block that goes out now; of any other one it has to wait."""
        if self._at < 0 and type(event) is Open:
            self._at = event.block
        if event.block != self._at:
            if type(event) is not CitationDelta or event.block in self._waiting:
                self._waiting.setdefault(event.block, []).append(event)
            return  # a block that is over cites no more
        _BLOCK_WRITERS[type(event)](self, event, out)
        while self._at < 0 and self._waiting:
            self._at = next(iter(self._waiting))
            for late in self._waiting.pop(self._at):
                _BLOCK_WRITERS[type(late)](self, late, out)

    def _open(self, event: Open, out: list[bytes]) -> None:
        self._part, self._begun, self._before = event.part, False, b""
        _OPENERS[type(event.part)](self, event.part, out)

    def _begin(self, block: Fields, out: list[bytes]) -> None:
        self._begun = True
        out.append(_event("content_block_start", {"index": self._blocks, "content_block": block}))
        self._blocks += 1

    def _delta(self, delta: Fields, out: list[bytes]) -> None:
        if self._begun:
            value = {"index": self._blocks - 1, "delta": delta}
            out.append(_event("content_block_delta", value))

    def _open_text(self, part: Text | Refusal, out: list[bytes]) -> None:
        """A text begins with its first piece: clients must not be given empty ones."""
        if part.text:
            self._say(part.text, out)

    def _open_reasoning(self, part: Reasoning, out: list[bytes]) -> None:
        self._signature = _opaque(part, part.signature)
        if _is_redacted(part):
            self._begin({"type": "redacted_thinking", "data": _opaque(part, part.encrypted)}, out)
            return
        self._begin({"type": "thinking", "thinking": "", "signature": ""}, out)
        if part.text:
            self._delta({"type": "thinking_delta", "thinking": part.text}, out)

    def _open_call(self, part: ToolCall, out: list[bytes]) -> None:
        self._begin({"type": "tool_use", "id": part.id, "name": part.name, "input": {}}, out)
        self._lead = ""
        self._args(ArgsDelta(self._at, part.args), out)

    def _open_opaque(self, part: Opaque, out: list[bytes]) -> None:
        """A block of the provider's own tools; its input comes as it does for other tools."""
        raw = part.raw
        if part.dialect != NAME or not isinstance(raw, dict):
            self._open_media(part, out)
            return
        if part.kind.endswith("tool_use") and "input" in raw:
            self._begin({**raw, "input": {}}, out)
            self._lead = ""
            self._args(ArgsDelta(self._at, dumps(raw["input"]).decode()), out)
        else:
            self._begin(raw, out)

    def _open_media(self, part: Media | Opaque, out: list[bytes]) -> None:
        words = instead(part, quiet=self._quiet)
        if words:
            self._say(words, out)

    def _open_nothing(self, part: Part, out: list[bytes]) -> None:
        """What an answer of this API cannot hold has no block."""

    def _say(self, text: str, out: list[bytes]) -> None:
        if not self._begun:
            self._begin({"type": "text", "text": ""}, out)
            self._before = _BEFORE % (self._blocks - 1)
        out += (self._before, dumps(text), _AFTER)

    def _text(self, event: TextDelta, out: list[bytes]) -> None:
        self._say(event.text, out)

    def _refuse(self, event: RefusalDelta, out: list[bytes]) -> None:
        self._refused = True
        self._say(event.text, out)

    def _think(self, event: ReasoningDelta, out: list[bytes]) -> None:
        self._delta({"type": "thinking_delta", "thinking": event.text}, out)

    def _sign(self, event: SignatureDelta, out: list[bytes]) -> None:
        part = self._part
        if isinstance(part, Reasoning) and part.origin not in ("", NAME):
            sealed = replace(part, signature=event.signature, encrypted=event.encrypted)
            self._signature = _opaque(sealed, None)
        else:
            self._signature += event.signature

    def _args(self, event: ArgsDelta, out: list[bytes]) -> None:
        """Clients parse what there is with every piece: what is no beginning of an object waits."""
        said = self._lead + event.json if self._lead is not None else event.json
        self._lead = said if self._lead is not None and unsaid(said) else None
        if said and self._lead is None:
            self._delta({"type": "input_json_delta", "partial_json": said}, out)

    def _cite(self, event: CitationDelta, out: list[bytes]) -> None:
        found = citation(event.citation)
        if found is not None:
            self._delta({"type": "citations_delta", "citation": found}, out)

    def _close(self, event: Close, out: list[bytes]) -> None:
        if self._begun:
            if isinstance(self._part, Reasoning) and not _is_redacted(self._part):
                self._delta({"type": "signature_delta", "signature": self._signature}, out)
            out.append(_event("content_block_stop", {"index": self._blocks - 1}))
        self._at, self._begun, self._before = -1, False, b""

    # ---- the message ----

    def _start(self, event: Start, out: list[bytes]) -> None:
        asked, factor = self._request, event.factor or FACTOR
        read = estimate(asked, factor) if asked is not None else 0
        message = _message(self._id, self._model)
        message["usage"] = {**usage(Usage(input=read)), "output_tokens": 1}
        out.append(_event("message_start", {"message": message}))

    def _count(self, event: UsageEvent, out: list[bytes]) -> None:
        self._usage = merge_usage(self._usage, event.usage)

    def _finish(self, event: Finish, out: list[bytes]) -> None:
        self._over = True
        delta = _ending(event, self._refused)
        counts = usage(self._usage) | _told(self._usage, _STREAMED)
        out += (_event("message_delta", {"delta": delta, "usage": counts}), STOP)

    def _fail(self, event: ErrorEvent, out: list[bytes]) -> None:
        self._over = True
        out.append(stream_failure(event))

    def _ping(self, event: Ping, out: list[bytes]) -> None:
        out.append(PING)


_NOTHING = Text("")

_Write = Callable[[Encoder, Any, list[bytes]], None]
_BLOCK_WRITERS: dict[type, _Write] = {
    Open: Encoder._open,
    TextDelta: Encoder._text,
    RefusalDelta: Encoder._refuse,
    ReasoningDelta: Encoder._think,
    SignatureDelta: Encoder._sign,
    ArgsDelta: Encoder._args,
    CitationDelta: Encoder._cite,
    Close: Encoder._close,
}
_WRITERS: dict[type, _Write] = {
    **dict.fromkeys(_BLOCK_WRITERS, Encoder._of_block),
    Start: Encoder._start,
    UsageEvent: Encoder._count,
    Finish: Encoder._finish,
    ErrorEvent: Encoder._fail,
    Ping: Encoder._ping,
}
_OPENERS: dict[type, _Write] = {
    Text: Encoder._open_text,
    Refusal: Encoder._open_text,
    Reasoning: Encoder._open_reasoning,
    ToolCall: Encoder._open_call,
    Opaque: Encoder._open_opaque,
    Media: Encoder._open_media,
    ToolResult: Encoder._open_nothing,
}


def _event(name: str, value: Fields) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), dumps({"type": name, **value}))


def _message(request_id: str, model: str) -> Fields:
    """A message without content: what message_start holds."""
    return {
        "id": "msg_" + request_id.removeprefix("req_"),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _opaque(part: Reasoning, own: str | None) -> str:
    """What goes where this API has a signature or a secret: its own, or another's, sealed."""
    return own or "" if part.origin in ("", NAME) else seal(part)


def _is_redacted(part: Reasoning) -> bool:
    return part.encrypted is not None and not part.text


_REASONS = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def _ending(finish: Finish, refused: bool) -> Fields:
    """stop_reason and what belongs to it; the upstream's own word where it is one of this API."""
    reason, stop = _REASONS.get(finish.reason, "end_turn"), None
    if finish.reason == "stop" and finish.stop is not None:
        reason, stop = "stop_sequence", finish.stop
    elif finish.raw != "stop_sequence" and FINISHES.get(finish.raw) == finish.reason:
        reason = finish.raw
    elif refused and reason == "end_turn":
        reason = "refusal"
    ending: Fields = {"stop_reason": reason, "stop_sequence": stop}
    if reason == "refusal" and isinstance(finish.details, dict) and EXPLANATION in finish.details:
        ending["stop_details"] = finish.details
    elif reason == "refusal" and (words := why(finish)):
        ending["stop_details"] = {"type": "refusal", "category": None, EXPLANATION: words}
    return ending


# ---- whole answers ----


def reply(answer: Reply, request_id: str, model: str, request: ChatRequest | None = None) -> bytes:
    """The body of a whole answer, with every key that the API requires.

    Raises ExchangeError(retryable) for a call whose arguments are no JSON object, which this API
    cannot say; if the answer was cut off by its length, such a call is left out.
    """
    body = _message(request_id, model)
    quiet = wants_json(request)
    made = [_block(part, answer.finish, quiet) for part in answer.parts]
    body["content"] = [block for block in made if block is not None]
    refused = any(isinstance(part, Refusal) for part in answer.parts)
    finish = Finish(answer.finish, answer.raw_finish, answer.stop, answer.details)
    body |= _ending(finish, refused)
    body["usage"] = usage(answer.usage) | _told(answer.usage, _WHOLE)
    return dumps(body)


def _block(part: Part, finish: str, quiet: bool) -> Fields | None:
    if isinstance(part, Text | Refusal):
        return _text_block(part) if part.text else None
    if isinstance(part, Media | Opaque):
        return _beside(part, quiet)
    if isinstance(part, Reasoning):
        if _is_redacted(part):
            return {"type": "redacted_thinking", "data": _opaque(part, part.encrypted)}
        signature = _opaque(part, part.signature)
        return {"type": "thinking", "thinking": part.text, "signature": signature}
    if isinstance(part, ToolCall):
        found = object_of(part)
        if found is None and finish != "length":
            message = f"the arguments of a call of `{part.name}` are no JSON object"
            raise ExchangeError("retryable", message)
        call: Fields = {"type": "tool_use", "id": part.id, "name": part.name, "input": found}
        return None if found is None else call
    return None


def _beside(part: Media | Opaque, quiet: bool) -> Fields | None:
    """A block of this API's own tools; of what has none, words."""
    if isinstance(part, Opaque) and part.dialect == NAME and isinstance(part.raw, dict):
        return part.raw
    words = instead(part, quiet=quiet)
    return _text_block(Text(words)) if words else None


def _text_block(part: Text | Refusal) -> Fields:
    block: Fields = {"type": "text", "text": part.text}
    notes = [citation(note) for note in part.citations] if isinstance(part, Text) else []
    known = [note for note in notes if note is not None]
    return {**block, "citations": known} if known else block


_LOCATIONS = frozenset(
    {"char_location", "page_location", "content_block_location", "search_result_location",
     "web_search_result_location"}
)  # fmt: skip


def citation(found: Citation) -> object:
    """A citation as this API says it, None for what it has no form for."""
    if found.kind in _LOCATIONS and found.raw is not None:
        return found.raw
    if not found.url:
        return None
    return {
        "type": "web_search_result_location",
        "url": found.url,
        "title": found.title,
        "cited_text": found.text or "",
        "encrypted_index": "",
    }


def usage(counts: Usage | None) -> Fields:
    """`usage`. Without any counts it is zero and marked as estimated."""
    counts = counts or Usage(estimated=True)
    read, written = counts.cache_read or 0, counts.cache_write or 0
    out: Fields = {
        "input_tokens": max(0, (counts.input or 0) - read - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": counts.output or 0,
    }
    long = counts.cache_write_1h
    if long is not None:
        short = max(0, written - long)
        out["cache_creation"] = {
            "ephemeral_5m_input_tokens": short,
            "ephemeral_1h_input_tokens": long,
        }
    if counts.reasoning is not None:
        out["output_tokens_details"] = {"thinking_tokens": counts.reasoning}
    if counts.estimated:
        out["penstock_estimated"] = True
    return out


# What this API alone counts, and what served: a stream has said the latter before it was known.
_STREAMED = ("server_tool_use",)
_WHOLE = (*_STREAMED, "service_tier", "inference_geo", "speed")


def _told(counts: Usage | None, names: tuple[str, ...]) -> Fields:
    raw = counts.raw if counts is not None and isinstance(counts.raw, dict) else {}
    return {name: raw[name] for name in names if raw.get(name) is not None}


# ---- failures ----


def failure(
    kind: str, message: str, request_id: str = "", error: ExchangeError | RequestError | None = None
) -> tuple[int, bytes]:
    """Status and body for an outcome class or a client kind."""
    status = error.status if isinstance(error, ExchangeError) else 0
    shown = answer_for(kind, "anthropic", status=status)
    body = _error(shown.type, _words(kind, message, status))
    return shown.status, dumps({**body, "request_id": request_id or None})


def stream_failure(event: ErrorEvent, *, type: str = "") -> bytes:
    """The event that ends a stream which has begun; no message_stop follows it.

    type: the upstream's own word, kept on pass-through unless it is about its credential.
    """
    shown = answer_for(event.cls, "anthropic", status=event.status)
    words = _words(event.cls, event.message, event.status)
    kept = type if type and words == event.message else shown.type
    return b"event: error\ndata: %b\n\n" % dumps(_error(kept, words))


def _error(type: str, message: str) -> Fields:
    return {"type": "error", "error": {"type": type, "message": message}}


_TOO_LONG = "prompt is too long"


def _words(kind: str, message: str, status: int) -> str:
    """What the client reads. Claude Code compacts a conversation that is too long by this text."""
    words = message_for(kind, message, status=status)
    if kind == "context_length" and not words.startswith(_TOO_LONG):
        return f"{_TOO_LONG}: {words}"
    return words
