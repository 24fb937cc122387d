"""OAuth 2 as a source: an account for each name, its parts fetched by a flow that renews them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from engine.options import Env
from engine.wire import HttpRequest

from .accounts import Account, Fetching, Granted, account
from .flows import next_look, parts_of, renew
from .oauth import ExchangeRequest, OAuth2
from .steps import Client

Exchanger = Callable[[ExchangeRequest], Callable[[Env], HttpRequest]]


@dataclass(frozen=True, slots=True)
class Login:
    """What `penstock login` needs to know of an account, and where its tokens are kept."""

    account: str
    digest: str
    place: str
    client: Client

    @property
    def by_a_person(self) -> bool:
        return self.client.options.flow in ("authorization_code", "device_code")


def login_of(
    options: OAuth2, name: str, route: str, place: Callable[[str], str], exchanger: Exchanger
) -> Login:
    """place: makes a path of the route's own out of one as it is written."""
    exchange = exchanger(options.exchange.request) if options.exchange is not None else None
    word = f" {name}" if options.accounts != ["default"] else ""
    client = Client(options, name, exchange, f"log in: penstock login {route}{word}")
    first = options.refresh_token.reveal() if options.refresh_token is not None else ""
    secret = options.client_secret.reveal() if options.client_secret is not None else ""
    proof = [options.proof] if options.proof else []
    who = "\0".join([options.token_url, options.who, first, secret, *proof, name])
    digest = hashlib.sha256(who.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    if options.store is not None:
        where = f"file:{place(options.store.replace('*', name))}"
    else:
        owner = "\0".join([options.token_url, options.who, first, *proof])
        where = f"store:{route}/{name}/{hashlib.sha256(owner.encode()).hexdigest()[:16]}"
    return Login(name, digest, where, client)


def account_of(login: Login, fetched: str) -> Account:
    return account(login.account, {}, digest=login.digest, fetched=fetched)


def fetching_of(login: Login) -> Fetching:
    """How the account's parts are had."""
    client = login.client

    def flow(env: Env) -> Generator[Any, Any, Granted]:
        tokens = yield from renew(client, env)
        now: Any = env["_now"]
        ends = tokens.ends()
        lasts = None if ends is None else max(0.0, ends - now)
        return Granted(parts_of(tokens), lasts, next_look(client, tokens, now))

    return Fetching(
        flow=flow,
        outputs=("access_token", *client.options.parts),
        fingerprint=login.digest,
        persist=False,
        place=login.place,
    )
