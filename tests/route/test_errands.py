from __future__ import annotations

import pytest

from engine.errors import ExchangeError
from engine.route.route import Discovery
from tests.kit import problems_of, route_of

ROUTE = """
version: 1
base_url: https://a.example
dialect: openai_chat
discover: { path: /models, ids: "$.data[*].id" }
profiles: { "big-*": { max_output: 7 } }
passthrough: { embeddings: "/{{ model.upstream | urlpath }}/embed" }
request: { path: /chat, headers: { X-A: b }, query: { v: "1" } }
"""


def discovery() -> Discovery:
    found = route_of(ROUTE).discovery
    assert found is not None
    return found


def test_an_endpoint_has_the_headers_and_the_query_of_the_route() -> None:
    plan = route_of(ROUTE).errands["embeddings"]
    request = plan.render({"model": {"upstream": "a/b"}}, (b"{}", "application/json"))
    assert (request.method, request.url) == ("POST", "https://a.example/a%2Fb/embed")
    assert (request.header("x-a"), request.query) == ("b", (("v", "1"),))
    assert set(route_of(ROUTE).errands) == {"embeddings"}


def test_the_names_in_a_list() -> None:
    assert discovery().ids(b'{"data":[{"id":"a"},{"id":"b"},{"id":"a"},{"id":7}]}') == ("a", "b")


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"data":[]}', b"[]"])
def test_a_list_without_models_is_no_list(body: bytes) -> None:
    with pytest.raises(ExchangeError) as caught:
        discovery().ids(body)
    assert caught.value.cls == "retryable"


def test_what_is_found_has_its_own_profile() -> None:
    offers = discovery().offers(["big-a", "b"])
    assert {name: offer.profile.max_output for name, offer in offers.items()} == {
        "big-a": 7, "b": None,
    }  # fmt: skip


def test_any_model_is_taken_where_only_the_upstream_knows_them() -> None:
    offer = route_of(ROUTE).offer("any")
    assert offer is not None
    assert offer.model.upstream == "any"
    assert route_of(ROUTE).offer("") is None
    assert route_of(ROUTE.replace("discover", "x-d") + "models: [m]\n").offer("any") is None


def test_it_needs_models_or_a_way_to_find_them() -> None:
    assert problems_of(ROUTE) == []
    assert problems_of(ROUTE.replace("every", "x").replace("discover", "x-d")) == ["2:E507"]
    assert problems_of(ROUTE.replace('id" }', 'id", every: 0s }')) == ["5:E515"]
