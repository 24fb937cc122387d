"""Rules that look for fields in text. The other ones: tests/fixtures/bad/rule_*.bad.yaml."""

from __future__ import annotations

import pytest

from tests.route.corpus import ROOT, compile_bytes

FOLDER = ROOT / "tests" / "fixtures" / "bad"

ROUTE = """\
version: 1
base_url: https://chat.example.com
models: [m1]
transforms: {transforms}
request: {{ path: /x, json: {{ q: "{{{{ req.prompt }}}}" }} }}
stream:
  format: {format}
  done: END
  events:
    - {rule}
"""


@pytest.mark.parametrize(
    ("format", "rule", "warned"),
    [
        ("lines", "{ text: $ }", False),
        ("lines", "{ text: $.said }", True),
        ("text", "{ match: { kind: word }, text: $ }", True),
        ("text", '{ not: { $: "/^x/" }, text: $ }', False),
        ("lines", "{ each: $ | from_json, text: $.said }", False),
        ("lines", "{ each: $.a | from_json, text: $.said }", True),
        ("ndjson", "{ each: $.a | b64d, text: $.said }", True),
        ("ndjson", "{ each: $.a | b64d | from_json, text: $.said }", False),
        ("ndjson", "{ each: [$.a | json, $.b], text: $.said }", True),
        ("{ frames: { text: true } }", "{ text: $.said }", True),
        ("{ frames: { text: true } }", "{ each: $ | b64d | from_json, text: $.said }", False),
        ("ndjson", "{ each: $.a, text: $.said }", False),
        ("ndjson", "{ each: \"$.a | regex_search('x(.*)')\", text: $ }", False),
    ],
)
def test_a_field_is_looked_for_in_what_may_have_one(format: str, rule: str, warned: bool) -> None:
    route = ROUTE.format(format=format, rule=rule, transforms="[]")
    problems = compile_bytes(route.encode(), "r.yaml", FOLDER).problems
    assert (["W513"] if warned else []) == [problem.code for problem in problems]


def test_a_transform_may_have_opened_the_text() -> None:
    transforms = "[nested_json: { at: a }]"
    route = ROUTE.format(format="lines", rule="{ text: $.said }", transforms=transforms)
    assert [] == compile_bytes(route.encode(), "r.yaml", FOLDER).problems
