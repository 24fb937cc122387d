"""URLs of OAuth clients: as literal as `base_url`, for they are given secrets."""

from __future__ import annotations

from collections.abc import Iterator

from engine.auth.sources import Accounts
from engine.errors import Problem

from .nodes import Node
from .places import Way, dotted, find
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
