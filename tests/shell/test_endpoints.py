from __future__ import annotations

import json

import pytest

from engine.dialects import DIALECTS
from engine.dialects.embedding import read_request
from engine.errors import RequestError
from engine.shell.endpoints import counting, embeddings
from tests.kit import route_of

ROUTE = """
version: 1
name: r
base_url: https://a.example
dialect: anthropic_messages
profile: { encoding_format: drop }
models: [ { id: m, upstream: up } ]
passthrough: { embeddings: /embed, count_tokens: /count }
"""
MESSAGES, CHAT = DIALECTS["anthropic_messages"], DIALECTS["openai_chat"]
ASKED = read_request(b'{"model":"m","input":"a","encoding_format":"base64"}')


def test_embeddings_are_asked_as_the_profile_says() -> None:
    route = route_of(ROUTE)
    body = embeddings(route, ASKED).body(route.offers["m"])
    assert body == (b'{"model":"up","input":"a"}', "application/json")
    other = route_of(ROUTE.replace("drop", "send"))
    body = embeddings(other, ASKED).body(other.offers["m"])
    assert body is not None
    assert json.loads(body[0])["encoding_format"] == "base64"


def test_a_route_that_makes_none_says_so() -> None:
    with pytest.raises(RequestError, match="route r makes no embeddings"):
        embeddings(route_of(ROUTE.replace("embeddings: /embed, ", "")), ASKED)


def test_tokens_are_counted_upstream_in_its_own_dialect_only() -> None:
    route = route_of(ROUTE)
    for asked in (b'{"model":"m","messages":[]}', b'{"model":"m","stream":1,"messages":[]}'):
        errand = counting(route, MESSAGES, asked)
        assert errand is not None
        body = errand.body(route.offers["m"])
        assert body == (asked.replace(b'"m"', b'"up"', 1), "application/json")
        assert errand.read(b"{}") == (b"{}", None)
    assert counting(route, CHAT, b"{}") is None
    assert counting(route_of(ROUTE.replace(", count_tokens: /count", "")), MESSAGES, b"{}") is None
