"""`auth.from`: every source of accounts, compiled as part of a route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from engine.auth.accounts import Account
from engine.auth.sources import Accounts
from engine.options import Secret
from engine.route.compile import Compiled, Sources, compile_route
from engine.route.references import Outside

HEAD = "version: 1\ndialect: openai_chat\nbase_url: https://a.example\nmodels: [m]\n"


def compiled(
    source: str, files: Mapping[str, str] | None = None, more: str = "", **env: str
) -> Compiled:
    def read(path: str) -> str:
        if path not in (files or {}):
            raise FileNotFoundError(2, "No such file or directory")
        return (files or {})[path]

    text = f"{HEAD}auth: {{ from: {source} }}\n{more}"
    return compile_route(text.encode(), "routes/sample.yaml", Sources(Outside(env, read)))


def accounts(source: str, files: Mapping[str, str] | None = None, **env: str) -> list[Account]:
    found = compiled(source, files, **env)
    assert found.route is not None, found.problems
    return list(found.route.roster.accounts)


def shown(found: list[Account]) -> list[tuple[str, dict[str, str]]]:
    return [(each.id, {name: part.reveal() for name, part in each.parts.items()}) for each in found]


@pytest.mark.parametrize(
    ("source", "codes"),
    [
        ("{ env: K }", []),
        ("{ inline: { a: b } }", []),
        ("{ client_key: true }", []),
        ("{}", ["E105"]),
        ("{ env: K, client_key: true }", ["E105"]),
        ("{ env: null }", ["E105"]),
        ("{ inline: { a: null } }", ["E102"]),
        ("{ inline: text }", ["E102"]),
        ("{ env: K, format: json }", ["E106"]),
        ("{ env: K, take: { key: $.a } }", ["E106"]),
        ("{ env: K, count: 2 }", ["E106"]),
        ('{ env: K, split: "" }', ["E106"]),
        ("{ file: none.txt }", ["E203"]),
        ("[ { env: K }, { env: NONE } ]", ["E201"]),
    ],
)
def test_an_account_has_exactly_one_source(source: str, codes: list[str]) -> None:
    assert codes == [problem.code for problem in compiled(source, K="k").problems]


def test_a_source_that_is_not_written_is_none() -> None:
    assert Accounts(env="K") == Accounts(env="K", inline=None, client_key=None)


# ---- one by one ----


@pytest.mark.rows("FL-02")
def test_a_variable_is_one_key_or_several() -> None:
    assert shown(accounts("{ env: K }", K=" sk-1 \n")) == [("env:K", {"key": "sk-1"})]
    split = accounts('{ env: K, split: "," }', K="sk-1, sk-2,,sk-1")
    assert shown(split) == [("env:K[1]", {"key": "sk-1"}), ("env:K[2]", {"key": "sk-2"})]
    assert repr(split[1].parts["key"]) == "«env:K[2]»"


@pytest.mark.rows("K2-05")
def test_a_file_with_one_key_a_line_is_a_pool_of_hundreds() -> None:
    text = "# keys\n\n" + "".join(f"flo_{at:064x}\n" for at in range(710))
    found = accounts("{ file: tokens.txt }", {"tokens.txt": text})
    assert len(found) == 710
    assert (found[0].id, repr(found[0].parts["key"])) == ("tokens.txt:3", "«file:tokens.txt:3»")


@pytest.mark.rows("K2-13")
def test_objects_of_a_file_are_accounts_with_named_parts() -> None:
    text = '{"email": "ada@example.com", "k2_password": "one", "tries": 3, "tags": []}\n'
    source = "{ file: ./data/accounts.txt, format: jsonl, id: email }"
    (found,) = accounts(source, {"./data/accounts.txt": text})
    assert shown([found]) == [
        ("ada@example.com", {"email": "ada@example.com", "k2_password": "one", "tries": "3"})
    ]
    assert [secret.reveal() for secret in found.secrets] == ["one", "3"]  # the name is none


def test_parts_are_taken_from_anywhere_in_an_entry() -> None:
    source = "{ file: s.json, format: json, take: { api_key: '$.auth.keys[0]' } }"
    assert shown(accounts(source, {"s.json": '{"auth": {"keys": ["sk-1"]}}'})) == [
        ("s.json:1", {"api_key": "sk-1"})
    ]
    found = compiled(source, {"s.json": '{"auth": {}}'})
    assert [(p.code, p.file, p.message) for p in found.problems] == [
        ("E207", "routes/s.json", "this line has nothing at `$.auth.keys[0]` for `api_key`")
    ]


def test_yaml_and_env_files_are_read_too() -> None:
    text = "- { name: ada, key: sk-1 }\n- sk-2\n"
    assert shown(accounts("{ file: a.yaml, format: yaml }", {"a.yaml": text})) == [
        ("a.yaml:1", {"name": "ada", "key": "sk-1"}),
        ("a.yaml:2", {"key": "sk-2"}),
    ]
    assert shown(accounts("{ file: .env, format: env }", {".env": "A=1\nB=2\n"})) == [
        (".env:1", {"A": "1", "B": "2"})
    ]


def test_what_is_wrong_in_a_file_is_told_by_line_without_its_text() -> None:
    text = "- { key: sk-first, key: sk-canary }\n- 1\n"
    found = compiled("{ file: a.yaml, format: yaml }", {"a.yaml": text})
    assert [(p.file, p.line, p.code) for p in found.problems] == [("routes/a.yaml", 1, "E207")]
    assert "canary" not in str(found.problems)


def test_nobodys_accounts_are_minted_by_a_value() -> None:
    value = (
        "values: { guest: { scope: account, request: { path: /new }, extract: [ { body: true } ]"
    )
    found = compiled("{ value: guest, count: 2 }", more=value + " } }\n")
    assert found.route is not None
    roster = found.route.roster.accounts
    assert [(each.id, each.fetched, dict(each.parts)) for each in roster] == [
        ("guest-1", "guest", {}), ("guest-2", "guest", {}),
    ]  # fmt: skip
    wrong = compiled("{ value: guest }", more=value.replace("account", "route") + " } }\n")
    assert [problem.code for problem in wrong.problems] == ["E522"]


def test_a_weight_is_a_part() -> None:
    text = '{"key": "a", "share": 3}\n{"key": "b", "share": "many"}\n{"key": "c"}\n'
    source = "{ file: a.jsonl, format: jsonl, weight: share }"
    assert [each.weight for each in accounts(source, {"a.jsonl": text.splitlines()[0]})] == [3]
    assert [p.line for p in compiled(source, {"a.jsonl": text}).problems] == [2, 3]


# ---- together ----


def test_a_list_is_all_of_them_each_once() -> None:
    found = accounts("[ { env: A }, { env: B }, { env: C } ]", A="sk-1", B="sk-2", C="sk-1")
    assert [each.id for each in found] == ["env:A", "env:B"]


@pytest.mark.parametrize(
    ("env", "files", "ids", "codes"),
    [
        ({"A": "sk-1"}, {"f": "sk-2"}, ["env:A"], []),
        ({}, {"f": "sk-2"}, ["f:1"], []),
        ({}, {}, None, ["E201", "E203"]),
        ({}, {"f": "# nobody"}, None, ["E201", "E208"]),
    ],
)
def test_the_first_source_that_has_an_account_is_taken(
    env: Mapping[str, str], files: Mapping[str, str], ids: list[str] | None, codes: list[str]
) -> None:
    found = compiled("{ first_of: [ { env: A }, { file: f } ] }", files, **env)
    made = None if found.route is None else [each.id for each in found.route.roster.accounts]
    assert (made, [problem.code for problem in found.problems]) == (ids, codes)
    assert found.unset == (("A",) if codes else ())


def test_a_bad_file_is_no_reason_to_pass_on() -> None:
    source = "{ first_of: [ { file: f, format: jsonl }, { env: A } ] }"
    found = compiled(source, {"f": "{"}, A="sk-1")
    assert [problem.code for problem in found.problems] == ["E207"]


# ---- what a change touches ----


def digests(text: str) -> tuple[str, list[str]]:
    found = compiled("{ file: f }", {"f": text}).route
    assert found is not None
    return found.digest, [each.digest for each in found.roster.accounts]


def test_editing_one_credential_changes_the_route_and_that_account() -> None:
    before, after = digests("sk-1\nsk-2\n"), digests("sk-1\nsk-3\n")
    assert before[0] != after[0]
    assert [a == b for a, b in zip(before[1], after[1], strict=True)] == [True, False]


def test_the_file_is_among_those_the_route_is_made_of() -> None:
    assert compiled("{ file: f }", {"f": "sk-1"}).files == ("routes/sample.yaml", "f")


def test_no_part_is_shown() -> None:
    found: Any = compiled("{ file: f }", {"f": "sk-canary"})
    assert "canary" not in repr(found.route.roster) + repr(found.spec)
    assert found.route.roster.accounts[0].parts == {"key": Secret("sk-canary")}
