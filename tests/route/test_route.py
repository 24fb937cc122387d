"""What a compiled route does for one request."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from engine.chat import ChatRequest, Message, Text
from engine.events import ErrorEvent
from engine.route.route import Route
from engine.route.view import Asked
from engine.wire import Headers, HttpResponse, loads
from tests.kit import call_of, route_of

HEAD = """
version: 1
dialect: openai_chat
base_url: https://a.example/v1
"""
DIALECT = HEAD + "models: [ { id: m, upstream: up, max_output: 5 } ]\n"


def asked(route: Route, **body: Any) -> tuple[Asked, dict[str, object]]:
    call = call_of(route, {"messages": [{"role": "user", "content": "hi"}], **body})
    return call.asked, route.variables(call.asked, call.offer, 5.0, Random(1))


# ---- variables ----


def test_the_variables_hold_for_a_whole_request() -> None:
    route = route_of(
        DIALECT + 'vars: { a: 1 }\nlet: { b: "{{ vars.a + 1 }}", c: "{{ let.b + 1 }}", '
        'd: "{{ req.user }}" }\nrequest: { path: /x, headers: { X: "{{ let.c }}" } }'
    )
    _, env = asked(route)
    assert env["vars"] == {"a": 1}
    assert env["let"] == {"b": 2, "c": 3}
    assert env["model"] == {"id": "m", "upstream": "up", "max_output": 5}
    assert (env["account"], env["values"], env["session"], env["_now"]) == ({}, {}, {}, 5.0)


def test_what_is_computed_once_is_the_same_everywhere() -> None:
    route = route_of(
        DIALECT + 'let: { id: "{{ uuid4() }}" }\n'
        'request: { path: /x, headers: { A: "{{ let.id }}", B: "{{ let.id }}" } }'
    )
    _, env = asked(route)
    sent = route.render(env, ChatRequest("d", "m", []), [], None)
    assert sent.header("a") == sent.header("b")
    assert len(sent.header("a") or "") == 36


# ---- sessions ----


@pytest.mark.parametrize(
    ("keys", "body", "headers", "name"),
    [
        ("[req.user]", {"user": "u"}, {}, "u"),
        ("[req.user]", {}, {}, ""),
        ("[req.user, header.x-session]", {}, {"X-Session": "h"}, "h"),
        ("[header.x-session, req.user]", {"user": "u"}, {}, "u"),
        ("[req.metadata.chat.id]", {"metadata": {"chat": "x"}}, {}, ""),
        ("[req.metadata.chat]", {"metadata": {"chat": "c"}}, {}, "c"),
        ("[req.extra.sid]", {"sid": "s"}, {}, "s"),
        ("[req.extra.sid]", {"sid": 5}, {}, ""),
    ],
)
def test_a_session_is_named_by_the_first_that_is_there(
    keys: str, body: dict[str, Any], headers: dict[str, str], name: str
) -> None:
    route = route_of(f"{DIALECT}session: {{ key: {keys} }}\n")
    call = call_of(
        route, {"messages": [{"role": "user", "content": "hi"}], **body}, headers=headers
    )
    assert route.session is not None
    assert route.session.name(call.asked) == name


def test_a_session_may_be_named_by_how_it_began() -> None:
    route = route_of(f"{DIALECT}session: {{ key: fingerprint }}\n")
    assert route.session is not None
    one, _ = asked(route)
    turns = [
        {"role": r, "content": c} for r, c in (("user", "hi"), ("assistant", "a"), ("user", "b"))
    ]
    later, _ = asked(route, messages=turns)
    other, _ = asked(route, messages=[{"role": "user", "content": "other"}])
    assert route.session.name(one) == route.session.name(later) != route.session.name(other)


# ---- requests ----

CHAT = ChatRequest("openai_chat", "m", [Message("user", [Text("hi")])])


def test_a_dialect_writes_the_body_for_the_upstreams_model() -> None:
    route = route_of(DIALECT)
    _, env = asked(route)
    sent = route.render(env, CHAT, [], None)
    assert (sent.method, sent.url) == ("POST", "https://a.example/v1/chat/completions")
    assert loads(sent.body) == {"model": "up", "messages": [{"role": "user", "content": "hi"}]}


def test_a_clients_bytes_pass_untouched_and_are_patched_where_the_route_says() -> None:
    route = route_of(DIALECT)
    _, env = asked(route)
    body = b'{ "model" : "up",\n "odd":1e2 }'
    assert route.render(env, None, [], body).body == body
    patched = route_of(DIALECT + "request: { path: /x, patch: [ { drop: odd, set: { a: 1 } } ] }")
    assert route_of(DIALECT).passthrough
    assert loads(patched.render(env, None, [], body).body) == {"model": "up", "a": 1}


def test_a_route_may_write_the_body_itself_and_patch_it() -> None:
    route = route_of(
        DIALECT + 'request: { json: { q: "{{ req.prompt }}" }, patch: [ { set: { b: 2 } } ] }'
    )
    _, env = asked(route)
    assert loads(route.render(env, CHAT, [], None).body) == {"q": "hi", "b": 2}


def test_a_form_is_not_patched() -> None:
    route = route_of(
        DIALECT + 'request: { form: { q: "{{ req.prompt }}" }, patch: [ { set: { b: 2 } } ] }'
    )
    _, env = asked(route)
    assert route.render(env, CHAT, [], None).body == b"q=hi"


# ---- answers ----


def test_transforms_class_an_answer_before_the_rules_do() -> None:
    own = (
        '"""Classes."""\nAPI = 1\nclass Transform:\n    def classify(self, response):\n'
        "        return 'stale' if b'old' in response.body else None\n"
    )
    route = route_of(
        DIALECT + "transforms: [mine]\nerrors: { rules: [ { status: 500, as: overloaded } ] }",
        mine=own,
    )
    request, env = asked(route)
    working = route.transforms(env, route.context(request, env, 1, None))
    for body, cls in ((b"old", "stale"), (b"new", "overloaded")):
        found = route.classify(env, working, HttpResponse(500, (), body))
        assert isinstance(found, ErrorEvent)
        assert found.cls == cls
    assert route.classify(env, working, HttpResponse(200, (), b"fine")) is None


def test_a_route_shows_no_secret() -> None:
    route = route_of(DIALECT + 'auth: { bearer: "${env:KEY}" }', env={"KEY": "sk-hidden"})
    assert "sk-hidden" not in repr(route)
    assert "sk-hidden" not in repr(route.offers)
    assert route.name in repr(route)


def test_headers_of_a_client_are_not_sent_on() -> None:
    route = route_of(DIALECT)
    call = call_of(
        route,
        {"messages": [{"role": "user", "content": "x"}]},
        headers={"Authorization": "Bearer client"},
    )
    assert call.asked.headers.get("authorization") == "Bearer client"
    env = route.variables(call.asked, call.offer, 0.0, Random(1))
    assert route.render(env, CHAT, [], None).header("authorization") is None
    assert Headers.of({"A": "b"}).get("a") == "b"
