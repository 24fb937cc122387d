"""The words of policies."""

from __future__ import annotations

from random import Random
from typing import get_args

from engine.policies import (
    Attempt,
    Beside,
    Call,
    Continue,
    Decision,
    Deliver,
    Fail,
    Retry,
    decide,
)


def test_decisions_are_values() -> None:
    assert Retry() == Retry(0.0, None)
    assert Retry(1.0) != Retry(1.0, "stale")
    assert Deliver() == Deliver()


def test_the_first_answer_that_is_not_deliver_wins() -> None:
    seen = Attempt(1, None, False, frozenset(), 1.0, Random(1))
    assert Deliver() == decide((), seen)
    assert Fail() == decide((lambda a: Deliver(), lambda a: Fail(), lambda a: Retry()), seen)


def test_there_are_six_decisions() -> None:
    assert set(get_args(Decision)) == {Deliver, Retry, Continue, Call, Beside, Fail}
