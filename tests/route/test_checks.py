"""What the corpus of bad routes cannot show: near misses, places, comments, the table of codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.route.checks import CODES, ignored
from engine.route.compile import Compiled, Sources, compile_route
from engine.route.nodes import Node, read
from engine.route.places import dotted, find, key_mark
from tests.route.corpus import ROOT, compile_bytes

BASE = """version: 1
base_url: https://chat.example.com
models: [m1]
"""
REQUEST = """request: { path: /chat, json: { prompt: "{{ req.prompt }}" } }
"""
RESPONSE = """response: { events: [{ text: $.text, finish: stop }] }
"""


def compiled(*parts: str) -> Compiled:
    return compile_bytes("".join(parts).encode(), "route.yaml", Path(__file__).parent)


def codes(*parts: str) -> list[str]:
    return [problem.code for problem in compiled(*parts).problems]


def tree(text: str) -> Node:
    problems: list[object] = []
    node = read(text, "route.yaml", problems)  # type: ignore[arg-type]
    assert node is not None
    assert not problems
    return node


def test_the_table_of_codes_and_the_sources_name_the_same_codes() -> None:
    written = {
        code
        for path in (ROOT / "engine").rglob("*.py")
        if path.name != "codes.py"
        for code in re.findall(r'"([EW]\d{3})"', path.read_text())
    }
    assert set(CODES) == written


def test_codes_stand_in_order_and_say_something() -> None:
    assert sorted(CODES) == list(CODES)
    assert all(text and not text.endswith(".") for text in CODES.values())


# ---- places ----


def test_a_way_leads_to_the_deepest_node_that_is_there() -> None:
    root = tree("a:\n  b: [1, {c: x}]\n")
    assert find(root, ("a", "b", 1, "c")).value == "x"
    assert find(root, ("a", "b", 1, "c", "d", 4)).value == "x"
    assert find(root, ("a", "b", 7)).kind == "list"


def test_a_key_is_marked_where_it_stands() -> None:
    root = tree("a:\n  b: [1, 2]\n")
    assert (key_mark(root, ("a", "b")).line, key_mark(root, ("a", "b")).column) == (2, 3)
    assert (key_mark(root, ("a", "b", 1)).line, key_mark(root, ("a", "b", 1)).column) == (2, 10)
    assert dotted(("a", "b", 1, "c")) == "a.b[1].c"


# ---- secrets ----


@pytest.mark.parametrize(
    "text",
    [
        "sk-test", "sk-test-0000", "sk-bench-9fQ2mZx7Lr4Tb8Vw", "sk-your-key-goes-here-1a2b3c",
        "sk-0123456789abcdef0123", "sk-aaaaaaaaaaaaaaaaaaaaaaaa1", "ghp_xxxxxxxxxxxxxxxxxxxx",
        "desk-9fQ2mZx7Lr4Tb8Vw1Ky6", "sk-${env:KEY}-9fQ2mZx7Lr4Tb8Vw1Ky6", "eyJust-a-word.and.more",
        "AKIAEXAMPLE7EXAMPLE9", "a-route-about-risk-management-and-tasks",
    ],
)  # fmt: skip
def test_placeholders_and_words_are_no_secrets(text: str) -> None:
    assert codes(BASE, REQUEST, RESPONSE, f'description: "{text}"\n') == []


@pytest.mark.parametrize(
    "text",
    [
        "sk-9fQ2mZx7Lr4Tb8Vw1Ky6", "ghp_9fQ2mZx7Lr4Tb8Vw1Ky6Pd3", "AKIA9ZQ2MX7LR4TB8VWK",
        "flo_9fQ2mZx7Lr4Tb8Vw1Ky6", "xoxb-92741-9fQ2mZx7Lr4Tb8Vw", "Bearer sk-9fQ2mZx7Lr4Tb8Vw1Ky6",
        "glpat-9fQ2mZx7Lr4Tb8Vw1Ky6", "hf_9fQ2mZx7Lr4Tb8Vw1Ky6", "gsk_9fQ2mZx7Lr4Tb8Vw1Ky6",
        "AIzaSy9fQ2mZx7Lr4Tb8Vw1Ky69fQ2mZx7Lr4Tb", "-----BEGIN RSA PRIVATE KEY-----",
        "{{ 'sk-9fQ2mZx7Lr4Tb8Vw1Ky6' }}", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI5OTEifQ.c2ln",
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_warned_about_wherever_it_stands(text: str) -> None:
    route = compiled(BASE, REQUEST, RESPONSE, f'upstream: {{ headers: {{ x-a: "{text}" }} }}\n')
    assert [problem.code for problem in route.problems] == ["W505"]
    assert text not in route.problems[0].message


# ---- what follows from another problem is not told ----


def test_an_unset_variable_is_the_only_problem_of_what_it_stands_in() -> None:
    route = compiled(
        BASE.replace("https://chat.example.com", '"${env:NOT_SET}"'),
        'timeouts: { idle: "${env:NOT_SET}" }\n',
        REQUEST,
        RESPONSE,
    )
    assert {"E201"} == {problem.code for problem in route.problems}
    assert route.only_unset
    assert route.unset == ("NOT_SET",)


def test_a_missing_parent_is_not_blamed_on_the_child() -> None:
    assert codes("version: 1\nextends: none\nmodels: [m1]\ntransforms: [inherit]\n") == ["E204"]


def test_an_abstract_route_may_be_incomplete() -> None:
    assert codes("version: 1\nabstract: true\nrequest: { path: /chat }\n") == []


# ---- near misses: what must not be complained about ----


@pytest.mark.parametrize(
    "path",
    [
        "/models/{{ model.upstream }}",
        "/users/{{ req.user | urlpath }}",
        "/users/{{ (req.user ~ 'x') | urlpath }}",
        "/{{ 'stream' if req.stream and req.user else 'chat' }}",
        "/{{ req.user | sha256 }}/{{ req.max_tokens }}",
        "/{% if req.user == 'a' %}a{% else %}b{% endif %}",
        "/{{ req.user == 'a' }}",
    ],
)
def test_a_path_that_lets_nothing_through_is_fine(path: str) -> None:
    assert codes(BASE, f'request: {{ path: "{path}" }}\n', RESPONSE) == []


@pytest.mark.parametrize(
    "path",
    [
        "/users/{{ req.user }}",
        "/{{ req.user or req.session_id | urlpath }}",
        "/{{ req.prompt if req.stream else 'x' }}",
        "/{{ req.user | lower }}",
        "/a{{ '/' ~ req.user }}",
    ],
)
def test_a_path_that_lets_text_through_is_warned_about(path: str) -> None:
    assert codes(BASE, f'request: {{ path: "{path}" }}\n', RESPONSE) == ["W506"]


@pytest.mark.parametrize("word", ["fingerprint", "req.user", "req.extra.chat.id", "header.x-chat"])
def test_a_session_key_names_something_of_the_request(word: str) -> None:
    assert codes(BASE, REQUEST, RESPONSE, f"session: {{ key: {word} }}\n") == []


@pytest.mark.parametrize(
    "stream",
    [
        'done: "[DONE]", events: [{ text: $.text }]',
        "finish_optional: true, events: [{ text: $.text }]",
        "events: [{ text: $.text, end: true }]",
        "events: [{ text: $.text, finish: $.reason }]",
        "events: [{ text: $.a, finish: stop, continue: true }, { text: $.b }]",
        "events: [{ has: $.a, text: $.a, finish: stop }, { text: $.b }]",
        "events: [{ each: '$.a[*]', text: $.a, finish: stop }, { text: $.b }]",
    ],
)
def test_a_stream_that_ends_and_reaches_all_its_rules_is_fine(stream: str) -> None:
    assert codes(BASE, REQUEST, f"stream: {{ {stream} }}\n") == []


def test_a_session_value_may_depend_on_its_session() -> None:
    values = """values:
  chat:
    scope: session
    request: { path: /chats, json: { user: "{{ req.user }}", key: "{{ session.id }}" } }
    extract: [{ json: $.id }]
