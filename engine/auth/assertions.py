"""Assertions: what a client signs with a key of its own and is given a token for (RFC 7523).

Signing is the business of PyJWT, the extra `penstock[jwt]`. It is imported when such a route is
checked or wants a token, and nowhere else. Time comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar, Literal

from engine.errors import ExchangeError
from engine.options import OMIT, Duration, Env, Secret, Template, option
from engine.wire import JsonError, loads

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
EXTRA = "`flow: jwt_bearer` needs the package PyJWT: install `penstock[jwt]`"
ACCOUNT = ("=", "vars", "oauth.account")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """What is signed, and with which key."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("key", "service_account")

    key: Secret | None = option(None, "the private key, as PEM")
    service_account: Secret | None = option(
        None, "the text of a Google service account's JSON file: its key, key id and address; "
        "`scope` then stands in the assertion",
    )  # fmt: skip
    algorithm: Literal["RS256", "ES256"] = option("RS256", "how it is signed")
    key_id: str | None = option(None, "`kid`: which of its keys the client has signed with")
    issuer: str | None = option(None, "`iss`; default: `client_id`, or the service account")
    subject: Template | None = option(None, "`sub`: on whose behalf", roots=ACCOUNT)
    audience: str | None = option(None, "`aud`; default: `token_url`")
    claims: dict[str, Template] = option({}, "further claims", roots=ACCOUNT)
    lifetime: Duration = option(Duration(3600.0), "how long the assertion is good for")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs: `assertion` with what a service account's file says."""

    key: str = field(repr=False)
    key_id: str | None = None
    issuer: str = ""


def identity(options: Assertion, client_id: str) -> Identity:
    """Raises ValueError, without the text, for a file that is none of a service account."""
    if options.key is not None:
        return Identity(options.key.reveal(), options.key_id, options.issuer or client_id)
    assert options.service_account is not None
    try:
        found = loads(options.service_account.reveal().encode())
    except JsonError:
        found = None
    fields: Mapping[str, object] = found if isinstance(found, dict) else {}
    key, address = fields.get("private_key"), fields.get("client_email")
    if not isinstance(key, str) or not isinstance(address, str):
        raise ValueError("is not the JSON of a service account with `private_key`, `client_email`")
    ident = options.key_id or fields.get("private_key_id")
    return Identity(key, ident if isinstance(ident, str) else None, options.issuer or address)


def assertion(options: Assertion, who: Identity, audience: str, scope: str, env: Env) -> str:
    """The signed JWT. `env` has `_now`. Raises ExchangeError(fatal) where none can be signed."""
    now: Any = env["_now"]
    claims: dict[str, object] = {
        "iss": who.issuer,
        "aud": options.audience or audience,
        "iat": int(now),
        "exp": int(now + float(options.lifetime)),
    }
    if scope and options.service_account is not None:
        claims["scope"] = scope
    templates = {**options.claims, **({"sub": options.subject} if options.subject else {})}
    for name, template in templates.items():
        value = template.render(env)
        if value is not OMIT:
            claims[name] = value.reveal() if isinstance(value, Secret) else value
    try:
        return _signed(claims, who, options.algorithm)
    except ImportError:
        raise ExchangeError("fatal", EXTRA) from None
    except ValueError as error:
        raise ExchangeError("fatal", f"the assertion cannot be signed: {error}") from None


def _signed(claims: Mapping[str, object], who: Identity, algorithm: str) -> str:
    if "PRIVATE KEY" not in who.key:
        raise ValueError("the key is no private key in PEM")
    jwt = import_module("jwt")
    headers = {"kid": who.key_id} if who.key_id else None
    try:
        signed: str = jwt.encode(dict(claims), who.key, algorithm=algorithm, headers=headers)
    except Exception as error:  # whatever a key that is none does to the library
        raise ValueError(f"the key does not sign {algorithm} ({type(error).__name__})") from None
    return signed


def wrong(options: Assertion, client_id: str) -> tuple[str, str] | None:
    """What is wrong with it, as (key of the option, end of a sentence).

    Raises ImportError without PyJWT.
    """
    place = "key" if options.key is not None else "service_account"
    given = options.key if options.key is not None else options.service_account
    if given is None or not given.reveal():
        return None  # an unset variable, which is told already
    try:
        who = identity(options, client_id)
    except ValueError as error:
        return place, str(error)
    if not who.issuer:
        return "issuer", "is needed where there is no `client_id`"
    try:
        _signed({"iss": who.issuer}, who, options.algorithm)
    except ValueError:
        return place, f"is no private key in PEM that signs {options.algorithm}"
    return None
