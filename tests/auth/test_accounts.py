"""Accounts: what tells one from another, and what is shown of it."""

from __future__ import annotations

from engine.auth.accounts import Account, account
from engine.options import Secret


def of(id: str = "a", **parts: str) -> Account:
    return account(id, {name: Secret(text) for name, text in parts.items()})


def test_the_digest_follows_the_credentials_and_not_the_place() -> None:
    assert of("env:K[1]", key="sk-1").digest == of("env:K[2]", key="sk-1").digest
    assert of(key="sk-1").digest != of(key="sk-2").digest
    assert of(user="ab", key="c").digest != of(user="a", key="bc").digest
    assert of(a="x", b="y").digest == of(b="y", a="x").digest
    assert account("a", {}, digest="own").digest == "own"


def test_an_account_shows_its_name_and_no_part() -> None:
    made = account(
        "ada@example.com",
        {"email": Secret("ada@example.com"), "password": Secret("hunter22")},
        known=frozenset({"email"}),
    )
    assert "hunter22" not in repr(made)
    assert [secret.reveal() for secret in made.secrets] == ["hunter22"]


def test_the_password_in_a_url_is_a_secret_of_its_own() -> None:
    found = of(proxy="http://me:p%2Fss-word@p.example:1").secrets
    assert [secret.reveal() for secret in found] == [
        "http://me:p%2Fss-word@p.example:1",
        "p/ss-word",
    ]
