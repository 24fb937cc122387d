"""One JSON document."""

from __future__ import annotations

import pytest

from engine.parsers import json
from tests.parsers.case import Case
from tests.parsers.cases_json import JSON


@pytest.mark.parametrize("case", JSON, ids=lambda case: case.name)
def test_cut_anywhere(case: Case) -> None:
    case.run(json)
