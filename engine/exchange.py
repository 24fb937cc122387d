"""The loop: one client request, one or several attempts, until it is delivered or given up.

Rules held here and nowhere else: nothing is tried again once content reached the client; each
attempt is rendered with fresh secrets; there is exactly one end, a finish or an error; the total
time covers waits and retries; what was learned (session turns, state) is kept only after success.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

from .attempt import Attempt, Call, Outcome
from .auth.accounts import NOBODY
from .chat import ChatRequest, Message
from .cleanups import Try
from .errors import OUTCOMES, ExchangeError
from .events import ErrorEvent, Finish
from .joined import Held, Joined
from .keyring import Keyring
from .options import Secret
from .policies import Attempt as Seen
from .policies import Call as Run
from .policies import Continue, Deliver, Fail, Policy, Retry
from .pools import Hold
from .ports import Ports, Sink
from .recall import Keeper, Recall, Recalled
from .route.route import Route
from .route.template import RenderError
from .route.view import Asked, view
from .sessions import Session, Sessions
from .tooling import Tooling

_NOTHING = Outcome()  # before the first attempt


@dataclasses.dataclass(slots=True)
class Report:
    """What an exchange came to, for log and metrics.

    gone: its client went away; relented: it failed and left its client to another route
    """

    attempts: int = 0
    outcome: Outcome = dataclasses.field(default_factory=lambda: _NOTHING)
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
        self.sessions = sessions
        spec, whole = route.spec, call.errand is not None  # an errand's answer is always whole
        sink = Held(sink) if spec.hold == "full" and not whole else sink
        self.joined = Joined(sink) if spec.continuation and not whole else None
        self.tooling: Tooling | None = None
        if spec.tools is not None and call.tools:
            self.tooling = Tooling(spec.tools, route, ports, sink)
            sink = self.tooling.sink
        self.sink: Sink = self.joined or sink
        self.relents = relents
        self.report = Report() if report is None else report
        self.recall = recall
        self.recalled: Recalled | None = None
        self.keeper: Keeper | None = None
        self.session: Session | None = None
        self.turns: list[Message] = []
        self.hold = Hold(NOBODY)
        self.leave: Callable[[], None] | None = None
        self.asked: Asked | None = None  # as it was before the answer was continued
        self.tries: list[Try] = []

    async def run(self, collected: Callable[[], list[Message]] = list) -> Report:
        """collected() gives the assistant turns of the delivered answer, for `history: server`."""
        try:
            self.report.outcome = outcome = await self._outcome()
            await self._end(outcome, collected)
            if self.keeper is not None or outcome.error is not None:
                await self._bear_in_mind(outcome)
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
            return Outcome(error=_event(error), cause=error.__cause__)
        except RenderError as error:
            return Outcome(error=ErrorEvent("fatal", f"the route cannot be rendered: {error}"))
        finally:
            self._let_go()

    async def _loop(self, total: float) -> Outcome:
        clock, route = self.ports.clock, self.route
        begun = clock.monotonic()
        env = self._begin()
        await self._prepare(env)
        number, renewed, previous = 1, frozenset[str](), None
        tried = frozenset[str]()
        if route.roster.per_client:
            self.leave = await self.keyring.clients.enter(route, self.call.asked.client, total)
        await self._take(tried, total)
        while True:
            scopes = self._scopes()
            outcome = await self._attempt(env, scopes, number, previous)
            left = total - (clock.monotonic() - begun)
            seen = self._seen(outcome, number, renewed, left, tried)
            match _first(route.policies, seen):
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
                    await self._take(tried, left - after)
                    number, previous = number + 1, (outcome.error.cls if outcome.error else None)
                    self.sink.restart()
                case Continue() | Run() as decision:
                    await self._onward(outcome, seen, decision, env)
                    number, previous = 1, None
                case decision:
                    return self._whole(outcome, decision)

    def _begin(self) -> dict[str, object]:
        """The roots of the route's templates. Raises ExchangeError while the route is out."""
        route, call, storms = self.route, self.call, self.keyring.storms
        storms.enter(route)
        call.begun = storms.begins(route)
        now, random = self.ports.clock.now(), self.ports.random
        return route.variables(call.asked, call.offer, now, random)

    def _again(self, outcome: Outcome) -> None:
        """An attempt is made again. For its own fault an upstream gets only so many."""
        if outcome.error is not None and OUTCOMES[outcome.error.cls].fault == "upstream":
            self.keyring.storms.again(self.route)

    async def _prepare(self, env: dict[str, object]) -> None:
        """What the route wants to know beside the request itself."""
        route = self.route
        if route.values and any(plan.asks for plan in route.values.values()):
            env |= {"_asker": self.call, "_answers": {}}
        if route.session is not None:
            await self._open_session(env)
        if self._looks_back():
            await self._look_back(env)
        if self.tooling is not None:
            self._ask(await self.tooling.offer(self.call.asked), env)

    def _let_go(self) -> None:
        """Account and place are for others now."""
        self.hold.release()
        leave, self.leave = self.leave, None
        if leave is not None:
            leave()

    async def _take(self, tried: frozenset[str], left: float) -> None:
        """An account for the next attempt. Raises ExchangeError when none is free in time."""
        roster = self.route.roster
        if not (roster.accounts or roster.client):
            return
        key = self.session.key if self.session else ""
        self.hold = await self.keyring.pools.take(
            self.route, self.call.client_key, key, tried, left
        )

    async def _attempt(
        self, env: dict[str, object], scopes: dict[str, str], number: int, previous: str | None
    ) -> Outcome:
        attempt = Attempt(
            self.route,
            self.call,
            {**env},
            self.ports,
            self.keyring,
            self.sink,
            scopes,
            self.hold.account,
        )
        if self.keeper is not None:
            self.keeper = attempt.keeper = Keeper()
        if self.route.values and any(plan.cleanup for plan in self.route.values.values()):
            begun = Try(attempt.env, scopes, self.hold.account)
            self.tries.append(self.keyring.cleanups.enter(begun))
        outcome = await attempt.run(number, previous)
        self._saw(outcome, scopes)
        return outcome

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
        committed, random, joined = self.sink.committed, self.ports.random, self.joined
        said = joined.said(outcome.usage, self.call.asked.chat) if joined else None
        called = self.tooling.sink.called() if self.tooling else None
        return Seen(
            number,
            outcome.error,
            committed,
            renewed,
            left,
            random,
            others,
            outcome.finish,
            said,
            partial(self.keyring.storms.calm, self.route),
            called,
        )

    async def _onward(
        self, outcome: Outcome, seen: Seen, decision: Continue | Run, env: dict[str, object]
    ) -> None:
        """Go on with the answer: what was said so far, or what its calls brought."""
        if isinstance(decision, Run):
            assert self.tooling is not None
            self._ask(await self.tooling.run(decision.calls, self.call.asked, outcome.usage), env)
            return
        assert self.joined is not None
        assert seen.said is not None
        await self.joined.onward(outcome.usage)
        self.asked = self.asked or self.call.asked
        chat = self.asked.chat
        chat = dataclasses.replace(
            chat,
            messages=[*chat.messages, *decision.turns],
            out=dataclasses.replace(chat.out, max_tokens=seen.said.room),
        )
        self._ask(chat, env)

    def _ask(self, chat: ChatRequest, env: dict[str, object]) -> None:
        """The next attempt is about this conversation."""
        self.call.asked = self.call.asked.with_chat(chat)
        env["req"] = view(self.call.asked, self.route.names)

    def _whole(self, outcome: Outcome, decision: object) -> Outcome:
        """The outcome of all parts of an answer. Where no more could be had it ends as it was."""
        joined = self.joined
        if isinstance(decision, Fail) and decision.error is not None:
            outcome.finish, outcome.error = None, decision.error
        if self.tooling is not None:
            outcome.usage = self.tooling.sink.usage(outcome.usage)
        if joined is None or not joined.continues:
            return outcome
        if outcome.error is not None and not self.sink.committed:
            outcome.error, outcome.finish = None, Finish("length", "length")
        outcome.usage = joined.usage(outcome.usage)
        return outcome

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
            status=outcome.status,
            request=self.call.asked.id,
            message=error.message if error else "",
            cause=outcome.cause,
            unmatched=outcome.unmatched,
            broken=outcome.broken,
            secrets=self._own_key() if error else None,
        )

    def _own_key(self) -> list[Secret]:
        """The client's own key, where it goes upstream: some upstreams repeat it."""
        key = self.call.client_key
        return [key] if key is not None and self.route.roster.client else []

    def _renews(self, outcome: Outcome) -> bool:
        """Whether a value that the attempt used can be fetched anew: not every account has one."""
        values = self.route.values
        return any("auth_expired" in values[name].refresh_for for name in outcome.used)

    async def _renew(
        self, cls: str, outcome: Outcome, scopes: dict[str, str], env: dict[str, object]
    ) -> None:
        self.keyring.renew(self.route, cls, outcome.used, scopes)
        plan = self.route.session
        if cls == "session_lost" and plan is not None and self.session is not None:
            self.session = await self.sessions.renew(plan, self.session, env)
            env["session"] = self.session.variables()

    # ---- sessions ----

    async def _open_session(self, env: dict[str, object]) -> None:
        plan, asked = self.route.session, self.call.asked
        if plan is None or self.call.errand is not None:
            return
        self.turns = asked.chat.messages
        session = await self.sessions.open(self.route, plan, asked, env)
        self.session = session
        env["session"] = session.variables()
        if plan.server_history:
            self._ask(dataclasses.replace(asked.chat, messages=session.extend(asked.chat)), env)

    # ---- thinking of earlier answers ----

    def _looks_back(self) -> bool:
        """Whether somebody wants the thinking that the client did not send back."""
        dialect, route = self.route.dialect, self.route
        signs = dialect is not None and dialect.signs and dialect is not self.call.dialect
        return self.recall is not None and (signs or (bool(route.stages) and route.recalls))

    async def _look_back(self, env: dict[str, object]) -> None:
        """Find the thinking that the client did not send back."""
        dialect, recall, asked = self.route.dialect, self.recall, self.call.asked
        assert recall is not None
        self.recalled = recalled = await recall.find(asked)
        env["_recalled"] = recalled.texts
        if dialect is not None and recalled.thoughts:
            self._ask(recalled.restore(asked.chat, dialect.name), env)
        if asked.chat.tools:
            self.keeper = Keeper()

    async def _bear_in_mind(self, outcome: Outcome) -> None:
        """Keep what was thought; forget what the upstream refused to have back."""
        recall = self.recall
        if recall is None:
            return
        if outcome.error is not None:
            recalled = self.recalled
            if outcome.error.cls == "invalid_request" and recalled and recalled.keys:
                await recall.forget(recalled)
        elif self.keeper is not None:
            dialect = self.route.dialect
            origin = dialect.name if dialect else self.route.name
            await recall.keep(self.call.asked, self.keeper.parts(), origin)

    def _scopes(self) -> dict[str, str]:
        """Who shares a value: what an upstream keeps of a conversation belongs to the account."""
        digest, request = self.hold.account.digest, self.call.asked.id
        session = self.session.scope if self.session else request
        own = f"{session}|{digest}" if self.hold.among > 1 else session
        return {"route": "", "account": digest, "session": own, "request": request}

    # ---- the one end ----

    async def _end(self, outcome: Outcome, collected: Callable[[], list[Message]]) -> None:
        if outcome.error is not None:
            self.report.error = outcome.error
            self.report.relented = self._untold() and self.relents(outcome.error)
            if self.report.relented:
                return
            await self.sink.fail(_exception(outcome.error), outcome.failure)
            return
        finish = outcome.finish or Finish("stop")
        if outcome.whole is not None:
            await self.sink.whole(outcome.whole)
        elif outcome.passed:
            await self.sink.end()
        else:
            await self.sink.finish(finish, outcome.usage)
        if self.session is not None:
            await self._remember(outcome, collected)

    def _untold(self) -> bool:
        """Nothing reached the client, and no tool was run: another route may begin anew."""
        if self.tooling is not None:
            if self.tooling.sink.rounds:
                return False
            self.call.asked = self.tooling.asked or self.call.asked
        return not self.sink.committed

    async def _remember(self, outcome: Outcome, collected: Callable[[], list[Message]]) -> None:
        plan, session = self.route.session, self.session
        if plan is None or session is None:
            return
        turns = [*self.turns, *collected()] if plan.server_history else []
        instead = any(message.role == "assistant" for message in self.turns)
        await self.sessions.save(plan, session, turns, outcome.state, instead=instead)


def _first(policies: tuple[Policy, ...], seen: Seen) -> object:
    for policy in policies:
        decision = policy(seen)
        if not isinstance(decision, Deliver):
            return decision
    return None


def _event(error: ExchangeError) -> ErrorEvent:
    return ErrorEvent(error.cls, error.message, error.status, error.code, error.retry_after)


def _exception(event: ErrorEvent) -> ExchangeError:
    return ExchangeError(
        event.cls,
        event.message,
        status=event.status,
        code=event.code,
        retry_after=event.retry_after,
    )
