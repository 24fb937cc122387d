"""The Web port: what a client names by URL, fetched past every way to lead the engine astray.

- a URL is read once, by the parser that the connection is made with
- names are resolved here, every address is held against the route's reach, and the connection goes
  to those addresses: what the name says a moment later is nobody's business (no rebinding)
- every redirect is a URL like the first one; there are few
- nothing of ours goes along: no cookies, credentials, client headers, and no proxy
- what is read is bounded, and is not unpacked
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from engine import __version__
from engine.ports import Page, Unfetched
from engine.route.reach import Circle, Reach, allowed, literal

REDIRECTS = 3
CONNECT = 5.0  # seconds
LOOKUPS = 8  # names that are resolved at once
LONGEST_URL = 8192
HEADERS = {
    "User-Agent": f"penstock/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
}
# What browsers strip or read otherwise than servers do.
_ODD = re.compile(r"[\x00-\x20\x7f\\]")

Lookup = Callable[[str], Awaitable[list[str]]]
Entry = tuple[int, int, int, str, tuple[Any, ...]]  # of getaddrinfo


class SystemLookup:
    """All addresses of a name, as the machine knows them. Raises OSError.

    It has threads of its own: names that take long to resolve keep nobody else waiting.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS, "names")

    async def __call__(self, host: str) -> list[str]:
        loop = asyncio.get_running_loop()
        ask = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
        return [str(entry[4][0]) for entry in await loop.run_in_executor(self._threads, ask)]


class Resolver(AbstractResolver):
    """Gives the addresses of a name if all of them are allowed; it is not known otherwise."""

    def __init__(self, lookup: Lookup, circle: Circle) -> None:
        self._lookup = lookup
        self._circle = circle

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await self._lookup(host)
        if not addresses or not all(allowed(each, self._circle) for each in addresses):
            raise OSError("no address of this host may be asked")
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(
                hostname=host,
                host=each,
                port=port,
                family=socket.AF_INET6 if ":" in each else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=flags,
            )
            for each in dict.fromkeys(addresses)
        ]

    async def close(self) -> None:
        """It holds nothing."""


def socket_to(circle: Circle, entry: Entry) -> socket.socket:
    """A socket to an address; the last word on it, whoever found it."""
    family, kind, proto, _, address = entry
    if not allowed(str(address[0]), circle):
        raise OSError("this address may not be asked")
    return socket.socket(family, kind, proto)


class PublicWeb:
    """The port. lookup: how names become addresses; default: as the machine does it."""

    def __init__(self, lookup: Lookup | None = None) -> None:
        self._lookup = lookup or SystemLookup()

    async def get(self, url: str, reach: Reach) -> Page:
        at = _read(url)
        for _ in range(REDIRECTS + 1):
            found = await self._step(at, reach)
            if isinstance(found, Page):
                return found
            at = found
        raise Unfetched("failed")

    async def _step(self, url: URL, reach: Reach) -> Page | URL:
        """The page, or where it is said to be."""
        circle = _circle(url, reach)
        connector = aiohttp.TCPConnector(
            resolver=Resolver(self._lookup, circle),
            use_dns_cache=False,
            force_close=True,
            socket_factory=partial(socket_to, circle),
        )
        jar, patience = aiohttp.DummyCookieJar(), aiohttp.ClientTimeout(None, sock_connect=CONNECT)
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    cookie_jar=jar,
                    timeout=patience,
                    headers=HEADERS,
                    auto_decompress=False,
                    trust_env=False,
                ) as session,
                session.get(url, allow_redirects=False) as answer,
            ):
                return await _answered(answer, url, reach)
        except aiohttp.ClientConnectorDNSError:
            raise Unfetched("refused") from None  # unknown and forbidden look alike
        except (aiohttp.ClientError, OSError, ValueError):
            raise Unfetched("failed") from None


def _read(text: str) -> URL:
    if len(text) > LONGEST_URL or _ODD.search(text):
        raise Unfetched("refused")
    try:
        return URL(text)
    except ValueError:
        raise Unfetched("refused") from None


def _circle(url: URL, reach: Reach) -> Circle:
    """What addresses the URL's host may have. Raises Unfetched."""
    host = url.raw_host or ""
    circle = reach.circle(url.scheme, host, url.port or 0)
    if circle is None or url.raw_user is not None or url.raw_password is not None:
        raise Unfetched("refused")
    if literal(host) and not allowed(host, circle):  # nobody will resolve it
        raise Unfetched("refused")
    return circle


async def _answered(answer: aiohttp.ClientResponse, url: URL, reach: Reach) -> Page | URL:
    if answer.status in (301, 302, 303, 307, 308) and "Location" in answer.headers:
        return url.join(_read(answer.headers["Location"]))
    packed = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if answer.status != 200 or packed not in ("identity", ""):
        raise Unfetched("failed")
    if (answer.content_length or 0) > reach.largest:
        raise Unfetched("large")
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > reach.largest:
            raise Unfetched("large")
    return Page(bytes(body), answer.content_type)
