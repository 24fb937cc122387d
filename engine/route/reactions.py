"""What a route does about the outcome of an attempt: its policies, in the order they are asked."""

from __future__ import annotations

from collections.abc import Mapping

from engine.policies import Policy
from engine.policies.continuation import ContinuationPolicy
from engine.policies.retry import Backoff, RetryPolicy
from engine.policies.tools import ToolsPolicy

from .spec import ContinuationSpec, RouteSpec
from .values import ValuePlan


def policies_of(spec: RouteSpec, values: Mapping[str, ValuePlan]) -> tuple[Policy, ...]:
    policies: list[Policy] = [_retry(spec, values)]
    if spec.continuation is not None:
        policies.append(_continuation(spec.continuation))
    if spec.tools is not None:
        policies.append(ToolsPolicy(spec.tools.max_rounds))
    return tuple(policies)


def _continuation(spec: ContinuationSpec) -> ContinuationPolicy:
    prompt = spec.prompt if spec.style == "user_prompt" else None
    return ContinuationPolicy(frozenset(spec.finish), spec.max, prompt)


def _retry(spec: RouteSpec, values: Mapping[str, ValuePlan]) -> RetryPolicy:
    backoff = spec.retry.backoff
    renewable = {cls for plan in values.values() for cls in plan.refresh_for}
    if spec.session is not None:
        renewable.add("session_lost")
    if spec.auth.sign is not None:
        renewable.add("stale")  # signed by a clock that was wrong
    return RetryPolicy(
        spec.retry.attempts,
        None if spec.retry.for_ is None else frozenset(spec.retry.for_),
        frozenset(renewable),
        Backoff(
            float(backoff.initial), backoff.factor, float(backoff.max), backoff.jitter == "full"
        ),
        # Where others stand in, no long wait is worth it.
        float(backoff.max) if spec.fallback else float("inf"),
    )
