"""Responses answers -> events.

`StreamDecoder` takes one record per event of the stream. Everything that a delta may say is said
again, whole, when its part or its item is done: what was not sent yet is then made up for, so that
upstreams which send no deltas lose nothing. A whole answer is read as items that are done. Blocks
are numbered in the order of Open; each content part of a message is one, so is the whole of a
reasoning item, whose encrypted form comes with its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

from engine.chat import Citation, Opaque, Reasoning, Refusal, Text, ToolCall
from engine.dialects.outcomes import (
    UpstreamError,
    bare_error,
    classify_text,
    error_event,
    headless,
    read_error,
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
    RefusalDelta,
    SignatureDelta,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
)
from engine.wire import Record

from .items import NAME, flat_name
from .shown import KIND, picture_of

MakeId = Callable[[], str]
Fields = dict[str, object]
_BEYOND = 2**32  # no upstream has an item there
_MOST = 2**53  # a count beyond it is nonsense; JSON may even hold an infinite one
_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}
TERMINAL = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")


def read_usage(raw: Fields) -> Usage:
    """Canonical counts out of a `usage` object."""
    read, said = _fields(raw.get("input_tokens_details")), raw.get("output_tokens_details")
    return Usage(
        input=_count(raw.get("input_tokens")),
        output=_count(raw.get("output_tokens")),
        cache_read=_count(read.get("cached_tokens")),
        cache_write=_count(read.get("cache_write_tokens")),
        reasoning=_count(_fields(said).get("reasoning_tokens")),
        estimated=raw.get("penstock_estimated") is True,
        raw=raw,
    )


def read_finish(response: Fields, called: bool) -> Finish | ErrorEvent:
    """How a response ended, by its status."""
    status, tier = _str(response.get("status")) or "completed", _str(response.get("service_tier"))
    if status in ("failed", "cancelled"):
        return failed_response(response)
    if status == "incomplete":
        raw = _str(_fields(response.get("incomplete_details")).get("reason"))
        return Finish(_INCOMPLETE.get(raw, "tool_calls" if called else "other"), raw, tier=tier)
    return Finish("tool_calls" if called else "stop", status, tier=tier)


def failed_response(response: Fields) -> ErrorEvent:
    found = response.get("error")
    if isinstance(found, dict):
        return error_event(bare_error(found))
    status = _str(response.get("status")) or "failed"
    return error_event(UpstreamError(f"the upstream's answer is {status}"))


def bare_event(value: Fields) -> ErrorEvent:
    """The error of an `error` event, nested or flat. Its `type` is the event's own name."""
    found = read_error(value)
    return error_event(found or bare_error({k: v for k, v in value.items() if k != "type"}))


def _count(value: object) -> int | None:
    if not isinstance(value, int | float):
        return None
    return int(min(max(value, 0), _MOST))


def _fields(value: object) -> Fields:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _str(value: object) -> str:
    return value if isinstance(value, str) else ""


def _int(value: Fields, name: str) -> int:
    found = value.get(name)
    return found if isinstance(found, int) else 0


class _Item:
    """An item being received.

    blocks   open blocks, by content index; a reasoning item and a call have one, at 0
    said     characters given out, by kind and index of what they are part of
    over     indices of parts that are done
    """

    __slots__ = ("blocks", "kind", "over", "raw", "said")

    def __init__(self, raw: Fields) -> None:
        self.kind = _str(raw.get("type"))
        self.raw = raw
        self.blocks: dict[int, int] = {}
        self.said: dict[tuple[str, int], int] = {}
        self.over: set[int] = set()


