from __future__ import annotations

from engine.dialects import DIALECTS

from .dropped import PAGE, TARGETS, page


def test_the_page_says_what_becomes_of_each_field() -> None:
    """If not: `python -m tests.dropped --write`."""
    assert page() == PAGE.read_text("utf-8")


def test_every_dialect_is_a_target() -> None:
    assert set(DIALECTS) == set(TARGETS)
