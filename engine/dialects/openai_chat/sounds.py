"""Speech of an answer: `audio` in its message, in pieces in the deltas of a stream.

    {"id": "audio_…", "data": "base64", "expires_at": 1729234747, "transcript": "…"}

A stream tells the id first, data and transcript in pieces, `expires_at` last. All of it becomes one
Media when the answer ends: what is translated may come late, but is whole. The format stands in
the request alone; what its first bytes do not show is PCM, the one that streams have.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

from engine.chat import Extras, Media
from engine.dialects.filetypes import heard_type
from engine.dialects.pictures import SPOKEN

AUDIO = "audio"
_PIECES = ("data", "transcript")


class Sound:
    """The speech of one answer, as far as it was told."""

    __slots__ = ("_kept", "_pieces")

    def __init__(self) -> None:
        self._kept: Extras = {}
        self._pieces: dict[str, list[str]] = {name: [] for name in _PIECES}

    def add(self, found: object) -> None:
        """The `audio` of a message or of a delta."""
        for name, value in found.items() if isinstance(found, dict) else ():
            if name not in _PIECES:
                self._kept[name] = value
            elif isinstance(value, str) and value:
                self._pieces[name].append(value)

    def media(self) -> Media | None:
        """All that was told, once; None if nothing was."""
        data, spoken = _joined(self._pieces["data"]), "".join(self._pieces["transcript"])
        kept, self._kept = self._kept, {}
        self._pieces = {name: [] for name in _PIECES}
        if not (kept or data or spoken):
            return None
        return Media("audio", _type_of(data), data or None, extras={AUDIO: kept, SPOKEN: spoken})


def _type_of(data: str) -> str:
    try:
        start = b64decode(data[:16])
    except ValueError:
        start = b""
    return heard_type(start) or "audio/pcm"


def _joined(pieces: list[str]) -> str:
    """Pieces of base64, each of which may be padded, as one."""
    if all(len(piece) % 4 == 0 and not piece.endswith("=") for piece in pieces[:-1]):
        return "".join(pieces)
    try:
        return b64encode(b"".join(map(b64decode, pieces))).decode()
    except ValueError:  # no base64: it is the client's to make something of
        return "".join(pieces)


def said(part: object) -> bool:
    """Whether a part is the speech of an answer of this API."""
    return isinstance(part, Media) and AUDIO in part.extras


def audio(part: Media) -> Extras:
    """What the API says of it."""
    kept = part.extras[AUDIO]
    told: Extras = dict(kept) if isinstance(kept, dict) else {}
    return {**told, "data": part.data or "", "transcript": part.extras.get(SPOKEN, "")}