class StreamDecoder:
    """Events of one answer -> events. make_id gives an id to a tool call that comes without."""

    def __init__(self, make_id: MakeId) -> None:
        self._make_id = make_id
        self._started = False
        self._over = False
        self._called = False
        self._next = 0
        self._items: dict[int, _Item] = {}
        self._done: set[int] = set()
        self._idents: set[str] = set()  # of items that are done
        self._moved: dict[int, int] = {}  # an index given twice -> its place

    def feed(self, record: Record) -> list[Event]:
        if self._over:
            return []
        value: Any = record.value
        if not isinstance(value, dict):
            return self._odd(record)
        kind = _str(value.get("type")) or record.event
        read = _READERS.get(kind)
        if read is not None:
            out = read(self, value)
            if out and not self._started and not isinstance(out[0], Start | ErrorEvent):
                self._started = True
                out.insert(0, Start())
            return out
        found = None if kind.startswith("response.") else read_error(value)
        return [] if found is None else self._fail(error_event(found))

    def finish(self) -> list[Event]:
        return []

    # ---- the response ----

    def _start(self, value: Fields) -> list[Event]:
        response = _fields(value.get("response"))
        if self._started:
            return []
        self._started = True
        created = response.get("created_at")
        at = int(created) if isinstance(created, int | float) else 0
        return [Start(_str(response.get("id")), _str(response.get("model")), at)]

    def _end(self, value: Fields) -> list[Event]:
        response = _fields(value.get("response"))
        out, told = self._start(value), frozenset(self._idents)
        for index, item in enumerate(_list(response.get("output"))):
            if index not in self._done and _untold(item, told):
                out += self._item_done({"output_index": index, "item": item})
        for index in list(self._items):
            out += self._shut(index)
        self._over = True
        usage = response.get("usage")
        if isinstance(usage, dict):
            out.append(UsageEvent(read_usage(usage)))
        kind = _str(value.get("type")).removeprefix("response.")
        end = read_finish({"status": kind, **response}, self._called)
        return [*out, end, End()] if isinstance(end, Finish) else [*out, end]

    def _error(self, value: Fields) -> list[Event]:
        return self._fail(bare_event(value))

    def _fail(self, error: ErrorEvent) -> list[Event]:
        self._over = True
        return [error]

    def _odd(self, record: Record) -> list[Event]:
        if not record.data.strip():
            return []
        return self._fail(ErrorEvent("retryable", "the upstream sent a frame that is not JSON"))

    # ---- items ----

    def _item(self, value: Fields) -> _Item:
        """The item an event belongs to; made up if its beginning was never told."""
        index = self._place(value)
        item = self._items.get(index)
        if item is None:
            item = self._items[index] = _Item({})
        return item

    def _place(self, value: Fields, *, begins: bool = False) -> int:
        """The index of an item. Some upstreams give all the same: a new one gets its own there."""
        index = _int(value, "output_index")
        place = self._moved.get(index, index)
        ident = _str(_fields(value.get("item")).get("id"))
        if begins and place in self._done and ident and ident not in self._idents:
            place = self._moved[index] = _BEYOND + len(self._done)
        return place

    def _item_added(self, value: Fields) -> list[Event]:
        index, raw = self._place(value, begins=True), _fields(value.get("item"))
        if index in self._done:
            return []
        item = self._items[index] = _Item(raw)
        return self._begin_call(item, raw) if item.kind in _CALLS else []

    def _item_done(self, value: Fields) -> list[Event]:
        index, raw = self._place(value, begins=True), _fields(value.get("item"))
        if index in self._done:
            return []
        self._idents.update(_idents(raw))
        item = self._items.get(index) or _Item(raw)
        item.kind, item.raw = _str(raw.get("type")) or item.kind, raw
        self._items[index] = item
        finish = _DONE.get(item.kind)
        out = finish(self, item, raw) if finish is not None else self._whole(item, raw)
        return out + self._shut(index)

    def _shut(self, index: int) -> list[Event]:
        item = self._items.pop(index)
        self._done.add(index)
        return [Close(block) for block in item.blocks.values()]

    def _open(self, item: _Item, at: int, part: Any) -> list[Event]:
        item.blocks[at] = self._next
        self._next += 1
        return [Open(item.blocks[at], part)]

    def _whole(self, item: _Item, raw: Fields) -> list[Event]:
        """A picture, or an item that only this API knows."""
        if not item.kind:
            return []
        picture = picture_of(raw) if item.kind == KIND else None
        return self._open(item, 0, picture or Opaque(NAME, item.kind, raw))

    def _rest(self, item: _Item, what: str, at: int, text: object) -> str:
        """What of a whole text was not given out yet."""
        return _str(text)[item.said.get((what, at), 0) :]

    # ---- messages ----

    def _text(self, value: Fields) -> list[Event]:
        told = value.get("logprobs")
        logprobs = {"content": told} if told and isinstance(told, list) else None
        item, at = self._item(value), _int(value, "content_index")
        return self._say(item, at, _str(value.get("delta")), logprobs)

    def _say(self, item: _Item, at: int, text: str, logprobs: object = None) -> list[Event]:
        if not text or at in item.over:
            return []
        out: list[Event] = []
        if at not in item.blocks:
            phase = item.raw.get("phase")
            out += self._open(item, at, Text("", extras={} if phase is None else {"phase": phase}))
        item.said["text", at] = item.said.get(("text", at), 0) + len(text)
        return [*out, TextDelta(item.blocks[at], text, logprobs)]

    def _text_done(self, value: Fields) -> list[Event]:
        item, at = self._item(value), _int(value, "content_index")
        return self._say(item, at, self._rest(item, "text", at, value.get("text")))

    def _refusal(self, value: Fields) -> list[Event]:
        item, at = self._item(value), _int(value, "content_index")
        return self._refuse(item, at, _str(value.get("delta")))

    def _refuse(self, item: _Item, at: int, text: str) -> list[Event]:
        if not text or at in item.over:
            return []
        out = [] if at in item.blocks else self._open(item, at, Refusal(""))
        item.said["refusal", at] = item.said.get(("refusal", at), 0) + len(text)
        return [*out, RefusalDelta(item.blocks[at], text)]

    def _refusal_done(self, value: Fields) -> list[Event]:
        item, at = self._item(value), _int(value, "content_index")
        return self._refuse(item, at, self._rest(item, "refusal", at, value.get("refusal")))

    def _annotation(self, value: Fields) -> list[Event]:
        item, note = self._item(value), value.get("annotation")
        at = _int(value, "content_index")
        if not isinstance(note, dict) or at not in item.blocks:
            return []
        item.said["note", at] = item.said.get(("note", at), 0) + 1
        return [CitationDelta(item.blocks[at], _citation(note))]

    def _part_done(self, value: Fields) -> list[Event]:
        """A content part is over: nothing of it is missing afterwards."""
        return self._end_part(
            self._item(value), _int(value, "content_index"), _fields(value.get("part"))
        )

    def _end_part(self, item: _Item, at: int, part: Fields) -> list[Event]:
        if at in item.over:
            return []
        if part.get("type") == "refusal":
            out = self._refuse(item, at, self._rest(item, "refusal", at, part.get("refusal")))
        elif part.get("type") == "output_text":
            out = self._end_text(item, at, part)
        else:
            return []
        item.over.add(at)
        if at in item.blocks:
            out.append(Close(item.blocks.pop(at)))
        return out

    def _end_text(self, item: _Item, at: int, part: Fields) -> list[Event]:
        fresh = ("text", at) not in item.said
        told = {"content": part["logprobs"]} if fresh and part.get("logprobs") else None
        out = self._say(item, at, self._rest(item, "text", at, part.get("text")), told)
        notes = _list(part.get("annotations"))[item.said.get(("note", at), 0) :]
        block = item.blocks.get(at, -1)
        return out + [CitationDelta(block, _citation(_fields(note))) for note in notes]

    def _message_done(self, item: _Item, raw: Fields) -> list[Event]:
        out: list[Event] = []
        for at, part in enumerate(_list(raw.get("content"))):
            out += self._end_part(item, at, _fields(part))
        return out

    # ---- thinking ----

    def _summary(self, value: Fields) -> list[Event]:
        at = _int(value, "summary_index")
        return self._think(self._item(value), at, _str(value.get("delta")), True)

    def _summary_done(self, value: Fields) -> list[Event]:
        item, at = self._item(value), _int(value, "summary_index")
        return self._think(item, at, self._rest(item, "summary", at, value.get("text")), True)

    def _thought(self, value: Fields) -> list[Event]:
        at = _int(value, "content_index")
        return self._think(self._item(value), at, _str(value.get("delta")), False)

    def _thought_done(self, value: Fields) -> list[Event]:
        item, at = self._item(value), _int(value, "content_index")
        return self._think(item, at, self._rest(item, "raw", at, value.get("text")), False)

    def _think(self, item: _Item, at: int, text: str, summary: bool) -> list[Event]:
        if not text:
            return []
        out: list[Event] = []
        if 0 not in item.blocks:
            ident = _str(item.raw.get("id")) or None
            out += self._open(item, 0, Reasoning(id=ident, origin=NAME))
        what = ("summary" if summary else "raw", at)
        first = what not in item.said
        item.said[what] = item.said.get(what, 0) + len(text)
        if first and at and summary:
            text = "\n\n" + text
        return [*out, ReasoningDelta(item.blocks[0], text, at if summary else None)]

    def _reasoning_done(self, item: _Item, raw: Fields) -> list[Event]:
        out: list[Event] = []
        for name, summary in (("summary", True), ("content", False)):
            for at, part in enumerate(_list(raw.get(name))):
                text = _fields(part).get("text")
                rest = self._rest(item, "summary" if summary else "raw", at, text)
                out += self._think(item, at, rest, summary)
        sealed = _str(raw.get("encrypted_content"))
        if not sealed:
            return out
        if 0 not in item.blocks:
            part = Reasoning(encrypted=sealed, id=_str(raw.get("id")) or None, origin=NAME)
            return out + self._open(item, 0, part)
        return [*out, SignatureDelta(item.blocks[0], encrypted=sealed)]

    # ---- calls ----

    def _begin_call(self, item: _Item, raw: Fields) -> list[Event]:
        name, space = _str(raw.get("name")), raw.get("namespace")
        extras = {"namespace": space} if isinstance(space, str) else {}
        if isinstance(space, str):
            name = flat_name(space, name)
        kind: Literal["function", "custom"] = "function"
        if item.kind == "custom_tool_call":
            kind = "custom"
        self._called = True
        call = ToolCall(_str(raw.get("call_id")) or self._make_id(), name, "", kind, dict(extras))
        return self._open(item, 0, call)

    def _args(self, value: Fields) -> list[Event]:
        return self._argue(self._item(value), _str(value.get("delta")))

    def _argue(self, item: _Item, text: str) -> list[Event]:
        if not text or 0 not in item.blocks:
            return []
        item.said["args", 0] = item.said.get(("args", 0), 0) + len(text)
        return [ArgsDelta(item.blocks[0], text)]

    def _args_done(self, value: Fields) -> list[Event]:
        item = self._item(value)
        return self._argue(item, self._rest(item, "args", 0, _input(value)))

    def _call_done(self, item: _Item, raw: Fields) -> list[Event]:
        out = [] if 0 in item.blocks else self._begin_call(item, raw)
        out += self._argue(item, self._rest(item, "args", 0, _input(raw)))
        cut = raw.get("status") == "incomplete"
        if item.kind == "function_call" and ("args", 0) not in item.said and not cut:
            out += self._argue(item, "{}")
        return out


