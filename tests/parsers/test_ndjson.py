"""JSON, one value a line."""

from __future__ import annotations

import pytest

from engine.parsers import ndjson
from engine.parsers.ndjson import NdjsonFrames
from tests.kit import cuts
from tests.parsers.case import Case
from tests.parsers.cases_lines import NDJSON


@pytest.mark.parametrize("case", NDJSON, ids=lambda case: case.name)
def test_cut_anywhere(case: Case) -> None:
    case.run(ndjson)


def test_whole_lines_for_pass_through_wherever_they_are_cut() -> None:
    data = b'\xef\xbb\xbf{"a":"\xc3\xa9"}\r\n\n \n{"b":1}\n{"c":2}'
    for pieces in cuts(data):
        splitter = NdjsonFrames()
        lines = [line for piece in pieces for line in splitter.feed(piece)] + splitter.finish()
        assert lines == [b'{"a":"\xc3\xa9"}\n', b'{"b":1}\n', b'{"c":2}\n']
