"""The client's side of an answer that several attempts make, or that is held back whole.

Both are Sinks around the real one. `Joined` numbers the blocks on and keeps the last text block
open until it is known that no attempt follows; what a continuation repeats at the seam is not told
twice. `Held` gives nothing away before the answer is whole, so that it can be tried again at any
point.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from engine.chat import ChatRequest, Text, ToolCall
from engine.errors import ExchangeError
from engine.events import CONTENT, ArgsDelta, Close, Event, Finish, Open, TextDelta, Usage
from engine.policies import Said
from engine.ports import Sink

SEAM = 256  # characters looked at on each side of a seam
LEAST = 12  # fewer that repeat are chance


def overlap(before: str, after: str) -> int:
    """How many characters at the beginning of `after` are the end of `before`."""
    tail = before[-SEAM:]
    for length in range(min(len(tail), len(after)), LEAST - 1, -1):
        if tail.endswith(after[:length]):
            return length
    return 0


class Joined:
    """The Sink of an answer that may go on. `onward` begins its next part."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._parts = 1
        self._next = 0  # number of the client's next block
        self._blocks: dict[int, int] = {}  # the attempt's blocks, as the client counts them
        self._left: int | None = None  # the text block that is still open for the client
        self._texts: set[int] = set()
        self._seam: str | None = None  # the beginning of a continuation, until it is compared
        self._pieces: list[str] = []
        self._text = ""  # all of the parts before
        self._before = ""
        self._calls = False
        self._content = False  # the attempt has said something
        self._usage: Usage | None = None

    @property
    def committed(self) -> bool:
        """Something of the current attempt has reached the client."""
        return self._content and (self._parts > 1 or self._sink.committed)

    def tell(self, headers: dict[str, str]) -> None:
        self._sink.tell(headers)

    def restart(self) -> None:
        self._blocks, self._content, self._pieces = {}, False, []
        self._seam = "" if self._parts > 1 else None
        if self._parts == 1:
            self._next, self._left, self._calls = 0, None, False
            self._texts.clear()
            self._sink.restart()

    # ---- parts ----

    def said(self, usage: Usage | None, chat: ChatRequest) -> Said:
        """What there is so far; usage is that of the last attempt."""
        fresh, limit = self._fresh(), chat.out.max_tokens
        told = usage.output if usage else None
        spent = told if told is not None else len(fresh) // 4
        return Said(
            self._text + fresh,
            fresh,
            self._before,
            self._parts,
            self._calls,
            None if limit is None else limit - spent,
        )

    def _fresh(self) -> str:
        fresh = "".join(self._pieces)
        if self._seam is None:
            return fresh
        return fresh + self._seam[overlap(self._text, self._seam) :]

    def onward(self, usage: Usage | None) -> None:
        """The attempt is over and another one goes on with the answer."""
        self._end_seam()
        fresh = "".join(self._pieces)
        self._text, self._before, self._pieces = self._text + fresh, fresh, []
        self._usage = summed(self._usage, usage)
        self._parts += 1
        self._blocks, self._content, self._seam = {}, False, ""

    def usage(self, last: Usage | None) -> Usage | None:
        """Of all parts: what was read first, all that was written."""
        return summed(self._usage, last)

    @property
    def continues(self) -> bool:
        """Whether a part before the current one was delivered."""
        return self._parts > 1

    # ---- the Sink ----

    def send(self, events: list[Event]) -> bool:
        out: list[Event] = []
        for event in events:
            self._content = self._content or isinstance(event, CONTENT)
            self._one(event, out)
        return bool(out) and self._sink.send(out)

    async def drained(self) -> None:
        await self._sink.drained()

    def _one(self, event: Event, out: list[Event]) -> None:
        if isinstance(event, Open):
            self._open(event, out)
        elif isinstance(event, Close):
            number = self._blocks[event.block]
            if number in self._texts:
                self._flush(out)
                self._left = number
            else:
                out.append(Close(number))
        elif isinstance(event, TextDelta):
            self._say(event, out)
        else:
            self._calls = self._calls or isinstance(event, ArgsDelta)
            out.append(self._moved(event))

    def _moved(self, event: Any) -> Event:
        block = getattr(event, "block", None)
        return event if block is None else replace(event, block=self._blocks[block])  # type: ignore[no-any-return]

    def _open(self, event: Open, out: list[Event]) -> None:
        text = isinstance(event.part, Text)
        if text and self._left is not None and self._seam is not None and not self._blocks:
            self._blocks[event.block], self._left = self._left, None
            return
        self._flush(out)
        self._shut(out)
        number = self._blocks[event.block] = self._next
        self._next += 1
        self._calls = self._calls or isinstance(event.part, ToolCall)
        if text:
            self._texts.add(number)
        out.append(replace(event, block=number))

    def _say(self, event: TextDelta, out: list[Event]) -> None:
        number = self._blocks[event.block]
        if self._seam is None:
            self._pieces.append(event.text)
            out.append(event if number == event.block else replace(event, block=number))
            return
        self._seam += event.text
        if len(self._seam) >= SEAM:
            self._flush(out)

    def _flush(self, out: list[Event]) -> None:
        """The seam is over: what it adds goes out."""
        if not self._seam:
            return
        fresh, self._seam = self._seam[overlap(self._text, self._seam) :], None
        if fresh:
            self._pieces.append(fresh)
            out.append(TextDelta(max(self._texts), fresh))

    def _shut(self, out: list[Event]) -> None:
        if self._left is not None:
            out.append(Close(self._left))
            self._left = None

    def _end_seam(self) -> None:
        out: list[Event] = []
        self._flush(out)
        if out:
            self._sink.send(out)

    def _over(self) -> None:
        out: list[Event] = []
        self._flush(out)
        self._shut(out)
        if out:
            self._sink.send(out)

    def forward(self, data: bytes, content: bool) -> bool:
        raise AssertionError("what passes through cannot be continued")

    async def whole(self, body: bytes) -> None:
        raise AssertionError("what passes through cannot be continued")

    async def end(self) -> None:
        raise AssertionError("what passes through cannot be continued")

    async def finish(self, finish: Finish, usage: Usage | None) -> None:
        self._over()
        await self._sink.finish(finish, usage)

    async def fail(self, error: ExchangeError, frames: bytes = b"") -> None:
        self._end_seam()
        await self._sink.fail(error, frames)


