from __future__ import annotations

from engine.dialects.onward import onward
from engine.wire import HttpResponse

HEAD = HttpResponse(
    200,
    (
        ("X-Request-Id", "req_up"),
        ("x-ratelimit-remaining-requests", "7"),
        ("anthropic-ratelimit-tokens-reset", "2026-01-01T00:00:00Z"),
        ("openai-processing-ms", "12"),
        ("Set-Cookie", "a=b"),
        ("openai-organization", "org"),
        ("server", "x"),
    ),
)


def test_one_credential_is_told_its_limits() -> None:
    assert {
        "x-upstream-request-id": "req_up",
        "x-ratelimit-remaining-requests": "7",
        "anthropic-ratelimit-tokens-reset": "2026-01-01T00:00:00Z",
        "openai-processing-ms": "12",
    } == onward(HEAD, alone=True)


def test_of_a_pool_nobody_is_told_one_members_limits() -> None:
    assert {"x-upstream-request-id": "req_up", "openai-processing-ms": "12"} == onward(
        HEAD, alone=False
    )
