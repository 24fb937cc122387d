"""Where no template is rendered, one that was meant is told, and other text is left alone."""

from __future__ import annotations

import pytest

from tests.kit import compiled

ROUTE = """
version: 1
base_url: https://a.example
models: [m]
auth: { from: HERE, bearer: "{{ account.key }}" }
request: { path: /x, json: { q: "{{ req.prompt }}" } }
response: { events: [ { text: $.text, finish: stop } ] }
"""


@pytest.mark.parametrize(
    ("source", "codes"),
    [
        ('{ inline: { key: "{{account.other}}" } }', ["W509"]),
        ('[ { inline: { key: "a {{- let.x }}" } }, { inline: { key: b } } ]', ["W509"]),
        ('{ inline: { key: "{{ }}" } }', []),
        ('{ inline: { key: "{{ required }}" } }', []),
    ],
)
def test_only_a_mention_of_a_variable_makes_a_template(source: str, codes: list[str]) -> None:
    problems = compiled(ROUTE.replace("HERE", source)).problems
    assert codes == [problem.code for problem in problems]
