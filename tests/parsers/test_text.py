"""Raw text."""

from __future__ import annotations

import pytest

from engine.parsers import text
from tests.parsers.case import Case
from tests.parsers.cases_lines import TEXT, WHOLE_TEXT


@pytest.mark.parametrize("case", [*TEXT, *WHOLE_TEXT], ids=lambda case: case.name)
def test_cut_anywhere(case: Case) -> None:
    case.run(text)
