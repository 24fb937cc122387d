"""Lines of text."""

from __future__ import annotations

import pytest

from engine.parsers import lines
from tests.parsers.case import Case
from tests.parsers.cases_lines import LINES


@pytest.mark.parametrize("case", LINES, ids=lambda case: case.name)
def test_cut_anywhere(case: Case) -> None:
    case.run(lines)
