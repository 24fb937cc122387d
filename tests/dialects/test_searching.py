"""Searches of a provider in the words of another. With SDKs and servers:
tests/clients/test_searching.py."""

from __future__ import annotations

from typing import Any

import pytest

from engine.chat import ChatRequest
from engine.dialects import DIALECTS
from engine.dialects.profile import Profile
from engine.dialects.searching import searched
from engine.dialects.written import write
from engine.errors import RequestError

from .crossing import parsed

C, R, A, G, L = "openai_chat", "openai_responses", "anthropic_messages", "gemini", "ollama"
SEARCHES = Profile(web_search="with_tools")
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
ASKED: dict[str, dict[str, Any]] = {
    C: {"web_search_options": {}},
    R: {"tools": [{"type": "web_search"}]},
    A: {"tools": [{"type": "web_search_20260318", "name": "web_search"}]},
    G: {"tools": [{"googleSearch": {}}]},
}


def body(request: ChatRequest, target: str, profile: Profile = SEARCHES) -> dict[str, Any]:
    return write(DIALECTS[target], request, "m", profile).body


@pytest.mark.parametrize("client", ASKED)
def test_an_upstream_without_any_is_as_if_none_were_known(client: str) -> None:
    request = parsed(client, ASKED[client])
    assert request is searched(request, L, SEARCHES)


@pytest.mark.parametrize("client", ASKED)
def test_the_upstreams_own_client_is_left_alone(client: str) -> None:
    request = parsed(client, ASKED[client])
    assert request is searched(request, client, SEARCHES)


def test_what_the_other_api_has_no_field_for_is_named() -> None:
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3,
            "blocked_domains": ["b.example"], "response_inclusion": "full"}  # fmt: skip
    request = parsed(A, {"tools": [tool]})
    assert [{"type": "web_search"}] == body(request, R)["tools"]
    names = ["blocked_domains", "max_uses", "response_inclusion"]
    assert [f"web_search.{name}" for name in names] == sorted(request.dropped)


def test_what_only_says_how_the_tool_is_called_means_nothing() -> None:
    tool = {"type": "web_search_20250305", "name": "web_search", "allowed_callers": ["direct"],
            "cache_control": {"type": "ephemeral"}}  # fmt: skip
    request = parsed(A, {"tools": [tool]})
    assert [{"googleSearch": {}}] == body(request, G)["tools"]
    assert [] == request.dropped


def test_only_one_list_of_domains_goes_to_an_api_that_takes_one() -> None:
    filters = {"allowed_domains": ["a.example"], "blocked_domains": ["b.example"]}
    request = parsed(R, {"tools": [{"type": "web_search", "filters": filters}]})
    (tool,) = body(request, A)["tools"]
    assert ["a.example"] == tool["allowed_domains"]
    assert ("blocked_domains" in tool, ["web_search.blocked_domains"]) == (False, request.dropped)


def test_a_search_of_what_is_kept_is_not_turned_into_one_of_the_web() -> None:
    kept = {"type": "web_search", "external_web_access": False}
    request = parsed(R, {"tools": [kept, LOOK]})
    assert ["look"] == [tool["name"] for tool in body(request, A)["tools"]]
    assert ["tools.web_search"] == request.dropped


def test_other_tools_stay_beside_it() -> None:
    request = parsed(R, {"tools": [{"type": "web_search"}, LOOK]})
    functions, search = body(request, G)["tools"]
    assert ("look", {"googleSearch": {}}) == (
        functions["functionDeclarations"][0]["name"], search,
    )  # fmt: skip
    assert [] == request.dropped


def test_an_upstream_that_searches_alone_is_not_asked_to_beside_tools() -> None:
    alone = Profile(web_search="alone")
    assert [{"googleSearch": {}}] == body(parsed(R, ASKED[R]), G, alone)["tools"]
    request = parsed(R, {"tools": [{"type": "web_search"}, LOOK]})
    (functions,) = body(request, G, alone)["tools"]
    assert ["functionDeclarations"] == list(functions)
    assert ["tools.web_search"] == request.dropped


def test_a_field_of_chat_goes_as_a_tool_and_back() -> None:
    found = body(parsed(C, ASKED[C]), R)
    assert ([{"type": "web_search"}], False) == (found["tools"], "web_search_options" in found)
    back = body(parsed(R, {"tools": [{"type": "web_search"}, LOOK]}), C)
    assert ({}, 1) == (back["web_search_options"], len(back["tools"]))
    assert "tools" not in body(parsed(R, ASKED[R]), C)


@pytest.mark.parametrize(
    ("client", "choice", "target", "wanted"),
    [
        (A, {"type": "tool", "name": "web_search"}, R, {"type": "web_search"}),
        (R, {"type": "web_search"}, A, {"type": "tool", "name": "web_search"}),
        (R, {"type": "web_search_preview"}, A, {"type": "tool", "name": "web_search"}),
    ],
)
def test_a_search_may_be_forced(client: str, choice: object, target: str, wanted: object) -> None:
    request = parsed(client, {**ASKED[client], "tool_choice": choice})
    assert wanted == body(request, target)["tool_choice"]


@pytest.mark.parametrize("target", [C, G])
def test_where_none_can_be_forced_that_is_refused_or_named(target: str) -> None:
    forced = {**ASKED[R], "tool_choice": {"type": "web_search"}}
    with pytest.raises(RequestError, match="cannot be made to search"):
        body(parsed(R, forced), target)
    request = parsed(R, forced)
    body(request, target, Profile(web_search="with_tools", on_unsupported="warn"))
    assert ["tool_choice"] == request.dropped
