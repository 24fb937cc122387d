"""Whether a route reads a field is found by playing a fixture without it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.replay.ablation import Ablation, Field, loose
from engine.replay.anatomy import Answered
from engine.replay.fixtures import Fixture, read_fixture
from engine.route.compile import Sources, compile_route
from engine.route.route import Route
from engine.shell.testing import WORLD
from engine.wire import HttpRequest, HttpResponse

CHAT = "version: 1\ndialect: openai_chat\nbase_url: https://example.com\nmodels: [m]\n"
ANSWER = {
    "choices": [{"message": {"content": "Hello"}, "finish_reason": "stop", "logo": 1}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}


def route() -> Route:
    found = compile_route(CHAT.encode(), "r.yaml", Sources())
    assert found.route is not None
    return found.route


def fixture(body: str, *, stream: bool = False) -> Fixture:
    tree: dict[str, Any] = {"fixture": 1, "route": "r"}
    messages = [{"role": "user", "content": "Hi"}]
    tree["client"] = {"json": {"model": "m", "stream": stream, "messages": messages}}
    expect = {"json": {"model": "m", "stream": stream, "messages": messages}}
    tree["exchanges"] = [{"expect": expect, "reply": {"body": body}}]
    return read_fixture(json.dumps(tree).encode(), "f.yaml", lambda name: b"")


def answers(body: str) -> list[tuple[int, Answered]]:
    request = HttpRequest("POST", "https://example.com/chat/completions")
    return [(0, Answered(request, HttpResponse(200), body.encode()))]


@pytest.mark.parametrize(
    ("way", "matters"),
    [
        ("choices [*] message content", True),
        ("choices [*] finish_reason", False),  # a whole answer without it has stopped
        ("usage prompt_tokens", True),
        ("choices [*] logo", False),
        ("id", False),
    ],
)
async def test_a_field_of_a_document_matters_if_the_answer_is_another_without_it(
    way: str, *, matters: bool
) -> None:
    body = json.dumps(ANSWER)
    ablation = Ablation(route(), fixture(body), WORLD)
    gone = Field("POST /chat/completions", "", tuple(way.split()))
    assert matters is await ablation.matters(gone, answers(body))


async def test_a_field_of_a_stream_that_passes_through_is_read_all_the_same() -> None:
    frames = [
        {"choices": [{"delta": {"content": "Hello"}}], "logo": 1},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    ]
    body = "".join(f"data: {json.dumps(frame)}\n\n" for frame in frames) + "data: [DONE]\n\n"
    ablation = Ablation(route(), fixture(body, stream=True), WORLD)
    found = [
        await ablation.matters(Field("POST /chat/completions", "", way), answers(body))
        for way in (("choices", "[*]", "delta", "content"), ("logo",))
    ]
    assert [True, False] == found


async def test_fields_of_another_call_or_kind_are_left() -> None:
    body = json.dumps(ANSWER)
    ablation, way = Ablation(route(), fixture(body), WORLD), ("usage", "prompt_tokens")
    for call, kind in (("POST /other", ""), ("POST /chat/completions", "other")):
        assert False is await ablation.matters(Field(call, kind, way), answers(body))


def test_requests_are_not_compared_where_the_order_tells_them_apart() -> None:
    made = loose(fixture("{}"))
    assert [None] == [each.expect.json for each in made.spec.exchanges]
