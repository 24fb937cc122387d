"""Leave out parts of what an upstream says: thinking, notes, or its own token counts."""

from dataclasses import dataclass
from typing import Literal

from engine.transform import (
    Annotation,
    CitationDelta,
    Context,
    Event,
    Open,
    Reasoning,
    ReasoningDelta,
    SignatureDelta,
    UsageEvent,
    option,
)

API = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    kinds: list[Literal["reasoning", "annotation", "citation", "usage"]] = option(
        doc="what is left out; usage is then estimated", lone=True
    )

    def __post_init__(self) -> None:
        if not self.kinds:
            raise ValueError("`kinds` names nothing")


class Transform:
    def __init__(self, options: Options, context: Context) -> None:
        gone: list[type] = []
        for kind in options.kinds:
            match kind:
                case "reasoning":
                    gone += [ReasoningDelta, SignatureDelta]
                case "annotation":
                    gone.append(Annotation)
                case "citation":
                    gone.append(CitationDelta)
                case "usage":
                    gone.append(UsageEvent)
        self._gone = tuple(gone)
        self._thinks = "reasoning" in options.kinds

    def feed(self, event: Event) -> list[Event]:
        if isinstance(event, self._gone):
            return []
        if self._thinks and isinstance(event, Open) and isinstance(event.part, Reasoning):
            return []
        return [event]
