"""Credentials that stand in the route or the environment."""

from __future__ import annotations

import base64

import pytest

from engine.auth.static import Accounts, basic
from tests.kit import problems_of

HEAD = "version: 1\ndialect: openai_chat\nbase_url: https://a.example\nmodels: [m]\n"


@pytest.mark.parametrize(
    ("username", "password"), [("a", "b"), ("", ""), ("me@example.com", "p:w:é")]
)
def test_basic_is_user_and_password_in_base64(username: str, password: str) -> None:
    scheme, _, coded = basic(username, password).partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(coded).decode() == f"{username}:{password}"


@pytest.mark.parametrize(
    ("source", "codes"),
    [
        ("{ env: K }", []),
        ("{ inline: { a: b } }", []),
        ("{ client_key: true }", []),
        ("{}", ["5:E105"]),
        ("{ env: K, client_key: true }", ["5:E105"]),
        ("{ env: null }", ["5:E105"]),
        ("{ inline: { a: null } }", ["5:E102"]),
        ("{ inline: text }", ["5:E102"]),
    ],
)
def test_an_account_has_exactly_one_source(source: str, codes: list[str]) -> None:
    assert problems_of(f"{HEAD}auth: {{ from: {source} }}\n", env={"K": "k"}) == codes


def test_a_source_that_is_not_written_is_none() -> None:
    assert Accounts(env="K") == Accounts(env="K", inline=None, client_key=None)