"""
    assert codes(BASE, REQUEST, RESPONSE, values, "session: { key: req.user }\n") == []


@pytest.mark.parametrize(
    ("errors", "yields"),
    [
        ("errors: { rules: [{ status: 403, as: stale }] }", True),
        ("errors: { rules: [{ status: 403, as: session_lost }] }", False),
    ],
)
def test_a_class_renews_a_value_only_if_a_rule_yields_it(errors: str, yields: bool) -> None:
    values = """
values:
  nonce:
    request: { path: /nonce }
    extract: [{ body: true }]
    refresh_for: [stale, rate_limited]
"""
    assert ([] if yields else ["W507"]) == codes(BASE, REQUEST, RESPONSE, errors, values)


def test_a_rule_of_the_stream_may_yield_the_class_that_renews_a_value() -> None:
    text = """stream:
  events:
    - { has: $.error, error: { class: $.error, map: { nonce: stale, "*": retryable } } }
    - { text: $.text, finish: $.reason }
values:
  nonce: { request: { path: /nonce }, extract: [{ body: true }], refresh_for: stale }
"""
    assert codes(BASE, REQUEST, text) == []


def test_a_class_that_the_upstream_names_may_be_any() -> None:
    text = """stream:
  events:
    - { has: $.error, error: { class: $.error } }
    - { text: $.text, finish: $.reason }
values:
  nonce: { request: { path: /nonce }, extract: [{ body: true }], refresh_for: stale }
"""
    assert codes(BASE, REQUEST, text) == []


def test_a_transform_that_classifies_may_yield_any_class() -> None:
    values = """transforms: [judge]
values:
  nonce: { request: { path: /nonce }, extract: [{ body: true }], refresh_for: stale }
"""
    judge = b"""API = 1
class Transform:
    def classify(self, response):
        return None
"""
    sources = Sources(transform=lambda name: (judge, "transforms/judge.py"))
    text = f"{BASE}{REQUEST}{RESPONSE}{values}"
    assert compile_route(text.encode(), "route.yaml", sources).problems == []


# ---- comments ----


def test_a_comment_switches_warnings_of_its_line_off() -> None:
    source = """a: 1 # penstock: ignore W505
b: 2  # because it is fine   # penstock: ignore W503, W504
c: "x# penstock: ignore W502"
# penstock: ignore E101
d: 4 # penstock:ignore W506 as it is encoded already
"""
    assert {1: {"W505"}, 2: {"W503", "W504"}, 5: {"W506"}} == ignored(source)
