"""Elements of a JSON array."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.parsers import json_array
from engine.parsers.json_array import JsonArrayParser
from tests.kit import cut_anywhere, deliver
from tests.parsers.case import Case, rec
from tests.parsers.cases_json import JSON_ARRAY


@pytest.mark.parametrize("case", JSON_ARRAY, ids=lambda case: case.name)
def test_cut_anywhere(case: Case) -> None:
    case.run(json_array)


text = st.text(st.sampled_from('ab"\\[]{},:é好😀\n'), max_size=6)
value = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
gap = st.sampled_from([",", " , ", "\n,\r\n", ",\n"])


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(value, max_size=4), gap, st.booleans(), st.booleans())
def test_elements_come_back(sent: list[object], gap: str, ascii_only: bool, last: bool) -> None:
    elements = [json.dumps(item, ensure_ascii=ascii_only) for item in sent]
    body = "[" + gap.join(elements) + gap * last + "]"
    cut_anywhere(JsonArrayParser, body.encode(), [rec(item.encode()) for item in elements])


def test_a_long_element_in_small_pieces_takes_linear_time() -> None:
    """Quadratic work would scan 20 GB here and run into the time limit."""
    draw = random.Random(7)
    element = b'{"a":"' + bytes(draw.choices(b"x\n{}[] ", k=200_000)) + b'"}'
    pieces = [element[at : at + 1] for at in range(len(element))]
    assert ([rec(element)], "") == deliver(JsonArrayParser(), [b"[", *pieces, b"]"])
