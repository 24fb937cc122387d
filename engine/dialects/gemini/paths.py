"""Where the API has its methods: `/v1beta/models/MODEL:METHOD`, the model and the method in one.

Without `alt=sse` a stream is one JSON array that grows: `[{…},\\n{…}]`. Inside the engine answers
are always event streams; `Array` writes them anew at the last moment.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from engine.dialects.contract import Target

PREFIX = "/v1beta/"
_MODELS = "/models/"
_VERSIONS = re.compile(r"/v1(?:beta|alpha|beta\d)?(?=/)")
_METHODS: dict[str, tuple[str, bool]] = {
    "generateContent": ("chat", False),
    "streamGenerateContent": ("chat", True),
    "countTokens": ("count_tokens", False),
}
# Paths of an upstream, as templates.
PATH = (
    "/models/{{ model.upstream | urlpath }}:"
    "{{ 'streamGenerateContent' if req.stream else 'generateContent' }}"
)
QUERY = {"alt": "{{ 'sse' if req.stream else omit }}"}


def locate(method: str, path: str) -> tuple[str, Target] | None:
    """What a path asks for. Under /v1 only what no other API has there."""
    version = _VERSIONS.match(path)
    if version is None:
        return None
    rest = path[version.end() :]
    if method == "GET":
        return None if version[0] == "/v1" else _listed(rest)
    model, _, word = rest.removeprefix(_MODELS).rpartition(":")
    if method != "POST" or not rest.startswith(_MODELS) or not model or word not in _METHODS:
        return None
    action, stream = _METHODS[word]
    return action, Target(unquote(model), stream)


def _listed(rest: str) -> tuple[str, Target] | None:
    if rest == "/models":
        return "models", Target()
    found = rest.startswith(_MODELS) and rest != _MODELS
    return ("model", Target(unquote(rest.removeprefix(_MODELS)))) if found else None


def reframe(target: Target) -> Array | None:
    """How a client wants its stream, if not as an event stream."""
    return None if target.query.get("alt") == "sse" else Array()


class Array:
    """Frames of an event stream -> the elements of one JSON array."""

    content_type = "application/json"
    framing = "json_array"

    def __init__(self) -> None:
        self._begun = False

    def feed(self, frames: bytes) -> bytes:
        """Whole frames -> their elements. b"" for no frames."""
        out: list[bytes] = []
        for line in frames.splitlines():
            if line.startswith(b"data: "):
                out += (b",\n" if self._begun else b"[", line[6:])
                self._begun = True
        return b"".join(out)

    def end(self) -> bytes:
        return b"]" if self._begun else b"[]"
