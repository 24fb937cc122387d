"""OAuth tokens kept alive without a person: refreshed in time, rotated, exchanged.

    renew(client, env)   the tokens to use now

Rules. What another process has refreshed is used, not refreshed again. A new refresh token is kept
before anything is done with it. What is still valid is used when a renewal fails for a reason that
may pass. A failed exchange leaves the parts as they were.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping
from typing import Any
from urllib.parse import urlencode

from engine.auth.static import basic
from engine.errors import ExchangeError
from engine.options import OMIT, Env, Secret, Template
from engine.wire import HttpRequest, HttpResponse, dumps

from .answers import error_code, read_exchange, read_tokens
from .assertions import GRANT, assertion, identity
from .oauth import OAuth2
from .steps import Client, Flow, Keep, Recall, Step
from .tokens import Tokens, read_kept

TROUBLE = 60.0  # seconds until the next try, while old tokens still work


def renew(client: Client, env: Env) -> Flow:
    """Drive it with `_now` (epoch seconds), and `_refused`: the parts an upstream has refused.

    Raises ExchangeError: `auth_invalid` when a person has to log in.
    """
    tokens = yield from _recalled(client)
    if tokens is not None and _fresh(client, tokens, env):
        if not tokens.pending and not _stale_parts(client, tokens, _now(env)):
            return tokens
        work = settle(client, env, tokens)
    else:
        work = _renewed(client, env, tokens)
    try:
        return (yield from work)
    except ExchangeError as error:
        last = yield from _recalled(client)
        if error.cls == "auth_invalid" or not _usable(client, last, env):
            raise
        assert last is not None
        return last


def parts_of(tokens: Tokens) -> dict[str, str]:
    """What templates read as `account.…`."""
    return {**tokens.parts, "access_token": tokens.access}


def next_look(client: Client, tokens: Tokens, now: float) -> float | None:
    """Seconds until the tokens are to be looked after; None: never."""
    due = tokens.due(float(client.options.refresh_before))
    ends = tokens.parts_until
    if ends is not None:
        lead = min(float(client.options.refresh_before), (ends - now) / 2)
        due = min(due, ends - lead) if due is not None else ends - lead
    if tokens.pending:
        return TROUBLE
    return None if due is None else max(TROUBLE, due - now)


# ---- deciding ----


def _now(env: Env) -> float:
    now: Any = env["_now"]
    return float(now)


def _recalled(client: Client) -> Generator[Step, Any, Tokens | None]:
    found = yield Recall()
    return read_kept(found, client.options.parts)


def _fresh(client: Client, tokens: Tokens, env: Env) -> bool:
    """Neither due nor refused."""
    now, due = _now(env), tokens.due(float(client.options.refresh_before))
    return tokens.valid(now) and not _refused(tokens, env) and (due is None or now < due)


def _refused(tokens: Tokens, env: Env) -> bool:
    return parts_of(tokens) == env.get("_refused")


def _stale_parts(client: Client, tokens: Tokens, now: float) -> bool:
    """Something that the exchange gives is missing or about to end."""
    exchange = client.options.exchange
    if exchange is None:
        return False
    ends = tokens.parts_until
    lead = min(float(client.options.refresh_before), 300.0)
    return (ends is not None and now >= ends - lead) or not _has_parts(client, tokens)


def _has_parts(client: Client, tokens: Tokens) -> bool:
    exchange = client.options.exchange
    wanted = exchange.take if exchange is not None else ()
    return all(name in tokens.parts for name in client.options.parts if name in wanted)


def _usable(client: Client, tokens: Tokens | None, env: Env) -> bool:
    if tokens is None or not tokens.valid(_now(env)) or _refused(tokens, env):
        return False
    ends = tokens.parts_until
    return _has_parts(client, tokens) and (ends is None or _now(env) < ends)


# ---- doing ----


def _renewed(client: Client, env: Env, tokens: Tokens | None) -> Flow:
    own = _own_grant(client, env)
    if own is not None:
        fresh = yield from obtain(client, env, own, tokens)
        return (yield from settle(client, env, fresh))
    spent = tokens.refresh if tokens is not None else _first(client.options)
    if not spent:
        if tokens is not None and _usable(client, tokens, env):
            return tokens
        raise ExchangeError("auth_invalid", client.log_in)
    try:
        fresh = yield from _refresh(client, env, spent, tokens)
    except ExchangeError as error:
        if error.cls != "auth_invalid":
            raise
        rotated = yield from _recalled(client)  # somebody else may have been faster
        if rotated is None or rotated.refresh == spent:
            raise ExchangeError("auth_invalid", f"{error.message}; {client.log_in}") from None
        if _fresh(client, rotated, env) and not rotated.pending:
            return rotated
        fresh = yield from _refresh(client, env, rotated.refresh, rotated)
    return (yield from settle(client, env, fresh))


def _own_grant(client: Client, env: Env) -> Mapping[str, str] | None:
    """What the client is given tokens for by its own right; None where that is a person's."""
    options = client.options
    if options.flow == "client_credentials":
        return {"grant_type": options.flow}
    if options.flow != "jwt_bearer" or options.assertion is None:
        return None
    who, known = identity(options.assertion, options.who), client.env(env)
    scope = " ".join(options.scope)
    signed = assertion(options.assertion, who, options.token_url, scope, known)
    return {"grant_type": GRANT, "assertion": signed}