class Held:
    """The Sink of an answer that is given whole or not at all."""

    committed = False

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._events: list[Event] = []
        self._bytes: list[bytes] = []

    def tell(self, headers: dict[str, str]) -> None:
        self._sink.tell(headers)

    def restart(self) -> None:
        self._events.clear()
        self._bytes.clear()
        self._sink.restart()

    def send(self, events: list[Event]) -> bool:
        self._events += events
        return False

    async def drained(self) -> None:
        """Nothing was sent yet."""

    def forward(self, data: bytes, content: bool) -> bool:
        self._bytes.append(data)
        return False

    async def whole(self, body: bytes) -> None:
        await self._sink.whole(body)

    async def finish(self, finish: Finish, usage: Usage | None) -> None:
        if self._events:
            self._sink.send(self._events)
        await self._sink.finish(finish, usage)

    async def end(self) -> None:
        self._sink.forward(b"".join(self._bytes), True)
        await self._sink.end()

    async def fail(self, error: ExchangeError, frames: bytes = b"") -> None:
        await self._sink.fail(error)


def summed(first: Usage | None, last: Usage | None) -> Usage | None:
    """The usage of an answer in parts: the first one's input, the output of all."""
    if first is None or last is None:
        return first or last

    def plus(name: str) -> Any:
        values = [getattr(usage, name) for usage in (first, last)]
        return None if None in values else sum(values)

    return replace(
        first,
        output=plus("output"),
        reasoning=plus("reasoning"),
        estimated=first.estimated or last.estimated,
        raw=None,
    )
