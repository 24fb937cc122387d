"""Where citations belong. With SDKs and servers: tests/clients/test_searching.py."""

from __future__ import annotations

import pytest

from engine.chat import Citation, Text
from engine.dialects.cited import Placing, placed
from engine.events import CitationDelta, Close, ErrorEvent, Event, Finish, Open, TextDelta


class Recorder:
    """An encoder that only notes what it is given."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def feed(self, events: list[Event]) -> bytes:
        self.events += events
        return b""

    def finish(self) -> bytes:
        return b""

    def ping(self) -> bytes | None:
        return None


BARE = Citation("web", "https://a")
WORDS = Citation("web", "https://b", text="flows")


@pytest.mark.parametrize(
    ("found", "before", "wanted"),
    [
        (BARE, 0, (0, 14)),
        (BARE, 5, (5, 19)),
        (WORDS, 0, (9, 14)),
        (WORDS, 5, (14, 19)),
        (Citation("web", "https://c", text="of its page"), 0, (0, 14)),
        (Citation("web", "https://d", start=1, end=2), 5, (1, 2)),
    ],
)
def test_a_citation_stands_at_its_words_or_at_all_of_them(
    found: Citation, before: int, wanted: tuple[int, int]
) -> None:
    made = placed(found, "The Aare flows", before)
    assert wanted == (made.start, made.end)


def said(joined: bool, *events: Event) -> list[Event]:
    recorder = Recorder()
    placing = Placing(recorder, joined=joined)
    for event in events:
        placing.feed([event])
    return recorder.events


def text(block: int, *notes: Citation) -> list[Event]:
    """A citation may come before, between and behind the pieces of its text."""
    pieces: list[Event] = [TextDelta(block, "The Aare "), TextDelta(block, "flows")]
    return [Open(block, Text("")), *(CitationDelta(block, note) for note in notes), *pieces]


@pytest.mark.parametrize(("joined", "wanted"), [(True, (23, 28)), (False, (9, 14))])
def test_it_waits_for_the_end_of_its_text(joined: bool, wanted: tuple[int, int]) -> None:
    events = said(joined, *text(0), Close(0), *text(1, WORDS), Close(1), Finish("stop"))
    (found,) = [event for event in events if isinstance(event, CitationDelta)]
    assert wanted == (found.citation.start, found.citation.end)
    assert [CitationDelta, Close, Finish] == [type(event) for event in events[-3:]]


def test_one_that_knows_its_place_does_not_wait() -> None:
    known = Citation("web", "https://d", start=1, end=2)
    events = said(True, *text(0, known))
    assert CitationDelta(0, known) == events[1]


def test_one_that_comes_when_its_text_is_over_stands_there_too() -> None:
    late = CitationDelta(1, WORDS)
    events = said(True, *text(0), Close(0), *text(1), Close(1), late, Finish("stop"))
    found = events[-2]
    assert isinstance(found, CitationDelta)
    assert (23, 28) == (found.citation.start, found.citation.end)


def test_an_answer_that_breaks_off_cites_nothing_more() -> None:
    error = ErrorEvent("truncated", "cut")
    assert error == said(True, *text(0, WORDS), error)[-1]
