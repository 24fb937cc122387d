"""Outcomes, problems and the exception tree."""

from __future__ import annotations

import pytest

from engine.errors import (
    OUTCOMES,
    ConfigError,
    ExchangeError,
    PenstockError,
    Problem,
    Refuse,
    RequestError,
)


def test_everything_the_engine_raises_on_purpose_has_one_root() -> None:
    for kind in (ConfigError, RequestError, ExchangeError, Refuse):
        assert issubclass(kind, PenstockError)
    assert issubclass(Refuse, ExchangeError)


def test_an_exchange_error_keeps_what_the_client_may_know() -> None:
    error = ExchangeError("rate_limited", "slow down", status=429, code="rpm", retry_after=2.5)
    assert str(error) == "slow down"
    assert (error.cls, error.status, error.code, error.retry_after) == (
        "rate_limited",
        429,
        "rpm",
        2.5,
    )


def test_a_transforms_refusal_is_the_clients_fault_unless_it_says_otherwise() -> None:
    assert Refuse("too odd").cls == "invalid_request"
    assert Refuse("too long", cls="context_length").cls == "context_length"


def test_a_request_error_names_the_parameter() -> None:
    error = RequestError("model_not_found", "no such model", param="model")
    assert (error.kind, error.message, error.param) == (
        "model_not_found",
        "no such model",
        "model",
    )


def test_classes_that_cannot_pass_by_themselves_are_not_tried_again() -> None:
    assert {name for name, outcome in OUTCOMES.items() if outcome.retry} == {
        "rate_limited", "overloaded", "retryable", "truncated", "empty_response", "timeout",
        "connect", "unavailable",
    }  # fmt: skip
    assert {name for name, outcome in OUTCOMES.items() if outcome.renew} == {
        "auth_expired", "stale", "session_lost",
    }  # fmt: skip


def test_a_problem_shows_its_line_with_a_caret_under_it() -> None:
    problem = Problem(
        "kimi.yaml", 19, 5, "E101", "unknown key `x`", excerpt="    x: [stale]", length=1
    )
    assert str(problem) == (
        "kimi.yaml:19:5: error E101: unknown key `x`\n    19 |     x: [stale]\n       |     ^"
    )


def test_a_problem_of_a_whole_file_has_no_excerpt() -> None:
    problem = Problem("a.yaml", 0, 0, "W401", "shadowed", "warning")
    assert str(problem) == "a.yaml: warning W401: shadowed"


@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_caret_is_at_least_one_sign_long(length: int) -> None:
    shown = str(Problem("a", 1, 1, "E1", "m", excerpt="abc", length=length))
    assert shown.rpartition("| ")[2] == "^" * max(1, length)


def test_problems_sort_by_place() -> None:
    late, early = Problem("a", 10, 1, "E1", "m"), Problem("a", 9, 4, "E1", "m")
    assert sorted([late, early]) == [early, late]


def test_a_config_error_tells_all_its_problems() -> None:
    problems = [Problem("a", 1, 1, "E1", "one"), Problem("a", 2, 1, "E2", "two")]
    error = ConfigError(problems)
    assert error.problems == problems
    assert str(error) == "a:1:1: error E1: one\na:2:1: error E2: two"
