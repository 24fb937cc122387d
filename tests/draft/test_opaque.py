"""Where values came from: the answer that held them first, and how a route finds them there."""

from __future__ import annotations

import re

import pytest

from engine.draft.opaque import Exchange, Origin, is_opaque, origin
from engine.wire import HttpRequest, HttpResponse

SITE = "https://chat.example.com"


def came(body: str, *headers: tuple[str, str], path: str = "/a", sent: str = "") -> Exchange:
    request = HttpRequest("POST" if sent else "GET", SITE + path, body=sent.encode())
    return Exchange(request, HttpResponse(200, headers, body.encode()))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("2c9c29b4-0000-4000-8000-1234567890ab", "x"), ("9a8b7c6d50", "x"), ("abcdef", "nonce"),
        ("word-word", "csrf_token"), ("abc123def456", "chatId"),
    ],
)  # fmt: skip
def test_what_says_nothing_to_people_is_looked_for(text: str, name: str) -> None:
    assert is_opaque(text, name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("wp_send_message", "action"), ("gpt-4o-mini", "model"), ("text/event-stream", "accept"),
        ("Hello there", "id"), ("abc", "nonce"), ("moonshotai/Kimi-K2-Instruct", "model_id"),
    ],
)  # fmt: skip
def test_words_are_not(text: str, name: str) -> None:
    assert not is_opaque(text, name)


NONCE = "9a8b7c6d50"


@pytest.mark.parametrize(
    ("answer", "step", "name"),
    [
        (came('{"data":[{"nonce":"9a8b7c6d50"}]}'), {"json": "$.data[0].nonce"}, "nonce"),
        (came("", ("X-Nonce", NONCE)), {"header": "X-Nonce"}, "X-Nonce"),
        (came("", ("Set-Cookie", f"n={NONCE}; Path=/")), {"cookie": "n"}, "n"),
        (came('<input name="csrf" value="9a8b7c6d50">'), {"regex": 'value="([^"\\s]+)'}, "value"),
        (came("var t='no'; var nonce = '9a8b7c6d50';"), {"regex": "nonce = '([^'\\s]+)"}, "nonce"),
    ],
)
def test_it_is_found_in_bodies_headers_and_cookies(
    answer: Exchange, step: dict[str, str], name: str
) -> None:
    exchanges = [came("{}"), answer, came("{}", path="/ask", sent=NONCE)]
    assert Origin(1, step, name) == origin(exchanges, NONCE, 2)


def test_a_pattern_finds_the_right_one_of_several() -> None:
    page = '<a value="1"></a> one = {"nonce":"0f1e2d3c4b"} two = {"nonce":"9a8b7c6d50"}'
    found = origin([came(page)], NONCE, 1)
    assert found is not None
    hit = re.search(found.step["regex"], page)
    assert hit is not None
    assert NONCE == hit[1]


def test_slashes_and_entities_may_be_escaped() -> None:
    assert {"regex": 'token":"([^"\\s]+)'} == step_of('x = {"token":"ab\\/cd12"}', "ab/cd12")
    assert {"regex": 'value="([^"\\s]+)'} == step_of('<i value="ab&amp;cd12">', "ab&cd12")


def step_of(body: str, text: str) -> dict[str, str] | None:
    found = origin([came(body)], text, 1)
    return found.step if found else None


def test_what_the_client_made_itself_has_no_origin() -> None:
    echo = came('{"id":"9a8b7c6d50"}', sent="id=9a8b7c6d50")
    assert origin([echo, came('{"id":"9a8b7c6d50"}')], NONCE, 2) is None
    assert origin([came('{"id":"9a8b7c6d50"}', path=f"/c/{NONCE}")], NONCE, 1) is None


def test_failures_and_later_answers_do_not_count() -> None:
    failed = Exchange(HttpRequest("GET", SITE), HttpResponse(404, (), NONCE.encode()))
    assert origin([failed, came("{}"), came('{"n":"9a8b7c6d50"}')], NONCE, 2) is None