def _input(value: Fields) -> object:
    return value.get("arguments", value.get("input"))


def _untold(item: object, told: frozenset[str]) -> bool:
    """Whether an item of the last response is one to be read although it was never done."""
    if not isinstance(item, dict) or not item.get("type"):
        return False
    return told.isdisjoint(_idents(item))


def _idents(item: Fields) -> Iterator[str]:
    """What an item can be known by again."""
    yield from filter(None, (_str(item.get("id")), _str(item.get("call_id"))))


def _citation(note: Fields) -> Citation:
    start, end = note.get("start_index"), note.get("end_index")
    return Citation(
        kind=_str(note.get("type")) or "url_citation",
        url=_str(note.get("url")) or None,
        title=_str(note.get("title")) or None,
        start=start if isinstance(start, int) else None,
        end=end if isinstance(end, int) else None,
        raw=note,
    )


_Read = Callable[[StreamDecoder, Fields], list[Event]]
_READERS: dict[str, _Read] = {
    "response.created": StreamDecoder._start,
    "response.queued": StreamDecoder._start,
    "response.in_progress": StreamDecoder._start,
    "response.output_item.added": StreamDecoder._item_added,
    "response.output_item.done": StreamDecoder._item_done,
    "response.content_part.done": StreamDecoder._part_done,
    "response.output_text.delta": StreamDecoder._text,
    "response.output_text.done": StreamDecoder._text_done,
    "response.output_text.annotation.added": StreamDecoder._annotation,
    "response.refusal.delta": StreamDecoder._refusal,
    "response.refusal.done": StreamDecoder._refusal_done,
    "response.reasoning_summary_text.delta": StreamDecoder._summary,
    "response.reasoning_summary_text.done": StreamDecoder._summary_done,
    "response.reasoning_text.delta": StreamDecoder._thought,
    "response.reasoning_text.done": StreamDecoder._thought_done,
    "response.reasoning.delta": StreamDecoder._thought,  # as Open Responses names it
    "response.reasoning.done": StreamDecoder._thought_done,
    "response.function_call_arguments.delta": StreamDecoder._args,
    "response.function_call_arguments.done": StreamDecoder._args_done,
    "response.custom_tool_call_input.delta": StreamDecoder._args,
    "response.custom_tool_call_input.done": StreamDecoder._args_done,
    **dict.fromkeys(TERMINAL, StreamDecoder._end),
    "error": StreamDecoder._error,
}
_CALLS = ("function_call", "custom_tool_call")
_DONE: dict[str, Callable[[StreamDecoder, _Item, Fields], list[Event]]] = {
    "message": StreamDecoder._message_done,
    "reasoning": StreamDecoder._reasoning_done,
    "function_call": StreamDecoder._call_done,
    "custom_tool_call": StreamDecoder._call_done,
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
    """Events of a whole answer: always one Finish or one ErrorEvent at the end."""
    if not isinstance(value, dict):
        return [ErrorEvent("retryable", "the upstream's answer is not an object")]
    if value.get("status") in ("failed", "cancelled"):
        return [failed_response(value)]
    found = read_error(value)
    if found is not None:
        return [error_event(found)]
    if not isinstance(value.get("output"), list):
        return [error_event(headless(value, "the upstream's answer has no output"))]
    events = StreamDecoder(make_id)._end({"response": value})
    return [event for event in events if not isinstance(event, End)]
