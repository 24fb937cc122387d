from __future__ import annotations

from random import Random

import pytest

from engine.chat import ToolCall
from engine.events import ErrorEvent, Finish
from engine.policies import Attempt, Beside, Call, Called, Deliver, Fail
from engine.policies.tools import ToolsPolicy

OWN = (ToolCall("c1", "echo", "{}"),)
CALLS = Finish("tool_calls")


def decided(called: Called | None, finish: Finish | None = CALLS) -> object:
    attempt = Attempt(1, None, False, frozenset(), 60.0, Random(1), finish=finish, called=called)
    return ToolsPolicy(2)(attempt)


def test_the_engines_calls_are_run() -> None:
    assert Call(OWN) == decided(Called(OWN, rounds=1))


def test_beside_the_clients_calls_they_are_run_for_its_next_request() -> None:
    assert Beside(OWN) == decided(Called(OWN, others=True, rounds=1))


@pytest.mark.parametrize("called", [None, Called(), Called(OWN, others=True, rounds=2)])
def test_what_is_the_clients_is_delivered(called: Called | None) -> None:
    assert Deliver() == decided(called)


@pytest.mark.parametrize("finish", [None, Finish("length"), Finish("content_filter")])
def test_calls_that_may_be_torn_are_not_run(finish: Finish | None) -> None:
    assert Deliver() == decided(Called(OWN), finish)


def test_rounds_come_to_an_end() -> None:
    message = "the model still calls tools after 2 rounds of them"
    assert Fail(ErrorEvent("fatal", message)) == decided(Called(OWN, rounds=2))
