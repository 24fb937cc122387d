"""Conversations over several requests: named by the route, kept by the store.

A session belongs to one client key and one route. What it holds is saved only after the answer was
delivered; two requests of one session that run at the same time both keep their turns. A request
without a session name gets a one-shot session that is never stored.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from .chat import ChatRequest, Message
from .dialects.openai_chat.parse import parse_value
from .dialects.openai_chat.render import messages as render_messages
from .errors import RequestError
from .options import Env
from .ports import Ports, Store, StoreError
from .route.route import Route, SessionPlan
from .route.view import Asked
from .wire import dumps, loads

MAX_LOCKS = 4096
_SYSTEM = ("system", "developer")


@dataclass(slots=True)
class Session:
    """One session as a request sees it. key "" means one-shot; id is what templates see.

    birth   tells a session from those that had the same key before it
    """

    key: str
    state: dict[str, object] = field(repr=False)
    history: list[Message] = field(default_factory=list, repr=False)
    id: str = ""
    birth: str = ""

    @property
    def scope(self) -> str:
        """Under which values of the session are kept; it begins with `session/` if it is stored."""
        return f"{self.key or self.id}#{self.birth}"

    def variables(self) -> dict[str, object]:
        return {**self.state, "id": self.id or self.key.rpartition("/")[2]}

    def extend(self, chat: ChatRequest) -> list[Message]:
        """The conversation to send: stored turns before the client's, unless it brought its own.

        A client that sends assistant turns keeps the history itself, and is believed.
        """
        if not self.history or any(m.role == "assistant" for m in chat.messages):
            return chat.messages
        return _joined(self.history, chat.messages)


class Sessions:
    """Opens and saves sessions. Stores that fail are counted; the request goes on without."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self._locks: OrderedDict[str, asyncio.Lock] = OrderedDict()

    async def open(self, route: Route, plan: SessionPlan, asked: Asked, env: Env) -> Session:
        name = plan.name(asked)
        if not name:
            return Session("", plan.state(env), id=asked.id, birth=self._birth())
        key = _key(route, plan, asked.client, name)
        async with self._lock(key):
            kept = await self._read(plan, key)
            if kept is None:
                fresh = Session(key, plan.state(env), birth=self._birth())
                await self._write(plan, fresh, [])  # so that parallel first requests share its ids
                return fresh
        return kept

    async def save(
        self,
        plan: SessionPlan,
        session: Session,
        turns: list[Message],
        learned: dict[str, object],
        *,
        instead: bool = False,
    ) -> None:
        """Add turns and learned state to what the store holds now.

        instead: the client keeps the history itself, so these turns are all there is.
        """
        if not session.key:
            return
        async with self._lock(session.key):
            kept = await self._read(plan, session.key) or session
            history = [] if instead else kept.history
            state = {**kept.state, **learned}
            kept = Session(session.key, state, history, birth=kept.birth)
            await self._write(plan, kept, turns)

    async def renew(self, plan: SessionPlan, session: Session, env: Env) -> Session:
        """The upstream lost the conversation: what it gave is forgotten, our turns are not."""
        state, birth = plan.state(env), self._birth()
        fresh = Session(session.key, state, session.history, session.id, birth)
        if session.key:
            async with self._lock(session.key):
                await self._write(plan, fresh, [])
        return fresh

    # ---- for operators ----

    async def peek(self, route: Route, plan: SessionPlan, client: str, name: str) -> Session | None:
        """A session as it is kept, None if it is not."""
        return await self._read(plan, _key(route, plan, client, name))

    async def forget(self, route: Route, plan: SessionPlan, client: str, name: str) -> bool:
        """Whether there was such a session."""
        key = _key(route, plan, client, name)
        async with self._lock(key):
            if await self._read(plan, key) is None:
                return False
            try:
                await self._store(plan).delete(key)
            except StoreError:
                self.ports.observer.saw("store_error", store="sessions", op="delete")
                return False
        return True

    async def count(self, route: Route, plan: SessionPlan) -> int:
        """How many sessions of the route are kept; 0 if the store fails."""
        try:
            return len(await self._store(plan).keys(f"session/{route.name}/{plan.fingerprint}/"))
        except StoreError:
            self.ports.observer.saw("store_error", store="sessions", op="keys")
            return 0

    def _birth(self) -> str:
        return f"{self.ports.random.getrandbits(64):016x}"

    def _store(self, plan: SessionPlan) -> Store:
        return self.ports.durable if plan.persist else self.ports.store

    async def _read(self, plan: SessionPlan, key: str) -> Session | None:
        try:
            raw = await self._store(plan).get(key)
            kept: Any = loads(raw) if raw is not None else None
            if kept is None:
                return None
            history, birth = _messages(kept["history"]), kept.get("birth", "")
            return Session(key, kept["state"], history, birth=birth)
        except (StoreError, RequestError, ValueError, KeyError, TypeError):  # unreadable, too
            self.ports.observer.saw("store_error", store="sessions", op="get")
            return None

    async def _write(self, plan: SessionPlan, session: Session, turns: list[Message]) -> None:
        history = _joined(session.history, turns, plan.max_messages) if plan.server_history else []
        turns_ = render_messages(history)
        value = dumps({"state": session.state, "history": turns_, "birth": session.birth})
        store = self._store(plan)
        try:
            await store.put(session.key, value, plan.ttl)
            await store.trim(session.key.rpartition("/")[0] + "/", plan.limit)
        except StoreError:
            self.ports.observer.saw("store_error", store="sessions", op="put")

    def _lock(self, key: str) -> asyncio.Lock:
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._locks.move_to_end(key)
        while len(self._locks) > MAX_LOCKS:
            oldest = next(iter(self._locks))
            if self._locks[oldest].locked():
                break
            del self._locks[oldest]
        return lock


def _key(route: Route, plan: SessionPlan, client: str, name: str) -> str:
    digest = hashlib.sha256(dumps([client, name])).hexdigest()[:32]
    return f"session/{route.name}/{plan.fingerprint}/{digest}"


def _joined(kept: list[Message], more: list[Message], most: int | None = None) -> list[Message]:
    """Turns after turns, the last ones; before them the newest system texts."""
    system = [m for m in more if m.role in _SYSTEM] or [m for m in kept if m.role in _SYSTEM]
    turns = [m for m in (*kept, *more) if m.role not in _SYSTEM]
    return [*system, *(turns if most is None else turns[max(0, len(turns) - most) :])]


def _messages(history: list[object]) -> list[Message]:
    """Stored turns, read as a client's would be."""
    if not history:
        return []
    return parse_value({"model": "-", "messages": history}).messages
