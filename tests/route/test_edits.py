from __future__ import annotations

from typing import Any

import pytest

from engine.wire import loads
from tests.kit import World, route_of

ROUTE = """
version: 1
dialect: openai_chat
base_url: https://a.example/v1
models: [m, { id: glm, set: { thinks: true } }]
vars: { thinks: false }
request:
  patch:
    - PATCH
"""
ANSWER = (
    b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
)


async def sent(patch: str, **body: Any) -> dict[str, Any]:
    """What the upstream is sent, the conversation left out."""
    async with World([ANSWER]) as world:
        await world.ask(route_of(ROUTE.replace("PATCH", patch)), **body)
        found: Any = loads(world.upstream.requests[0].body)
        return {key: value for key, value in found.items() if key not in ("messages", "model")}


@pytest.mark.rows("IF-11", "IB-10")
@pytest.mark.parametrize(
    ("patch", "body", "expected"),
    [
        ("{ default: { max_tokens: 4096 } }", {}, {"max_tokens": 4096}),
        ("{ default: { max_tokens: 4096 } }", {"max_tokens": 9}, {"max_tokens": 9}),
        ("{ clamp: { max_tokens: { min: 1024 } } }", {"max_tokens": 9}, {"max_tokens": 1024}),
        ("{ clamp: { max_tokens: { min: 1024 } } }", {"max_tokens": 2048}, {"max_tokens": 2048}),
        ("{ clamp: { max_tokens: { min: 1024 } } }", {}, {}),
        ("{ clamp: { top_p: { max: 0.5 } } }", {"top_p": 0.9}, {"top_p": 0.5}),
        ("{ clamp: { top_p: { max: 0.5 } } }", {"top_p": 0.1}, {"top_p": 0.1}),
        ("{ clamp: { stop: { max: 1 } } }", {"stop": "x"}, {"stop": "x"}),
        ("{ drop: temperature, set: { top_p: 1 } }", {"temperature": 2}, {"top_p": 1}),
        ("{ rename: { max_tokens: limit } }", {"max_tokens": 3}, {"limit": 3}),
        ("{ default: { a.b: 1 }, set: { a.c: 2 } }", {}, {"a": {"b": 1, "c": 2}}),
        ("{ when: vars.thinks, set: { x: 1 } }", {}, {}),
        ("{ when: vars.thinks, set: { x: 1 } }", {"model": "glm"}, {"x": 1}),
        (
            "{ when: req.max_tokens > 5, set: { x: 1 } }",
            {"max_tokens": 6},
            {"max_tokens": 6, "x": 1},
        ),
        ("{ drop: [a.b, a.z, q.r] }", {"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}),
    ],
)
async def test_a_parameter_is_what_the_route_says(
    patch: str, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert expected == await sent(patch, **body)


async def test_bounds_come_after_defaults() -> None:
    patch = "{ default: { max_tokens: 10 }, clamp: { max_tokens: { min: 20, max: 30 } } }"
    assert {"max_tokens": 20} == await sent(patch)
    assert {"max_tokens": 30} == await sent(patch, max_tokens=31)
