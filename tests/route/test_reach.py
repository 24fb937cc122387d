from __future__ import annotations

import pytest

from engine.route.media_spec import MediaSpec
from engine.route.reach import Reach, allowed, fetch_of, literal, place_of


def reach(hosts: list[str], internal: list[str] | None = None) -> Reach:
    plan = fetch_of(MediaSpec(fetch="always", hosts=hosts, internal=internal or []), 100)
    assert plan is not None
    return plan.reach


def test_nothing_is_fetched_unless_the_route_says_so() -> None:
    assert fetch_of(MediaSpec(), 100) is None


@pytest.mark.parametrize(
    ("scheme", "host", "port", "circle"),
    [
        ("https", "pics.example.com", 443, "public"),
        ("http", "pics.example.com", 80, "public"),
        ("https", "PICS.example.com.", 443, "public"),
        ("https", "pics.example.com", 80, None),
        ("http", "pics.example.com", 22, None),
        ("https", "odd.example.com", 8443, "public"),
        ("https", "odd.example.com", 443, None),
        ("https", "any.example.com", 9, "public"),
        ("https", "example.org", 443, None),
        ("ftp", "pics.example.com", 21, None),
        ("file", "", 0, None),
        ("http", "files.lan", 9000, "internal"),
        ("http", "files.lan", 80, None),
        ("http", "::1", 9000, "internal"),
    ],
)
def test_a_host_has_to_stand_in_a_list_with_its_port(
    scheme: str, host: str, port: int, circle: str | None
) -> None:
    lists = reach(
        ["pics.*", "odd.example.com:8443", "any.example.com:*"], ["files.lan:9000", "[::1]:9000"]
    )
    assert circle == lists.circle(scheme, host, port)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.1", "0x7f.0.0.1", "127.0.0.0x1",
        "017700000001", "00000177.0.0.1", "127.0.0.256", "0", "0x", "1.2.3.4.5", "pics.1",
        "fe80::1%eth0", "::1%25lo", "::g", "\uff11\uff12\uff17.0.0.1", "1.2.3.\u0661",
    ],
)  # fmt: skip
def test_an_address_is_only_taken_in_its_usual_form(host: str) -> None:
    assert reach(["*:*"], ["127.0.0.1"]).circle("http", host, 80) is None


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "8.8.8.8.", "2606:4700:4700::1111", "7.example", "0x.com"]
)
def test_usual_forms_are_taken(host: str) -> None:
    assert reach(["*"]).circle("http", host, 80) == "public"


INSIDE = [
    "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254", "172.16.0.1",
    "172.31.255.255", "192.168.0.1", "::1", "fc00::1", "fdff::1",
]  # fmt: skip
NOWHERE = [
    "0.0.0.0", "0.1.2.3", "169.254.169.254", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1",
    "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:7f00:1", "64:ff9b::7f00:1",
    "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2002:808:808::1", "2001::1",
    "2001:db8::1", "2001:20::1", "3fff::1", "5f00::1", "fe80::1", "fec0::1", "ff02::1",
    "100::1", "2606:4700::1%eth0", "", "localhost", "127.1", "2130706433",
]  # fmt: skip
OUTSIDE = ["8.8.8.8", "1.1.1.1", "100.63.255.255", "172.15.255.255", "172.32.0.1", "223.255.255.1",
           "2606:4700:4700::1111", "2a00:1450:4001:800::200e"]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE + NOWHERE)
def test_only_public_addresses_are_public(address: str) -> None:
    assert not allowed(address, "public")


@pytest.mark.parametrize("address", NOWHERE)
def test_what_is_no_host_of_a_network_is_never_allowed(address: str) -> None:
    assert not allowed(address, "internal")


def test_internal_hosts_may_have_internal_addresses_and_public_ones() -> None:
    assert [True] * (len(INSIDE) + len(OUTSIDE)) == [
        allowed(address, "internal") for address in INSIDE + OUTSIDE
    ]


def test_public_addresses_are_allowed() -> None:
    assert [True] * len(OUTSIDE) == [allowed(address, "public") for address in OUTSIDE]


@pytest.mark.parametrize(
    "text", ["", "http://a", "a/b", "a:b", "a:123456", "me@a", "a b", "[::1", "a:", "::1"]
)
def test_what_is_no_host_is_no_place(text: str) -> None:
    assert place_of(text) is None


def test_an_address_is_known_by_its_form() -> None:
    hosts = ["1.2.3.4", "::1", "a.example", "127.1"]
    assert [True, True, False, False] == [literal(host) for host in hosts]
