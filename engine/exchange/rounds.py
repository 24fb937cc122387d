"""The client's side of an answer that goes on after calls of the engine's own tools were run.

A Sink around the real one. Calls of the engine's own tools stop here, everything else streams on;
blocks are numbered through all rounds, so that the client sees one answer. What it may see of the
calls is told as thinking: a call that it could see as one it would try to run.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from typing import Any

from engine.chat import Message, Part, Reasoning, Text, ToolCall
from engine.errors import ExchangeError
from engine.events import CONTENT, Close, Event, Finish, Folder, Open, ReasoningDelta, Usage
from engine.policies import Called
from engine.ports import Sink


class Rounds:
    """The Sink of an answer whose model may call tools of the engine. `onward` begins a round.

    own     the names of those tools, as the model knows them
    theirs  names of the client's tools, None where they cannot be told; all other names are made
            up by the model, and its calls of them stop here, too
    """

    def __init__(self, sink: Sink) -> None:
        self.own: Container[str] = ()
        self.theirs: Container[str] | None = None
        self.rounds = 0
        self._sink = sink
        self._next = 0  # number of the client's next block
        self._before = 0  # the same, when the round began
        self._blocks: dict[int, int] = {}  # the attempt's blocks, as the client counts them
        self._hidden: set[int] = set()
        self._others = False
        self._content = False  # the attempt has said something to the client
        self._folder = Folder()
        self._spent: list[Usage | None] = []

    @property
    def committed(self) -> bool:
        """Something of the current attempt has reached the client."""
        return self._content and (self.rounds > 0 or self._sink.committed)

    def tell(self, headers: dict[str, str]) -> None:
        self._sink.tell(headers)

    def restart(self) -> None:
        self._begin()
        if self.rounds == 0:
            self._sink.restart()

    def _begin(self) -> None:
        self._next = self._before
        self._blocks, self._hidden, self._folder = {}, set(), Folder()
        self._others = self._content = False

    # ---- rounds ----

    def called(self) -> Called:
        """What the last attempt called."""
        calls = self._folder.done().calls
        own = tuple(call for call in calls if self.stops(call))
        return Called(own, self._others, self.rounds)

    def stops(self, part: Part) -> bool:
        """Whether it is a call that is kept from the client."""
        return isinstance(part, ToolCall) and self._stops(part.name)

    def _stops(self, name: str) -> bool:
        """Whether calls of this tool are kept from the client."""
        return name in self.own or (self.theirs is not None and name not in self.theirs)

    def said(self) -> list[Part]:
        """The parts of the last attempt's answer."""
        return self._folder.done().parts

    def onward(self, usage: Usage | None, dialect: str) -> Message:
        """The attempt's turn, calls and thinking in it; what follows is another round.

        usage: what the attempt cost; dialect: the upstream's
        """
        parts = [part for part in self.said() if not _blank(part)]
        turn = Message("assistant", parts, dialect=dialect)
        self._spent.append(usage)
        self.rounds += 1
        self._before = self._next
        self._begin()
        return turn

    def usage(self, last: Usage | None) -> Usage | None:
        """Of all rounds: every one was paid for, what it read, too."""
        return summed([*self._spent, last]) if self._spent else last

    def show(self, text: str) -> None:
        """A word on what is going on, between two rounds."""
        if self._next == self._before:
            self._next += 1
            self._sink.send([Open(self._before, Reasoning())])
        self._sink.send([ReasoningDelta(self._before, text)])

    def shown(self) -> None:
        """Nothing more is shown before the next round."""
        if self._next > self._before:
            self._sink.send([Close(self._before)])
        self._before = self._next

    # ---- the Sink ----

    def send(self, events: list[Event]) -> bool:
        self._folder.feed(events)
        out = [told for event in events if (told := self._told(event)) is not None]
        self._content = self._content or any(isinstance(event, CONTENT) for event in out)
        return bool(out) and self._sink.send(out)

    async def drained(self) -> None:
        await self._sink.drained()

    def _told(self, event: Any) -> Event | None:
        """What the client sees of an event."""
        block = getattr(event, "block", None)
        if block is None:
            return event  # type: ignore[no-any-return]
        if isinstance(event, Open):
            if isinstance(event.part, ToolCall):
                if self._stops(event.part.name):
                    self._hidden.add(block)
                    return None
                self._others = True
            self._blocks[block] = self._next
            self._next += 1
        elif block in self._hidden:
            return None
        number = self._blocks[block]
        return event if number == block else replace(event, block=number)  # type: ignore[no-any-return]

    def forward(self, data: bytes, content: bool) -> bool:
        raise AssertionError("what passes through has no rounds")

    async def whole(self, body: bytes) -> None:
        raise AssertionError("what passes through has no rounds")

    async def end(self) -> None:
        raise AssertionError("what passes through has no rounds")

    async def finish(self, finish: Finish, usage: Usage | None) -> None:
        await self._sink.finish(finish, usage)

    async def fail(self, error: ExchangeError, frames: bytes = b"") -> None:
        await self._sink.fail(error, frames)


def _blank(part: Part) -> bool:
    """A text of white space before a call: some services give one, and refuse to have it back."""
    return isinstance(part, Text) and not part.text.strip()


_COUNTS = ("input", "output", "cache_read", "cache_write", "reasoning", "cache_write_1h")


def summed(spent: list[Usage | None]) -> Usage | None:
    """The usage of several calls. It is an estimate if one of them did not tell its own."""
    told = [usage for usage in spent if usage is not None]
    if not told:
        return None

    def total(name: str) -> int | None:
        counts = [count for usage in told if (count := getattr(usage, name)) is not None]
        return sum(counts) if counts else None

    guessed = len(told) < len(spent) or any(usage.estimated for usage in told)
    return Usage(**{name: total(name) for name in _COUNTS}, estimated=guessed)
