"""Credentials as headers, in the query and as cookies."""

from __future__ import annotations

import base64
from random import Random
from typing import Any

from engine.chat import ChatRequest
from engine.wire import HttpRequest
from tests.kit import route_of

HEAD = """
version: 1
dialect: openai_chat
base_url: https://a.example
models: [m]
"""


def request(auth: str, *, mask: bool = False, more: str = "") -> HttpRequest:
    route = route_of(f"{HEAD}{more}auth: {auth}\n", env={"KEY": "sk-1", "ID": "me"})
    env: dict[str, Any] = {
        "req": {}, "model": {"id": "m", "upstream": "m"}, "vars": {}, "values": {}, "session": {},
        "account": route.account, "_ref": route.references, "_now": 0.0, "_random": Random(1),
    }  # fmt: skip
    if mask:
        env["_mask"] = True
    return route.render(env, ChatRequest("openai_chat", "m", []), [], None)


def test_a_bearer_token() -> None:
    assert request('{ bearer: "${env:KEY}" }').header("authorization") == "Bearer sk-1"
    account = '{ from: { env: KEY }, bearer: "{{ account.key }}" }'
    assert request(account).header("authorization") == "Bearer sk-1"
    assert request(account, mask=True).header("authorization") == "Bearer «env:KEY»"


def test_no_bearer_where_there_is_nothing_to_bear() -> None:
    assert request('{ bearer: "{{ omit }}" }').header("authorization") is None


def test_headers_query_and_cookies() -> None:
    auth = (
        '{ header: { X-Key: "${env:KEY}" }, query: { key: "${env:KEY}" }, '
        'cookie: { a: "${env:ID}", b: c } }'
    )
    sent = request(auth, more='request: { path: /x, query: { q: "1" } }\n')
    assert sent.header("x-key") == "sk-1"
    assert sent.query == (("q", "1"), ("key", "sk-1"))
    assert sent.header("cookie") == "a=me; b=c"
    masked = request(auth, mask=True)
    assert (masked.header("x-key"), masked.header("cookie")) == ("«env:KEY»", "a=«env:ID»; b=c")
    assert masked.query == (("key", "«env:KEY»"),)


def test_a_placed_header_replaces_one_of_the_request() -> None:
    sent = request(
        '{ header: { x-key: "${env:KEY}" } }',
        more="request: { path: /x, headers: { X-Key: old } }\n",
    )
    assert [value for name, value in sent.headers if name.lower() == "x-key"] == ["sk-1"]


def test_basic_is_encoded_and_masked_as_a_whole() -> None:
    auth = '{ basic: { username: "${env:ID}", password: "${env:KEY}:é" } }'
    value = request(auth).header("authorization") or ""
    assert base64.b64decode(value.removeprefix("Basic ")).decode() == "me:sk-1:é"
    assert request(auth, mask=True).header("authorization") == "«basic»"


def test_basic_and_further_headers_go_together() -> None:
    sent = request('{ basic: { username: a, password: b }, header: { X-More: "1" } }')
    assert (sent.header("x-more"), sent.header("authorization")) == ("1", "Basic YTpi")


def test_headers_that_only_hold_references_are_rendered_once() -> None:
    route = route_of(f'{HEAD}auth: {{ bearer: "${{env:KEY}}" }}\n', env={"KEY": "sk-1"})
    assert route.fixed == ((("Authorization", "Bearer sk-1"),), ())
    assert "sk-1" not in repr(route)
    moving = route_of(f'{HEAD}auth: {{ header: {{ X-Id: "{{{{ uuid4() }}}}" }} }}\n')
    assert moving.fixed is None
