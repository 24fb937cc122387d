"""Messages answers -> events.

`StreamDecoder` takes one record per event of the stream; `decode_whole` reads a whole answer as if
each of its blocks had come at once, so both share everything. Blocks are numbered in the order of
Open; a text block opens with its first text, since clients must not be given empty ones. Thinking
is kept even if all it has is its signature. Blocks that the provider's own tools left are Opaque,
given whole when they close, and never tool calls of the client.

Usage is the merge of what message_start and message_delta say: both count all there is so far.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.chat import Citation, Opaque, Reasoning, Text, ToolCall
from engine.dialects.outcomes import (
    bare_error,
    classify_text,
    error_event,
    headless,
    read_error,
    unless_empty,
)
from engine.events import (
    ArgsDelta,
    CitationDelta,
    Close,
    End,
    ErrorEvent,
    Event,
    Finish,
    Open,
    ReasoningDelta,
    SignatureDelta,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
)
from engine.wire import JsonError, Record, dumps, loads

from .parse import NAME

MakeId = Callable[[], str]
Fields = dict[str, object]

FINISHES: dict[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "other",
}
_MOST = 2**53  # a count beyond it is nonsense; JSON may even hold an infinite one


def read_usage(raw: Fields) -> Usage:
    """Canonical counts out of a `usage` object: input has the cached tokens in it."""
    fresh, output = _count(raw.get("input_tokens")), _count(raw.get("output_tokens"))
    read = _count(raw.get("cache_read_input_tokens"))
    written = _count(raw.get("cache_creation_input_tokens"))
    details, kept = raw.get("output_tokens_details"), raw.get("cache_creation")
    return Usage(
        input=None if fresh is None else fresh + (read or 0) + (written or 0),
        output=output,
        cache_read=read,
        cache_write=written,
        reasoning=_count(_fields(details).get("thinking_tokens")),
        estimated=raw.get("penstock_estimated") is True,
        raw=raw,
        cache_write_1h=_count(_fields(kept).get("ephemeral_1h_input_tokens")),
    )


def merged_usage(old: Fields, new: Fields) -> Fields:
    """What message_delta says over what message_start said.

    A zero in place of input that was told already is no news: some upstreams send it.
    """
    told = {name: value for name, value in new.items() if value is not None}
    if told.get("input_tokens") == 0 and old.get("input_tokens"):
        del told["input_tokens"]
    return {**old, **told}


def _count(value: object) -> int | None:
    if not isinstance(value, int | float):
        return None
    return int(min(max(value, 0), _MOST))


def _fields(value: object) -> Fields:
    return value if isinstance(value, dict) else {}


def _index(value: Fields) -> int:
    index = value.get("index")
    return index if isinstance(index, int) else 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


class _Block:
    """A block being received. number: its own, -1 while it is not open.

    raw   what its start said
    said  pieces of arguments that came
    notes citations that came before the text they belong to
    """

    __slots__ = ("kind", "notes", "number", "raw", "said")

    def __init__(self, raw: Fields) -> None:
        self.kind = _text(raw.get("type"))
        self.number = -1
        self.raw = raw
        self.said: list[str] = []
        self.notes: list[Citation] = []


class StreamDecoder:
    """Events of one answer -> events. make_id gives an id to a tool call that comes without."""

    def __init__(self, make_id: MakeId) -> None:
        self._make_id = make_id
        self._started = False
        self._over = False  # error or end: nothing counts any more
        self._finished = False
        self._called = False
        self._next = 0
        self._open: dict[int, _Block] = {}
        self._text = -1  # index of the text block whose deltas come now
        self._number = -1  # its number
        self._usage: Fields = {}

    def feed(self, record: Record) -> list[Event]:
        value: Any = record.value
        if self._number >= 0:
            # Nearly every record is one more piece of the open text, and ends here.
            try:
                delta = value["delta"]
                if delta["type"] == "text_delta" and value["index"] == self._text:
                    text = delta["text"]
                    if text and type(text) is str:
                        return [TextDelta(self._number, text)]
            except (KeyError, TypeError):
                pass
        if self._over:
            return []
        if not isinstance(value, dict):
            return self._odd(record)
        kind = _text(value.get("type")) or record.event
        read = _READERS.get(kind)
        if read is None:
            found = read_error(value)
            return [] if found is None else self._fail(error_event(found))
        if self._finished and kind in _CONTENT:
            return []
        out = read(self, value)
        if out and not self._started and (kind in _CONTENT or kind == "message_delta"):
            self._started = True
            out.insert(0, Start())
        return out

    def finish(self) -> list[Event]:
        return []

    # ---- the message ----

    def start(self, value: Fields) -> list[Event]:
        message, out = _fields(value.get("message")), list[Event]()
        if not self._started:
            self._started = True
            out.append(Start(_text(message.get("id")), _text(message.get("model"))))
        return out + self._count(message.get("usage"))

    def _count(self, usage: object) -> list[Event]:
        if not usage or not isinstance(usage, dict):
            return []
        self._usage = merged_usage(self._usage, usage)
        return [UsageEvent(read_usage(self._usage))]

    def end(self, value: Fields) -> list[Event]:
        """A message_delta: usage, and why the answer ended."""
        delta, out = _fields(value.get("delta")), self._count(value.get("usage"))
        raw = _text(delta.get("stop_reason"))
        if not raw or self._finished:
            return out
        self._finished = True
        for index in list(self._open):
            out += self._close(index)
        reason = FINISHES.get(raw, "other")
        if self._called and reason in ("stop", "other"):
            reason = "tool_calls"
        elif reason == "tool_calls" and not self._called:
            reason = "stop"
        word = delta.get("stop_sequence")
        stop = word if isinstance(word, str) else None
        return [*out, Finish(reason, raw, stop, delta.get("stop_details"))]

    def _stop(self, value: Fields) -> list[Event]:
        self._over, self._number = True, -1
        return [End()]

    def _error(self, value: Fields) -> list[Event]:
        return self._fail(error_event(read_error(value) or bare_error(value)))

    def _fail(self, error: ErrorEvent) -> list[Event]:
        self._over, self._number = True, -1
        return [] if self._finished else [error]

    def _odd(self, record: Record) -> list[Event]:
        if not record.data.strip():
            return []
        return self._fail(ErrorEvent("retryable", "the upstream sent a frame that is not JSON"))

    # ---- blocks ----

    def begin(self, value: Fields) -> list[Event]:
        index, raw = _index(value), _fields(value.get("content_block"))
        out = self._close(index) if index in self._open else []
        block = self._open[index] = _Block(raw)
        begin = _BEGINNINGS.get(block.kind)
        return out + begin(self, index, block) if begin else out

    def _take(self, block: _Block, part: Text | Reasoning | ToolCall | Opaque) -> Event:
        block.number = self._next
        self._next += 1
        return Open(block.number, part)

    def _begin_text(self, index: int, block: _Block) -> list[Event]:
        out = self._say(index, block, block.raw)
        citations = block.raw.get("citations")
        for citation in citations if isinstance(citations, list) else ():
            out += self._cite(index, block, {"citation": citation})
        return out

    def _begin_thinking(self, index: int, block: _Block) -> list[Event]:
        out: list[Event] = [self._take(block, Reasoning(origin=NAME))]
        out += self._think(index, block, block.raw)
        return out + self._sign(index, block, block.raw)

    def _begin_redacted(self, index: int, block: _Block) -> list[Event]:
        return [self._take(block, Reasoning(encrypted=_text(block.raw.get("data")), origin=NAME))]

    def _begin_call(self, index: int, block: _Block) -> list[Event]:
        self._called = True
        name, given = _text(block.raw.get("name")), _text(block.raw.get("id"))
        return [self._take(block, ToolCall(given or self._make_id(), name, ""))]

    def delta(self, value: Fields) -> list[Event]:
        index, delta = _index(value), _fields(value.get("delta"))
        block = self._open.get(index)
        read = _DELTAS.get(_text(delta.get("type")))
        return read(self, index, block, delta) if read and block else []

    def _say(self, index: int, block: _Block, delta: Fields) -> list[Event]:
        text = _text(delta.get("text"))
        if not text:
            return []
        out: list[Event] = []
        if block.number < 0:
            out.append(self._take(block, Text("")))
        self._text, self._number = index, block.number
        out.append(TextDelta(block.number, text))
        notes, block.notes = block.notes, []
        return out + [CitationDelta(block.number, note) for note in notes]

    def _think(self, index: int, block: _Block, delta: Fields) -> list[Event]:
        text = _text(delta.get("thinking"))
        return [ReasoningDelta(block.number, text)] if text and block.number >= 0 else []

    def _sign(self, index: int, block: _Block, delta: Fields) -> list[Event]:
        signature = _text(delta.get("signature"))
        return [SignatureDelta(block.number, signature)] if signature and block.number >= 0 else []

    def _cite(self, index: int, block: _Block, delta: Fields) -> list[Event]:
        found = delta.get("citation")
        if not isinstance(found, dict):
            return []
        if block.number < 0:
            block.notes.append(_citation(found))
            return []
        return [CitationDelta(block.number, _citation(found))]

    def _args(self, index: int, block: _Block, delta: Fields) -> list[Event]:
        piece = _text(delta.get("partial_json"))
        if not piece:
            return []
        block.said.append(piece)
        return [ArgsDelta(block.number, piece)] if block.kind == "tool_use" else []

    def close(self, value: Fields) -> list[Event]:
        return self._close(_index(value))

    def _close(self, index: int) -> list[Event]:
        block = self._open.pop(index, None)
        if block is None:
            return []
        if index == self._text:
            self._text = self._number = -1
        out: list[Event] = []
        if block.kind == "tool_use" and not block.said:
            out.append(ArgsDelta(block.number, dumps(_fields(block.raw.get("input"))).decode()))
        elif block.kind not in _BEGINNINGS and block.kind:
            out.append(self._take(block, Opaque(NAME, block.kind, _whole(block))))
        out += [CitationDelta(-1, note) for note in block.notes]  # no text came to stand in
        return [*out, Close(block.number)] if block.number >= 0 else out


def _whole(block: _Block) -> Fields:
    """The block of a provider's tool with the input that came in pieces."""
    if not block.said:
        return block.raw
    try:
        return {**block.raw, "input": loads("".join(block.said))}
    except JsonError:
        return block.raw


