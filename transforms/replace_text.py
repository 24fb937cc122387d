"""Put one text in the place of another, wherever the answer says it and however it is cut."""

from dataclasses import dataclass
from typing import Literal

from engine.transform import (
    Annotation,
    Context,
    Event,
    Ping,
    ReasoningDelta,
    TextDelta,
    UsageEvent,
    option,
)

API = 1
UNORDERED = (UsageEvent, Ping, Annotation)  # they may overtake held-back text


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    find: str = option(doc="the text that goes, letter by letter", example="Acme Chat")
    put: str = option("", "the text that comes in its place")
    channel: Literal["text", "reasoning"] = option("text", "where it is looked for")

    def __post_init__(self) -> None:
        if not self.find:
            raise ValueError("`find` is empty")


class Transform:
    def __init__(self, options: Options, context: Context) -> None:
        self._find, self._put = options.find, options.put
        self._kind = TextDelta if options.channel == "text" else ReasoningDelta
        self._held = ""  # what may begin the text that is looked for
        self._block = 0

    def feed(self, event: Event) -> list[Event]:
        if isinstance(event, self._kind):
            self._block = event.block
            *pieces, last = (self._held + event.text).split(self._find)
            keep = len(last) - _begun(last, self._find)
            self._held = last[keep:]
            return self._say(self._put.join([*pieces, last[:keep]]))
        if isinstance(event, UNORDERED):
            return [event]
        return [*self.finish(), event]

    def finish(self) -> list[Event]:
        rest, self._held = self._held, ""
        return self._say(rest)

    def _say(self, text: str) -> list[Event]:
        return [self._kind(self._block, text)] if text else []


def _begun(text: str, find: str) -> int:
    """How many last characters may be the beginning of what is looked for."""
    return next((n for n in range(len(find) - 1, 0, -1) if text.endswith(find[:n])), 0)