def _first(options: OAuth2) -> str:
    return options.refresh_token.reveal() if options.refresh_token is not None else ""


def _refresh(client: Client, env: Env, spent: str, before: Tokens | None) -> Flow:
    grant = {"grant_type": "refresh_token", "refresh_token": spent}
    old = before or Tokens("", spent)
    fresh = yield from obtain(client, env, grant, old)
    return fresh


def obtain(
    client: Client, env: Env, grant: Mapping[str, str], before: Tokens | None = None
) -> Flow:
    """Tokens for a grant, kept at once. The ways of `client_auth` are tried in order."""
    ways = client.options.client_auth
    for at, way in enumerate(ways):
        response: HttpResponse = yield token_request(client, env, grant, way)
        if error_code(response) == "invalid_client" and at + 1 < len(ways):
            continue
        break
    tokens = read_tokens(response, client.options, _now(env), before)
    yield Keep(tokens)
    return tokens


def settle(client: Client, env: Env, tokens: Tokens) -> Flow:
    """The same with the parts of the exchange."""
    if client.exchange is None:
        return tokens
    known = {"access_token": tokens.access, "refresh_token": tokens.refresh}
    response: HttpResponse = yield client.exchange(client.env(env, **known))
    parts, until = read_exchange(response, client.options, _now(env))
    whole = dataclasses.replace(
        tokens, parts={**tokens.parts, **parts}, parts_until=until, pending=False
    )
    yield Keep(whole)
    return whole


# ---- token requests ----


def token_request(client: Client, env: Env, grant: Mapping[str, str], way: str) -> HttpRequest:
    """A request to the token endpoint (RFC 6749, section 2.3.1 says how the client is told)."""
    options, known = client.options, client.env(env)
    fields = {**grant, **words(options.token_params, known)}
    if options.who:
        fields["client_id"] = options.who
    secret = options.client_secret.reveal() if options.client_secret is not None else ""
    if options.scope and _asks_scope(options, grant):
        fields.setdefault("scope", " ".join(options.scope))
    if way == "form" and secret:
        fields["client_secret"] = secret
    headers = {"Accept": "application/json", **words(options.token_headers, known)}
    if way == "basic":
        headers["Authorization"] = basic(options.who, secret)
    return posted(options, options.token_url, fields, headers)


def _asks_scope(options: OAuth2, grant: Mapping[str, str]) -> bool:
    """Whether the scope is a parameter: a service account's stands in its assertion."""
    if grant["grant_type"] == GRANT:
        return options.assertion is not None and options.assertion.service_account is None
    return grant["grant_type"] == "client_credentials"


def posted(
    options: OAuth2, url: str, fields: Mapping[str, str], headers: Mapping[str, str]
) -> HttpRequest:
    """The fields as `token_body` says."""
    if options.token_body == "json":
        kind, body = "application/json", dumps(dict(fields))
    else:
        kind, body = "application/x-www-form-urlencoded", urlencode(fields).encode()
    pairs = (("Content-Type", kind), *headers.items())
    return HttpRequest("POST", url, pairs, (), body, float(options.timeout))


def words(templates: Mapping[str, Template], env: Env) -> dict[str, str]:
    """Rendered texts; what is omitted is left out."""
    found = {name: template.render(env) for name, template in templates.items()}
    return {name: _text(value) for name, value in found.items() if value is not OMIT}


def _text(value: object) -> str:
    return value.reveal() if isinstance(value, Secret) else str(value)
