"""OAuth clients: their URLs, as literal as `base_url`, for they are given secrets; their keys."""

from __future__ import annotations

from collections.abc import Iterator

from engine.auth.assertions import EXTRA, wrong
from engine.auth.oauth import OAuth2
from engine.auth.sources import Accounts
from engine.errors import Problem

from .nodes import Node
from .places import Way, dotted, find, key_mark
from .spec import RouteSpec
from .urls import wrong_url

_URLS = ("token_url", "authorize_url", "device_url")


def oauth_urls(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    many = find(tree, ("auth", "from")).kind == "list"
    for at, source in enumerate(spec.auth.from_ or []):
        way: Way = ("auth", "from", at) if many else ("auth", "from")
        for place, url in _urls(source, way):
            wrong = wrong_url(url)
            if wrong:
                yield find(tree, place).mark.problem("E506", f"`{dotted(place)}` {wrong}")


def oauth_keys(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    """Keys that clients sign assertions with."""
    many = find(tree, ("auth", "from")).kind == "list"
    for at, source in enumerate(spec.auth.from_ or []):
        way: Way = ("auth", "from", at) if many else ("auth", "from")
        for place, client in _clients(source, way):
            if client.assertion is None or client.flow != "jwt_bearer":
                continue
            try:
                found = wrong(client.assertion, client.who)
            except ImportError:
                yield key_mark(tree, (*place, "assertion")).problem("E532", EXTRA)
                continue
            if found is not None:
                key, why = found
                where: Way = (*place, "assertion", key)
                yield find(tree, where).mark.problem("E524", f"`{dotted(where)}` {why}")


def _clients(source: Accounts, way: Way) -> Iterator[tuple[Way, OAuth2]]:
    for at, each in enumerate(source.first_of or []):
        yield from _clients(each, (*way, "first_of", at))
    if source.oauth2 is not None:
        yield (*way, "oauth2"), source.oauth2


def _urls(source: Accounts, way: Way) -> Iterator[tuple[Way, str]]:
    for at, each in enumerate(source.first_of or []):
        yield from _urls(each, (*way, "first_of", at))
    client = source.oauth2
    if client is None:
        return
    for name in _URLS:
        url = getattr(client, name)
        if url is not None:
            yield (*way, "oauth2", name), url
    if client.exchange is not None:
        yield (*way, "oauth2", "exchange", "request", "url"), client.exchange.request.url
