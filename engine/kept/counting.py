"""How many tokens a model makes of a text, learned from the usage that its upstream tells.

For each route and model the factor of the offline estimate that would have been right, of the last
requests that were translated: the upper quartile of these, since a client that plans with too low a
figure overflows the model's context. It holds for this process.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from engine.chat import ChatRequest
from engine.dialects.tokens import FACTOR, factor_of
from engine.events import Usage

KEPT = 16  # factors of one model
ENOUGH = 3  # before that, nothing is learned
EVERY = 16  # once it is learned, one request in so many is looked at
LOWEST, HIGHEST = 0.7, 4.0
MODELS = 16_384  # the least recently seen go first


@dataclass(slots=True)
class Seen:
    """Of one model. requests: how many there were since the last one that was looked at."""

    factors: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    requests: int = 0


@dataclass(slots=True)
class Factors:
    """By route and the model's name upstream."""

    known: OrderedDict[tuple[str, str], Seen] = field(default_factory=OrderedDict)

    def of(self, route: str, model: str) -> float:
        """The factor to estimate with."""
        seen = self.known.get((route, model))
        if seen is None or len(seen.factors) < ENOUGH:
            return FACTOR
        return sorted(seen.factors)[len(seen.factors) * 3 // 4]

    def learn(self, route: str, model: str, chat: ChatRequest, usage: Usage | None) -> None:
        """An answer was good, and the upstream told what it read."""
        if usage is None or usage.estimated or not usage.input:
            return
        seen = self.known.setdefault((route, model), Seen())
        self.known.move_to_end((route, model))
        while len(self.known) > MODELS:
            self.known.popitem(last=False)
        seen.requests += 1
        if len(seen.factors) == KEPT and seen.requests < EVERY:
            return
        seen.requests = 0
        found = factor_of(chat, usage.input)
        if found is not None:
            seen.factors.append(min(max(found, LOWEST), HIGHEST))
