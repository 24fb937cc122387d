"""Events -> the events of a Responses stream.

    response.created → response.in_progress → items
    → response.completed | response.incomplete | response.failed

Each block of the answer is an item: `output_item.added`, what it says, `output_item.done` with the
whole item. A text is a message of one part. Items count from 0 in the order they begin and may
overlap. Every event has its `event:` line and a `sequence_number` that rises by one. An error after
the first byte is a `response.failed`, with what was said so far. There is no terminator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from engine.chat import ChatRequest, Media, Part, Reasoning, Refusal, Text, ToolCall
from engine.dialects.refused import why
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
    SignatureDelta,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
    merge_usage,
)
from engine.wire import dumps

from . import answer
from .answer import Fields, Maker
from .shown import KIND

PING = b": keepalive\n\n"
_LATE = -1  # block of what the end of an answer says


class _Item:
    """An item being sent. part: all that was said of it so far, once `join` was called.

    begun  its content part, or the summary part `at`, was announced
    raw    pieces of thinking that are no summary
    """

    __slots__ = ("after", "at", "begun", "head", "index", "middle", "part", "pieces", "raw")

    def __init__(self, part: Part, index: int) -> None:
        self.part = part
        self.index = index
        self.head: Fields = {}
        self.begun = False
        self.at = 0
        self.pieces: list[str] = []
        self.raw: list[str] = []
        self.middle = self.after = b""

    def join(self) -> str:
        return "".join(self.pieces)


class Encoder:
    """Events of one answer. document: the response object, once the answer is whole."""

    def __init__(
        self, request_id: str, model: str, created: int, request: ChatRequest | None = None
    ) -> None:
        self._response = answer.head(request_id, model, created, request)
        self._maker = Maker(request_id, request)
        self._number = 0
        self._started = self._over = False
        self._open: dict[int, _Item] = {}
        self._output: list[object] = []  # by index; None where an item is not done
        self._usage: Usage | None = None
        self.document: Fields | None = None

    def feed(self, events: list[Event]) -> bytes:
        """One byte string for all events. After Finish or ErrorEvent nothing comes any more."""
        if self._over:
            return b""
        out: list[bytes] = []
        for event in events:
            if type(event) is TextDelta and event.logprobs is None:
                item = self._open[event.block]
                if item.middle:
                    item.pieces.append(event.text)
                    out += (_TEXT, b"%d" % self._number, item.middle, dumps(event.text), item.after)
                    self._number += 1
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
        return None if self._over else PING

    def _event(self, name: str, out: list[bytes], /, **fields: object) -> None:
        value = {"type": name, "sequence_number": self._number, **fields}
        self._number += 1
        out.append(b"event: %b\ndata: %b\n\n" % (name.encode(), dumps(value)))

    def _start(self, event: Start | None, out: list[bytes]) -> None:
        if not self._started:
            self._started = True
            self._event("response.created", out, response=self._response)
            self._event("response.in_progress", out, response=self._response)

    # ---- items ----

    def _begin(self, event: Open, out: list[bytes]) -> None:
        index, part = len(self._output), self._maker.sayable(event.part)
        item = self._open[event.block] = _Item(_empty(part), index)
        found = self._maker.item(item.part, index, "in_progress")
        if found is None:
            return
        self._output.append(None)
        item.head = {"item_id": found.get("id"), "output_index": index}
        if isinstance(part, Reasoning):
            found.pop("encrypted_content", None)
        self._event("response.output_item.added", out, output_index=index, item=found)
        text = getattr(part, "args", getattr(part, "text", ""))
        if text:
            _SAYERS[type(part)](self, item, text, out)

    def _say(self, event: TextDelta, out: list[bytes]) -> None:
        item = self._open[event.block]
        told = answer.logprobs_of(event.logprobs) if event.logprobs is not None else []
        if told and isinstance(item.part, Text):
            kept = item.part.extras.setdefault("logprobs", [])
            kept += told  # type: ignore[operator]
        self._text(item, event.text, out, told)

    def _text(
        self, item: _Item, text: str, out: list[bytes], told: list[object] | None = None
    ) -> None:
        self._announce(item, out)
        item.pieces.append(text)
        self._event(
            "response.output_text.delta", out, **item.head, content_index=0, delta=text,
            logprobs=told or [],
        )  # fmt: skip
        place = dumps({**item.head, "content_index": 0})[1:-1]
        item.middle, item.after = b"," + place + b',"delta":', b',"logprobs":[]}\n\n'

    def _refuse(self, item: _Item, text: str, out: list[bytes]) -> None:
        self._announce(item, out)
        item.pieces.append(text)
        self._event("response.refusal.delta", out, **item.head, content_index=0, delta=text)

    def _announce(self, item: _Item, out: list[bytes]) -> None:
        """The one content part of a message."""
        if not item.begun:
            item.begun = True
            assert isinstance(item.part, Text | Refusal)
            part = answer.content(replace(item.part, text=""))
            self._event("response.content_part.added", out, **item.head, content_index=0, part=part)

    def _cite(self, event: CitationDelta, out: list[bytes]) -> None:
        item, note = self._open.get(event.block), answer.annotation(event.citation)
        if note is None or item is None or not isinstance(item.part, Text):
            return
        self._announce(item, out)
        at = len(item.part.citations)
        item.part.citations.append(event.citation)
        self._event(
            "response.output_text.annotation.added", out, **item.head, content_index=0,
            annotation_index=at, annotation=note,
        )  # fmt: skip

    # ---- thinking ----

    def _reason(self, event: ReasoningDelta, out: list[bytes]) -> None:
        self._think(self._open[event.block], event.text, out, event.summary)

    def _think(self, item: _Item, text: str, out: list[bytes], at: int | None = None) -> None:
        if at is None and not self._maker.summarises:
            if item.begun:
                self._end_summary(item, out)
            if not item.raw:  # the Node SDK wants it announced
                self._part("added", item, out, {"type": "reasoning_text", "text": ""})
            item.raw.append(text)
            self._event(
                "response.reasoning_text.delta", out, **item.head, content_index=0, delta=text
            )
            return
        at = at or 0
        if item.begun and at != item.at:
            self._end_summary(item, out)
        if not item.begun:
            item.begun, item.at = True, at
            text = text.removeprefix("\n\n") if at else text
            part = {"type": "summary_text", "text": ""}
            self._event(
                "response.reasoning_summary_part.added",
                out,
                **item.head,
                summary_index=at,
                part=part,
            )
        if text:
            item.pieces.append(text)
            self._event(
                "response.reasoning_summary_text.delta",
                out,
                **item.head,
                summary_index=at,
                delta=text,
            )

    def _end_summary(self, item: _Item, out: list[bytes]) -> None:
        text, item.begun, item.pieces = item.join(), False, []
        assert isinstance(item.part, Reasoning)
        item.part.summary = [*(item.part.summary or []), text]
        place = {**item.head, "summary_index": item.at}
        part = {"type": "summary_text", "text": text}
        self._event("response.reasoning_summary_text.done", out, **place, text=text)
        self._event("response.reasoning_summary_part.done", out, **place, part=part)

    def _sign(self, event: SignatureDelta, out: list[bytes]) -> None:
        part = self._open[event.block].part
        if isinstance(part, Reasoning):
            part.signature = (part.signature or "") + event.signature or None
            part.encrypted = event.encrypted or part.encrypted

    # ---- calls ----

    def _argue(self, event: ArgsDelta, out: list[bytes]) -> None:
        if event.json:
            self._args(self._open[event.block], event.json, out)

    def _args(self, item: _Item, text: str, out: list[bytes]) -> None:
        assert isinstance(item.part, ToolCall)
        custom = item.part.kind == "custom"
        name = "custom_tool_call_input" if custom else "function_call_arguments"
        item.pieces.append(text)
        self._event(f"response.{name}.delta", out, **item.head, delta=text)

    # ---- ends of items ----

    def _close(self, event: Close, out: list[bytes], status: str = "completed") -> None:
        item = self._open.pop(event.block)
        if not item.head:
            return
        end = _ENDS.get(type(item.part))
        if end is not None:
            end(self, item, out)
        found = self._maker.item(item.part, item.index, status)
        self._output[item.index] = found
        self._event("response.output_item.done", out, output_index=item.index, item=found)

    def _end_text(self, item: _Item, out: list[bytes]) -> None:
        assert isinstance(item.part, Text | Refusal)
        if not item.begun:
            return
        text = item.part.text = item.join()
        part, place = answer.content(item.part), {**item.head, "content_index": 0}
        if isinstance(item.part, Refusal):
            self._event("response.refusal.done", out, **place, refusal=text)
        else:
            told = part["logprobs"]
            self._event("response.output_text.done", out, **place, text=text, logprobs=told)
        self._event("response.content_part.done", out, **place, part=part)

    def _end_thinking(self, item: _Item, out: list[bytes]) -> None:
        if item.begun:
            self._end_summary(item, out)
        if item.raw:
            assert isinstance(item.part, Reasoning)
            text = item.part.text = "".join(item.raw)
            self._event(
                "response.reasoning_text.done", out, **item.head, content_index=0, text=text
            )
            self._part("done", item, out, {"type": "reasoning_text", "text": text})

    def _part(self, step: str, item: _Item, out: list[bytes], part: Fields) -> None:
        """The beginning or the end of the one content part of an item."""
        place = {**item.head, "content_index": 0}
        self._event(f"response.content_part.{step}", out, **place, part=part)

    def _end_call(self, item: _Item, out: list[bytes]) -> None:
        part = item.part
        assert isinstance(part, ToolCall)
        part.args = item.join()
        if part.kind == "custom":
            self._event("response.custom_tool_call_input.done", out, **item.head, input=part.args)
            return
        if not part.args:
            self._args(item, "{}", out)
            part.args = "{}"
        self._event(
            "response.function_call_arguments.done", out, **item.head,
            name=self._maker.named(part.name)["name"], arguments=part.args,
        )  # fmt: skip

    def _end_picture(self, item: _Item, out: list[bytes]) -> None:
        for step in ("in_progress", "generating", "completed"):
            self._event(f"response.{KIND}.{step}", out, **item.head)

    # ---- the end ----

    def _count(self, event: UsageEvent, out: list[bytes]) -> None:
        self._usage = merge_usage(self._usage, event.usage)

    def _done(self) -> list[object]:
        return [item for item in self._output if item is not None]

    def _finish(self, event: Finish, out: list[bytes]) -> None:
        self._start(None, out)
        if words := why(event):
            self._begin(Open(_LATE, Refusal(words)), out)
            self._close(Close(_LATE), out)
        self._over = True
        response = answer.ended(self._response, event, self._done(), self._usage)
        self.document = response
        self._event(f"response.{response['status']}", out, response=response)

    def _fail(self, event: ErrorEvent, out: list[bytes]) -> None:
        self._start(None, out)
        for block in list(self._open):
            self._close(Close(block), out, "incomplete")
        self._over = True
        response = answer.failed(self._response, event, self._done())
        self._event("response.failed", out, response=response)

    def _ping(self, event: Ping, out: list[bytes]) -> None:
        out.append(PING)


def _empty(part: Part) -> Part:
    """A copy of the part to fill, without what is said by deltas."""
    if isinstance(part, Text):
        return replace(part, text="", citations=[], extras={**part.extras})
    if isinstance(part, Reasoning):
        return replace(part, text="", summary=None)
    if isinstance(part, Refusal):
        return replace(part, text="")
    return replace(part, args="") if isinstance(part, ToolCall) else part


def stream_failure(event: ErrorEvent) -> bytes:
    """The event that ends a stream of which nothing is known here but that it has begun."""
    response = answer.failed(answer.head("req_", "", 0, None), event, [])
    value = {"type": "response.failed", "sequence_number": 0, "response": response}
    return b"event: response.failed\ndata: %b\n\n" % dumps(value)


_TEXT = (
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
    b'"sequence_number":'
)
_WRITERS: dict[type, Callable[[Encoder, Any, list[bytes]], None]] = {
    Start: Encoder._start,
    Open: Encoder._begin,
    TextDelta: Encoder._say,
    ReasoningDelta: Encoder._reason,
    SignatureDelta: Encoder._sign,
    RefusalDelta: lambda encoder, event, out: encoder._refuse(
        encoder._open[event.block], event.text, out
    ),
    ArgsDelta: Encoder._argue,
    CitationDelta: Encoder._cite,
    Close: Encoder._close,
    UsageEvent: Encoder._count,
    Finish: Encoder._finish,
    ErrorEvent: Encoder._fail,
    Ping: Encoder._ping,
}
_SAYERS: dict[type, Callable[[Encoder, _Item, str, list[bytes]], None]] = {
    Text: Encoder._text,
    Refusal: Encoder._refuse,
    Reasoning: Encoder._think,
    ToolCall: Encoder._args,
}
_ENDS: dict[type, Callable[[Encoder, _Item, list[bytes]], None]] = {
    Text: Encoder._end_text,
    Refusal: Encoder._end_text,
    Reasoning: Encoder._end_thinking,
    ToolCall: Encoder._end_call,
    Media: Encoder._end_picture,
}

__all__ = ["PING", "Encoder", "stream_failure"]
