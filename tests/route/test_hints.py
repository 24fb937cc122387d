"""The word that was meant, and what says nothing new."""

from __future__ import annotations

import pytest

from engine.errors import Problem
from engine.route.hints import akin, as_list, did_you_mean, meant, nearest, without_echoes


def test_a_near_word_is_offered_and_else_the_few_there_are() -> None:
    assert did_you_mean("atempts", ["attempts", "for"]) == "; did you mean `attempts`?"
    assert did_you_mean("xyz", ["attempts", "for"]) == "; known here: attempts, for"
    assert did_you_mean("xyz", map(str, range(100, 120))) == ""
    assert nearest("xyz", ["attempts", "for"]) == ""


@pytest.mark.parametrize(
    ("word", "known", "found"),
    [
        ("jsonl", ["json", "ndjson"], "ndjson"),
        ("JSON-Lines", ["lines", "ndjson"], "ndjson"),
        ("jsonl", ["json"], "json"),
        ("GET", ["get"], "get"),
        ("xyz", ["get"], None),
        ("tolerant_snapshot", ["snapshot", "snapshot_tolerant"], "snapshot_tolerant"),
        ("input_tokens", ["input", "input_includes"], "input"),
        ("reasoning_signatur", ["reasoning", "reasoning_signature"], "reasoning_signature"),
        ("thinking", ["reasoning", "text"], "reasoning"),
    ],
)
def test_what_others_call_it_goes_before_what_looks_like_it(
    word: str, known: list[str], found: str | None
) -> None:
    assert found == meant(word, known)


@pytest.mark.parametrize(
    ("word", "known", "found"),
    [
        ("header", ["headers"], True),
        ("form", ["from"], True),
        ("token", ["bearer"], True),
        ("bearer", ["breaker"], False),
        ("xyz", ["from"], False),
    ],
)
def test_a_word_is_akin_to_its_other_forms_only(word: str, known: list[str], found: bool) -> None:
    assert found is akin(word, known)


def test_a_place_that_is_wrong_has_no_warning_beside() -> None:
    wrong = Problem("f", 1, 2, "E102", "must be true or false")
    same = Problem("f", 1, 2, "W004", "`yes` is text here", "warning")
    other = Problem("f", 3, 2, "W004", "`no` is text here", "warning")
    assert [wrong, other] == list(without_echoes([same, wrong, other]))


def test_a_reference_without_its_text_is_one_mistake() -> None:
    unset = Problem("f", 1, 2, "E201", "not set")
    echo = Problem("f", 1, 2, "E102", "must be a number")
    assert [unset] == list(without_echoes([echo, unset]))


@pytest.mark.parametrize(
    ("place", "word", "written"),
    [
        ("models", "m1", " (here: `[m1]`)"),
        ("models", "a b", ""),
        ("models", "", ""),
        ("extract.header", "X-Token", " (here: `[{ header: … }]`)"),
    ],
)
def test_a_list_of_one_is_shown(place: str, word: str, written: str) -> None:
    assert written == as_list(place, ("header", "json"), word)
