"""JSON, one value a line."""

from __future__ import annotations

import pytest

from engine.parsers import ndjson
from tests.parsers.case import Case
from tests.parsers.cases_lines import NDJSON


@pytest.mark.parametrize("case", NDJSON, ids=lambda case: case.name)
def test_cut_anywhere(case: Case) -> None:
    case.run(ndjson)
