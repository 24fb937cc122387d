from __future__ import annotations

from random import Random

import pytest

from engine.chat import ChatRequest
from engine.dialects import DIALECTS
from engine.route.endpoint import whole_request
from engine.route.route import Route
from engine.route.spec import RequestSpec
from engine.route.view import Asked
from tests.kit import route_of


def urls(made: Route, model: str) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """Where a whole answer and a stream are asked for."""
    found = []
    for stream in (False, True):
        chat = ChatRequest("openai_chat", model, [], stream=stream)
        asked = Asked("r", lambda chat=chat: chat, stream)  # type: ignore[misc]
        env = made.variables(asked, made.offers[model], 0.0, Random(1))
        request = made.render(env, chat, [], None)
        found.append((request.url, request.query))
    return found


def test_model_and_method_may_stand_in_the_path() -> None:
    made = route_of(
        "version: 1\nbase_url: https://made.example\ndialect: gemini\n"
        "models: [{ id: m, upstream: 'tuned model' }]"
    )
    head = "https://made.example/models/tuned%20model:"
    assert [
        (f"{head}generateContent", ()),
        (f"{head}streamGenerateContent", (("alt", "sse"),)),
    ] == urls(made, "m")


def test_other_paths_are_constants() -> None:
    request = whole_request(None, DIALECTS["openai_chat"])
    assert request.path is not None
    assert (True, "/chat/completions", {}) == (
        request.path.constant, request.path.source, request.query,
    )  # fmt: skip


def test_a_route_without_a_dialect_has_no_request_of_its_own() -> None:
    assert RequestSpec() == whole_request(None, None)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("{ headers: { X-A: b } }", ("/models/m:generateContent", ())),
        ("{ query: { key: k } }", ("/models/m:generateContent", (("key", "k"),))),
        ("{ path: /chat }", ("/chat", ())),
        ("{ path: '' }", ("", ())),
        ("{ url: https://other.example/x }", ("https://other.example/x", ())),
    ],
)
def test_a_request_without_a_path_goes_where_its_dialect_goes(
    request_: str, expected: tuple[str, tuple[tuple[str, str], ...]]
) -> None:
    made = route_of(
        "version: 1\nbase_url: https://made.example\ndialect: gemini\nmodels: [m]\n"
        f"request: {request_}"
    )
    url, query = urls(made, "m")[0]
    assert expected == (url.removeprefix("https://made.example"), query)


def test_what_a_route_writes_in_the_query_wins() -> None:
    made = route_of(
        "version: 1\nbase_url: https://made.example\ndialect: gemini\nmodels: [m]\n"
        "request: { query: { alt: json } }"
    )
    assert (("alt", "json"),) == urls(made, "m")[1][1]
