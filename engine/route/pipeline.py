"""From the bytes of one attempt to events: framing, record transforms, rules or decoder, event
transforms, numbering; and at the end the judgement whether the answer was whole.

A pipeline is made per attempt and never reused. `feed` gives content events only; the finish,
the usage, an error and what the answer taught the session are kept as attributes until the end.
`finish` answers what was held back; then `verdict` is the one Finish or ErrorEvent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from engine.errors import ExchangeError
from engine.events import (
    End,
    ErrorEvent,
    Event,
    Finish,
    Start,
    StateSet,
    TextDelta,
    Usage,
    UsageEvent,
    merge_usage,
)
from engine.parsers import FramingError, Parser
from engine.wire import JsonError, Record, loads, loads_frame

from .blocks import Blocks
from .sniff import sniff


class Reader(Protocol):
    """Rules or a dialect's decoder: records in, events out."""

    def feed(self, record: Record) -> list[Event]: ...
    def finish(self) -> list[Event]:
        """End of input: what was held back, all blocks closed. Then ask `verdict`."""
        out: list[Event] = []
        if self.error is None and not self._marked:
            if self._other is not None:  # the bytes never told
                out += self._parsed(self._parser.feed, self._head)
            out += self._parsed(self._parser.finish)
        try:
            if self.error is None:
                out += self._chain(self._reader.finish())
            out += self._flush()
        except ExchangeError as error:
            self.cause = error.__cause__
            self.error = _event(error)
        if self.error is None:
            cut = self.finish_event is not None and self.finish_event.reason == "length"
            out += self._blocks.finish(whole=not cut)
        return out

    def _flush(self) -> list[Event]:
        """`finish` of each transform; its events pass the transforms below it."""
        out: list[Event] = []
        for at, (_, finish) in enumerate(self._events):
            if finish is None:
                continue
            events = finish()
            for step, _ in self._events[at + 1 :]:
                if step is not None:
                    events = [made for event in events for made in step(event)]
            out += self._blocks.feed(self._sieve(events))
        return out

    def verdict(self) -> Finish | ErrorEvent:
        """How the answer ended. Call it after `finish`."""
        if self.error is not None:
            return self.error
        finish = self.finish_event or self._implied()
        if finish is None:
            return self._incomplete()
        if self._blocks.nameless and finish.reason != "length":
            return ErrorEvent("retryable", "the upstream called a tool without naming it")
        short = self.text_length < self.road.min_text and finish.reason != "content_filter"
        if short and not self._blocks.calls:
            return ErrorEvent("empty_response", "the upstream's answer has no text")
        if self._blocks.calls and finish.reason in ("stop", "other"):
            return replace(finish, reason="tool_calls")
        if finish.reason == "tool_calls" and not self._blocks.calls:
            return replace(finish, reason="stop")
        return finish

    def _implied(self) -> Finish | None:
        """The finish of an answer that does not tell one, where that is allowed."""
        road = self.road
        something = self.text_length or self._blocks.opened
        if road.whole:
            return Finish("stop") if something else None
        if road.finish_optional and (self._marked or something):
            return Finish("stop")
        return Finish("stop") if self._marked and not road.finishes else None

    def _incomplete(self) -> ErrorEvent:
        if self.seen == 0:
            return ErrorEvent("empty_response", "the upstream's answer was empty")
        if self.road.whole:
            return ErrorEvent("retryable", "the upstream's answer holds nothing the route reads")
        return ErrorEvent("truncated", "the upstream's answer ended before it was whole")


def _event(error: ExchangeError) -> ErrorEvent:
    return ErrorEvent(error.cls, error.message, error.status, error.code, error.retry_after)


_HELD = {UsageEvent, Finish, ErrorEvent, StateSet, Start, End}
