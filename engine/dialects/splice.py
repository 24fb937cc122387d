"""A request body whose `model` is to change and whose other bytes are to stay.

`scan` finds the top-level `model`, `splice` replaces it. One decoding proves everything: the key
found in the bytes is renamed for it, so the new name turns up among the top-level keys if and only
if the place is right, and `model` turns up as well if it is there twice or in another spelling.
What a scan cannot prove, or would have to edit elsewhere, is None: the caller decodes and encodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from engine.wire import dumps

_KEY = b'"model"'
_MODEL = re.compile(rb'"model"[ \t\r\n]*:[ \t\r\n]*("(?:[^"\\]|\\.)*")')
_PROBE = "model\ue000"
_PROBE_KEY = orjson.dumps(_PROBE)
_HEAD = 1024
_TRIES = 4


@dataclass(frozen=True, slots=True)
class Scan:
    """What a body says at its top level.

    model          the model, decoded; its JSON string is at body[start:end], its key at body[key:]
    stream         whether a stream is asked for
    include_usage  whether stream_options.include_usage is true
    value          the whole body, decoded
    """

    model: str
    stream: bool
    include_usage: bool
    value: dict[str, object]
    key: int
    start: int
    end: int


def scan(body: bytes) -> Scan | None:
    """None unless body is a JSON object with exactly one top-level `model`, a string.

    None also for a stream with `stream_options` that do not ask for usage: they would need an
    edit of their own.
    """
    for key in _places(body):
        found = _MODEL.match(body, key)
        if found is None:
            continue
        try:
            value = orjson.loads(body[:key] + _PROBE_KEY + body[key + len(_KEY) :])
        except orjson.JSONDecodeError:
            return None
        if not isinstance(value, dict) or ("model" in value and _PROBE in value):
            return None
        if _PROBE in value:
            return _scan(value, key, found)
    return None


def _places(body: bytes) -> Iterator[int]:
    """Where `"model"` stands, likeliest first: near the head, then from the tail backwards."""
    head = body.find(_KEY, 0, _HEAD)
    if head >= 0:
        yield head
    end = len(body)
    for _ in range(_TRIES):
        end = body.rfind(_KEY, 0, end)
        if end < 0:
            return
        if end != head:
            yield end


def _scan(value: dict[str, object], key: int, found: re.Match[bytes]) -> Scan | None:
    model, stream = value.pop(_PROBE), value.get("stream")
    options = value.get("stream_options")
    asked = isinstance(options, dict) and options.get("include_usage") is True
    strange = not (stream is None or isinstance(stream, bool))  # 1.0 equals True
    odd = strange or (stream and "stream_options" in value and not asked)
    if odd or not isinstance(model, str):
        return None
    value["model"] = model
    return Scan(model, bool(stream), asked, value, key, found.start(1), found.end(1))


def splice(body: bytes, found: Scan, model: str, include_usage: bool = True) -> bytes:
    """The body with another model; a stream is made to end with its usage unless told not to."""
    options = b""
    if include_usage and found.stream and not found.include_usage:
        options = b'"stream_options":{"include_usage":true},'
    if model == found.model and not options:
        return body
    return b"".join(
        (
            body[: found.key],
            options,
            body[found.key : found.start],
            dumps(model),
            body[found.end :],
        )
    )
