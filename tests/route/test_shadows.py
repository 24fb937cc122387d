"""Rules that nothing reaches, because a rule above takes all that they would."""

from __future__ import annotations

import pytest

from tests.kit import problems_of

HEAD = """
version: 1
base_url: https://chat.example.com
models: [m]
request: { path: /x, json: {} }
"""
RECORDS = HEAD + "stream:\n  events:\n    - { ABOVE, text: $.a }\n    - { BELOW, finish: $.f }\n"
ERRORS = (
    HEAD
    + "response: { events: [ { text: $.a, finish: stop } ] }\n"
    + "errors:\n  rules:\n    - { ABOVE, as: stale }\n    - { BELOW, as: fatal }\n"
)


def told(text: str, above: str, below: str) -> list[str]:
    return problems_of(text.replace("ABOVE", above).replace("BELOW", below))


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("event: a", "event: a"),
        ("event: [a, b]", "event: b, match: { x: 1 }"),
        ("match: { k: a }", "match: { k: a }"),
        ("match: { k: [a, b] }", "match: { k: b, l: 1 }"),
        ("match: { k: /a/ }", "match: { k: /a/ }, has: $.x"),
        ("has: $.x", "has: $.x, not: { y: 1 }"),
        ("when: data.x == 1", "when: data.x == 1"),
        ("each: '$.p[*]', match: { k: a }", "each: '$.p[*]', match: { k: a }"),
        ("event: a", "event: a, each: '$.p[*]'"),
        ("has: $", "event: a"),
    ],
)
def test_a_rule_below_that_takes_no_more_is_never_reached(above: str, below: str) -> None:
    assert told(RECORDS, above, below) == ["9:W504"]


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("event: a", "match: { k: a }"),
        ("event: a", "event: [a, b]"),
        ("event: a, continue: true", "event: a"),
        ("match: { k: a }", "match: { k: [a, b] }"),
        ("match: { k: 1 }", "match: { k: true }"),
        ("match: { k: 1 }", "match: { k: '1' }"),
        ("match: { k: a, l: 1 }", "match: { k: a }"),
        ("match: { k: a }", "each: '$.p[*]', match: { k: a }"),
        ("each: '$.p[*]', match: { k: a }", "match: { k: a }"),
        ("each: '$.p[*]', match: { k: a }", "each: '$.q[*]', match: { k: a }"),
        ("not: { k: a }", "not: { k: b }"),
        ("has: $.x", "has: $.y"),
        ("when: data.x == 1", "when: data.x == 2"),
    ],
)
def test_a_rule_below_that_takes_something_more_is_fine(above: str, below: str) -> None:
    assert told(RECORDS, above, below) == []


@pytest.mark.parametrize(
    ("above", "below", "never"),
    [
        ("status: 4xx", "status: [404, 429]", True),
        ("status: [404, 4xx]", "status: 4xx, body: /x/", True),
        ("status: 404", "status: 4xx", False),
        ("status: 404", "body: /x/", False),
        ("match: { data: null }", "match: { data: null, code: 7 }", True),
        ("match: { code: 7 }", "status: 400, match: { code: 7 }", True),
        ("body: /x/", "body: /x/i", False),
        ("content_type: text/", "content_type: Text/HTML", True),
        ("content_type: text/html", "content_type: text/", False),
        ("header: { a: b }", "header: { a: b, c: d }", True),
        ("header: { a: b }", "header: { a: c }", False),
        ("status: 403, when: status == 403", "status: 403", False),
    ],
)
def test_rules_of_errors_have_shadows_too(above: str, below: str, never: bool) -> None:
    assert told(ERRORS, above, below) == (["10:W504"] if never else [])


def test_a_close_code_is_of_no_family() -> None:
    socket = ERRORS.replace("path: /x, json: {}", "path: /x, websocket: { send: [{ text: hi }] }")
    stream = socket.replace("response: {", "stream: { format: websocket,")
    assert told(stream, "status: 4xx", "status: 4001") == []


def test_of_the_rules_below_one_that_takes_all_the_first_is_told() -> None:
    text = RECORDS + "    - { event: b, finish: stop }\n"
    assert told(text, "has: $", "event: a") == ["9:W504"]


def test_a_child_may_overrule_its_parent() -> None:
    rules = "errors: { rules: [ { status: [4xx, 5xx], as: fatal }, inherit ] }\n"
    text = "version: 1\nextends: openai\nbase_url: https://chat.example.com\nmodels: [m]\n"
    assert problems_of(text + rules) == []
