"""What was noted of a served request, told again in the order in which a replay asks for it.

A gateway has values, logins and sessions from before; a replay begins with nothing and asks for
what it needs. Those answers are taken from what was remembered of earlier requests.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.errors import ExchangeError
from engine.wire import HttpRequest

from .anatomy import request_name
from .composing import headers_tree
from .fixtures import ExchangeSpec, Fixture, FrameSpec, ReplySpec
from .recorded import Recorded
from .taping import Taken


class Retold(Recorded):
    """The Upstream port over exchanges that were noted.

    told     the exchanges in the order of the replay
    missing  a request that has no answer among them, "" if all have
    """

    def __init__(
        self, fixture: Fixture, noted: list[Taken], remembered: Mapping[str, Taken]
    ) -> None:
        super().__init__(fixture)
        self._noted = [each for each in noted if each.head is not None]
        self._remembered = remembered
        self.told: list[Taken] = []
        self.missing = ""

    def take(self, request: HttpRequest) -> tuple[ExchangeSpec, bytes]:
        self.calls += 1
        self.requests.append(request)
        taken = self._answer(request_name(request))
        if taken is None or taken.head is None:
            self.missing = self.missing or request_name(request)
            raise ExchangeError("fatal", "nothing like it was noted")
        self.told.append(taken)
        frames = [FrameSpec(**step) for step in taken.frames if "expect" not in step]
        reply = ReplySpec(
            status=taken.head.status,
            headers=headers_tree(taken.head),
            frames=frames if taken.head.status == 101 else None,
            end=taken.end,  # type: ignore[arg-type] # one of the three words
        )
        return ExchangeSpec(reply=reply), taken.body

    def _answer(self, name: str) -> Taken | None:
        own = (each for each in self._noted if request_name(each.request) == name)
        taken = next(own, None)
        if taken is None:
            return self._remembered.get(name)
        self._noted.remove(taken)
        return taken

    @property
    def unasked(self) -> list[str]:
        """Calls that were made, and that the replay does not make; fetched values aside."""
        return [request_name(each.request) for each in self._noted if not each.fetched]
