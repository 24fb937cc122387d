"""`${…}`: text from outside, never structure and never a template."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import Problem
from engine.options import Secret
from engine.route.nodes import Node, read
from engine.route.references import Outside, Piece, Resolver
from tests.kit import compiled, problems_of, route_of

ENV = {"KEY": "sk-outside-1", "EMPTY": "", "EVIL": "{{ 7*7 }}", "LINES": "a\nb: c"}
FILES = {"/run/secret": "  from-a-file \n"}


def resolver(text: str) -> tuple[Resolver, Node, Outside, list[Problem]]:
    problems: list[Problem] = []
    node = read(text, "a.yaml", problems)
    assert node is not None

    def look(path: str) -> str:
        if path not in FILES:
            raise FileNotFoundError(2, "No such file or directory")
        return FILES[path]

    outside = Outside(ENV, look)
    made = Resolver(outside, node, problems)
    made.resolve(node.walk())
    return made, node, outside, problems


def value(text: str) -> tuple[str, list[str]]:
    """The text of `x`, and the codes of what was wrong."""
    made, node, _, problems = resolver(text)
    return made.text(node.value["x"]), [problem.code for problem in problems]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("${env:KEY}", "sk-outside-1"),
        ("a ${env:KEY} b ${env:KEY}", "a sk-outside-1 b sk-outside-1"),
        ("${env:NONE:-fallback}", "fallback"),
        ("${env:EMPTY:-fallback}", "fallback"),
        ("${env:EMPTY}", ""),
        ("${env:NONE:-}", ""),
        ("${env:KEY:-fallback}", "sk-outside-1"),
        ("${env:KEY:?is needed}", "sk-outside-1"),
        ("${file:/run/secret}", "from-a-file"),
        ("$${env:KEY}", "${env:KEY}"),
        ("$$${env:KEY}", "$${env:KEY}"),
        ("$5 and ${env:KEY}", "$5 and sk-outside-1"),
        ("${env:LINES}", "a\nb: c"),
    ],
)
def test_references_are_replaced_by_their_text(written: str, text: str) -> None:
    assert value(f"x: '{written}'") == (text, [])


@pytest.mark.parametrize(
    ("written", "code", "words"),
    [
        ("${env:NONE}", "E201", "environment variable `NONE` is not set"),
        ("${env:NONE:?set it at example.com}", "E201", "set it at example.com"),
        ("${env:EMPTY:?must hold a key}", "E201", "must hold a key"),
        ("${file:/nowhere}", "E203", "cannot read file `/nowhere`: No such file or directory"),
        ("${what:X}", "E202", "unknown reference `${what:X}`"),
        ("${env:}", "E202", "unknown reference"),
        ("${vars:none}", "E202", "`vars.none` is not a text of this route"),
        ("${vars:map}", "E202", "`vars.map` is not a text of this route"),
        ("${env:{{ x }}}", "E206", "no template may stand in a reference"),
    ],
)
def test_what_cannot_be_replaced_is_told(written: str, code: str, words: str) -> None:
    *_, problems = resolver(f"vars: {{ map: {{ a: 1 }} }}\nx: '{written}'")
    assert [problem.code for problem in problems] == [code]
    assert words in problems[0].message
    assert problems[0].line == 2


def test_what_was_missing_and_what_was_read_is_remembered() -> None:
    _, _, outside, _ = resolver("x: ['${env:NONE}', '${file:/run/secret}', '${env:KEY}']")
    assert (outside.unset, outside.files) == (["NONE"], ["/run/secret"])


def test_vars_may_refer_to_one_another() -> None:
    text = "vars: { host: '${env:KEY}.example', url: 'https://${vars:host}', n: 5 }\n"
    assert value(text + "x: '${vars:url}/${vars:n}'") == ("https://sk-outside-1.example/5", [])


def test_vars_that_refer_to_themselves_are_told() -> None:
    for names in ("a: 'x${vars:a}'", "a: '${vars:b}', b: '${vars:a}'"):
        assert value(f"vars: {{ {names} }}\nx: '${{vars:a}}'")[1] == ["E202"]


def test_what_came_from_outside_stays_secret_by_way_of_vars() -> None:
    made, node, *_ = resolver(
        "vars: { a: 'Bearer ${env:KEY}', b: plain }\nx: ['${vars:a}', '${vars:b}']"
    )
    first, second = node.value["x"].value
    assert made.of(first) == [Piece("Bearer sk-outside-1", "env:KEY", secret=True)]
    assert made.of(second) == [Piece("plain", "vars:b")]


def test_a_default_is_no_secret() -> None:
    made, node, *_ = resolver("x: ['${env:NONE:-open}', '${env:KEY:-open}']")
    pieces = [piece for item in node.value["x"].value for piece in made.of(item) or ()]
    assert [piece.secret for piece in pieces] == [False, True]


def test_a_secret_is_named_after_its_reference_or_its_place() -> None:
    made, node, *_ = resolver("x: ['a${env:KEY}', literal]")
    first, second = node.value["x"].value
    assert repr(made.secret(first, "auth.x")) == "«env:KEY»"
    assert repr(made.secret(second, "auth.x")) == "«auth.x»"


# ---- in a route ----

ROUTE = """
version: 1
base_url: https://a.example
models: [m]
vars: { evil: "${env:EVIL}", key: "${env:KEY}" }
request:
  path: /x
  headers: { X-Evil: "${env:EVIL}", X-Mixed: "a ${env:EVIL} {{ req.model }}" }
  query: { q: "${vars:evil}" }
  json: { evil: "${env:EVIL}", again: "{{ vars.evil }}", list: ["${env:EVIL}"] }
response: { events: [ { text: $.a, finish: stop } ] }
"""


def sent(text: str, mask: bool) -> Any:
    route = route_of(text, env=ENV)
    env: dict[str, Any] = {
        "req": {"model": "m"}, "model": {"id": "m", "upstream": "m"}, "account": {},
        "values": {}, "vars": next(iter(route.offers.values())).vars, "_ref": route.references,
    }  # fmt: skip
    return route.plan.render({**env, "_mask": True} if mask else env)


def test_a_reference_never_becomes_a_template() -> None:
    request = sent(ROUTE, mask=False)
    assert request.header("x-evil") == "{{ 7*7 }}"
    assert request.header("x-mixed") == "a {{ 7*7 }} m"
    assert request.query == (("q", "{{ 7*7 }}"),)
    assert request.body == b'{"evil":"{{ 7*7 }}","again":"{{ 7*7 }}","list":["{{ 7*7 }}"]}'


def test_a_masked_rendering_shows_names_instead_of_what_came_from_outside() -> None:
    request = sent(ROUTE, mask=True)
    assert request.header("x-evil") == "«env:EVIL»"
    assert request.query == (("q", "«env:EVIL»"),)


def test_secrets_among_the_vars_are_known_to_those_who_redact() -> None:
    route = route_of(ROUTE, env=ENV)
    assert Secret("sk-outside-1") in route.references.values()


def test_a_reference_in_a_condition_is_refused() -> None:
    text = ROUTE + "transforms: [ { drop_events: { kinds: [reasoning] }, when: \"'${env:KEY}'\" } ]"
    text = text.replace("drop_events: { kinds: [reasoning] }", "think_tags: {}")
    assert problems_of(text, env=ENV) == ["12:E206"]


def test_an_unset_variable_alone_does_not_make_a_route_wrong() -> None:
    assert compiled(ROUTE, env={"EVIL": "x"}).only_unset
    assert not compiled(ROUTE + "oops: 1", env={"EVIL": "x"}).only_unset
