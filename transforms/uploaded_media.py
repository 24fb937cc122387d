"""Put what was uploaded in the place of pictures and files: ids of the upstream, or URLs.

The value that uploads them has one item for each (`each`), each file once, in their order.
"""

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal

from engine.transform import (
    ChatRequest,
    Context,
    Media,
    Part,
    Template,
    ToolResult,
    media_parts,
    option,
)

API = 1
Kind = Literal["image", "file", "audio", "video"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    found: Template = option(doc="the value that uploads them")
    kinds: list[Kind] = option(["image"], "the kinds of its `each`", lone=True)
    by: Literal["id", "url"] = option("id", "what it is a list of")


class Transform:
    def __init__(self, options: Options, context: Context) -> None:
        self.options = options
        self.asked = context.request

    def shape(self, request: ChatRequest) -> ChatRequest:
        items = self.options.found()
        if self.asked is None or not items or not isinstance(items, list):
            return request  # nothing was uploaded
        held = [part for part in media_parts(self.asked.messages) if self._goes(part)]
        digests = list(dict.fromkeys(map(_digest, held)))
        if len(digests) != len(items):
            raise ValueError("`kinds` are not those of the value's `each`")
        found = dict(zip(digests, map(str, items), strict=True))
        messages = [
            replace(message, parts=list(self._placed(message.parts, found)))
            for message in request.messages
        ]
        return replace(request, messages=messages)

    def _goes(self, part: Part) -> bool:
        return isinstance(part, Media) and part.kind in self.options.kinds and part.data is not None

    def _placed(self, parts: list[Part], found: dict[str, str]) -> Iterator[Part]:
        for part in parts:
            if isinstance(part, ToolResult):
                yield replace(part, parts=list(self._placed(part.parts, found)))
            elif isinstance(part, Media) and self._goes(part):
                yield self._pointed(part, found.get(_digest(part)))
            else:
                yield part

    def _pointed(self, part: Media, place: str | None) -> Media:
        if place is None:
            return part
        if self.options.by == "url":
            return replace(part, data=None, url=place)
        return replace(part, data=None, file_id=place, uploaded=True)


def _digest(part: Media) -> str:
    return sha256(b64decode(part.data or "")).hexdigest()
