"""What an answer is, told by its first bytes: a JSON document, server-sent events, a page of HTML.

Upstreams answer a request for a stream with a document when they refuse it, and the other way
round; what they write into `Content-Type` is no help. The first bytes are: no line of an event
stream begins with a bracket, and no JSON with the name of a field.
"""

from __future__ import annotations

import re
from typing import Literal

Content = Literal["document", "stream", "page", "other"]

_BOM = b"\xef\xbb\xbf"
_EVENT = re.compile(rb"(?:data|event|id|retry)?(?::|\r|\n)")
_FIELDS = (b"data:", b"event:", b"id:", b"retry:")
_PAGES = (b"<!doctype html", b"<html")


def sniff(head: bytes) -> Content | None:
    """What begins with these bytes; None while they do not tell."""
    if len(head) < len(_BOM) and _BOM.startswith(head):
        return None
    head = head.removeprefix(_BOM).lstrip()
    if head[:1] in (b"{", b"["):
        return "document" if head else None
    if _EVENT.match(head):
        return "stream"
    begins = head[:16].lower()
    if begins.startswith(_PAGES):
        return "page"
    return None if any(word.startswith(begins) for word in (*_FIELDS, *_PAGES)) else "other"
