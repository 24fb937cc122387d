"""AWS event stream."""

from __future__ import annotations

import pytest

from engine.parsers import aws_eventstream
from tests.parsers.case import Case
from tests.parsers.cases_binary import AWS


@pytest.mark.parametrize("case", AWS, ids=lambda case: case.name)
def test_cut_anywhere(case: Case) -> None:
    case.run(aws_eventstream)
