"""The words of policies."""

from __future__ import annotations

from typing import get_args

from engine.policies import Call, Continue, Decision, Deliver, Fail, Retry


def test_decisions_are_values() -> None:
    assert Retry() == Retry(0.0, None)
    assert Retry(1.0) != Retry(1.0, "stale")
    assert Deliver() == Deliver()


def test_there_are_five_decisions() -> None:
    assert set(get_args(Decision)) == {Deliver, Retry, Continue, Call, Fail}
