"""Embeddings, passed on: what a client asks, what an upstream of the OpenAI API is sent, and its
vectors in the form that was asked for.

Vectors are lists of numbers, or base64 of little-endian float32 (`encoding_format: base64`, which
the official SDKs always ask for). What an upstream gives in the other form is packed or unpacked;
all else in its answer stays as it is.
"""

from __future__ import annotations

import binascii
import struct
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from engine.errors import ExchangeError, RequestError
from engine.events import Usage
from engine.wire import JsonError, dumps, loads

from .outcomes import error_event, read_error
from .reading import body_fields, model_of, read_body, take
from .splice import Scan, scan, splice

Fields = dict[str, object]
Form = Literal["float", "base64"]
_MOST = 2**53


@dataclass(frozen=True, slots=True)
class Embedding:
    """A client's request for embeddings.

    form    how its vectors shall be written
    body    what an upstream is sent: (its name of the model, whether it may be told the form)
    reply   the client's answer out of the upstream's, whose vectors have the form already
    """

    model: str
    form: Form
    body: Callable[[str, bool], bytes] = field(repr=False)
    reply: Callable[[Fields], object] = lambda answer: answer

    def read(self, answer: bytes) -> tuple[bytes, Usage | None]:
        """The answer for the client, and what it cost. Raises ExchangeError if it holds none."""
        value = _answer(answer)
        changed = _settle(value, self.form)
        said = self.reply(value)
        kept = said is value and not changed
        return answer if kept else dumps(said), _usage(value.get("usage"))


def read_request(body: bytes) -> Embedding:
    """A request as the OpenAI API takes it. Raises RequestError(bad_request)."""
    rest = body_fields(read_body(body))
    model, formed = model_of(rest), "encoding_format" in rest
    form = take(rest, "encoding_format", str) or "float"
    if form not in ("float", "base64"):
        message = f"encoding_format: expected 'float' or 'base64', got '{form[:40]}'"
        raise RequestError("bad_request", message, param="encoding_format")
    if rest.get("input") in (None, "", []):
        raise RequestError("bad_request", "input: must not be empty", param="input")
    found = scan(body)

    def sent(upstream: str, told: bool) -> bytes:
        return _sent(body, found if told or not formed else None, upstream, told)

    return Embedding(model, "base64" if form == "base64" else "float", sent)


def _sent(body: bytes, found: Scan | None, upstream: str, told: bool) -> bytes:
    """The client's own bytes with another model, unless more has to change."""
    if found is not None:
        return splice(body, found, upstream, include_usage=False)
    fields = body_fields(read_body(body))
    if not told:
        fields.pop("encoding_format", None)
    return dumps({**fields, "model": upstream})


def _answer(body: bytes) -> Fields:
    try:
        value = loads(body)
    except JsonError as error:
        raise ExchangeError("retryable", f"the upstream's embeddings are {error}") from None
    found = read_error(value)
    if found is not None:
        event = error_event(found)
        raise ExchangeError(event.cls, event.message, code=event.code)
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise ExchangeError("retryable", "the upstream's answer holds no embeddings")
    return value


def vectors(answer: Fields) -> list[Fields]:
    """The items of an answer that hold a vector each."""
    items = answer["data"]
    assert isinstance(items, list)
    return items


def _settle(answer: Fields, form: Form) -> bool:
    """Write every vector in the wanted form; whether any had another one."""
    changed = False
    for item in vectors(answer):
        vector = item.get("embedding") if isinstance(item, dict) else None
        if isinstance(vector, list):
            if form == "base64":
                item["embedding"], changed = pack(vector), True
        elif not isinstance(vector, str):
            raise ExchangeError("retryable", "the upstream's answer holds no embeddings")
        elif form == "float":
            item["embedding"], changed = unpack(vector), True
    return changed


def pack(vector: list[object]) -> str:
    """Numbers to base64 of little-endian float32."""
    try:
        return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except (struct.error, OverflowError):
        raise ExchangeError("retryable", "the upstream's embedding is no list of numbers") from None


def unpack(text: str) -> list[float]:
    """Base64 of little-endian float32 to numbers."""
    try:
        raw = b64decode(text, validate=True)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    except (binascii.Error, struct.error, ValueError):
        message = "the upstream's embedding is no base64 of numbers"
        raise ExchangeError("retryable", message) from None


def _usage(raw: object) -> Usage | None:
    """What embeddings cost: they read and write nothing."""
    if not isinstance(raw, dict):
        return None
    told = raw.get("prompt_tokens", raw.get("total_tokens"))
    if not isinstance(told, int | float):
        return None
    return Usage(input=int(min(max(told, 0), _MOST)), output=0, raw=raw)
