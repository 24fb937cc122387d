"""Signatures by a keyed hash (RFC 2104), in one stage or several.

What is signed, and where the result is put, are templates over `sig`: facts of the request's final
bytes. Later stages sign with what the stage before gave, so that a key can be bound to a day, a
region or a window of time.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from engine.errors import ExchangeError
from engine.options import Template, option

from .facts import SIG, SIG_VALUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Derive:
    """One stage before the last: its result is the key of the next."""

    SHORTHAND: ClassVar[str] = "payload"

    payload: Template = option(doc="what this stage signs", roots=SIG)
    encoding: Literal["raw", "hex", "base64", "base64url"] = option(
        "raw", "how its result becomes a key: its bytes, or a text of them"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hmac:
    algorithm: Literal["sha256", "sha1", "sha384", "sha512", "md5"] = option("sha256", "the hash")
    key: Template = option(doc="the secret", example='"{{ account.secret }}"')
    key_encoding: Literal["text", "hex", "base64", "base64url"] = option(
        "text", "how the secret is written down"
    )
    derive: list[Derive] = option([], "stages that make the key, first to last")
    payload: Template = option(
        doc="what is signed",
        roots=SIG,
        example='"{{ sig.method }}\\n{{ sig.path }}\\n{{ sig.body_sha256 }}"',
    )
    encoding: Literal["hex", "base64", "base64url"] = option("hex", "how `sig.value` is written")
    headers: dict[str, Template] = option({}, "headers that carry the signature", roots=SIG_VALUE)
    query: dict[str, Template] = option({}, "query parameters that carry it", roots=SIG_VALUE)


def key_bytes(text: str, encoding: str) -> bytes:
    """The secret as bytes. Raises ExchangeError when it is not written that way."""
    try:
        if encoding == "hex":
            return bytes.fromhex(text)
        if encoding != "text":
            padded = text.translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
            return base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
    except (ValueError, binascii.Error):
        message = f"the key of `auth.sign.hmac` is not {encoding}"
        raise ExchangeError("fatal", message) from None
    return text.encode()


def mac(
    key: bytes, stages: Iterable[tuple[bytes, str]], payload: bytes, algorithm: str, encoding: str
) -> str:
    """The signature as text. stages: (payload, encoding) of each derivation."""
    for signed, form in stages:
        key = _encoded(hmac.digest(key, signed, algorithm), form)
    return _encoded(hmac.digest(key, payload, algorithm), encoding).decode()


def _encoded(digest: bytes, encoding: str) -> bytes:
    match encoding:
        case "raw":
            return digest
        case "hex":
            return digest.hex().encode()
        case "base64":
            return base64.b64encode(digest)
    return base64.urlsafe_b64encode(digest).rstrip(b"=")
