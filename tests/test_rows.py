from __future__ import annotations

from .rows import PAGE, known, page, shown


def test_every_row_is_shown_by_a_test_or_said_to_be_missing() -> None:
    table = known()
    assert set(table["rows"]) - set(shown()) == set(table["missing"])


def test_tests_name_no_row_that_is_not_there() -> None:
    assert set(shown()) <= set(known()["rows"])


def test_exceptions_are_about_rows() -> None:
    table = known()
    assert {*table["differently"], *table["missing"]} <= set(table["rows"])


def test_the_page_is_what_the_tests_say() -> None:
    """If not: `make test-rows`."""
    assert page() == PAGE.read_text("utf-8")
