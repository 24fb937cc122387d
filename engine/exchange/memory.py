"""What one request remembers: its session, and the thinking of earlier answers.

Both are looked up before the first attempt and kept only of an answer that was good.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from engine.chat import Message
from engine.kept.recall import Keeper, Recall, Recalled
from engine.kept.sessions import Session, Sessions
from engine.route.route import Route

from .attempt import Call, Outcome


class Memory:
    """Of one request.

    keeper  notes what is thought, a fresh one for each attempt; None where nobody will want it
    good    the outcome of a good answer, and what gives its assistant's turns
    before  of the route that this one stands in for: the turns are its session's, too
    """

    def __init__(self, route: Route, call: Call, sessions: Sessions, recall: Recall | None) -> None:
        self._route = route
        self._call = call
        self._sessions = sessions
        self._recall = recall
        self._recalled: Recalled | None = None
        self._session: Session | None = None
        self._turns: list[Message] = []
        self.keeper: Keeper | None = None
        self.good: tuple[Outcome, Callable[[], list[Message]]] | None = None
        self.before: Memory | None = None

    @property
    def key(self) -> str:
        """The session's key, "" without one."""
        return self._session.key if self._session else ""

    @property
    def scope(self) -> str:
        """Who shares what belongs to a session."""
        return self._session.scope if self._session else self._call.asked.id

    async def prepare(self, env: dict[str, object]) -> None:
        """Look up what there is; `env` and the request then hold it."""
        if self._route.session is not None:
            await self._open(env)
        if self._recall is not None and self._looks_back():
            await self._look_back(env)

    async def renew(self, cls: str, env: dict[str, object]) -> None:
        """The upstream lost the conversation: a new one begins."""
        plan = self._route.session
        if cls == "session_lost" and plan is not None and self._session is not None:
            self._session = await self._sessions.renew(plan, self._session, env)
            env["session"] = self._session.variables()

    @property
    def learns(self) -> bool:
        """Whether a good answer brings anything to keep."""
        alone = self._session is None and self.before is None
        return not alone or self.keeper is not None

    async def remember(self) -> None:
        """Keep what a good answer brought, once.

        For the sink to call when all is told but the end: a client that has the end may hang up,
        which ends its request, or go on at once.
        """
        good, self.good = self.good, None
        if good is not None:
            await self._save(*good)
            await self._save_before(good[1])
            if self.keeper is not None:
                await self.bear_in_mind(good[0])

    async def _save(self, outcome: Outcome, collected: Callable[[], list[Message]]) -> None:
        """The turns of the session and what it learned."""
        plan, session = self._route.session, self._session
        if plan is None or session is None:
            return
        turns = [*self._turns, *collected()] if plan.server_history else []
        instead = any(message.role == "assistant" for message in self._turns)
        await self._sessions.save(plan, session, turns, outcome.state, instead=instead)

    async def _save_before(self, collected: Callable[[], list[Message]]) -> None:
        """What another route's rules learned is nothing to the sessions of those before it."""
        memory = self.before
        while memory is not None:
            await memory._save(Outcome(), collected)
            memory = memory.before

    async def bear_in_mind(self, outcome: Outcome) -> None:
        """Keep what was thought; forget what the upstream refused to have back."""
        recall = self._recall
        if recall is None:
            return
        if outcome.error is not None:
            recalled = self._recalled
            if outcome.error.cls == "invalid_request" and recalled and recalled.keys:
                await recall.forget(recalled)
        elif self.keeper is not None:
            dialect = self._route.dialect
            origin = dialect.name if dialect else self._route.name
            await recall.keep(self._call.asked, self.keeper.parts(), origin)

    # ---- sessions ----

    async def _open(self, env: dict[str, object]) -> None:
        plan, asked = self._route.session, self._call.asked
        if plan is None or self._call.errand is not None:
            return
        self._turns = asked.chat.messages
        session = await self._sessions.open(self._route, plan, asked, env)
        self._session = session
        env["session"] = session.variables()
        if plan.server_history:
            chat = dataclasses.replace(asked.chat, messages=session.extend(asked.chat))
            self._call.turn_to(chat, env, self._route.names)

    # ---- thinking of earlier answers ----

    def _looks_back(self) -> bool:
        """Whether somebody wants the thinking that the client did not send back."""
        dialect, route = self._route.dialect, self._route
        signs = dialect is not None and dialect.signs and dialect is not self._call.dialect
        return signs or (bool(route.stages) and route.recalls)

    async def _look_back(self, env: dict[str, object]) -> None:
        """Find the thinking that the client did not send back."""
        dialect, recall, asked = self._route.dialect, self._recall, self._call.asked
        assert recall is not None
        self._recalled = recalled = await recall.find(asked)
        env["_recalled"] = recalled.texts
        if dialect is not None and recalled.thoughts:
            chat = recalled.restore(asked.chat, dialect.name)
            self._call.turn_to(chat, env, self._route.names)
        if asked.chat.tools:
            self.keeper = Keeper()
