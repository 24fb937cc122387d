"""The loop: one client request, one or several attempts, until it is delivered or given up.

Rules held here and nowhere else: nothing is tried again once content reached the client; each
attempt is rendered with fresh secrets; there is exactly one end, a finish or an error; the total
time covers waits and retries; what was learned (session turns, state) is kept only of a success.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

from engine.accounts.keyring import Keyring
from engine.accounts.pools import Hold
from engine.auth.accounts import NOBODY
from engine.chat import Message
from engine.errors import OUTCOMES, ExchangeError
from engine.events import ErrorEvent
from engine.kept.cleanups import Try
from engine.kept.recall import Keeper, Recall
from engine.kept.sessions import Sessions
from engine.policies import Attempt as Seen
from engine.policies import Call as Run
from engine.policies import Continue, Retry, decide
from engine.ports import Ports, Sink
from engine.route.route import Route
from engine.route.template import RenderError

from .answering import Answering
from .attempt import Attempt, Call, Outcome
from .media import bring_media
from .memory import Memory

_NOTHING = Outcome()  # before the first attempt
_NONE: frozenset[str] = frozenset()


@dataclasses.dataclass(slots=True)
class Report:
    """What an exchange came to, for log and metrics.

    gone: its client went away; relented: it failed and left its client to another route
    """

    attempts: int = 0
    outcome: Outcome = _NOTHING
    error: ErrorEvent | None = None
    gone: bool = False
    relented: bool = False


class Exchange:
    """Everything one request needs; `run` does it."""

    def __init__(
        self,
        route: Route,
        call: Call,
        ports: Ports,
        keyring: Keyring,
        sessions: Sessions,
        sink: Sink,
        relents: Callable[[ErrorEvent], bool] = lambda error: False,
        recall: Recall | None = None,
        report: Report | None = None,
    ) -> None:
        self.route = route
        self.call = call
        self.ports = ports
        self.keyring = keyring
        self.answering = Answering(route, call, ports, sink)
        self.sink = self.answering.sink
        self.memory = Memory(route, call, sessions, recall)
        self.relents = relents
        self.report = Report() if report is None else report
        self.hold = Hold(NOBODY)
        self.chooses = bool(route.roster.accounts) or route.roster.client
        self.leave: Callable[[], None] | None = None
        self.tries: list[Try] = []

    async def run(self, collected: Callable[[], list[Message]] = list) -> Report:
        """collected() gives the assistant turns of the delivered answer, for `history: server`."""
        try:
            self.report.outcome = outcome = await self._outcome()
            await self._end(outcome, collected)
        finally:  # also when the client left
            if self.tries:
                self.keyring.cleanups.leave(self.route, self.tries)
        return self.report

    async def _outcome(self) -> Outcome:
        total = float(self.route.spec.timeouts.total)
        try:
            with self.ports.clock.watch(total):  # never pushed back: the total
                return await self._loop(total)
        except TimeoutError:
            return Outcome(error=ErrorEvent("timeout", f"no whole answer within {total:g} s"))
        except ExchangeError as error:
            return Outcome(error=ErrorEvent.of(error), cause=error.__cause__)
        except RenderError as error:
            return Outcome(error=ErrorEvent("fatal", f"the route cannot be rendered: {error}"))
        finally:
            self._let_go()

    async def _loop(self, total: float) -> Outcome:
        clock, route = self.ports.clock, self.route
        begun = clock.monotonic()
        env = self._begin()
        number, renewed, tried, previous = 1, _NONE, _NONE, None
        await self._prepare(env, total)
        if self.chooses:
            await self._take(tried, total)
        while True:
            scopes = self._scopes()
            outcome = await self._attempt(env, scopes).run(number, previous)
            self._saw(outcome, scopes)
            left = total - (clock.monotonic() - begun)
            if outcome.error is None and not self.answering.goes_on:
                return outcome
            seen = self._seen(outcome, number, renewed, left, tried)
            match decide(route.policies, seen):
                case Retry(renew=str(cls)):
                    await self._renew(cls, outcome, scopes, env)
                    renewed, previous = renewed | {cls}, cls
                    self.sink.restart()
                case Retry(after=after, rotate=rotate):
                    self.hold.release()
                    self._again(outcome)
                    await clock.sleep(after)
                    if rotate:
                        tried, renewed = tried | {self.hold.account.digest}, frozenset()
                    if self.chooses:
                        await self._take(tried, left - after)
                    number, previous = number + 1, (outcome.error.cls if outcome.error else None)
                    self.sink.restart()
                case Continue() | Run() as decision:
                    await self.answering.onward(outcome, seen, decision, env)
                    number, previous = 1, None
                case decision:
                    return await self.answering.over(outcome, decision, left)

    def _begin(self) -> dict[str, object]:
        """The roots of the route's templates. Raises ExchangeError while the route is out."""
        route, call = self.route, self.call
        call.begun = self.keyring.storms.enter(route)
        now, random = self.ports.clock.now(), self.ports.random
        return route.variables(call.asked, call.offer, now, random)

    def _again(self, outcome: Outcome) -> None:
        """An attempt is made again. For its own fault an upstream gets only so many."""
        if outcome.error is not None and OUTCOMES[outcome.error.cls].fault == "upstream":
            self.keyring.storms.again(self.route)

    async def _prepare(self, env: dict[str, object], total: float) -> None:
        """A place among its client's requests, and what the route wants to know beside this one."""
        route = self.route
        if route.roster.per_client:
            self.leave = await self.keyring.clients.enter(route, self.call.asked.client, total)
        if route.values and any(plan.asks for plan in route.values.values()):
            env |= {"_asker": self.call, "_answers": {}}
        await self.memory.prepare(env)
        if route.media.fetch is not None:
            await bring_media(route, self.call, env, self.ports)
        if self.answering.goes_on:
            await self.answering.prepare(env)

    def _let_go(self) -> None:
        """Account and place are for others now."""
        if self.hold.pool is not None:
            self.hold.release()
        leave, self.leave = self.leave, None
        if leave is not None:
            leave()

    async def _take(self, tried: frozenset[str], left: float) -> None:
        """An account for the next attempt. Raises ExchangeError when none is free in time."""
        self.hold = await self.keyring.pools.take(
            self.route, self.call.client_key, self.memory.key, tried, left, self.call.bound
        )

    def _attempt(self, env: dict[str, object], scopes: dict[str, str]) -> Attempt:
        attempt = Attempt(
            self.route, self.call, {**env}, self.ports, self.keyring, self.sink, scopes,
            self.hold.account,
        )  # fmt: skip
        if self.memory.keeper is not None:
            attempt.keeper = self.memory.keeper = Keeper()
        if self.route.values and any(plan.cleanup for plan in self.route.values.values()):
            begun = Try(attempt.env, scopes, self.hold.account)
            self.tries.append(self.keyring.cleanups.enter(begun))
        return attempt

    def _seen(
        self,
        outcome: Outcome,
        number: int,
        renewed: frozenset[str],
        left: float,
        tried: frozenset[str],
    ) -> Seen:
        """What the policies may know of it."""
        others = outcome.error is not None and self.keyring.pools.others(
            self.route, self.hold, tried
        )
        return Seen(
            number,
            outcome.error,
            self.sink.committed,
            renewed,
            left,
            self.ports.random,
            others,
            outcome.finish,
            self.answering.said(outcome),
            partial(self.keyring.storms.calm, self.route),
            self.answering.called(),
        )

    def _saw(self, outcome: Outcome, scopes: dict[str, str]) -> None:
        """One report per attempt, whatever happened."""
        self.report.attempts += 1
        error = outcome.error
        if error is not None and error.cls == "auth_expired" and not self._renews(outcome):
            error = outcome.error = dataclasses.replace(error, cls="auth_invalid")
        if self.route.values and (error is None or OUTCOMES[error.cls].fault != "client"):
            self.keyring.report(self.route, error is not None, outcome.used, scopes)
        cls, after = (error.cls, error.retry_after) if error else (None, None)
        self.keyring.pools.report(
            self.route, self.hold, cls, retry_after=after, login=outcome.login
        )
        if not outcome.login:
            self.keyring.storms.report(self.route, cls)
        self.ports.observer.saw(
            "attempt",
            route=self.route.name,
            outcome=error.cls if error else "ok",
            request=self.call.asked.id,
            message=error.message if error else "",
            **outcome.seen(),
            secrets=self.call.own_key(self.route) if error else None,
        )

    def _renews(self, outcome: Outcome) -> bool:
        """Whether a value that the attempt used can be fetched anew: not every account has one."""
        values = self.route.values
        return any("auth_expired" in values[name].refresh_for for name in outcome.used)

    async def _renew(
        self, cls: str, outcome: Outcome, scopes: dict[str, str], env: dict[str, object]
    ) -> None:
        self.keyring.renew(self.route, cls, outcome.used, scopes)
        await self.memory.renew(cls, env)

    def _scopes(self) -> dict[str, str]:
        """Who shares a value: what an upstream keeps of a conversation belongs to the account."""
        digest, request = self.hold.account.digest, self.call.asked.id
        session = self.memory.scope
        own = f"{session}|{digest}" if self.hold.among > 1 else session
        return {"route": "", "account": digest, "session": own, "request": request}

    # ---- the one end ----

    async def _end(self, outcome: Outcome, collected: Callable[[], list[Message]]) -> None:
        if outcome.error is not None:
            self.report.error = outcome.error
            await self.memory.bear_in_mind(outcome)  # first: who is told of a failure hangs up
            self.report.relented = self.answering.untold() and self.relents(outcome.error)
            if not self.report.relented:
                await self.sink.fail(outcome.error.error(), outcome.failure)
            return
        if self.memory.learns:
            self.memory.good = outcome, collected
        await self.answering.end(outcome)
        if self.memory.good is not None:
            await self.memory.remember()
