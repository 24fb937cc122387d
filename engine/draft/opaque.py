"""Where a value that a request sends has come from: the answer, before it, that held it first.

What the client sent itself before any answer held it is the client's own making.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, unquote_plus

from engine.masks import SHORTEST
from engine.wire import HttpRequest, HttpResponse, JsonError, loads

from .hiding import BEARS, is_uuid
from .paths import last, leaves

_NAMED = re.compile(r"(?i).*(?:nonce|token|csrf|xsrf|ticket|challenge)|.*_id|.*Id|id")
_AROUND = 40  # characters before a value that may tell where it stands


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and what came of it. answer: None where that is not known."""

    request: HttpRequest
    answer: HttpResponse | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """at: which exchange; step: an item of `extract`; name: that of the field there, or ""."""

    at: int
    step: dict[str, Any]
    name: str = ""


def is_opaque(text: str, name: str) -> bool:
    """Whether a text says nothing to people, or stands where such texts do."""
    if len(text) < SHORTEST or len(text) > 8192 or re.search(r"\s", text):
        return False
    if is_uuid(text) or ((_NAMED.fullmatch(name) or BEARS.fullmatch(name)) and "/" not in text):
        return True
    return any(
        len(run) >= 8 and re.search(r"\d", run) and re.search(r"[A-Za-z]", run)
        for run in re.split(r"[^A-Za-z0-9]", text)
    )


def origin(exchanges: list[Exchange], text: str, before: int) -> Origin | None:
    """The first answer, of those before an exchange, that holds a text."""
    for at, exchange in enumerate(exchanges[:before]):
        if _sent(exchange.request, text):
            return None
        found = _found(exchange.answer, text) if exchange.answer else None
        if found is not None:
            return Origin(at, *found)
    return None


def _sent(request: HttpRequest, text: str) -> bool:
    return any(text in each for each in _told(request))


@lru_cache(maxsize=4096)
def _told(request: HttpRequest) -> tuple[str, ...]:
    body = request.body.decode("utf-8", "replace")
    values = (value for _, value in request.headers)
    return (request.url, unquote(request.url), body, unquote_plus(body), *values)


def _found(answer: HttpResponse, text: str) -> tuple[dict[str, Any], str] | None:
    """The step of `extract` that finds it, and its name there."""
    if answer.status >= 400:
        return None
    for name, value in answer.headers:
        if name.lower() == "set-cookie":
            cookie, _, held = value.partition(";")[0].partition("=")
            if unquote(held) == text or held == text:
                return {"cookie": cookie.strip()}, cookie.strip()
        elif value == text:
            return {"header": name}, name
    forms = dict.fromkeys((text, text.replace("/", "\\/"), html.escape(text)))
    there = [form for form in forms if form.encode() in answer.body]
    return _in_body(answer.body.decode("utf-8", "replace"), text, there) if there else None


def _in_body(body: str, text: str, there: list[str]) -> tuple[dict[str, Any], str] | None:
    """there: how the text is written in the body."""
    try:
        for path, leaf in leaves(loads(body)):
            if leaf == text:
                return {"json": path}, last(path)
        return None
    except JsonError:
        pass
    for written in there:
        if pattern := _pattern(body, written):
            before = re.findall(r"\w+", body[: body.index(written)][-_AROUND:])
            return {"regex": pattern}, before[-1] if before else ""
    return None


def _pattern(body: str, text: str) -> str | None:
    """The shortest pattern whose first match is the text, beginning at the start of a word."""
    at = body.index(text)
    before, after = body[max(0, at - _AROUND) : at], body[at + len(text) : at + len(text) + 1]
    inside = f"[^{re.escape(after)}\\s]+" if after.strip() else r"\S+"
    for hit in reversed(list(re.finditer(r"(?<![\w-])[\w\"'<$]", before))):
        pattern = f"{re.escape(before[hit.start() :])}({inside})".replace("\\ ", " ")
        pattern = re.sub(r"\\([\"'=:,<>#&/-])", r"\1", pattern)
        first = re.search(pattern, body)
        if first and first[1] == text and len(before) - hit.start() > 3:
            return pattern
    return None
