from __future__ import annotations

import pytest

from tests.kit import problems_of, route_of

ROUTE = """
version: 1
base_url: https://chat.example.com
dialect: openai_chat
models: [m]
media: { fetch: FETCH MORE }
"""
RULES = """
request: { path: /x, json: { q: "{{ req.messages | as_openai }}" } }
response: { events: [ { text: $.text, finish: stop } ] }
"""


def text(fetch: str, more: str = "") -> str:
    return ROUTE.replace("FETCH", fetch).replace("MORE", more)


@pytest.mark.parametrize(
    "host", ['"*"', "a.example:8443", '"*.example.com:*"', '"[2001:db8::1]:80"', "10.0.0.1"]
)
def test_hosts_are_written_with_or_without_a_port(host: str) -> None:
    assert [] == problems_of(text("always", f", hosts: {host}"))


@pytest.mark.parametrize("host", ['"a.example:0"', '"a.example:70000"', '"[1::2::3]"', "a/b"])
def test_what_is_no_host_is_told(host: str) -> None:
    assert ["6:E541"] == problems_of(text("always", f", hosts: {host}"))


def test_a_route_of_rules_is_told_by_its_profile_what_goes_by_url() -> None:
    rules = text("needed").replace("dialect: openai_chat\n", "") + RULES
    assert ["5:E106"] == problems_of(rules)
    assert [] == problems_of(rules + "profile: { images: { url: false } }\n")
    assert [] == problems_of(rules + 'profiles: { "m*": { images: { url: false } } }\n')


def test_clients_of_the_same_dialect_pass_unless_all_is_fetched() -> None:
    assert [True, True, False] == [
        route_of(text(fetch)).passthrough for fetch in ("never", "needed", "always")
    ]
