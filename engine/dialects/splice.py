"""A request body whose `model` is to change and whose other bytes are to stay.

`scan` finds the top-level `model`, `splice` replaces it. One decoding proves everything: the key
found in the bytes is renamed for it, so the new name turns up among the top-level keys if and only
if the place is right, and `model` turns up as well if it is there twice or in another spelling.
Where msgspec is installed (`penstock[fast]`) only the few fields of `_Top` become objects; the rest
is checked to be JSON and skipped, so that a long conversation costs a third of a whole decoding.
What is skipped may be text that is not UTF-8: short bodies are checked for it, long ones are left
to the upstream to refuse.
What a scan cannot prove, or would have to edit elsewhere, is None: the caller decodes and encodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypedDict

import orjson

from engine.wire import dumps

LONG = 16_384  # bytes of a body that is not checked to be UTF-8
_KEY = b'"model"'
_MODEL = re.compile(rb'"model"[ \t\r\n]*:[ \t\r\n]*("(?:[^"\\]|\\.)*")')
_PROBE = "model\ue000"
_PROBE_KEY = orjson.dumps(_PROBE)
_HEAD = 1024
_TRIES = 4
# What a scan reads at the top level of a body.
_Top = TypedDict(
    "_Top",
    {
        "model\ue000": object,
        "model": object,
        "stream": object,
        "stream_options": object,
        "n": object,
    },
    total=False,
)


def _decoder() -> Callable[[bytes], object]:
    try:
        import msgspec
    except ImportError:
        return orjson.loads
    decode = msgspec.json.Decoder(_Top).decode

    def decode_top(body: bytes) -> object:
        if len(body) < LONG and not body.isascii():
            body.decode()
        return decode(body)

    return decode_top


_decode = _decoder()


@dataclass(slots=True)
class Scan:
    """What a body says at its top level.

    model          the model, decoded; its JSON string is at body[start:end], its key at body[key:]
    stream         whether a stream is asked for
    include_usage  whether stream_options.include_usage is true
    declines       whether it says `stream: false`
    several        whether it may ask for more than one answer
    """

    model: str
    stream: bool
    include_usage: bool
    declines: bool = False
    several: bool = False
    key: int = 0
    start: int = 0
    end: int = 0


def scan(body: bytes) -> Scan | None:
    """None unless body is a JSON object with exactly one top-level `model`, a string.

    None also for a stream with `stream_options` that do not ask for usage: they would need an
    edit of their own.
    """
    for key in _places(body):
        found = _MODEL.match(body, key)
        if found is None:
            continue
        top = _top(body[:key] + _PROBE_KEY + body[key + len(_KEY) :])
        if top is None or ("model" in top and _PROBE in top):
            return None
        if _PROBE in top:
            return _scan(top, key, found)
    return None


def _top(body: bytes) -> dict[str, object] | None:
    """The fields of `_Top`, perhaps with others. None if this is no JSON object."""
    try:
        value = _decode(body)
    except (ValueError, RecursionError):  # what either decoder raises
        return None
    return value if isinstance(value, dict) else None


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


def _scan(top: dict[str, object], key: int, found: re.Match[bytes]) -> Scan | None:
    model, stream, options = top[_PROBE], top.get("stream"), top.get("stream_options")
    asked = isinstance(options, dict) and options.get("include_usage") is True
    strange = not (stream is None or isinstance(stream, bool))  # 1.0 equals True
    odd = strange or (stream is True and "stream_options" in top and not asked)
    if odd or not isinstance(model, str):
        return None
    several = top.get("n", 1) != 1
    place = key, found.start(1), found.end(1)
    return Scan(model, stream is True, asked, stream is False, several, *place)


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
