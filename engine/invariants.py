"""The order of an answer's events, watched while it runs: what breaks it is counted, not stopped.

The order is that of `engine/events.py`. The suite holds every stream to all of it
(tests/grammar.py); here stand the rules that cost next to nothing.

    unopened     a delta or a close of a block that is not open
    twice        a block opened a second time
    gap          block numbers that do not count up
    left_open    a block is open at the finish
    called       a finish for tools without a call, or calls without a finish for tools
"""

from __future__ import annotations

from .chat import ToolCall
from .events import Close, Event, Finish, Open, TextDelta

_CUT = ("length", "content_filter")


class Invariants:
    """One answer. `broken` counts by rule."""

    __slots__ = ("_calls", "_next", "_open", "broken")

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._next = 0
        self._calls = 0
        self.broken: dict[str, int] = {}

    def feed(self, events: list[Event]) -> None:
        opened = self._open
        for event in events:
            if type(event) is TextDelta:  # nearly all of them
                if event.block not in opened:
                    self._note("unopened")
            elif type(event) is Open:
                self._begin(event)
            elif type(event) is Close:
                if event.block in opened:
                    opened.discard(event.block)
                else:
                    self._note("unopened")
            elif (block := getattr(event, "block", None)) is not None and block not in opened:
                self._note("unopened")

    def _note(self, rule: str) -> None:
        self.broken[rule] = self.broken.get(rule, 0) + 1

    def _begin(self, event: Open) -> None:
        if event.block != self._next:
            self._note("twice" if event.block < self._next else "gap")
        self._next = max(self._next, event.block + 1)
        self._open.add(event.block)
        self._calls += isinstance(event.part, ToolCall)

    def finish(self, finish: Finish | None) -> None:
        """The answer is over; finish is None where it failed."""
        if finish is None:
            return
        if self._open:
            self._note("left_open")
        if (finish.reason == "tool_calls") != bool(self._calls) and finish.reason not in _CUT:
            self._note("called")
