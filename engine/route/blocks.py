"""Numbers, opens and closes blocks anew, after rules and transforms have had their say.

Rules and transforms give deltas in any order, with block numbers that are hints at best. What
leaves here obeys the grammar of `engine/events.py`: Open before deltas, contiguous numbers, each
block closed once; text and thinking never interleave, tool calls may. No delta is empty, no two
calls have the same id, and a call that was told whole has arguments.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.chat import Citation, Media, Opaque, Reasoning, Refusal, Text, ToolCall
from engine.events import (
    Annotation,
    ArgsDelta,
    CitationDelta,
    Close,
    Event,
    Open,
    ReasoningDelta,
    RefusalDelta,
    SignatureDelta,
    TextDelta,
)


class _Ended:
    """Kind of a text that its source has closed: it may be cited until something else begins."""


_PARTS = {TextDelta: Text, ReasoningDelta: Reasoning, RefusalDelta: Refusal}
_DELTAS = {Text: TextDelta, Reasoning: ReasoningDelta, Refusal: RefusalDelta}


class _Call:
    """An open tool call. said: some of its arguments were told."""

    __slots__ = ("custom", "number", "said")

    def __init__(self, number: int, custom: bool) -> None:
        self.number = number
        self.custom = custom
        self.said = False


class Blocks:
    """State of one answer's blocks. `calls` counts the tool calls opened, `shown` the pictures.

    kind, at  delta type and number of the prose block that is open
    beside    what only some clients have a place for; a citation whose text was over as an event
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._next = 0
        self.kind: type | None = None
        self.at = -1
        self._calls: dict[int, _Call] = {}  # hint -> open tool call
        self._waiting: dict[int, ArgsDelta] = {}  # calls whose name is not known yet
        self._ids: set[str] = set()
        self._head: Text | Reasoning | Refusal | None = None  # opened, and nothing said of it yet
        self.calls = self.shown = 0
        self._notes: list[Citation] = []  # came while no text was open
        self._last = -1  # the latest text block
        self.beside: list[Opaque | Citation | CitationDelta | Annotation | ToolCall] = []

    @property
    def opened(self) -> int:
        """How many blocks there have been."""
        return self._next

    @property
    def nameless(self) -> bool:
        """Arguments came for a call that has no name (yet)."""
        return bool(self._waiting)

    def feed(self, events: list[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            kind = type(event)
            if kind is self.kind:  # the common case: prose goes on
                if event.text:  # type: ignore[union-attr]
                    out.append(event if event.block == self.at else _moved(event, self.at))  # type: ignore[union-attr]
            elif kind in _PARTS:
                if event.text:  # type: ignore[union-attr]
                    self._prose(event, out)
            else:
                self._other(event, out)
        return out

    def _prose(self, event: Event, out: list[Event]) -> None:
        self._begin_prose(type(event), out)
        out.append(_moved(event, self.at))
        if self.kind is TextDelta:
            self._last = self.at
            notes, self._notes = self._notes, []
            self._cite(notes, out)

    def _begin_prose(
        self, kind: type, out: list[Event], part: Text | Reasoning | Refusal | None = None
    ) -> None:
        head = part or self._head
        self._end_prose(out)
        self.kind, self.at = kind, self._take()
        if head is None or type(head) is not _PARTS[kind]:
            head = _PARTS[kind]("")
        out.append(Open(self.at, head))

    def _other(self, event: Event, out: list[Event]) -> None:
        if isinstance(event, ArgsDelta):
            self._args(event, out)
        elif isinstance(event, SignatureDelta):
            if self.kind is not ReasoningDelta:
                self._begin_prose(ReasoningDelta, out)
            out.append(SignatureDelta(self.at, event.signature, event.encrypted))
        elif isinstance(event, Open):
            self._open(event, out)
        elif isinstance(event, Close):
            self._close(event.block, out)
        elif isinstance(event, CitationDelta):
            if self.kind in (TextDelta, _Ended):
                self._cite([event.citation], out)
            else:  # it may be about the text that comes or about the one before
                self._notes.append(event.citation)
        else:
            if isinstance(event, Annotation):
                self.beside.append(event)
            out.append(event)

    def _cite(self, notes: list[Citation], out: list[Event]) -> None:
        self.beside += notes
        out += [CitationDelta(self.at, note) for note in notes]

    def _open(self, event: Open, out: list[Event]) -> None:
        part = event.part
        if isinstance(part, ToolCall):
            self._begin(event.block, part, out)
        elif isinstance(part, Reasoning) and (part.signature or part.encrypted):
            self._begin_prose(ReasoningDelta, out, part)
        elif isinstance(part, Text | Reasoning | Refusal):
            if part.text:  # a block without text is opened by its first delta
                self._prose(_DELTAS[type(part)](0, part.text), out)
            else:
                self._end_prose(out)
                self._head = part
        else:  # an image or the like: whole in itself
            self._end_prose(out)
            number = self._take()
            self.shown += isinstance(part, Media)
            if isinstance(part, Opaque):
                self.beside.append(part)
            out += [Open(number, part), Close(number)]

    def _begin(self, hint: int, part: ToolCall, out: list[Event]) -> None:
        self._end_prose(out)
        self._end_call(hint, out)
        call = self._calls[hint] = _Call(self._take(), part.kind == "custom")
        self.beside += [part] if self.calls else []
        self.calls += 1
        ident = part.id if part.id and part.id not in self._ids else self._new_id()
        self._ids.add(ident)
        out.append(Open(call.number, ToolCall(ident, part.name, "", part.kind, part.extras)))
        self._argue(call, part.args, out)

    def _args(self, event: ArgsDelta, out: list[Event]) -> None:
        hint = event.block
        call = self._calls.get(hint)
        if call is not None:
            self._argue(call, event.json, out)
            return
        held = self._waiting.get(hint)
        if held is not None:
            event = ArgsDelta(
                hint, held.json + event.json, held.id or event.id, held.name or event.name
            )
        if not event.name:
            self._waiting[hint] = event
            return
        self._waiting.pop(hint, None)
        self._begin(hint, ToolCall(event.id, event.name, event.json), out)

    def _argue(self, call: _Call, json: str, out: list[Event]) -> None:
        if json:
            call.said = True
            out.append(ArgsDelta(call.number, json))

    def _close(self, hint: int, out: list[Event]) -> None:
        if hint in self._calls:
            self._end_call(hint, out)
        elif self.kind is TextDelta:
            self.kind, self._head = _Ended, None
        else:
            self._end_prose(out)

    def _end_call(self, hint: int, out: list[Event], *, whole: bool = True) -> None:
        """Close a call. One that was told whole and has no arguments takes none: `{}`."""
        call = self._calls.pop(hint, None)
        if call is None:
            return
        if whole and not call.said and not call.custom:
            out.append(ArgsDelta(call.number, "{}"))
        out.append(Close(call.number))

    def _end_prose(self, out: list[Event]) -> None:
        self._head = None
        if self.kind is not None:
            out.append(Close(self.at))
            self.kind, self.at = None, -1

    def _take(self) -> int:
        self._next += 1
        return self._next - 1

    def finish(self, *, whole: bool = True) -> list[Event]:
        """Close what is open. whole: the answer was not cut off for its length."""
        out: list[Event] = []
        self._end_prose(out)
        for hint in list(self._calls):
            self._end_call(hint, out, whole=whole)
        late = [self._late(note) for note in self._notes]
        self._notes = []
        self.beside += late
        return [*out, *late]

    def _late(self, note: Citation) -> CitationDelta | Annotation:
        """What becomes of a citation behind which no text came."""
        if self._last >= 0:
            return CitationDelta(self._last, note)
        return Annotation({"url": note.url, "title": note.title} if note.raw is None else note.raw)


def _moved(event: Event, block: int) -> Event:
    if isinstance(event, TextDelta):
        return TextDelta(block, event.text, event.logprobs)
    if isinstance(event, ReasoningDelta):
        return ReasoningDelta(block, event.text, event.summary)
    if isinstance(event, RefusalDelta):
        return RefusalDelta(block, event.text)
    return event
