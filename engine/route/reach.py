"""Where the engine may go for what a client names by URL: hosts, and addresses they may have.

A client's URL is a way into the network that the engine stands in. So the host is held against the
route's lists, and then every address that it has: a name proves nothing, it may lead anywhere.
Ranges: IANA's registries of special-purpose addresses (RFC 6890). An IPv6 address that carries an
IPv4 one (mapped, 6to4, Teredo, NAT64) is refused whatever that one is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal

from .media_spec import MediaSpec

Circle = Literal["public", "internal"]  # how far inside an address may be

PORTS = {"http": 80, "https": 443}

_NOT_PUBLIC = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
            "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
            "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
            "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
        ),
    )
)  # fmt: skip
_GLOBAL_6 = ip_network("2000::/3")  # no other IPv6 address is one of the public network
_INTERNAL = tuple(
    map(
        ip_network,
        ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
         "::1/128", "fc00::/7"),
    )
)  # fmt: skip
_PLACE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]?#]+)(?::(?P<port>\d{1,5}|\*))?")
# A last label such as these makes a host an IPv4 address to some resolvers (WHATWG URL, 3.5).
_NUMBER = re.compile(r"(?:\d+|0[xX][0-9A-Fa-f]*)")


@dataclass(frozen=True, slots=True)
class Place:
    """A host and port of a list. port: "" is the scheme's, "*" any."""

    host: str
    port: str

    def has(self, scheme: str, host: str, port: int) -> bool:
        usual = port == PORTS[scheme]
        fits = self.port == "*" or (str(port) == self.port if self.port else usual)
        return fits and fnmatchcase(host, self.host)


def place_of(text: str) -> Place | None:
    """`host`, `host:port` or `host:*`; None for anything else."""
    found = _PLACE.fullmatch(text)
    if found is None:
        return None
    return Place(found["host"].strip("[]").rstrip(".").lower(), found["port"] or "")


@dataclass(frozen=True, slots=True)
class Reach:
    """The lists of one route, compiled. largest: bytes of one thing that is fetched."""

    hosts: tuple[Place, ...]
    internal: tuple[Place, ...]
    largest: int

    def circle(self, scheme: str, host: str, port: int) -> Circle | None:
        """What addresses a host may have; None: it may not be asked. host: as it is resolved."""
        host = host.rstrip(".").lower()
        if scheme not in PORTS or not host or _disguised(host):
            return None
        if any(place.has(scheme, host, port) for place in self.internal):
            return "internal"
        return "public" if any(place.has(scheme, host, port) for place in self.hosts) else None


def _disguised(host: str) -> bool:
    """An address in any form but its usual one: decimal, octal, hexadecimal, shortened, scoped."""
    if ":" not in host and not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return False
    return "%" in host or not literal(host)


def allowed(address: str, circle: Circle) -> bool:
    """Whether a host of this circle may have the address."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if circle == "internal" and any(found in network for network in _INTERNAL):
        return True
    return _public(found)


def _public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and (address not in _GLOBAL_6 or address.scope_id):
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def literal(host: str) -> bool:
    """Whether a host is an address, and nobody resolves it."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """What a route does with media by URL. together: bytes of all that one request has fetched."""

    always: bool
    most: int
    together: int
    timeout: float
    reach: Reach


def fetch_of(spec: MediaSpec, together: int) -> FetchPlan | None:
    """None where nothing is ever fetched."""
    if spec.fetch == "never":
        return None
    hosts = tuple(place for text in spec.hosts if (place := place_of(text)))
    internal = tuple(place for text in spec.internal if (place := place_of(text)))
    reach = Reach(hosts, internal, int(spec.largest))
    return FetchPlan(spec.fetch == "always", spec.most, together, float(spec.timeout), reach)
