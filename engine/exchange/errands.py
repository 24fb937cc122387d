"""A request that is no chat, sent by the same loop: values, credentials, retries and error rules as
for chat, one whole answer, no conversation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.errors import ExchangeError
from engine.events import Event, Finish, Usage
from engine.route.render import Plan
from engine.route.route import Offer


@dataclass(frozen=True, slots=True)
class Errand:
    """plan says where it goes.

    body  what is sent for a model, with its content type; None: nothing
    read  what the answer holds for who asked, and what it cost. Raises ExchangeError if it is no
          answer at all
    """

    plan: Plan
    body: Callable[[Offer], tuple[bytes, str] | None]
    read: Callable[[bytes], tuple[bytes, Usage | None]]


class Collected:
    """The Sink of an errand of the engine's own: `body`, or `error`."""

    committed = False

    def __init__(self) -> None:
        self.body = b""
        self.error: ExchangeError | None = None

    def send(self, events: list[Event]) -> bool:
        raise AssertionError("an errand is no chat")

    async def drained(self) -> None:
        """Nobody is kept waiting."""

    def forward(self, data: bytes, content: bool) -> bool:
        raise AssertionError("an errand is no stream")

    def tell(self, headers: dict[str, str]) -> None:
        """Nobody is told."""

    def restart(self) -> None:
        """Nothing is kept of an attempt that failed."""

    async def whole(self, body: bytes) -> None:
        self.body = body

    async def finish(self, finish: Finish, usage: Usage | None) -> None:
        raise AssertionError("an errand is no chat")

    async def end(self) -> None:
        raise AssertionError("an errand is no stream")

    async def fail(self, error: ExchangeError, frames: bytes = b"") -> None:
        self.error = error