def _citation(found: Fields) -> Citation:
    link = found.get("url")
    title = found.get("title", found.get("document_title"))
    return Citation(
        kind=_text(found.get("type")),
        url=link if isinstance(link, str) else None,
        title=title if isinstance(title, str) else None,
        text=_text(found.get("cited_text")) or None,
        raw=found,
    )


_CONTENT = frozenset({"content_block_start", "content_block_delta", "content_block_stop"})
_Read = Callable[[StreamDecoder, Fields], list[Event]]
_READERS: dict[str, _Read] = {
    "message_start": StreamDecoder.start,
    "content_block_start": StreamDecoder.begin,
    "content_block_delta": StreamDecoder.delta,
    "content_block_stop": StreamDecoder.close,
    "message_delta": StreamDecoder.end,
    "message_stop": StreamDecoder._stop,
    "error": StreamDecoder._error,
    "ping": lambda decoder, value: [],
}
_BEGINNINGS: dict[str, Callable[[StreamDecoder, int, _Block], list[Event]]] = {
    "text": StreamDecoder._begin_text,
    "thinking": StreamDecoder._begin_thinking,
    "redacted_thinking": StreamDecoder._begin_redacted,
    "tool_use": StreamDecoder._begin_call,
}
_DELTAS: dict[str, Callable[[StreamDecoder, int, _Block, Fields], list[Event]]] = {
    "text_delta": StreamDecoder._say,
    "thinking_delta": StreamDecoder._think,
    "signature_delta": StreamDecoder._sign,
    "input_json_delta": StreamDecoder._args,
    "citations_delta": StreamDecoder._cite,
}


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
    """Events of a whole answer: always one Finish or one ErrorEvent at the end.

    A JSON document is whole in itself, so a missing stop_reason counts as
    end_turn if there is content.
    """
    if not isinstance(value, dict):
        return [ErrorEvent("retryable", "the upstream's answer is not an object")]
    found = read_error(value)
    if found is not None:
        return [error_event(found)]
    content = value.get("content")
    if not isinstance(content, list):
        return [error_event(headless(value, "the upstream's answer has no content"))]
    decoder = StreamDecoder(make_id)
    out = decoder.start({"message": value})
    for index, block in enumerate(content):
        out += decoder.begin({"index": index, "content_block": block})
        out += decoder.close({"index": index})
    told = _told(value)
    out += decoder.end({"delta": {"stop_reason": "end_turn", **told}})
    return unless_empty(out, told.get("stop_reason"))


def _told(value: Fields) -> Fields:
    told = {name: value.get(name) for name in ("stop_sequence", "stop_details")}
    raw = value.get("stop_reason")
    return {**told, "stop_reason": raw} if raw and isinstance(raw, str) else told
