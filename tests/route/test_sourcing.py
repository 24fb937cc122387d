"""What templates may read of accounts, and how a pool's rules are written."""

from __future__ import annotations

from math import inf

import pytest

from engine.auth.meter import Limit
from engine.auth.pool import Rules
from tests.kit import compiled, problems_of, route_of

HEAD = "version: 1\ndialect: openai_chat\nbase_url: https://a.example\nmodels: [m]\n"
VALUE = "values: { v: { scope: account, request: { path: /v }, extract: %s } }\n"


@pytest.mark.parametrize(
    ("source", "part", "codes"),
    [
        ("{ env: K }", "key", []),
        ("{ env: K }", "kye", ["5:E302"]),
        ("{ client_key: true }", "user", ["5:E302"]),
        ("[ { env: K }, { inline: { user: a } } ]", "user", []),
        ("[ { env: K }, { inline: { user: a } } ]", "pass", ["5:E302"]),
        ("{ first_of: [ { env: K }, { inline: { user: a } } ] }", "pass", ["5:E302"]),
        ("{ file: f }", "user", ["5:E203", "5:E302"]),
        ("{ file: f, format: json, take: { user: $.u } }", "key", ["5:E203", "5:E302"]),
        ("{ file: f, format: json }", "anything", ["5:E203"]),
        ("{ value: v }", "user", ["5:E302"]),
    ],
)
def test_the_parts_that_a_source_gives_are_known(source: str, part: str, codes: list[str]) -> None:
    text = f'{HEAD}auth: {{ from: {source}, bearer: "{{{{ account.{part} }}}}" }}\n'
    found = problems_of(text + VALUE % "[ { body: true } ]", env={"K": "k"})
    assert codes[-1:] == [code for code in found if "E302" in code or "E203" in code][-1:]


def test_without_a_key_of_its_own_a_route_takes_the_clients() -> None:
    text = f"{HEAD}auth: {{ from: {{ first_of: [ {{ env: K }}, {{ client_key: true }} ] }}"
    text += ', bearer: "{{ account.key }}" }\n'
    assert (problems_of(text), route_of(text).roster.client) == ([], True)
    own = route_of(text, env={"K": "k"}).roster
    assert (own.client, [each.id for each in own.accounts]) == (False, ["env:K"])


def test_outputs_of_a_value_may_be_any_part() -> None:
    text = f'{HEAD}auth: {{ from: {{ value: v }}, bearer: "{{{{ account.id }}}}" }}\n'
    assert problems_of(text + VALUE % "{ id: [ { json: $.id } ] }") == []


def test_the_rules_of_a_pool_are_read() -> None:
    route = route_of(
        HEAD
        + """auth:
  from: { env: K, split: "," }
  pick: least_busy
  park: { after: 3, for: 10m, refused: 1h }
  refresh_all: { after: 2, min_pool: 3 }
  wait: 5s
limits: { per_account: { rpm: 12, concurrency: 2 } }
""",
        env={"K": "a,b"},
    )
    assert route.roster.rules == Rules(
        "least_busy", 3, 600.0, 3600.0, 2, 3, 5.0, Limit(12, 2)
    )  # fmt: skip
    assert route_of(HEAD).roster.rules == Rules(refused=inf)


def test_a_place_in_a_list_is_where_a_problem_stands() -> None:
    text = HEAD + "auth:\n  from:\n    - { env: K }\n    - { env: NONE }\n"
    assert problems_of(text, env={"K": "k"}) == ["8:E201"]
    assert compiled(text, env={"K": "k"}).unset == ("NONE",)
