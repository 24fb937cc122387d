"""Factors of the estimate, learned from what upstreams tell. With servers:
tests/clients/test_counting.py."""

from __future__ import annotations

import pytest

from engine.chat import ChatRequest, Media, Message, Text
from engine.dialects.tokens import FACTOR, estimate
from engine.events import Usage
from engine.kept.counting import ENOUGH, EVERY, HIGHEST, KEPT, LOWEST, MODELS, Factors

LONG = ChatRequest("openai_chat", "m", [Message("user", [Text("word " * 400)])])


def read(factor: float) -> Usage:
    """What an upstream tells whose tokens are so many for each of ours."""
    return Usage(estimate(LONG, factor), 1)


def learned(*factors: float) -> Factors:
    known = Factors()
    for factor in factors:
        known.learn("r", "m", LONG, read(factor))
    return known


def test_it_takes_a_few_answers() -> None:
    few = [0.9] * (ENOUGH - 1)
    assert FACTOR == learned(*few).of("r", "m")
    assert pytest.approx(0.9, abs=0.01) == learned(*few, 0.9).of("r", "m")


def test_what_is_learned_is_of_one_route_and_model() -> None:
    known = learned(2.0, 2.0, 2.0)
    assert (FACTOR, FACTOR) == (known.of("r", "other"), known.of("other", "m"))


def test_rather_too_much_than_too_little() -> None:
    assert pytest.approx(1.5, abs=0.01) == learned(0.9, 1.0, 1.5, 1.0).of("r", "m")


def test_a_single_odd_answer_among_many_does_not_count() -> None:
    assert pytest.approx(1.0, abs=0.01) == learned(1.0, 1.0, 1.0, 3.9, 1.0, 1.0).of("r", "m")


@pytest.mark.parametrize(("told", "wanted"), [(0.01, LOWEST), (50.0, HIGHEST)])
def test_what_cannot_be_is_bounded(told: float, wanted: float) -> None:
    assert wanted == learned(*[told] * ENOUGH).of("r", "m")


def test_a_model_that_changes_is_learned_anew() -> None:
    known = learned(*[1.0] * KEPT, *[2.0] * (KEPT * EVERY))
    assert pytest.approx(2.0, abs=0.01) == known.of("r", "m")


def test_once_it_is_known_few_answers_are_looked_at() -> None:
    known = learned(*[1.0] * KEPT, *[2.0] * (EVERY - 1))
    assert pytest.approx(1.0, abs=0.01) == known.of("r", "m")


@pytest.mark.parametrize(
    ("chat", "usage"),
    [
        (LONG, None),
        (LONG, Usage(None, 5)),
        (LONG, Usage(0, 5)),
        (LONG, Usage(900, 5, estimated=True)),
        (ChatRequest("openai_chat", "m", [Message("user", [Text("hi")])]), Usage(900, 1)),
        (ChatRequest("openai_chat", "m", [Message("user", [*LONG.messages[0].parts,
            Media("image", data="AAAA")])]), Usage(900, 1)),
    ],
)  # fmt: skip
def test_what_tells_nothing_of_the_text_is_not_learned_from(
    chat: ChatRequest, usage: Usage | None
) -> None:
    known = Factors()
    for _ in range(ENOUGH):
        known.learn("r", "m", chat, usage)
    assert FACTOR == known.of("r", "m")


def test_only_so_many_models_are_remembered() -> None:
    known = Factors()
    for at in range(MODELS + 1):
        known.learn("r", f"m{at}", LONG, read(1.0))
    assert MODELS == len(known.known)
    assert ("r", "m0") not in known.known
