from __future__ import annotations

from engine.policies.continuation import ContinuationPolicy
from engine.policies.retry import RetryPolicy
from tests.kit import route_of

ROUTE = """
version: 1
dialect: openai_chat
base_url: https://a.example/v1
models: [m]
"""


def test_a_route_tries_again_and_nothing_else() -> None:
    (policy,) = route_of(ROUTE).policies
    assert isinstance(policy, RetryPolicy)


def test_a_route_that_goes_on_does_so_after_its_retries() -> None:
    text = ROUTE + "continuation: { max: 2, style: user_prompt, prompt: Go on. }\n"
    first, second = route_of(text).policies
    assert isinstance(first, RetryPolicy)
    assert ContinuationPolicy(frozenset({"length"}), 2, "Go on.") == second


def test_a_route_that_goes_on_passes_nothing_through() -> None:
    assert route_of(ROUTE).passthrough
    assert not route_of(ROUTE + "continuation: {}\n").passthrough
