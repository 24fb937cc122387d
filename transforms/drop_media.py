"""Take images and other media out of the conversation, for models that refuse them.

Where a message would be left without anything, and wherever `instead` says something, a text stands
in their place.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from engine.transform import ChatRequest, Context, Media, Message, Part, Text, ToolResult, option

API = 1
Kind = Literal["image", "file", "audio", "video"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    kinds: list[Kind] = option(["image"], "what is taken out", lone=True)
    instead: str = option(
        "[{kind}]", "the text in its place; `{kind}` becomes the word above, empty: none"
    )


class Transform:
    def __init__(self, options: Options, context: Context) -> None:
        self.options = options

    def shape(self, request: ChatRequest) -> ChatRequest:
        messages = [self._without(message) for message in request.messages]
        return replace(request, messages=messages)

    def _without(self, message: Message) -> Message:
        parts = list(self._parts(message.parts))
        if parts == message.parts:
            return message
        return replace(message, parts=parts or [Text("[omitted]")])

    def _parts(self, parts: list[Part]) -> Iterator[Part]:
        for part in parts:
            if isinstance(part, Media) and part.kind in self.options.kinds:
                said = self.options.instead.replace("{kind}", part.kind)
                if said:
                    yield Text(said)
            elif isinstance(part, ToolResult):
                yield replace(part, parts=list(self._parts(part.parts)))
            else:
                yield part
