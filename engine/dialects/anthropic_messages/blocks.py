"""Parts of the model -> content blocks of a request.

Images and documents go out with the type that their first bytes show: the API refuses a wrong one.
Text documents of another dialect go as text, and what has no block at all is refused.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from engine.chat import (
    Extras,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from engine.dialects.arguments import arguments
from engine.dialects.filetypes import right_type
from engine.errors import RequestError

from .parse import document_text, held

_IDENT = re.compile(r"[a-zA-Z0-9_-]+")
_NOT_IDENT = re.compile(r"[^a-zA-Z0-9_-]")
_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_TEXTS = frozenset({"application/json", "application/xml", "application/yaml"})


def block(part: Part) -> object:
    """One content block. Raises RequestError(unsupported) for what this API does not take."""
    return _BLOCKS[type(part)](part)


def blocks(parts: list[Part]) -> list[object]:
    return [block(part) for part in parts if not held(part)]


def ident(call_id: str) -> str:
    """The id of a tool call as this API takes it; the same for the call and its result."""
    if _IDENT.fullmatch(call_id):
        return call_id
    digest = hashlib.sha256(call_id.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{_NOT_IDENT.sub('_', call_id)[:48]}_{digest}"


def _text(part: Text) -> object:
    raw = part.extras.get("block")
    if isinstance(raw, dict) and document_text(raw) == part.text:
        return raw
    extras = {name: value for name, value in part.extras.items() if name != "block"}
    return {"type": "text", "text": part.text, **extras}


def _refusal(part: Refusal) -> object:
    return {"type": "text", "text": part.text}


def _reasoning(part: Reasoning) -> object:
    if part.encrypted is not None:
        return {"type": "redacted_thinking", "data": part.encrypted, **part.extras}
    thought = {"type": "thinking", "thinking": part.text, "signature": part.signature or ""}
    return {**thought, **part.extras}


def _call(part: ToolCall) -> object:
    call = {"type": "tool_use", "id": ident(part.id), "name": part.name}
    return {**call, "input": arguments(part), **part.extras}


def _result(part: ToolResult) -> object:
    out: Extras = {"type": "tool_result", "tool_use_id": ident(part.call_id)}
    content = content_of(part.parts, listed="content" in part.extras)
    if content or "content" in part.extras:
        out["content"] = content
    if part.is_error is not None:
        out["is_error"] = part.is_error
    return {**out, **{name: value for name, value in part.extras.items() if name != "content"}}


def content_of(parts: list[Part], *, listed: bool) -> object:
    """Content in its natural form: a string where one text is all there is to say."""
    if listed:
        return blocks(parts)
    if not parts:
        return ""
    first = parts[0]
    if len(parts) == 1 and isinstance(first, Text) and not first.extras:
        return first.text
    return blocks(parts)


def _opaque(part: Opaque) -> object:
    return part.raw


# ---- media ----


def _media(part: Media) -> object:
    make = _MEDIA.get(part.kind)
    if make is None:
        raise RequestError(
            "unsupported",
            f"{part.kind} cannot be sent to the upstream of this model",
            about=part,
        )
    return make(part)


def _image(part: Media) -> object:
    if part.data is None:
        return _with_source("image", part, _pointer(part))
    mime = right_type(part.data, part.mime)
    if mime not in _IMAGES:
        message = f"an image of type {mime} cannot be sent to the upstream"
        raise RequestError("unsupported", message, about=part)
    return _with_source("image", part, _base64(mime, part.data))


def _document(part: Media) -> object:
    if part.data is None:
        return _with_source("document", part, _pointer(part))
    mime = right_type(part.data, part.mime) or ""
    if mime.startswith("text/") or mime in _TEXTS:
        source: Extras = {"type": "text", "media_type": "text/plain", "data": _decoded(part.data)}
        return _with_source("document", part, source)
    if mime != "application/pdf":
        message = f"a file of type {mime} cannot be sent to the upstream"
        raise RequestError("unsupported", message, about=part)
    return _with_source("document", part, _base64(mime, part.data))


_MEDIA: dict[str, Callable[[Media], object]] = {"image": _image, "file": _document}


def _base64(mime: str, data: str) -> Extras:
    return {"type": "base64", "media_type": mime, "data": data}


def _pointer(part: Media) -> Extras:
    if part.url is None:
        return {"type": "file", "file_id": part.file_id}
    if not part.url.lower().startswith(("http://", "https://")):
        message = f"{part.kind}: its URL is neither http nor base64 data"
        raise RequestError("unsupported", message, about=part)
    return {"type": "url", "url": part.url}


def _with_source(kind: str, part: Media, source: Extras) -> Extras:
    """The block; extras may hold more of its source."""
    more = part.extras.get("source")
    out = {"type": kind, "source": {**source, **more} if isinstance(more, dict) else source}
    if kind == "document" and part.name is not None:
        out["title"] = part.name
    return {**{n: v for n, v in part.extras.items() if n != "source"}, **out}


def _decoded(data: str) -> str:
    try:
        return b64decode(data).decode()
    except (binascii.Error, ValueError):
        raise RequestError("bad_request", "a text file is not UTF-8 in base64") from None


_BLOCKS: dict[type, Callable[[Any], object]] = {
    Text: _text,
    Media: _media,
    Reasoning: _reasoning,
    Refusal: _refusal,
    ToolCall: _call,
    ToolResult: _result,
    Opaque: _opaque,
}
