from __future__ import annotations

from random import Random

import pytest

from engine.chat import Message, Text
from engine.events import ErrorEvent, Finish
from engine.policies import Attempt, Continue, Deliver, Said
from engine.policies.continuation import ContinuationPolicy

POLICY = ContinuationPolicy(frozenset({"length"}), 2, None)
SAID = Said("so far", "so far")
CUT = Finish("length")


def decided(
    said: Said | None = SAID,
    finish: Finish | None = CUT,
    policy: ContinuationPolicy = POLICY,
    error: ErrorEvent | None = None,
) -> object:
    attempt = Attempt(1, error, False, frozenset(), 60.0, Random(1), finish=finish, said=said)
    return policy(attempt)


def test_what_was_cut_off_goes_on_as_it_stands() -> None:
    assert Continue((Message("assistant", [Text("so far")]),)) == decided()


def test_or_is_asked_to_go_on() -> None:
    asking = ContinuationPolicy(frozenset({"length"}), 2, "Go on.")
    turns = (Message("assistant", [Text("so far")]), Message("user", [Text("Go on.")]))
    assert Continue(turns) == decided(policy=asking)


@pytest.mark.rows("TR-64")
@pytest.mark.parametrize(
    "said",
    [
        None,
        Said("ab", "b", "a", parts=3),
        Said("x", "x", calls=True),
        Said("x", "x", room=0),
        Said("ab", "  ", "ab", parts=2),
        Said("abab", "ab", "ab", parts=2),
    ],
    ids=["nothing known", "often enough", "a call", "no room", "nothing new", "the same again"],
)
def test_it_is_delivered_when_going_on_would_not_help(said: Said | None) -> None:
    assert Deliver() == decided(said)


@pytest.mark.parametrize("finish", [None, Finish("stop"), Finish("content_filter")])
def test_other_ends_are_ends(finish: Finish | None) -> None:
    assert Deliver() == decided(finish=finish)


def test_room_that_is_left_is_used() -> None:
    assert isinstance(decided(Said("x", "x", room=5)), Continue)
