"""How an upstream is reached, for each route and account."""

from __future__ import annotations

import pytest

from engine.lines import line_of
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
        ("{}", {}, Line("sample|")),
        ("{}", {"account": "a"}, Line("sample|a")),
        ("{ cookies: route }", {}, Line("sample|", "sample|")),
        ("{ cookies: session }", {"session": "s"}, Line("sample|", "sample|s")),
        ("{ cookies: account }", {"account": "a"}, Line("sample|a", "sample|a")),
        ("{ proxy: 'http://p.example:1', reuse: false, sniff: true }", {},
         Line("sample|", proxy="http://p.example:1", reuse=False, sniff=True)),
        ("{ tls: { verify: false, ca: /x.pem } }", {}, Line("sample|", verify=False, ca="/x.pem")),
    ],
)  # fmt: skip
def test_routes_and_accounts_do_not_share_lines(
    upstream: str, scopes: dict[str, str], line: Line
) -> None:
    route = route_of(f"{CHAT}upstream: {upstream}\n")
    every = {"route": "", "account": "", "session": "", "request": "", **scopes}
    assert line_of(route, every) == line
    assert line_of(route, every) == line
