"""Error rules: from an upstream's answer to an outcome class, its words and a waiting time."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import OUTCOMES
from engine.events import ErrorEvent
from engine.route.classify import (
    BY_STATUS,
    Classifier,
    good_status,
    header_pattern,
)
from engine.wire import HttpResponse, dumps
from tests.kit import route_of

NOW = 1_700_000_000.0
ENV: dict[str, Any] = {"req": {"user": "u"}, "model": {"id": "m"}, "vars": {"n": 1}, "session": {}}
HEAD = """
version: 1
base_url: https://a.example
models: [m]
vars: { n: 1 }
request: { path: /x, json: {} }
response: { events: [ { text: $.a, finish: stop } ] }
"""


def classifier(errors: str) -> Classifier:
    return route_of(f"{HEAD}errors: {errors}").classifier


def rule(selector: str, more: str = "") -> Classifier:
    return classifier(f"{{ rules: [ {{ {selector}, as: stale {more} }} ] }}")


def answer(status: int = 200, body: object = b"", **headers: str) -> HttpResponse:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return HttpResponse(status, pairs, body if isinstance(body, bytes) else dumps(body))


def whole(made: Classifier, response: HttpResponse, value: object = None) -> ErrorEvent | None:
    return made.whole(response, ENV, NOW, value)


def cls(made: Classifier, response: HttpResponse) -> str | None:
    found = whole(made, response)
    return found.cls if found else None


# ---- selectors ----


@pytest.mark.parametrize(
    ("selector", "response", "fits"),
    [
        ("status: 418", answer(418), True),
        ("status: 418", answer(400), False),
        ("status: [418, 5xx]", answer(503), True),
        ("status: 4xx", answer(499), True),
        ("status: 2xx", answer(200), True),
        ("match: { ok: false }", answer(200, {"ok": False}), True),
        ("match: { ok: false }", answer(200, {"ok": 0}), False),
        ("match: { ok: false }", answer(500, {"ok": False}), True),
        ("match: { ok: null }", answer(200, b"no json"), False),
        ("match: { a.b: /x/i }", answer(200, {"a": {"b": "aXb"}}), True),
        ("body: /too BUSY/i", answer(200, b"we are too busy"), True),
        ("body: /^-1$/", answer(403, b"-1"), True),
        ("body: /^-1$/", answer(403, b"-10"), False),
        ("content_type: text/html", answer(200, Content_Type="Text/HTML; charset=x"), True),
        ("content_type: text/html", answer(200, Content_Type="application/json"), False),
        ("content_type: text/html", answer(200), False),
        ("header: { x-kind: slow }", answer(200, X_Kind="slow"), True),
        ("header: { x-kind: slow }", answer(200, X_Kind="slower"), False),
        ("header: { x-kind: /^slow/ }", answer(200, X_Kind="slower"), True),
        ("header: { x-kind: /^SLOW/i }", answer(200, X_Kind="slower"), True),
        ("header: { x-kind: / }", answer(200, X_Kind="/"), True),
        ("when: status == 201 and data.n == vars.n", answer(201, {"n": 1}), True),
        ("when: status == 201 and data.n == vars.n", answer(201, {"n": 2}), False),
        ("when: req.user == 'u' and data.a.b == 1", answer(200, b"no json"), False),
        ("status: 500, match: { a: 1 }, header: { x: y }", answer(500, {"a": 1}, x="y"), True),
        ("status: 500, match: { a: 1 }, header: { x: y }", answer(500, {"a": 1}), False),
    ],
)
def test_selectors_say_which_answers_a_rule_is_for(
    selector: str, response: HttpResponse, fits: bool
) -> None:
    assert (cls(rule(selector), response) == "stale") == fits


def test_the_first_rule_that_fits_wins() -> None:
    made = classifier(
        "{ rules: [ { status: 429, as: quota_exhausted }, { status: 4xx, as: fatal } ] }"
    )
    assert (cls(made, answer(429)), cls(made, answer(404))) == ("quota_exhausted", "fatal")


def test_the_head_alone_decides_only_what_no_body_is_needed_for() -> None:
    made = classifier(
        "{ rules: [ { status: 500, as: fatal }, { content_type: text/html, as: challenge }, "
        "{ match: { ok: false }, as: stale }, { header: { x: y }, as: overloaded } ] }"
    )
    page = answer(200, Content_Type="text/html")
    found = made.head(page, ENV, NOW)
    assert found is not None
    assert found.cls == "challenge"
    assert made.head(answer(200, x="y"), ENV, NOW) is None
    assert cls(made, answer(200, x="y")) == "overloaded"


def test_a_good_answer_that_no_rule_knows_is_fine() -> None:
    made = classifier("{ rules: [ { status: 4xx, as: fatal } ] }")
    assert whole(made, answer(200, {"error": "not really"})) is None
    assert made.head(answer(200), ENV, NOW) is None


def test_the_first_record_of_a_stream_may_be_given_decoded() -> None:
    made = rule("match: { ok: false }")
    found = whole(made, answer(200, b"{}"), {"ok": False})
    assert found is not None
    assert found.cls == "stale"


# ---- without a rule ----


@pytest.mark.parametrize(
    ("status", "name"),
    [
        *BY_STATUS.items(),
        (400, "invalid_request"),
        (404, "fatal"),
        (405, "fatal"),
        (410, "invalid_request"),
        (422, "invalid_request"),
        (500, "retryable"),
        (502, "retryable"),
        (302, "fatal"),
        (304, "fatal"),
    ],
)
def test_an_error_that_no_rule_knows_is_classed_by_its_status(status: int, name: str) -> None:
    assert cls(classifier("{}"), answer(status)) == name
    assert name in OUTCOMES


def test_where_the_path_is_that_of_a_dialect_404_is_about_the_request() -> None:
    text = "version: 1\nbase_url: https://a.example\nmodels: [m]\ndialect: openai_chat\n"
    assert cls(route_of(text).classifier, answer(404)) == "invalid_request"


@pytest.mark.parametrize(
    "text",
    [
        "This model's maximum context length is 8192 tokens",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "The input token count (1048577) exceeds the maximum number of tokens allowed",
        "the request exceeds the available context size",
    ],
)
def test_a_conversation_that_is_too_long_is_known_by_the_words(text: str) -> None:
    made = classifier("{}")
    assert cls(made, answer(400, {"error": {"message": text}})) == "context_length"
    assert cls(made, answer(413, text.encode())) == "context_length"
    assert cls(made, answer(500, text.encode())) == "retryable"


# ---- words ----


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "a"}, "message": "b"}, "a"),
        ({"error": "a"}, "a"),
        ({"message": "a"}, "a"),
        ({"detail": "a"}, "a"),
        ({"msg": "a"}, "a"),
        (b"plain words", "plain words"),
        (b'data: {"error": {"message": "a"}}\n\ndata: [DONE]\n\n', "a"),
        (b'\n: hi\r\nevent: error\r\ndata:{"error": {"message": "a"}}\r\n\r\n', "a"),
        (b"<html><body>502</body></html>", "the upstream answered with status 500"),
        (b"\x00\x01binary", "the upstream answered with status 500"),
        (b"x" * 400, "the upstream answered with status 500"),
        (b"", "the upstream answered with status 500"),
        ({"trace": "internal"}, "the upstream answered with status 500"),
        ([1, 2], "the upstream answered with status 500"),
    ],
)
def test_the_upstreams_words_are_found_where_apis_put_them(body: object, message: str) -> None:
    found = whole(classifier("{}"), answer(500, body))
    assert found is not None
    assert (found.message, found.status) == (message, 500)


def test_a_route_says_where_its_words_are() -> None:
    made = classifier("{ message: [$.data.why, $.data] }")
    assert words(made, {"data": {"why": "a"}, "error": "b"}) == "a"
    assert words(made, {"data": "c"}) == "c"
    assert words(made, {"error": "b"}) == "b"
    assert words(made, {"data": {"whom": "c"}, "error": "b"}) == "b"


def test_words_may_stand_in_what_is_no_json() -> None:
    made = classifier("""{ message: "$ | regex_search('<msg>(.*?)</msg>') | unescape_html" }""")
    assert words(made, b"<fault><msg>too many &amp; more</msg></fault>") == "too many & more"
    assert words(made, b"<p>no message</p>") == "the upstream answered with status 500"


def words(made: Classifier, body: object) -> str:
    found = whole(made, answer(500, body))
    assert found is not None
    return found.message


def test_a_refusal_in_the_form_of_an_event_is_matched_as_json() -> None:
    body = b'event: error\ndata: {"error": {"code": "full", "message": "a"}}\n\n'
    found = whole(rule("status: 500, match: { error.code: full }"), answer(500, body))
    assert found is not None
    assert (found.cls, found.code, found.message) == ("stale", "full", "a")


def test_long_words_are_cut() -> None:
    assert len(words(classifier("{}"), {"error": "x" * 5000})) <= 501


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": {"code": "c", "type": "t"}}, "c"),
        ({"error": {"type": "t"}}, "t"),
        ({"error": {"code": 5}}, ""),
        ({"error": "text"}, ""),
        ([], ""),
        (b"", ""),
    ],
)
def test_the_upstreams_code_is_kept(body: object, code: str) -> None:
    found = whole(classifier("{}"), answer(500, body))
    assert found is not None
    assert found.code == code


# ---- waiting times ----


def waits(retry_after: str, response: HttpResponse) -> float | None:
    found = whole(rule("status: 429", f", retry_after: {retry_after}"), response)
    assert found is not None
    return found.retry_after


def test_a_rule_says_where_the_waiting_time_is() -> None:
    body = {"error": {"details": [{"retryDelay": "13s"}]}}
    response = answer(429, body, x_reset="20", Retry_After="7")
    assert waits("header.X-Reset", response) == 20.0
    assert waits("'$.error.details[*].retryDelay'", response) == 13.0
    assert waits("[header.none, $.none, 45s]", response) == 45.0
    assert waits("header.none", response) == 7.0
    assert waits("header.none", answer(429)) is None


def test_a_waiting_time_is_found_in_text_that_is_no_json() -> None:
    response = answer(429, b"<fault>come back in 2 min</fault>")
    assert waits("\"$ | regex_search('in ([0-9]+ min)')\"", response) == 120.0


def test_without_a_rule_the_usual_headers_are_read() -> None:
    made = classifier("{}")
    for headers, wait in (
        ({"Retry_After": "7"}, 7.0),
        ({"Retry_After_Ms": "1500", "Retry_After": "7"}, 1.5),
        ({}, None),
    ):
        found = whole(made, answer(429, **headers))
        assert found is not None
        assert found.retry_after == wait


@pytest.mark.parametrize(
    ("code", "good"),
    [("429", True), ("5xx", True), ("1xx", True), ("6xx", False), ("42", False), ("4XX", False)],
)
def test_a_status_is_checked(code: str, good: bool) -> None:
    assert good_status(code) == good


def test_a_header_is_plain_text_or_a_pattern() -> None:
    assert header_pattern("plain") is None
    assert header_pattern("/") is None
    assert header_pattern("a/b/") is None
    pattern = header_pattern("/^X/i")
    assert pattern is not None
    assert pattern.search("xyz")
