"""Take away what an upstream puts before each answer, if it is there."""

from dataclasses import dataclass

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
UNORDERED = (UsageEvent, Ping, Annotation, ReasoningDelta)  # they may overtake held-back text


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    prefix: list[str] = option(doc="what the answer may begin with; the first that fits", lone=True)
    space: bool = option(True, "white space before and after it goes too")

    def __post_init__(self) -> None:
        if not all(self.prefix) or not self.prefix:
            raise ValueError("`prefix` is empty")


class Transform:
    def __init__(self, options: Options, context: Context) -> None:
        self._options = options
        self._held = ""  # the beginning, until it is decided
        self._skip = False  # behind the prefix: white space goes
        self._done = False
        self._block = 0

    def feed(self, event: Event) -> list[Event]:
        if self._done:
            return [event]
        if isinstance(event, TextDelta):
            self._block = event.block
            self._held += event.text
            return self._decide(over=False)
        if isinstance(event, UNORDERED):
            return [event]
        return [*self.finish(), event]

    def finish(self) -> list[Event]:
        return [] if self._done else self._decide(over=True)

    def _decide(self, *, over: bool) -> list[Event]:
        text = self._held.lstrip() if self._options.space else self._held
        if self._skip:
            return self._rest(text, over)
        if not over and any(
            len(text) < len(prefix) and prefix.startswith(text) for prefix in self._options.prefix
        ):
            return []
        found = next((p for p in self._options.prefix if text.startswith(p)), None)
        if found is None:
            self._done = True
            return self._say(self._held)
        self._skip, self._held = True, text.removeprefix(found)
        return self._decide(over=over)

    def _rest(self, text: str, over: bool) -> list[Event]:
        self._held = text
        self._done = over or bool(text)
        return self._say(text) if self._done else []

    def _say(self, text: str) -> list[Event]:
        return [TextDelta(self._block, text)] if text else []
