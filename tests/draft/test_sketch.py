"""Drafts, put together. Whole recordings are in tests/cli/test_new.py."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from engine.draft.layout import bare
from engine.draft.opaque import Exchange
from engine.draft.sketch import Draft, name_of, site_of, sketch
from engine.wire import HttpRequest, HttpResponse

SITE = "https://chat.example.com"
JSON = ("Content-Type", "application/json")
ANSWER = HttpResponse(200, (JSON,), b'{"reply":"Because it is scattered."}')


def asked(body: Any, *headers: tuple[str, str], path: str = "/ask") -> HttpRequest:
    return HttpRequest("POST", SITE + path, (JSON, *headers), body=json.dumps(body).encode())


def draft(*exchanges: Exchange, **options: Any) -> Draft:
    return sketch(list(exchanges), len(exchanges) - 1, **options)


def tree(*exchanges: Exchange, **options: Any) -> Any:
    return bare(draft(*exchanges, **options).tree)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://chat.example.com/x", "example"), ("https://kimi-ai.chat/", "kimi-ai"),
        ("https://www.a.b.example.co/", "a-b-example"), ("http://127.0.0.1:80/", "draft"),
        ("http://localhost/", "draft"), ("http://[::1]/", "draft"),
    ],
)  # fmt: skip
def test_a_route_is_named_by_its_host(url: str, name: str) -> None:
    assert name == name_of(url)


def test_what_a_route_says_comes_in_the_order_in_which_people_read() -> None:
    request = asked({"question": "Why is that so?", "a": 1}, ("Authorization", "Bearer abcdefgh"))
    found = tree(Exchange(request, ANSWER))
    assert [
        "version",
        "name",
        "base_url",
        "models",
        "auth",
        "transforms",
        "request",
        "response",
    ] == (list(found))
    assert (SITE, ["example"]) == (found["base_url"], found["models"])
    assert [{"flatten_history": {}, "when": "req.messages | length > 1"}] == found["transforms"]


@pytest.mark.parametrize(
    ("header", "auth", "env"),
    [
        ("Bearer abcdefgh", {"bearer": "${env:X_KEY}"}, {"X_KEY": "abcdefgh"}),
        ("Token abcdefgh", {"header": {"Authorization": "Token ${env:X_TOKEN}"}},
         {"X_TOKEN": "abcdefgh"}),
        ("abcdefgh", {"header": {"Authorization": "${env:X_AUTHORIZATION}"}},
         {"X_AUTHORIZATION": "abcdefgh"}),
        ("Basic " + base64.b64encode(b"me:word").decode(),
         {"basic": {"username": "${env:X_USER}", "password": "${env:X_PASSWORD}"}},
         {"X_USER": "me", "X_PASSWORD": "word"}),
    ],
)  # fmt: skip
def test_authorization_is_placed_by_its_scheme(
    header: str, auth: dict[str, Any], env: dict[str, str]
) -> None:
    found = draft(Exchange(asked({"q": "Hello you"}, ("Authorization", header))), name="x")
    assert (auth, env) == (bare(found.tree)["auth"], found.env)


def page(body: str, path: str = "/p", *headers: tuple[str, str]) -> Exchange:
    return Exchange(HttpRequest("GET", SITE + path), HttpResponse(200, headers, body.encode()))


def test_two_values_of_one_page_are_outputs_of_one_value() -> None:
    found = tree(
        page('{"csrf":"abc123def4","nonce":"9a8b7c6d50"}', "/api/page"),
        Exchange(asked({"q": "Hello you", "csrf": "abc123def4", "nonce": "9a8b7c6d50"}), ANSWER),
    )
    assert {"csrf": [{"json": "$.csrf"}], "nonce": [{"json": "$.nonce"}]} == (
        found["values"]["page"]["extract"]
    )
    sent = found["request"]["json"]
    assert ("{{ values.page.csrf }}", "{{ values.page.nonce }}") == (sent["csrf"], sent["nonce"])


def test_a_cookie_that_a_page_sets_is_in_a_jar() -> None:
    cookie = ("Cookie", "sid=abcdef123456; theme=dark")
    found = tree(
        page('{"nonce":"9a8b7c6d50"}', "/p", ("Set-Cookie", "sid=abcdef123456; Path=/")),
        Exchange(asked({"q": "Hello you", "nonce": "9a8b7c6d50"}, cookie), ANSWER),
    )
    assert {"cookies": "route", "headers": {"Cookie": "${env:EXAMPLE_COOKIE}"}} == found["upstream"]


@pytest.mark.parametrize("site", ["https://other.example", f"{SITE}.example"])
def test_values_of_other_sites_are_not_fetched(site: str) -> None:
    other = HttpRequest("GET", f"{site}/p")
    found = draft(
        Exchange(other, HttpResponse(200, (), b'{"nonce":"9a8b7c6d50"}')),
        Exchange(asked({"q": "Hello you", "nonce": "9a8b7c6d50"}), ANSWER),
    )
    route = bare(found.tree)
    assert ("values" not in route, "9a8b7c6d50") == (True, route["request"]["json"]["nonce"])
    assert [f"nonce came from {site}, another site"] == found.remarks


def test_pages_of_one_name_have_values_of_two() -> None:
    found = tree(
        page('{"a_id":"abc123def4","b_id":"9a8b7c6d50"}', "/x/page"),
        page('{"c_id":"0a8b7c6d50","d_id":"7a8b7c6d51"}', "/y/page"),
        Exchange(
            asked({"q": "Hello you", "a_id": "abc123def4", "b_id": "9a8b7c6d50",
                   "c_id": "0a8b7c6d50", "d_id": "7a8b7c6d51"}), ANSWER,
        ),
    )  # fmt: skip
    assert {"page0": ["a_id", "b_id"], "page1": ["c_id", "d_id"]} == {
        name: list(value["extract"]) for name, value in found["values"].items()
    }
    assert "{{ values.page1.d_id }}" == found["request"]["json"]["d_id"]


def test_a_uuid_of_two_requests_is_one() -> None:
    made = "2c9c29b4-0000-4000-8000-1234567890ab"
    found = tree(
        Exchange(
            asked({"chat": made}, path="/new"), HttpResponse(200, (), b'{"ticket":"9a8b7c6d50"}')
        ),
        Exchange(asked({"q": "Hello you", "chat": made, "ticket": "9a8b7c6d50"}), ANSWER),
    )
    assert ({"id": "{{ uuid4() }}"}, "{{ let.id }}", {"chat": "{{ let.id }}"}, "request") == (
        found["let"],
        found["request"]["json"]["chat"],
        found["values"]["ticket"]["request"]["json"],
        found["values"]["ticket"]["scope"],
    )


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ('{"chat":{"id":"9a8b7c6d50"}}', "chat_id"), ('{"data":{"id":"9a8b7c6d50"}}', "chats_id"),
        ('{"id":"9a8b7c6d50"}', "chats_id"),
    ],
)  # fmt: skip
def test_an_id_is_named_by_what_it_is_of(answer: str, name: str) -> None:
    made = Exchange(asked({"title": "x"}, path="/v1/chats"), HttpResponse(200, (), answer.encode()))
    found = tree(made, Exchange(asked({"q": "Hello you"}, path="/v1/chats/9a8b7c6d50"), ANSWER))
    assert [name] == list(found["values"])
    assert f"/v1/chats/{{{{ values.{name} | urlpath }}}}" == found["request"]["path"]


def test_an_id_that_was_fetched_is_not_made() -> None:
    chat = "2c9c29b4-0000-4000-8000-1234567890ab"
    body = json.dumps({"chat": {"id": chat}}).encode()
    made = Exchange(asked({"title": "x"}, path="/chats"), HttpResponse(200, (), body))
    found = tree(made, Exchange(asked({"q": "Hello you", "chat": chat}, path=f"/c/{chat}"), ANSWER))
    assert ("let" in found, "{{ values.chat_id }}") == (False, found["request"]["json"]["chat"])


def test_what_a_draft_would_lose_is_said() -> None:
    request = HttpRequest("POST", f"{SITE}/ask?a=1&a=2", (), body=b"\x00\x05hello")
    assert {
        "the body of the request is binary: it cannot be written as a template",
        "`a` stands several times in the request; only the last one is sent",
        "what was typed is nowhere in the request: put {{ req.prompt }} there",
    } == set(draft(Exchange(request, ANSWER)).remarks)


def test_user_and_password_are_no_part_of_the_address() -> None:
    assert SITE == site_of("https://me:word@chat.example.com/a@b")


def test_what_is_missing_is_said() -> None:
    lost = draft(Exchange(asked({"n": 1}), HttpResponse(200, (JSON,), b'{"n":1}')))
    assert [
        "nothing in the answer reads like text; write its rules by hand",
        "what was typed is nowhere in the request: put {{ req.prompt }} there",
    ] == sorted(lost.remarks)
    assert "# guess: say where the text of an answer stands" in lost.file


def test_without_an_answer_the_request_says_whether_it_streams() -> None:
    accepts = asked({"q": "Hello you"}, ("Accept", "text/event-stream"))
    for request in (accepts, asked({"q": "Hello you", "stream": True})):
        assert "sse" == tree(Exchange(request))["stream"]["format"]
    assert "response" in tree(Exchange(asked({"q": "Hello you"})))


def test_an_odd_request_with_a_known_answer_keeps_its_own_body() -> None:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello you"}],
        "chat": "x",
        "stream": True,
    }
    chunks = [{"choices": [{"delta": {"content": text}}]} for text in ("Good", " day", " to you")]
    answer = HttpResponse(200, (), "".join(f"data: {json.dumps(c)}\n\n" for c in chunks).encode())
    found = tree(Exchange(asked(body), answer))
    assert ("openai", "/ask") == (found["extends"], found["request"]["path"])
    assert {
        "model": "{{ model.upstream }}", "messages": "{{ req.messages | as_openai }}", "chat": "x",
        "stream": "{{ req.stream }}",
    } == found["request"]["json"]  # fmt: skip


def test_patches_of_a_document_are_told() -> None:
    patches = [{"p": "a/b", "o": "APPEND", "v": "Good"}, {"v": " day"}, {"p": "a/c", "v": "x"}]
    stream = "".join(f"data: {json.dumps(patch)}\n\n" for patch in patches).encode()
    found = draft(Exchange(asked({"q": "Hello you"}), HttpResponse(200, (), stream)))
    assert ["the answer is patches of one document: docs/cookbook.md reads such"] == found.remarks


def test_a_key_in_the_query_is_a_credential() -> None:
    key = "AIzaSyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q"
    path = f"/v1beta/models/gem-1:generateContent?alt=sse&key={key}"
    body = {"contents": [{"role": "user", "parts": [{"text": "Hello you"}]}]}
    found = draft(Exchange(asked(body, path=path)))
    route = bare(found.tree)
    assert ({"query": {"key": "${env:EXAMPLE_KEY}"}}, {"EXAMPLE_KEY": key}) == (
        route["auth"],
        found.env,
    )
    assert ("gemini", ["gem-1"], False) == (route["extends"], route["models"], "request" in route)


def test_a_secret_that_stands_in_another_text_too_is_covered_there() -> None:
    request = asked({"note": "by abcdefgh1 only", "token": "abcdefgh1", "q": "Hello you"})
    found = tree(Exchange(request))
    assert "by ${env:EXAMPLE_TOKEN} only" == found["request"]["json"]["note"]


def test_a_certificate_that_was_not_checked_is_not_checked() -> None:
    found = tree(Exchange(asked({"q": "Hello you"})), insecure=True)
    assert {"tls": {"verify": False}} == found["upstream"]
