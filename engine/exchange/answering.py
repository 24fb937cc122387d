"""An answer in the making: the client's side of it, and how it goes on in a further attempt.

An answer is one attempt's, unless the route lets it be made of several (`continuation`), has tools
run between them, or holds it back until it is whole.
"""

from __future__ import annotations

import dataclasses

from engine.events import Finish
from engine.kept.answers import Origin
from engine.policies import Attempt as Seen
from engine.policies import Beside, Called, Continue, Fail, Said
from engine.policies import Call as Run
from engine.ports import Ports, Sink
from engine.route.route import Route
from engine.route.view import Asked

from .attempt import Call, Outcome
from .joined import Held, Joined
from .tooling import Tooling


class Answering:
    """Of one request.

    sink     what its attempts write to
    goes_on  a good attempt need not be the end: it may be continued, or its calls run
    """

    def __init__(self, route: Route, call: Call, ports: Ports, sink: Sink) -> None:
        self._route = route
        self._call = call
        self._asked: Asked | None = None  # as it was before the answer was continued
        spec, whole = route.spec, call.errand is not None  # an errand's answer is always whole
        sink = Held(sink) if spec.hold == "full" and not whole else sink
        self._joined = Joined(sink) if spec.continuation and not whole else None
        self._tooling: Tooling | None = None
        if spec.tools is not None and call.tools:
            self._tooling = Tooling(spec.tools, route, ports, sink)
            sink = self._tooling.sink
        self.sink: Sink = self._joined or sink
        self.goes_on = self._joined is not None or self._tooling is not None

    async def prepare(self, env: dict[str, object]) -> None:
        """Offer the tools of the operator's servers, where there are any."""
        if self._tooling is not None:
            chat = await self._tooling.offer(self._call.asked, self._call.offer.profile)
            self._call.turn_to(chat, env, self._route.names)

    def said(self, outcome: Outcome) -> Said | None:
        """What there is of the answer, for the policies."""
        joined = self._joined
        return joined.said(outcome.usage, self._call.asked.chat) if joined else None

    def called(self) -> Called | None:
        """The calls of tools that are to be run here."""
        return self._tooling.sink.called() if self._tooling else None

    async def onward(
        self, outcome: Outcome, seen: Seen, decision: Continue | Run, env: dict[str, object]
    ) -> None:
        """Go on with the answer: what was said so far, or what its calls brought."""
        call = self._call
        if isinstance(decision, Run):
            assert self._tooling is not None
            chat = await self._tooling.run(decision.calls, call.asked, outcome.usage)
        else:
            assert self._joined is not None
            assert seen.said is not None
            self._joined.onward(outcome.usage)
            self._asked = self._asked or call.asked
            chat = self._asked.chat
            chat = dataclasses.replace(
                chat,
                messages=[*chat.messages, *decision.turns],
                out=dataclasses.replace(chat.out, max_tokens=seen.said.room),
            )
        call.turn_to(chat, env, self._route.names)

    async def over(self, outcome: Outcome, decision: object, left: float) -> Outcome:
        """The outcome of all parts of an answer. left: seconds of the request's time."""
        if isinstance(decision, Beside):
            assert self._tooling is not None
            await self._tooling.run_beside(decision.calls, self._call.asked, left)
        if self._tooling is not None and outcome.finish is not None:
            await self._tooling.settle(self._call.asked)
        return self.whole(outcome, decision)

    def whole(self, outcome: Outcome, decision: object) -> Outcome:
        """The outcome of all parts of an answer. Where no more could be had it ends as it was."""
        joined = self._joined
        if isinstance(decision, Fail) and decision.error is not None:
            outcome.finish, outcome.error = None, decision.error
        if self._tooling is not None:
            asked = None if outcome.finish is None else self._call.asked
            outcome.usage = self._tooling.usage(outcome.usage, asked)
            if asked is not None:
                self._tooling.leave()
        if joined is None or not joined.continues:
            return outcome
        if outcome.error is not None and not self.sink.committed:
            outcome.error, outcome.finish = None, Finish("length", "length")
        outcome.usage = joined.usage(outcome.usage)
        return outcome

    def untold(self) -> bool:
        """Nothing reached the client, and no tool was run: another route may begin anew."""
        if self._tooling is not None:
            if self._tooling.sink.rounds:
                return False
            self._call.asked = self._tooling.asked or self._call.asked
        return not self.sink.committed

    async def end(self, outcome: Outcome) -> None:
        """Give the client its finish, once it is noted where the upstream keeps the answer."""
        if self._call.note is not None:
            kept, account = outcome.kept
            if kept:
                origin = Origin(self._route.name, self._call.offer.model.id, account)
                await self._call.note(kept, origin)
        if outcome.whole is not None:
            await self.sink.whole(outcome.whole)
        elif outcome.passed:
            await self.sink.end()
        else:
            await self.sink.finish(outcome.finish or Finish("stop"), outcome.usage)
