"""A HAR file (of Chrome, Firefox or Safari) as exchanges, and which of them was the chat."""

from __future__ import annotations

import base64
import re
from typing import Any

from engine.masks import spellings
from engine.wire import HttpRequest, HttpResponse, JsonError, loads

from .curl import BOUNDARY, DraftError, multipart
from .framing import framed
from .opaque import Exchange

_STATIC = re.compile(r"(?i)image/|font/|audio/|video/|text/css|application/(?:font|wasm)")
_STREAMS = re.compile(r"(?i)event-stream|ndjson|jsonl|json-seq|stream\+json|connect\+")


def read_har(data: bytes) -> list[Exchange]:
    """All exchanges in the order in which they began. Raises DraftError."""
    try:
        found = loads(data.removeprefix(b"\xef\xbb\xbf"))
    except JsonError:
        raise DraftError("this is no HAR file: it is not JSON") from None
    log = found.get("log") if isinstance(found, dict) else None
    entries = log.get("entries") if isinstance(log, dict) else None
    if not isinstance(entries, list):
        raise DraftError("this is no HAR file: it has no `log.entries`")
    try:
        entries = sorted(entries, key=lambda entry: str(entry.get("startedDateTime", "")))
        made = [_exchange(entry) for entry in entries]
    except (KeyError, TypeError, AttributeError, ValueError):
        raise DraftError("an entry of the HAR file is not as HAR 1.2 has it") from None
    return [each for each in made if each is not None]


def _exchange(entry: dict[str, Any]) -> Exchange | None:
    asked, came = entry["request"], entry["response"]
    content = came.get("content") or {}
    if _STATIC.match(content.get("mimeType") or ""):
        return None
    headers = tuple((h["name"], h["value"]) for h in asked["headers"] if h["name"][:1] != ":")
    body, headers = _body(asked.get("postData") or {}, headers)
    request = HttpRequest(asked["method"], asked["url"], headers, body=body)
    text = content.get("text") or ""
    raw = base64.b64decode(text) if content.get("encoding") == "base64" else text.encode()
    told = tuple((h["name"], h["value"]) for h in came["headers"] if h["name"][:1] != ":")
    if content.get("mimeType") and not any(name.lower() == "content-type" for name, _ in told):
        told = (*told, ("Content-Type", content["mimeType"]))
    status = int(came["status"])
    return Exchange(request, HttpResponse(status, told, raw) if status else None)


def _body(
    post: dict[str, Any], headers: tuple[tuple[str, str], ...]
) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """What was sent. Of a form some browsers tell the fields alone."""
    text, params = post.get("text") or "", post.get("params") or []
    kind = post.get("mimeType") or ""
    bare = tuple(pair for pair in headers if pair[0].lower() != "content-type")
    if kind.startswith("multipart/") and not text and params:
        if any(each.get("fileName") for each in params):
            raise DraftError("the chat sends a file; only texts can be carried over")
        fields = [(each["name"], each.get("value") or "") for each in params]
        return multipart(fields), (
            *bare,
            ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}"),
        )
    if not text and params:
        text = "&".join(f"{each['name']}={each.get('value') or ''}" for each in params)
    return text.encode(), (*bare, ("Content-Type", kind)) if kind else headers


def chat_of(exchanges: list[Exchange], prompt: str = "") -> int:
    """Which was the chat: it sent the prompt; it streamed, or said most. Raises DraftError."""
    candidates = [at for at, each in enumerate(exchanges) if _may_be(each, prompt)]
    if not candidates and prompt:
        raise DraftError("no request in the HAR file sends the words of --prompt")
    if not candidates:
        raise DraftError("no request in the HAR file looks like a chat; name its words by --prompt")
    best = max(candidates, key=lambda at: _weight(exchanges[at]))
    answer = exchanges[best].answer
    if answer is not None and answer.status == 101:
        raise DraftError(
            "the chat goes over a websocket, which cannot be drafted; "
            "begin with routes/examples/websocket-chat.yaml"
        )
    return best


def _may_be(exchange: Exchange, prompt: str) -> bool:
    request, answer = exchange.request, exchange.answer
    if prompt:
        sent = request.url.encode() + b"\n" + request.body
        return any(form in sent for form in spellings(prompt))
    if answer is None or (request.method == "GET" and not _streams(answer)):
        return False
    return answer.status == 101 or (answer.status < 400 and framed(answer) is not None)


def _streams(answer: HttpResponse) -> bool:
    kind = answer.header("content-type") or ""
    return answer.status == 101 or _STREAMS.search(kind) is not None


def _weight(exchange: Exchange) -> tuple[bool, bool, int]:
    answer = exchange.answer
    if answer is None:
        return (False, False, 0)
    found = framed(answer) if answer.status < 400 else None
    several = found is not None and len(found.records) > 2
    return (_streams(answer) or several, found is not None, len(answer.body))
