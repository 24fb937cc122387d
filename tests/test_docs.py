"""Committed pages that are made from the code are what the code makes now."""

from __future__ import annotations

from pathlib import Path

from engine.errors import OUTCOMES
from engine.route.codes import CODES
from engine.route.filters import FILTERS, FUNCTIONS
from engine.route.reader import fields_of
from engine.route.schema import reference
from engine.route.spec import RouteSpec

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_reference_page_is_up_to_date() -> None:
    """If not: `python -m engine schema --docs > docs/reference.md`."""
    assert reference(RouteSpec) == (DOCS / "reference.md").read_text("utf-8")


def test_the_reference_page_names_everything_there_is() -> None:
    page = reference(RouteSpec)
    for word in (*fields_of(RouteSpec), *FILTERS, *FUNCTIONS, *OUTCOMES, *CODES):
        assert f"`{word}`" in page or f"`{word}(" in page, word


def test_every_link_of_the_reference_page_leads_somewhere() -> None:
    page = reference(RouteSpec)
    targets = {part.partition(")")[0] for part in page.split("](#")[1:]}
    assert targets
    for target in targets:
        assert f'<a id="{target}"></a>' in page, target
