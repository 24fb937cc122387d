from __future__ import annotations

import pytest

from engine.dialects import DIALECTS

from . import left
from .dropped import PAGE, TARGETS, page


def test_the_page_says_what_becomes_of_each_field() -> None:
    """If not: `python -m tests.dropped --write`."""
    assert page() == PAGE.read_text("utf-8")


def test_every_dialect_is_a_target() -> None:
    assert set(DIALECTS) == set(TARGETS) == set(left.TARGETS) == set(left.UPSTREAMS)


@pytest.mark.parametrize("upstream", left.UPSTREAMS)
def test_nothing_of_an_answer_is_lost_without_a_word_but_what_is_listed(upstream: str) -> None:
    fields = left.UPSTREAMS[upstream]
    fates = {name: [left.fate(upstream, body, client) for client in TARGETS]
             for name, body in fields.items()}  # fmt: skip
    assert {name for name, found in fates.items() if "not" in found} == left.UNTOLD & {*fields}
