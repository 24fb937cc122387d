"""An answer as records, its framing told from its bytes rather than from what its head says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from engine.parsers import MAX_FRAME, PARSERS, FramingError
from engine.wire import HttpResponse, JsonError, Record, loads

_EVENTS = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:data|event|id|retry)?:[^\n]*\n")
_LETTERED = re.compile(r"(\w{1,3}):(.+)", re.S)


@dataclass(slots=True)
class Framed:
    """format: of `stream`, `json` for a whole answer. event: the name, or the letter of a line.

    done  payloads that are no JSON, between those that are, or behind them
    """

    format: Any
    records: list[Record] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    lettered: bool = False


def framed(answer: HttpResponse) -> Framed | None:
    """None for what is none of the framings that can be told by their looks."""
    kind = (answer.header("content-type") or "").lower()
    body = answer.body
    if not body.strip():
        return None
    if "event-stream" in kind or _EVENTS.match(body):
        return _sse(body)
    whole = _json(body)
    if isinstance(whole, list) and len(whole) > 1 and all(isinstance(e, dict) for e in whole):
        return Framed("json_array", [Record("", b"", each) for each in whole])
    if whole is not None:
        return Framed("json", [Record("", body, whole)])
    return _lines(body) or _text(body, kind)


def opened(found: Framed) -> list[str]:
    """Open the JSON in the texts of records, in place; the dotted names of these, outer first."""
    names: dict[str, None] = {}
    if isinstance(found.format, str) and found.format not in ("text", "lines"):
        for record in found.records:
            record.value = _opened(record.value, "", names)
    return list(names)


def _opened(value: Any, path: str, names: dict[str, None]) -> Any:
    if isinstance(value, dict):
        inner = {key: f"{path}.{key}".removeprefix(".") for key in value}
        return {key: _opened(each, inner[key], names) for key, each in value.items()}
    if isinstance(value, list):
        return [_opened(each, f"{path}[{at}]", names) for at, each in enumerate(value)]
    found = _json(value) if isinstance(value, str) and value[:1] in ("{", "[") else None
    if not isinstance(found, dict | list) or not found:
        return value
    names[path] = None
    return _opened(found, path, names)


def is_patches(found: Framed) -> bool:
    """Whether records are patches of one document: a path, an operation, a value."""
    values = [record.value for record in found.records]
    some = [value for value in values if isinstance(value, dict) and {"p", "v"} <= set(value)]
    return len(some) > 1 and all(isinstance(v, dict) and set(v) <= {"p", "o", "v"} for v in values)


def _json(data: bytes | str) -> Any:
    try:
        return loads(data)
    except JsonError:
        return None


def _records(word: str, body: bytes) -> list[Record]:
    parser = PARSERS[word].make(None, MAX_FRAME)
    return [*parser.feed(body), *parser.finish()]


def _sse(body: bytes) -> Framed | None:
    try:
        raw = _records("sse", body)
    except FramingError:
        return None
    read = [Record(each.event, each.data, _json(each.data)) for each in raw]
    good = [each for each in read if isinstance(each.value, dict | list)]
    texts = [each.data.decode("utf-8", "replace") for each in read if each not in good]
    if good:
        return Framed("sse", good, list(dict.fromkeys(texts)))
    ended = [text for text in texts[-1:] if re.fullmatch(r"\[?[A-Z_]{3,}\]?|-1|done", text)]
    plain = [Record(each.event, each.data, each.data.decode("utf-8", "replace")) for each in read]
    return Framed({"sse": {"text": True}}, plain[: -len(ended) or None], ended) if plain else None


def _lines(body: bytes) -> Framed | None:
    lines = [line for line in body.decode("utf-8", "replace").splitlines() if line.strip()]
    values = [_json(line) for line in lines]
    if all(isinstance(value, dict | list) for value in values):
        return Framed("ndjson", [Record("", b"", value) for value in values])
    hits = [_LETTERED.fullmatch(line) for line in lines]
    found = [Record(hit[1], b"", _json(hit[2])) for hit in hits if hit]
    if len(found) == len(lines) > 1 and all(each.value is not None for each in found):
        return Framed("lines", found, lettered=True)
    return None


def _text(body: bytes, kind: str) -> Framed | None:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    if "html" in kind or text.lstrip().startswith("<") or "\x00" in text:
        return None
    return Framed("text", [Record("", body, text)])
