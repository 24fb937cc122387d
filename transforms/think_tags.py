"""Split tagged text into channels: <think>...</think> becomes reasoning.

One regular expression finds the next mark, or what may become one at the end of the text; only
that is held back, so text flows as it comes and each character is looked at a bounded number of
times. Unless `anywhere` is set, the first ordinary text outside shuts the door: tags that an
answer merely talks about stay text.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from engine.transform import (
    ArgsDelta,
    CitationDelta,
    Close,
    Context,
    ErrorEvent,
    Event,
    Finish,
    Open,
    ReasoningDelta,
    RefusalDelta,
    SignatureDelta,
    TextDelta,
    option,
)

API = 1
Channel = Literal["text", "reasoning", "drop"]
Find = Callable[[str, int], re.Match[str] | None]
GAP = 64  # whitespace characters that may stand before a tag that counts
# What must not overtake held-back text. Usage, pings and notes may.
ORDERED = (
    Open,
    Close,
    ReasoningDelta,
    SignatureDelta,
    ArgsDelta,
    CitationDelta,
    RefusalDelta,
    Finish,
    ErrorEvent,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    open: str = option(doc="what begins it; empty: the answer starts inside")
    close: str = option(doc="what ends it; empty: it lasts to the end")
    to: Channel = option("reasoning", "where its content goes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    tags: dict[str, Channel] = option({"think": "reasoning"}, "tag name and where its content goes")
    marks: list[Mark] = option([], "pairs of marks that are not `<name>` and `</name>`")
    outside: Channel = option("text", "where everything else goes")
    anywhere: bool = option(
        False,
        "a tag counts everywhere, not only first in the answer or straight after a closed tag",
    )
    trim: bool = option(False, "leave out whitespace at both ends of every piece")
    inline: bool = option(False, "reasoning stays in the text, between its marks")


class Transform:
    def __init__(self, options: Options, context: Context) -> None:
        tags = [Mark(open=f"<{n}>", close=f"</{n}>", to=to) for n, to in options.tags.items()]
        marks = sorted([*tags, *options.marks], key=lambda mark: len(mark.open))
        self._marks = [(mark, _finder([mark.close])) for mark in marks if mark.open]
        self._outside, self._inline = options.outside, options.inline
        self._trim = options.trim and not options.inline
        self._gated = not options.anywhere
        self._seek = _finder([mark.open for mark, _ in self._marks], gated=self._gated)
        self._block = 0
        self._held = ""  # never more than whitespace and a possible beginning of a mark
        begun = next((mark for mark in marks if not mark.open), None)
        self._enter(begun, _finder([begun.close]) if begun else self._seek)

    def feed(self, event: Event) -> list[Event]:
        if isinstance(event, TextDelta):
            return self._text(event)
        if isinstance(event, ORDERED):
            return [*self.finish(), event]
        return [event]

    def finish(self) -> list[Event]:
        rest, self._held = self._held, ""
        if rest.strip():
            self._shut()
        return self._say(rest)

    def _text(self, event: TextDelta) -> list[Event]:
        self._block = event.block
        text, self._held = self._held + event.text, ""
        out: list[Event] = []
        at = 0
        while hit := self._find(text, at):
            out += self._say(text[at : hit.start()])
            if hit.lastindex is None:
                self._held = text[hit.start() :]
                return out
            out += self._cross(hit)
            at = hit.end()
        self._shut()
        rest = text[at:]
        if rest == event.text and self._channel == "text" and not self._trim:
            return [*out, event]
        return out + self._say(rest)

    def _cross(self, hit: re.Match[str]) -> list[Event]:
        """Pass a mark: out of the open one, or into the one that was found."""
        if self._mark:
            mark, sign = self._mark, self._mark.close
            self._enter(None, self._seek)
        else:
            mark, closer = self._marks[(hit.lastindex or 1) - 1]
            sign = mark.open
            self._enter(mark, closer)
        if not self._inline:
            return []
        kept = hit[0] if mark.to == "reasoning" else hit[0].removesuffix(sign)
        return [TextDelta(self._block, kept)] if kept else []

    def _enter(self, mark: Mark | None, find: Find) -> None:
        to = mark.to if mark else self._outside
        self._mark, self._find = mark, find
        self._channel = "text" if self._inline and to == "reasoning" else to
        self._space: list[str] | None = None  # trim: whitespace so far; None: nothing was said yet

    def _shut(self) -> None:
        """Ordinary text stands outside: no tag can follow straight."""
        if self._gated and self._mark is None:
            self._find = _nothing

    def _say(self, text: str) -> list[Event]:
        if self._trim:
            text = self._trimmed(text)
        if not text or self._channel == "drop":
            return []
        kind = ReasoningDelta if self._channel == "reasoning" else TextDelta
        return [kind(self._block, text)]

    def _trimmed(self, text: str) -> str:
        if self._space is None:
            text = text.lstrip()
            if not text:
                return ""
        body = text.rstrip()
        space = self._space or []
        if not body:
            space.append(text)
            self._space = space
            return ""
        self._space = [text[len(body) :]]
        return "".join(space) + body


def _finder(marks: list[str], *, gated: bool = False) -> Find:
    """What finds the next mark (`lastindex` counts them from 1) or a beginning of one (None).

    gated: only at the place asked for, after at most GAP whitespace characters. Of two marks that
    begin alike the shorter one wins, so that no cut of the text can change the outcome.
    """
    marks = [mark for mark in marks if mark]
    if not marks:
        return _nothing
    whole = [re.escape(mark) + "()" for mark in marks]
    begun = [re.escape(mark[:n]) + r"\Z" for mark in marks for n in range(1, len(mark))]
    either = "|".join([*whole, *begun])
    if gated:
        return re.compile(rf"\s{{0,{GAP}}}(?:{either}|\Z)").match
    return re.compile(either).search


def _nothing(text: str, at: int) -> None:
    """The finder where no mark counts."""
