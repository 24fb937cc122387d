"""Where in an answer a citation belongs, for APIs that tell it by characters.

Chat Completions and Responses do; of the others, Messages cite by whole blocks of text and Gemini
repeats the words that a page supports. So what a citation does not say is found in its text, which
in a stream has to be over first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from engine.chat import Citation, Opaque, Text
from engine.events import CitationDelta, Close, ErrorEvent, Event, Finish, Open, TextDelta

from .contract import Encoder
from .hosted import told


def placed(found: Citation, text: str, before: int = 0) -> Citation:
    """The citation with start and end, in characters. before: how many stand before the text."""
    if found.start is not None and found.end is not None:
        return found
    at = text.find(found.text) if found.text else -1
    start, end = (0, len(text)) if at < 0 else (at, at + len(found.text or ""))
    return replace(found, start=before + start, end=before + end)


class Placing:
    """An Encoder before which citations wait for the end of their text.

    joined: the texts of all blocks are one text for the client, with what is told between them
    quiet: nothing is told there
    """

    def __init__(self, encoder: Encoder, *, joined: bool, quiet: bool = False) -> None:
        self._encoder = encoder
        self._joined, self._quiet = joined, quiet
        self._before = 0
        self._texts: dict[int, list[str]] = {}
        self._notes: dict[int, list[Citation]] = {}
        self._last = (-1, "", 0)  # the text that was over last: its block, and what stood before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def feed(self, events: list[Event]) -> bytes:
        return self._encoder.feed([made for event in events for made in self._placed(event)])

    def finish(self) -> bytes:
        return self._encoder.finish()

    def ping(self) -> bytes | None:
        return self._encoder.ping()

    def _placed(self, event: Event) -> list[Event]:
        if isinstance(event, Open) and isinstance(event.part, Text):
            self._texts[event.block] = [event.part.text]
        elif isinstance(event, Open) and isinstance(event.part, Opaque):
            self._before += len(told(event.part, quiet=self._quiet))
        elif isinstance(event, TextDelta):
            self._texts.setdefault(event.block, []).append(event.text)
        elif isinstance(event, CitationDelta) and event.citation.end is None:
            if event.block == self._last[0]:
                return [CitationDelta(event.block, placed(event.citation, *self._last[1:]))]
            self._notes.setdefault(event.block, []).append(event.citation)
            return []
        elif isinstance(event, Close):
            return [*self._found(event.block), event]
        elif isinstance(event, Finish | ErrorEvent):
            self._notes.clear()
        return [event]

    def _found(self, block: int) -> list[Event]:
        """The citations of a block whose text is whole."""
        if block not in self._texts:
            return []
        text = "".join(self._texts.pop(block))
        before = self._before if self._joined else 0
        self._before += len(text)
        self._last = block, text, before
        notes = self._notes.pop(block, [])
        return [CitationDelta(block, placed(note, text, before)) for note in notes]
