"""How an upstream is reached, for each route and account."""

from __future__ import annotations

import pytest

from engine.errors import ExchangeError
from engine.lines import line_of, line_of_request
from engine.options import Secret
from engine.ports import Line
from tests.kit import route_of

CHAT = """
version: 1
extends: openai
base_url: https://a.example/v1
models: [ { id: m, upstream: up } ]
errors: { rules: [ { match: { status: "434" }, as: auth_invalid }, inherit ] }
"""


@pytest.mark.parametrize(
    ("upstream", "scopes", "line"),
    [
        ("{}", {}, Line("")),
        ("{}", {"account": "a"}, Line("sample|a")),
        ("{ cookies: route }", {}, Line("", "sample|")),
        ("{ cookies: session }", {"session": "s"}, Line("", "sample|s")),
        ("{ cookies: account }", {"account": "a"}, Line("sample|a", "sample|a")),
        ("{ proxy: 'http://p.example:1', reuse: false, sniff: true }", {},
         Line("", proxy="http://p.example:1", reuse=False, sniff=True)),
        ("{ tls: { verify: false, ca: /x.pem } }", {}, Line("", verify=False, ca="/x.pem")),
    ],
)  # fmt: skip
def test_routes_share_connections_accounts_and_cookies_are_apart(
    upstream: str, scopes: dict[str, str], line: Line
) -> None:
    route = route_of(f"{CHAT}upstream: {upstream}\n")
    every = {"route": "", "account": "", "session": "", "request": "", **scopes}
    assert line_of(route, every) == line
    assert line_of(route, every) == line


# ---- proxies ----

PROXIED = CHAT + "auth: { from: { inline: { key: k, proxy: 'http://me:pw@p.example:1' } } }\n"
SCOPES = {"route": "", "account": "", "session": "", "request": ""}


def proxied(more: str, **parts: str) -> str | None:
    route = route_of(PROXIED + more)
    account = {name: Secret(text) for name, text in parts.items()}
    env = {"account": account, "_ref": route.references}
    line = line_of(route, SCOPES, env)
    return line_of_request(route, line, env).proxy


def test_a_proxy_may_be_of_the_account() -> None:
    own = 'upstream: { proxy: "{{ account.proxy }}" }\n'
    assert proxied(own, proxy="http://me:pw@p.example:1") == "http://me:pw@p.example:1"
    assert proxied(own, proxy="") is None
    for wrong in ("p.example", "socks5://p.example:1", "http://", "http://p.example:x"):
        with pytest.raises(ExchangeError, match="a proxy must be a URL") as caught:
            proxied(own, proxy=wrong)
        assert caught.value.cls == "fatal"


@pytest.mark.rows("K2-15")
def test_a_request_may_have_a_proxy_of_its_own() -> None:
    both = "upstream: { proxy: 'http://a.example:1' }\nrequest: { proxy: 'http://b.example:1' }\n"
    assert proxied(both) == "http://b.example:1"


def test_the_password_of_a_proxy_is_known_to_be_one() -> None:
    route = route_of(CHAT + "upstream: { proxy: 'http://me:pass-word@p.example:1' }\n")
    assert Secret("http://me:pass-word@p.example:1") in route.references.values()
