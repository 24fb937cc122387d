"""What a request is called in headers: by us, and by its client."""

from __future__ import annotations

import re

from engine.wire import Headers

_PLAIN = re.compile(r"[\w.-]{1,128}", re.ASCII)


def client_id(headers: Headers) -> str:
    """The client's own name for its request (`x-req-id`), if it is a plain word; else ""."""
    name = headers.get("x-req-id")
    return name if name and _PLAIN.fullmatch(name) else ""


def id_headers(ident: str, named: str) -> dict[str, str]:
    """The request's id, in the header names of both client families; a client's name for it wins.

    `request-id` and ids in bodies are always ours: a client may use a name twice.
    """
    return {"x-request-id": named or ident, "request-id": ident}
