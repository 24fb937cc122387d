"""What a URL of a route has to be: absolute, and literal in scheme and host."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

HTTP = ("http", "https")
SOCKET = ("ws", "wss", "http", "https")


def wrong_url(url: str, schemes: tuple[str, ...] = HTTP) -> str | None:
    """What is wrong with a URL, in words; None if nothing is."""
    if "{{" in url or "{%" in url:
        return "must be literal: no template may choose scheme or host; `${…}` may stand in it"
    try:
        parts = urlsplit(url)
        known = parts.scheme in schemes and parts.hostname and parts.port != 0
    except ValueError:
        known = None
    if not known or re.search(r"\s", url):
        example = "wss://api.example.com/chat" if "wss" in schemes else "https://api.example.com/v1"
        kind = "ws(s)" if "wss" in schemes else "http(s)"
        return f"must be an absolute {kind} URL such as `{example}`, not `{url}`"
    return None
