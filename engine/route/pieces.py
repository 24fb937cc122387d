"""What templates see of a picture or file that is uploaded: the variable `media`."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from dataclasses import dataclass, field

from engine.chat import Media
from engine.dialects.filetypes import heard_type, right_type
from engine.errors import RequestError
from engine.options import Blob

NAMES = frozenset({"kind", "mime", "name", "size", "sha256", "content", "base64"})

_ENDINGS = {"image/jpeg": "jpg", "text/plain": "txt", "text/markdown": "md", "audio/mpeg": "mp3"}
_UNKNOWN = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Piece:
    """One of them. digest: of its bytes."""

    digest: str
    view: dict[str, object] = field(repr=False)


def piece_of(part: Media) -> Piece:
    """Raises RequestError where its bytes are not there."""
    if part.data is None:
        how = "by URL" if part.url is not None else "by file id"
        message = f"{part.kind} {how} cannot be sent to the upstream of this model"
        raise RequestError("unsupported", message, about=part)
    try:
        data = b64decode(part.data)
    except ValueError:
        raise RequestError("bad_request", f"{part.kind}: its bytes are not base64") from None
    mime = right_type(part.data, part.mime) or heard_type(data[:16]) or _UNKNOWN
    digest = hashlib.sha256(data).hexdigest()
    name = part.name or f"{part.kind}-{digest[:8]}.{_ending(mime)}"
    view: dict[str, object] = {
        "kind": part.kind,
        "mime": mime,
        "name": name,
        "size": len(data),
        "sha256": digest,
        "content": Blob(data, name, mime),
        "base64": part.data,
    }
    return Piece(digest, view)


def _ending(mime: str) -> str:
    if mime == _UNKNOWN:
        return "bin"
    return _ENDINGS.get(mime) or mime.rpartition("/")[2].removeprefix("x-")
