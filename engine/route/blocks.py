"""Numbers, opens and closes blocks anew, after rules and transforms have had their say.

Rules and transforms give deltas in any order, with block numbers that are hints at best. What
leaves here obeys the grammar of `engine/events.py`: Open before deltas, contiguous numbers, each
block closed once; text and thinking never interleave, tool calls may.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.chat import Reasoning, Refusal, Text, ToolCall
from engine.events import (
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

_PARTS = {TextDelta: Text, ReasoningDelta: Reasoning, RefusalDelta: Refusal}


class Blocks:
    """State of one answer's blocks. `calls` counts the tool calls opened."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._next = 0
        self._kind: type | None = None  # delta type of the prose block now open
        self._at = -1  # its number
        self._calls: dict[int, int] = {}  # hint -> number of an open tool call
        self._waiting: dict[int, ArgsDelta] = {}  # calls whose name is not known yet
        self.calls = 0

    @property
    def opened(self) -> int:
        """How many blocks there have been."""
        return self._next

    def feed(self, events: list[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            kind = type(event)
            if kind is self._kind:  # the common case: prose goes on
                out.append(event if event.block == self._at else _moved(event, self._at))  # type: ignore[union-attr]
            elif kind in _PARTS:
                self._prose(event, out)
            else:
                self._other(event, out)
        return out

    def _prose(self, event: Event, out: list[Event]) -> None:
        self._end_prose(out)
        kind = type(event)
        self._kind, self._at = kind, self._take()
        out.append(Open(self._at, Reasoning() if kind is ReasoningDelta else _PARTS[kind]("")))
        out.append(_moved(event, self._at))

    def _other(self, event: Event, out: list[Event]) -> None:
        if isinstance(event, ArgsDelta):
            self._args(event, out)
        elif isinstance(event, SignatureDelta):
            if self._kind is not ReasoningDelta:
                self._prose(ReasoningDelta(0, ""), out)
                out.pop()
            out.append(SignatureDelta(self._at, event.signature, event.encrypted))
        elif isinstance(event, Open):
            self._open(event, out)
        elif isinstance(event, Close):
            self._close(event.block, out)
        elif isinstance(event, CitationDelta):
            if self._kind is TextDelta:
                out.append(CitationDelta(self._at, event.citation))
        else:
            out.append(event)

    def _open(self, event: Open, out: list[Event]) -> None:
        part = event.part
        if isinstance(part, ToolCall):
            self._begin(event.block, part, out)
        elif isinstance(part, Reasoning) and (part.signature or part.encrypted):
            self._end_prose(out)
            self._kind, self._at = ReasoningDelta, self._take()
            out.append(Open(self._at, part))

    def _begin(self, hint: int, part: ToolCall, out: list[Event]) -> None:
        self._end_prose(out)
        number = self._take()
        self._calls[hint] = number
        self.calls += 1
        args, part.args = part.args, ""
        out.append(Open(number, part))
        if args:
            out.append(ArgsDelta(number, args))

    def _args(self, event: ArgsDelta, out: list[Event]) -> None:
        hint = event.block
        number = self._calls.get(hint)
        if number is not None:
            if event.json:
                out.append(ArgsDelta(number, event.json))
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
        self._begin(hint, ToolCall(event.id or self._new_id(), event.name, event.json), out)

    def _close(self, hint: int, out: list[Event]) -> None:
        number = self._calls.pop(hint, None)
        if number is not None:
            out.append(Close(number))
        elif self._kind is not None:
            self._end_prose(out)

    def _end_prose(self, out: list[Event]) -> None:
        if self._kind is not None:
            out.append(Close(self._at))
            self._kind, self._at = None, -1

    def _take(self) -> int:
        self._next += 1
        return self._next - 1

    def finish(self) -> list[Event]:
        """Close what is open. Calls whose name never came are given out under an empty name."""
        out: list[Event] = []
        for hint, held in sorted(self._waiting.items()):
            self._begin(hint, ToolCall(held.id or self._new_id(), held.name, held.json), out)
        self._waiting.clear()
        self._end_prose(out)
        out += [
            Close(number) for _, number in sorted(self._calls.items(), key=lambda pair: pair[1])
        ]
        self._calls.clear()
        return out


def _moved(event: Event, block: int) -> Event:
    if isinstance(event, TextDelta):
        return TextDelta(block, event.text, event.logprobs)
    if isinstance(event, ReasoningDelta):
        return ReasoningDelta(block, event.text)
    if isinstance(event, RefusalDelta):
        return RefusalDelta(block, event.text)
    return event
