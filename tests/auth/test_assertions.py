"""Assertions that a client signs, read by a library that is not the one that signed them."""

from __future__ import annotations

import json
import sys
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from engine.auth.assertions import EXTRA, GRANT, Assertion, assertion, identity, wrong
from engine.auth.flows import renew
from engine.errors import ExchangeError
from engine.options import Secret

from .conversations import NOW, TOKEN_URL, client, grants, options, play, template

ENV: dict[str, object] = {"_now": NOW, "vars": {}, "oauth": {"account": "ann"}}


@cache
def pair(algorithm: str) -> tuple[str, Any]:
    """A private key as PEM, and the public one as the library that verifies has it."""
    made = (
        rsa.generate_private_key(65537, 2048)
        if algorithm == "RS256"
        else ec.generate_private_key(ec.SECP256R1())
    )
    private = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    kind: Any = RSAKey if algorithm == "RS256" else ECKey
    return private, kind.import_key(public)


def service_account() -> Secret:
    fields = {
        "type": "service_account", "private_key": pair("RS256")[0], "private_key_id": "k7",
        "client_email": "robot@project.example", "token_uri": "https://elsewhere.example/token",
    }  # fmt: skip
    return Secret(json.dumps(fields))


def signed(given: Assertion, scope: str = "", client_id: str = "me") -> Any:
    """Header and claims, the signature verified."""
    text = assertion(given, identity(given, client_id), TOKEN_URL, scope, ENV)
    key = pair(given.algorithm)[1]
    return jwt.decode(text, key, algorithms=[given.algorithm])


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_key_signs_who_asks_whom_and_until_when(algorithm: Any) -> None:
    token = signed(Assertion(key=Secret(pair(algorithm)[0]), algorithm=algorithm, key_id="k1"))
    assert ("k1", algorithm) == (token.header["kid"], token.header["alg"])
    known = {"iss": "me", "aud": TOKEN_URL, "iat": int(NOW), "exp": int(NOW) + 3600}
    assert known == token.claims


def test_what_the_route_says_stands_in_it() -> None:
    given = Assertion(
        key=Secret(pair("RS256")[0]),
        issuer="us",
        audience="https://id.example",
        subject=template("{{ oauth.account }}@example.com"),
        claims={"tier": template("gold"), "none": template("{{ omit }}")},
    )
    claims = signed(given).claims
    assert ("us", "https://id.example", "ann@example.com", "gold") == tuple(
        claims[name] for name in ("iss", "aud", "sub", "tier")
    )
    assert "none" not in claims


def test_a_service_account_brings_key_address_and_scope() -> None:
    token = signed(Assertion(service_account=service_account()), "read write", client_id="")
    assert ("k7", "robot@project.example") == (token.header["kid"], token.claims["iss"])
    assert ("read write", TOKEN_URL) == (token.claims["scope"], token.claims["aud"])


def test_it_is_given_for_a_token_whenever_one_is_due() -> None:
    given = options(
        flow="jwt_bearer", client_secret=None, refresh_token=None, client_id="", scope=["a", "b"],
        assertion=Assertion(service_account=service_account()),
    )  # fmt: skip
    played = play(renew(client(given), ENV), lambda request, fields: grants("at"))
    (fields,) = played.fields
    assert {"grant_type", "assertion"} == set(fields)
    assert GRANT == fields["grant_type"]
    assert played.tokens is not None
    assert "at" == played.tokens.access


def test_a_client_with_an_id_and_a_key_names_itself_and_its_scope() -> None:
    given = options(
        flow="jwt_bearer", client_secret=None, refresh_token=None, scope=["a", "b"],
        assertion=Assertion(key=Secret(pair("ES256")[0]), algorithm="ES256"),
    )  # fmt: skip
    (fields,) = play(renew(client(given), ENV), lambda request, fields: grants("at")).fields
    assert ("me", "a b") == (fields["client_id"], fields["scope"])


NOT_ONE = "is not the JSON of a service account with `private_key`, `client_email`"


@pytest.mark.parametrize(
    ("given", "client_id", "why"),
    [
        ({"key": "no key"}, "me", ("key", "is no private key in PEM that signs RS256")),
        ({"key": "EC"}, "me", ("key", "is no private key in PEM that signs RS256")),
        ({"key": "RSA"}, "", ("issuer", "is needed where there is no `client_id`")),
        ({"service_account": "[]"}, "", ("service_account", NOT_ONE)),
        ({"service_account": "{"}, "", ("service_account", NOT_ONE)),
        ({"service_account": '{"private_key": "x"}'}, "", ("service_account", NOT_ONE)),
        ({"key": "RSA"}, "me", None),
        ({"key": ""}, "me", None),
    ],
)
def test_what_cannot_sign_is_told_without_the_key(
    given: dict[str, str], client_id: str, why: object
) -> None:
    keys = {"RSA": pair("RS256")[0], "EC": pair("ES256")[0]}
    made: dict[str, Any] = {name: Secret(keys.get(text, text)) for name, text in given.items()}
    assert why == wrong(Assertion(**made), client_id)


def test_a_key_that_is_none_is_not_in_the_error() -> None:
    given = Assertion(key=Secret("sk-none-of-a-key"))
    with pytest.raises(ExchangeError, match="cannot be signed") as caught:
        assertion(given, identity(given, "me"), TOKEN_URL, "", ENV)
    assert "sk-none" not in str(caught.value)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    given = Assertion(key=Secret(pair("RS256")[0]))
    with pytest.raises(ExchangeError) as caught:
        assertion(given, identity(given, "me"), TOKEN_URL, "", ENV)
    assert EXTRA == caught.value.message
