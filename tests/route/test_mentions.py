"""What templates may read, and what a route therefore computes and fetches."""

from __future__ import annotations

import pytest

from tests.kit import problems_of, route_of

HEAD = """
version: 1
base_url: https://a.example
response: { events: [ { text: $.a, finish: stop, set: { learned: $.id } } ] }
vars: { one: 1 }
let: { two: "{{ vars.one }}" }
session: { key: [req.user], state: { kept: x } }
values:
  first: { request: { path: /f }, extract: [ { body: true } ] }
  second: { request: { path: /s }, extract: { part: [ { body: true } ] } }
models: [ { id: m, max_output: 5, set: { three: 3 } } ]
variants: [ { suffix: -x, set: { four: 4 } } ]
auth: { from: { inline: { user: u } } }
"""


def codes(expression: str) -> list[str]:
    text = f'{HEAD}request: {{ path: /x, json: {{ a: "{{{{ {expression} }}}}" }} }}\n'
    return [problem.partition(":")[2] for problem in problems_of(text)]


@pytest.mark.parametrize(
    "name",
    [
        "req.prompt", "req.extra.anything", "model.id", "model.upstream", "model.max_output",
        "vars.one", "vars.three", "vars.four", "let.two", "session.kept", "session.learned",
        "session.id", "values.first", "values.second.part", "account.user",
    ],
)  # fmt: skip
def test_what_a_route_declares_can_be_read(name: str) -> None:
    assert codes(name) == []


@pytest.mark.parametrize(
    "name",
    [
        "req.promt", "model.name", "vars.learned", "vars.kept", "let.one", "session.three",
        "session.one", "values.third", "account.pass", "data.x", "oauth.token",
    ],
)  # fmt: skip
def test_what_a_route_does_not_declare_is_refused(name: str) -> None:
    assert codes(name) == ["E302"]


def test_only_what_is_mentioned_is_looked_up_and_fetched() -> None:
    route = route_of(HEAD + 'request: { path: /x, json: { a: "{{ req.prompt }}" } }')
    assert route.names == frozenset({"prompt"})
    assert route.wanted == ()


def test_mentions_count_wherever_they_stand() -> None:
    text = (
        HEAD
        + """
request:
  path: "/x/{{ req.user | urlpath }}"
  headers: { X-A: "{{ values.second.part }}" }
  json: { deep: [ { a: "{{ req.seed }}" } ] }
  patch: [ { when: req.stream, set: { b: "{{ req.n }}" } } ]
errors: { rules: [ { when: req.model == 'm', as: fatal } ] }
"""
    )
    route = route_of(text)
    assert route.names == frozenset({"user", "seed", "stream", "n", "model"})
    assert route.wanted == ("second",)


def test_the_condition_of_a_transform_is_a_mention() -> None:
    text = (
        HEAD
        + """
request: { path: /x, json: {} }
transforms:
  - { think_tags: { tags: { think: drop } }, when: not req.reasoning }
  - { system_prompt: { append: "{{ values.first }} {{ req.temperature }}" } }
"""
    )
    route = route_of(text)
    assert route.names == frozenset({"reasoning", "temperature"})
    assert route.wanted == ("first",)


def test_a_value_that_a_value_needs_is_fetched_before_it() -> None:
    text = HEAD.replace("path: /s", 'path: "/s/{{ values.first | urlpath }}"')
    route = route_of(text + 'request: { path: /x, json: { a: "{{ values.second.part }}" } }')
    assert route.wanted == ("first", "second")


def test_who_reads_a_whole_root_reads_all_of_it() -> None:
    route = route_of(HEAD + 'request: { path: /x, json: { a: "{{ req }}", b: "{{ values }}" } }')
    assert "temperature" in route.names
    assert route.wanted == ("first", "second")
