"""Events -> Chat Completions answers: chunks of a stream, a whole answer, failures.

    role chunk → content, reasoning, refusal and tool call chunks → finish chunk
    → usage chunk (choices: []), if the client asked → [DONE]

An error after the first byte is a `data: {"error": …}` frame and [DONE], never a finish_reason.
Annotations of the engine, which the API has no place for, go out under an extra top-level key
`annotations`, in a chunk whose delta is empty (in a whole answer beside `choices`); citations of
the text go where the API puts them, into the delta's or message's `annotations`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from engine.chat import Citation, Media, Opaque, Part, Reasoning, Refusal, Text, ToolCall
from engine.dialects.cited import placed
from engine.dialects.hosted import instead
from engine.dialects.outcomes import Answer, answer_for, message_for
from engine.dialects.refused import parts_of, why
from engine.errors import ExchangeError, RequestError
from engine.events import (
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
    Reply,
    SignatureDelta,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
    merge_usage,
)
from engine.wire import dumps, dumps_text

from .images import IMAGES, holds, image_items
from .sealed import DETAILS, GOOGLE, NAME, details, told
from .sounds import AUDIO, audio, said

Fields = dict[str, object]

DONE = b"data: [DONE]\n\n"
PING = b": keepalive\n\n"

_FINISHES = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}
# A dict nobody gives, cut out of an encoded chunk to get the bytes around it.
_HOLE: Fields = {"": 0}


class Encoder:
    """Chunks of one answer; ids and the model are those the client shall see.

    legacy: the client speaks `functions`: its one call goes out as `function_call`
    quiet: the text is JSON, and nothing may be said in it
    """

    def __init__(
        self,
        request_id: str,
        model: str,
        created: int,
        include_usage: bool,
        *,
        legacy: bool = False,
        quiet: bool = False,
    ) -> None:
        self._head: Fields = {
            "id": request_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
        }
        self._include_usage = include_usage
        self._legacy = legacy
        self._quiet = quiet
        self._usage: Usage | None = None
        self._calls: dict[int, _Outgoing] = {}
        self._sealed: Fields = {}  # what carries the signature of the call that comes next
        self._shown = 0  # pictures
        self._bound: set[int] = set()  # thoughts of this API's own
        self._over = False
        self._text = self._around({"content": _HOLE})
        self._reasoning = self._around({"reasoning_content": _HOLE})

    def feed(self, events: list[Event]) -> bytes:
        """One byte string for all events. After Finish or ErrorEvent nothing comes any more."""
        if self._over:
            return b""
        out: list[bytes] = []
        before, after = self._text
        for event in events:
            if type(event) is TextDelta and event.logprobs is None:
                out += (before, dumps(event.text), after)
                continue
            write = _WRITERS.get(type(event))
            if write is not None:
                out.append(write(self, event))
                if self._over:
                    break
        return b"".join(out)

    def say(self, block: int, text: str) -> bytes:
        before, after = self._text
        return b"".join((before, dumps_text(text), after))

    def finish(self) -> bytes:
        return b""

    def ping(self) -> bytes | None:
        return None if self._over else PING

    # ---- chunks ----

    def _chunk(
        self, delta: Fields, *, finish: str | None = None, logprobs: object = None, **top: object
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        chunk: Fields = {**self._head, "choices": [choice], **top}
        if self._include_usage:
            chunk["usage"] = None
        return b"data: %b\n\n" % dumps(chunk)

    def _around(self, delta: Fields) -> tuple[bytes, bytes]:
        """The constant bytes before and after the one value of a delta."""
        before, _, after = self._chunk(delta).partition(dumps(_HOLE))
        return before, after

    def _start(self, event: Start) -> bytes:
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def _say(self, event: TextDelta) -> bytes:
        told = event.logprobs  # with all that the API requires
        whole = {"content": None, "refusal": None, **told} if isinstance(told, dict) else told
        return self._chunk({"content": event.text}, logprobs=whole)

    def _reason(self, event: ReasoningDelta) -> bytes:
        before, after = self._reasoning
        return b"".join((before, dumps(event.text), after))

    def _refuse(self, event: RefusalDelta) -> bytes:
        return self._chunk({"refusal": event.text})

    def _cite(self, event: CitationDelta) -> bytes:
        if not is_link(event.citation):
            return b""
        return self._chunk({"annotations": [citation(event.citation)]})

    def _annotate(self, event: Annotation) -> bytes:
        return self._chunk({}, annotations=[event.value])

    def _open(self, event: Open) -> bytes:
        part = event.part
        if isinstance(part, ToolCall):
            return self._begin(event.block, part)
        if isinstance(part, Reasoning):
            return self._think(event.block, part)
        if isinstance(part, Text) and part.text:
            return self._chunk({"content": part.text})
        if isinstance(part, Refusal) and part.text:
            return self._refuse(RefusalDelta(event.block, part.text))
        return self._show(part) if isinstance(part, Media | Opaque) else b""

    def _show(self, part: Media | Opaque) -> bytes:
        if isinstance(part, Media) and said(part):
            return self._chunk({AUDIO: audio(part)})
        if isinstance(part, Opaque) and part.dialect == NAME:
            return self._chunk({part.kind: [part.raw]})
        if isinstance(part, Opaque) or not holds(part):
            words = instead(part, quiet=self._quiet)
            return self._chunk({"content": words}) if words else b""
        self._shown += 1
        return self._chunk({IMAGES: image_items([part], self._shown - 1)})

    def _think(self, block: int, part: Reasoning) -> bytes:
        if part.signature:
            self._sealed = carrier(part)
        out = self._chunk({"reasoning_content": part.text}) if part.text else b""
        if part.origin == NAME:
            self._bound.add(block)
            out += self._seal(SignatureDelta(block, encrypted=part.encrypted or ""))
        return out

    def _seal(self, event: SignatureDelta) -> bytes:
        """What an upstream of this API wants back as it came."""
        if event.block not in self._bound or not event.encrypted:
            return b""
        return self._chunk({DETAILS: told(event.encrypted)})

    # ---- tool calls ----

    def _begin(self, block: int, part: ToolCall) -> bytes:
        if self._legacy:
            if self._calls:
                return b""  # the legacy form has room for one
            first: Fields = {"function_call": {"name": part.name, "arguments": part.args}}
            more: Fields = {"function_call": {"arguments": _HOLE}}
        else:
            field = "input" if part.kind == "custom" else "arguments"
            index, inner = len(self._calls), {"name": part.name, field: part.args}
            call = {"index": index, "id": part.id, "type": part.kind, part.kind: inner}
            call, self._sealed = call | self._sealed, {}
            first = {"tool_calls": [call]}
            more = {"tool_calls": [{"index": index, part.kind: {field: _HOLE}}]}
        empty = not part.args and part.kind == "function"
        self._calls[block] = _Outgoing(self._around(more), empty)
        return self._chunk(first)

    def _args(self, event: ArgsDelta) -> bytes:
        call = self._calls.get(event.block)
        if call is None or not event.json:
            return b""
        call.empty = False
        before, after = call.around
        return b"".join((before, dumps(event.json), after))

    def _close(self, event: Close) -> bytes:
        call = self._calls.get(event.block)
        if call is None or not call.empty:
            return b""
        return self._args(ArgsDelta(event.block, "{}"))

    # ---- endings ----

    def _count(self, event: UsageEvent) -> bytes:
        self._usage = merge_usage(self._usage, event.usage)
        return b""

    def _finish(self, event: Finish) -> bytes:
        self._over = True
        words = why(event)
        out = [self._chunk({"refusal": words})] if words else []
        out.append(self._chunk({}, finish=_reason(event.reason, self._legacy), **_served(event)))
        if self._include_usage:
            tail = {**self._head, "choices": [], "usage": usage(self._usage)}
            out.append(b"data: %b\n\n" % dumps(tail))
        out.append(DONE)
        return b"".join(out)

    def _fail(self, event: ErrorEvent) -> bytes:
        self._over = True
        return stream_failure(event)

    def _ping(self, event: Ping) -> bytes:
        return PING


_WRITERS: dict[type, Callable[[Encoder, Any], bytes]] = {
    Start: Encoder._start,
    Open: Encoder._open,
    TextDelta: Encoder._say,
    ReasoningDelta: Encoder._reason,
    RefusalDelta: Encoder._refuse,
    SignatureDelta: Encoder._seal,
    ArgsDelta: Encoder._args,
    CitationDelta: Encoder._cite,
    Close: Encoder._close,
    UsageEvent: Encoder._count,
    Finish: Encoder._finish,
    ErrorEvent: Encoder._fail,
    Annotation: Encoder._annotate,
    Ping: Encoder._ping,
}


class _Outgoing:
    """A tool call being sent. empty: no argument text has been sent yet."""

    __slots__ = ("around", "empty")

    def __init__(self, around: tuple[bytes, bytes], empty: bool) -> None:
        self.around = around
        self.empty = empty


def _served(end: Finish | Reply) -> Fields:
    """What served the answer, as far as its upstream told."""
    told = {"service_tier": end.tier, "system_fingerprint": end.fingerprint}
    return {name: word for name, word in told.items() if word}


def _reason(reason: str, legacy: bool) -> str:
    word = _FINISHES.get(reason, "stop")
    return "function_call" if legacy and word == "tool_calls" else word


# ---- whole answers ----


def reply(
    answer: Reply,
    request_id: str,
    model: str,
    created: int,
    *,
    legacy: bool = False,
    quiet: bool = False,
) -> bytes:
    """The body of a whole answer, with every key that the API requires."""
    choice: Fields = {
        "index": 0,
        "message": _message(answer, legacy, quiet),
        "logprobs": _logprobs(answer.logprobs),
        "finish_reason": _reason(answer.finish, legacy),
    }
    body: Fields = {
        "id": request_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [choice],
        "usage": usage(answer.usage),
        **_served(answer),
    }
    if answer.annotations:
        body["annotations"] = answer.annotations
    return dumps(body)


def _message(answer: Reply, legacy: bool, quiet: bool) -> Fields:
    only = answer.parts[0] if len(answer.parts) == 1 and answer.details is None else None
    if type(only) is Text and not only.citations:  # as most answers are
        return {"role": "assistant", "content": only.text, "refusal": None}
    calls, text, reasoning = answer.calls, _text(answer.parts, quiet), answer.reasoning
    pictures = [part for part in answer.parts if isinstance(part, Media) and holds(part)]
    refusal = "".join(part.text for part in parts_of(answer) if isinstance(part, Refusal))
    speech = [audio(part) for part in answer.parts if isinstance(part, Media) and said(part)]
    message: Fields = {
        "role": "assistant",
        "content": text if text or not (calls or refusal or speech) else None,
        "refusal": refusal or None,
    }
    if reasoning:
        message["reasoning_content"] = reasoning
    sealed = details(answer.parts)
    if sealed:
        message[DETAILS] = sealed
    links = [citation(note) for note in _notes(answer.parts, quiet) if is_link(note)]
    if links:
        message["annotations"] = links
    if pictures:
        message[IMAGES] = image_items(pictures)
    message |= _own(answer.parts)
    if speech:
        message[AUDIO] = speech[-1]
    if calls and legacy:
        message["function_call"] = {"name": calls[0].name, "arguments": calls[0].args or "{}"}
    elif calls:
        message["tool_calls"] = _called(answer.parts)
    return message


def _own(parts: list[Part]) -> Fields:
    """What vendors of this API put into lists of their own."""
    out: dict[str, list[object]] = {}
    for part in parts:
        if isinstance(part, Opaque) and part.dialect == NAME:
            out.setdefault(part.kind, []).append(part.raw)
    return {**out}


def _text(parts: list[Part], quiet: bool) -> str:
    """The text, with what has no place elsewhere."""
    return "".join(_said(part, quiet) for part in parts)


def _said(part: Part, quiet: bool) -> str:
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Opaque) and part.dialect == NAME:
        return ""
    if isinstance(part, Opaque) or (isinstance(part, Media) and not (holds(part) or said(part))):
        return instead(part, quiet=quiet)
    return ""


def _notes(parts: list[Part], quiet: bool) -> list[Citation]:
    """The citations, placed in the text of the whole message."""
    out: list[Citation] = []
    before = 0
    for part in parts:
        if isinstance(part, Text):
            out += [placed(note, part.text, before) for note in part.citations]
        before += len(_said(part, quiet))
    return out


def _called(parts: list[Part]) -> list[Fields]:
    """The calls, each with the signature that stands before it."""
    out: list[Fields] = []
    sealed: Fields = {}
    for part in parts:
        if isinstance(part, Reasoning) and part.signature:
            sealed = carrier(part)
        elif isinstance(part, ToolCall):
            out.append(_call(part) | sealed)
            sealed = {}
    return out


def carrier(thought: Reasoning) -> Fields:
    """What carries a signature of Gemini, in the form of Google's own OpenAI endpoint."""
    if thought.origin != GOOGLE:
        return {}
    return {"extra_content": {"google": {"thought_signature": thought.signature}}}


