from __future__ import annotations

from random import Random

from engine.chat import ChatRequest
from engine.dialects import DIALECTS
from engine.route.endpoint import own_request
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
    request = own_request(DIALECTS["openai_chat"])
    assert request.path is not None
    assert (True, "/chat/completions", {}) == (
        request.path.constant, request.path.source, request.query,
    )  # fmt: skip


def test_a_route_without_a_dialect_has_no_request_of_its_own() -> None:
    assert RequestSpec() == own_request(None)
