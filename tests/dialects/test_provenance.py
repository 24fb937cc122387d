"""Signatures on their way through clients of other dialects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chat import Reasoning, Text
from engine.dialects.provenance import read_thought, tagged, tagger, untagged
from engine.events import Event, Open, SignatureDelta, TextDelta


@given(st.text(min_size=1, max_size=20), st.sampled_from(["gemini", "anthropic_messages"]))
def test_a_signature_comes_back_byte_for_byte_with_its_origin(text: str, origin: str) -> None:
    carried = tagged(text, origin)
    if not text.startswith("penstock."):
        assert (text, origin) == untagged(carried, "home")
    assert carried == tagged(carried, "other")


def test_without_a_tag_it_is_at_home() -> None:
    assert ("EqQB", "home") == untagged("EqQB", "home")
    assert ("penstock.x", "home") == untagged("penstock.x", "home")
    assert ("", "") == (tagged("", "gemini"), tagged("", ""))


def test_thinking_that_came_back_knows_where_it_is_from() -> None:
    own = Reasoning("hm", signature="EqQB", origin="home")
    assert own is read_thought(own, "home")
    carried = Reasoning("hm", signature="penstock.gemini.AbC=", origin="home")
    assert Reasoning("hm", signature="AbC=", origin="gemini") == read_thought(carried, "home")
    hidden = Reasoning(encrypted="penstock.openai_responses.gAAA", origin="home")
    assert Reasoning(encrypted="gAAA", origin="openai_responses") == read_thought(hidden, "home")


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (SignatureDelta(1, "a"), SignatureDelta(1, "penstock.gemini.a")),
        (SignatureDelta(1, "", "b"), SignatureDelta(1, "", "penstock.gemini.b")),
        (
            Open(0, Reasoning(signature="a")),
            Open(0, Reasoning(signature="penstock.gemini.a")),
        ),
        (
            Open(0, Reasoning(encrypted="b")),
            Open(0, Reasoning(encrypted="penstock.gemini.b")),
        ),
        (Open(0, Reasoning()), Open(0, Reasoning())),
        (Open(0, Text("")), Open(0, Text(""))),
        (TextDelta(0, "a"), TextDelta(0, "a")),
    ],
)
def test_signatures_of_an_answer_get_the_tag_and_nothing_else(event: Event, told: Event) -> None:
    assert [told] == tagger("gemini")(event)
