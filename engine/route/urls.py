"""What a URL of a route has to be: absolute, and literal in scheme and host."""

from __future__ import annotations

import re
from urllib.parse import urlsplit


def wrong_url(url: str) -> str | None:
    if "{{" in url or "{%" in url:
        return "must be literal: no template may choose scheme or host; `${…}` may stand in it"
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        known = None
    if not known or re.search(r"\s", url):
        return f"must be an absolute http(s) URL such as `https://api.example.com/v1`, not `{url}`"
    return None
