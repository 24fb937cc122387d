"""`sig`: what a signature may say of the request it signs. Every name is of its final bytes.

method, path, path_query, query    as they go out, percent-encoded
timestamp, timestamp_ms            epoch, by the upstream's clock as far as it is known
nonce                              32 random hex digits, new for each attempt
body, body_sha256                  text, and the hex digest of the bytes
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from random import Random
from urllib.parse import quote, urlsplit

from engine.wire import HttpRequest

NAMES = (
    "method", "path", "path_query", "query", "timestamp", "timestamp_ms", "nonce", "body",
    "body_sha256",
)  # fmt: skip
SIG = tuple(f"sig.{name}" for name in NAMES)
SIG_VALUE = (*SIG, "sig.value")
UNRESERVED = "-_.~"


def encoded(query: Iterable[tuple[str, str]]) -> str:
    """Pairs as they stand in a URL (RFC 3986)."""
    return "&".join(f"{quote(k, safe=UNRESERVED)}={quote(v, safe=UNRESERVED)}" for k, v in query)


def with_query(url: str, query: Iterable[tuple[str, str]]) -> str:
    """A URL with these pairs at its end; nobody encodes it again."""
    more = encoded(query)
    return url + ("&" if "?" in url else "?") + more if more else url


def facts(
    request: HttpRequest, now: float, random: Random, wanted: Iterable[str]
) -> dict[str, object]:
    """The wanted names of `sig`, of a request whose query stands in its URL."""
    parts = urlsplit(request.url)
    path = parts.path or "/"
    makers: dict[str, Callable[[], object]] = {
        "method": lambda: request.method,
        "path": lambda: path,
        "path_query": lambda: f"{path}?{parts.query}" if parts.query else path,
        "query": lambda: parts.query,
        "timestamp": lambda: int(now),
        "timestamp_ms": lambda: int(now * 1000),
        "nonce": lambda: f"{random.getrandbits(128):032x}",
        "body": lambda: request.body.decode("utf-8", "surrogateescape"),
        "body_sha256": lambda: hashlib.sha256(request.body).hexdigest(),
    }
    return {name: makers[name]() for name in NAMES if name in wanted}
