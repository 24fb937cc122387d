"""When a failed attempt is made again: once per renewal, as often as the route says, in time."""

from __future__ import annotations

from random import Random

import pytest

from engine.errors import OUTCOMES
from engine.events import ErrorEvent
from engine.policies import Attempt, Decision, Deliver, Fail, Retry
from engine.policies.retry import Backoff, RetryPolicy

PLAIN = Backoff(1.0, 2.0, 5.0, jitter=False)


def decide(
    cls: str | None,
    *,
    number: int = 1,
    committed: bool = False,
    renewed: frozenset[str] = frozenset(),
    left: float = 100.0,
    retry_after: float | None = None,
    attempts: int = 3,
    classes: frozenset[str] | None = None,
    renewable: frozenset[str] = frozenset({"stale"}),
    calm: bool = True,
) -> Decision:
    error = None if cls is None else ErrorEvent(cls, "x", retry_after=retry_after)
    policy = RetryPolicy(attempts, classes, renewable, PLAIN)
    seen = Attempt(number, error, committed, renewed, left, Random(1), calm=lambda: calm)
    return policy(seen)


def test_a_good_answer_is_delivered() -> None:
    assert decide(None) == Deliver()
    assert decide(None, committed=True) == Deliver()


@pytest.mark.parametrize("cls", OUTCOMES)
def test_by_default_what_may_pass_is_tried_again(cls: str) -> None:
    expected = Retry(1.0) if OUTCOMES[cls].retry else Fail()
    assert decide(cls, renewable=frozenset()) == expected


@pytest.mark.parametrize("cls", OUTCOMES)
def test_after_the_commit_nothing_is_tried_again(cls: str) -> None:
    assert decide(cls, committed=True, classes=frozenset(OUTCOMES)) == Fail()


def test_a_route_says_itself_what_is_tried_again() -> None:
    classes = frozenset({"context_length"})
    assert decide("context_length", classes=classes) == Retry(1.0)
    assert decide("overloaded", classes=classes) == Fail()
    assert decide("overloaded", classes=frozenset()) == Fail()


@pytest.mark.parametrize("cls", ["overloaded", "connect", "timeout", "retryable", "truncated"])
def test_in_a_storm_an_upstream_that_failed_is_not_asked_again(cls: str) -> None:
    assert Fail() == decide(cls, calm=False)


def test_a_storm_keeps_no_account_from_its_turn() -> None:
    assert Retry(1.0) == decide("rate_limited", calm=False)
    assert Retry(renew="stale") == decide("stale", calm=False)


def test_attempts_are_counted_with_the_first() -> None:
    decisions = [decide("overloaded", number=number) for number in (1, 2, 3, 4)]
    assert decisions == [Retry(1.0), Retry(2.0), Fail(), Fail()]
    assert decide("overloaded", attempts=1) == Fail()


def test_a_class_is_renewed_once_and_that_is_no_attempt() -> None:
    assert decide("stale") == Retry(renew="stale")
    assert decide("stale", number=3) == Retry(renew="stale")
    assert decide("stale", renewed=frozenset({"stale"})) == Fail()
    assert decide("stale", renewed=frozenset({"auth_expired"})) == Retry(renew="stale")


def test_what_was_renewed_may_still_be_tried_again() -> None:
    renewable = frozenset({"overloaded"})
    assert decide("overloaded", renewable=renewable) == Retry(renew="overloaded")
    again = decide("overloaded", renewable=renewable, renewed=renewable)
    assert again == Retry(1.0)


def test_a_wait_the_upstream_asked_for_is_kept_if_there_is_time() -> None:
    assert decide("rate_limited", retry_after=30.0) == Retry(30.0)
    assert decide("rate_limited", retry_after=0.1) == Retry(1.0)
    assert decide("rate_limited", retry_after=30.0, left=30.0) == Fail()
    assert decide("rate_limited", retry_after=30.0, left=30.1) == Retry(30.0)
    assert decide("overloaded", left=0.5) == Fail()


def test_waits_grow_up_to_the_longest() -> None:
    assert [PLAIN.wait(number, Random(1)) for number in (1, 2, 3, 4, 50)] == [1, 2, 4, 5, 5]


def test_no_number_of_attempts_is_too_many_to_wait_for() -> None:
    assert PLAIN.wait(100_000, Random(1)) == 5.0


def test_jitter_is_between_nothing_and_the_wait() -> None:
    random, backoff = Random(1), Backoff(1.0, 2.0, 5.0, jitter=True)
    waits = [backoff.wait(3, random) for _ in range(200)]
    assert min(waits) >= 0
    assert max(waits) <= 4
    assert len(set(waits)) > 100