def _call(call: ToolCall) -> Fields:
    if call.kind == "custom":
        inner = {"name": call.name, "input": call.args}
    else:
        inner = {"name": call.name, "arguments": call.args or "{}"}
    return {"id": call.id, "type": call.kind, call.kind: inner}


def _logprobs(found: list[object]) -> Fields | None:
    """The log probabilities of all deltas as one object, None if there are none."""
    whole: dict[str, list[object]] = {}
    for item in found:
        for name, tokens in (item if isinstance(item, dict) else {}).items():
            if isinstance(tokens, list):
                whole.setdefault(name, []).extend(tokens)
    return {"content": whole.get("content"), "refusal": whole.get("refusal")} if whole else None


def is_link(found: Citation) -> bool:
    """Whether the API has an annotation for it: it has none for places in a document."""
    return bool(found.url) or _is_own(found.raw)


def _is_own(raw: object) -> bool:
    """Whether it is an annotation of this API, of which vendors have more kinds."""
    fields: Fields = raw if isinstance(raw, dict) else {}
    kind = fields.get("type")
    return isinstance(kind, str) and isinstance(fields.get(kind), dict)


def citation(found: Citation) -> object:
    """A `url_citation` annotation: the upstream's own, if it was one."""
    if _is_own(found.raw):
        return found.raw
    return {
        "type": "url_citation",
        "url_citation": {
            "url": found.url or "",
            "title": found.title or "",
            "start_index": found.start or 0,
            "end_index": found.end or 0,
        },
    }


