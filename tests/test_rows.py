from __future__ import annotations

from pathlib import Path

import pytest

from .dialects import test_row_requests, test_row_usage, test_rows
from .dialects.pairs import COVERED, pairs_of
from .rows import PAGES, known, shown


def test_every_row_is_shown_by_a_test_or_said_to_be_missing() -> None:
    table = known()
    assert set(table["rows"]) - set(shown()) == set(table["missing"])


def test_tests_name_no_row_that_is_not_there() -> None:
    assert set(shown()) <= set(known()["rows"])


def test_exceptions_are_about_rows() -> None:
    table = known()
    assert {*table["differently"], *table["missing"]} <= set(table["rows"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages_are_what_the_tests_say(page: Path) -> None:
    """If not: `make test-rows`."""
    assert PAGES[page]() == page.read_text("utf-8")


@pytest.mark.parametrize("row", known()["pairs"])
def test_every_pair_of_a_row_has_its_test(row: str) -> None:
    assert all((test_rows, test_row_requests, test_row_usage))  # they fill COVERED
    assert set(pairs_of(row)) == COVERED.get(row, set())