def usage(counts: Usage | None) -> Fields:
    """`usage` with its three totals. Without any counts it is zero and marked as estimated."""
    counts = counts or Usage(estimated=True)
    prompt, completion = counts.input or 0, counts.output or 0
    out: Fields = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    read = {"cached_tokens": counts.cache_read, "cache_write_tokens": counts.cache_write}
    details = {name: value for name, value in read.items() if value is not None}
    if details:
        out["prompt_tokens_details"] = details
    if counts.reasoning is not None:
        out["completion_tokens_details"] = {"reasoning_tokens": counts.reasoning}
    if counts.estimated:
        out["penstock_estimated"] = True
    return out


# ---- failures ----


def failure(
    kind: str, message: str, request_id: str = "", error: ExchangeError | RequestError | None = None
) -> tuple[int, bytes]:
    """Status and body for an outcome class or a client kind.

    error adds what it knows: the parameter at fault, or the upstream's own code. The request id
    travels in a header: this dialect has no place for it in the body.
    """
    status = error.status if isinstance(error, ExchangeError) else 0
    code = error.code if isinstance(error, ExchangeError) else ""
    param = error.param if isinstance(error, RequestError) else None
    shown = answer_for(kind, "openai", status=status, code=code)
    return shown.status, dumps(_error(shown, message_for(kind, message, status=status), param))


def stream_failure(event: ErrorEvent, *, type: str = "") -> bytes:
    """The frames that end a stream which has begun: the error, then the terminator.

    type: the upstream's own word, kept on pass-through unless it is about its credential.
    """
    shown = answer_for(event.cls, "openai", status=event.status, code=event.code)
    message = message_for(event.cls, event.message, status=event.status)
    if type and message == event.message:
        shown = replace(shown, type=type)
    return b"data: %b\n\n%b" % (dumps(_error(shown, message, None)), DONE)


def _error(shown: Answer, message: str, param: str | None) -> Fields:
    error: Fields = {
        "message": message,
        "type": shown.type,
        "param": param,
        "code": shown.code,
    }
    return {"error": error}
