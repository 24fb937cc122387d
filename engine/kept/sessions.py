"""Conversations over several requests: named by the route, kept by the store.

A session belongs to one client key and one route. What it holds is saved only when a whole answer
is there; two requests of one session that run at the same time both keep their turns. A request
without a session name gets a one-shot session that is never stored.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine.chat import ChatRequest, Message
from engine.dialects.openai_chat.parse import parse_value
from engine.dialects.openai_chat.render import messages as render_messages
from engine.errors import RequestError
from engine.options import Env
from engine.ports import Ports, Store, StoreError
from engine.route.route import Route, SessionPlan
from engine.route.view import Asked
from engine.wire import dumps, loads

MAX_LOCKS = 4096
MAX_FORGOTTEN = 1024  # sessions deleted by hand whose requests may still be under way
TRIES = 10  # at changing a session that other replicas change, too
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
        self._forgotten: OrderedDict[str, None] = OrderedDict()  # births

    async def open(self, route: Route, plan: SessionPlan, asked: Asked, env: Env) -> Session:
        name = plan.name(asked)
        if not name:
            return Session("", plan.state(env), id=asked.id, birth=self._birth())
        key = _key(route, plan, asked.client, name)

        def known(kept: Session | None) -> Session:
            # So that requests that come at the same time share its ids, also in other replicas.
            return kept or Session(key, plan.state(env), birth=self._birth())

        return await self._change(plan, key, known)

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
        if not session.key or session.birth in self._forgotten:
            return

        def more(kept: Session | None) -> Session:
            kept = kept or session
            same = kept.birth == session.birth  # else what was learned is of a lost conversation
            state = {**kept.state, **learned} if same else kept.state
            history = _joined([] if instead else kept.history, turns, plan.max_messages)
            return Session(session.key, state, history, birth=kept.birth)

        await self._change(plan, session.key, more)

    async def renew(self, plan: SessionPlan, session: Session, env: Env) -> Session:
        """The upstream lost the conversation: what it gave is forgotten, our turns are not.

        Once for all requests that find it lost: who comes later takes what the first one began.
        """
        state, birth = plan.state(env), self._birth()
        fresh = Session(session.key, state, session.history, session.id, birth)
        if not session.key or session.birth in self._forgotten:
            return fresh

        def anew(kept: Session | None) -> Session:
            return kept if kept is not None and kept.birth != session.birth else fresh

        return await self._change(plan, session.key, anew)

    async def _change(
        self, plan: SessionPlan, key: str, change: Callable[[Session | None], Session]
    ) -> Session:
        """What `change` makes of what the store holds (None: nothing), saved if it differs.

        Others may change it meanwhile: then it is looked at again. change may be called often.
        """
        store, op = self._store(plan), "get"
        kept: Session | None = None
        new: Session | None = None
        async with self._lock(key):
            try:
                for _ in range(TRIES):
                    op, raw = "get", await store.get(key)
                    kept = self._read(key, raw)
                    new, op = change(kept), "put"
                    value = raw if new is kept else _written(plan, new)
                    if (new is kept and not plan.touches) or await store.swap(
                        key, raw, value, plan.ttl
                    ):
                        break
                if raw is None:
                    await store.trim(key.rpartition("/")[0] + "/", plan.limit)
            except StoreError:
                self.ports.observer.saw("store_error", store="sessions", op=op)
        return new or change(kept)

    # ---- for operators ----

    async def peek(self, route: Route, plan: SessionPlan, client: str, name: str) -> Session | None:
        """A session as it is kept, None if it is not (or the store fails)."""
        key = _key(route, plan, client, name)
        try:
            return self._read(key, await self._store(plan).get(key))
        except StoreError:
            self.ports.observer.saw("store_error", store="sessions", op="get")
            return None

    async def forget(self, route: Route, plan: SessionPlan, client: str, name: str) -> bool:
        """Whether there was such a session. A request of it that is under way does not bring it
        back."""
        key, store = _key(route, plan, client, name), self._store(plan)
        async with self._lock(key):
            try:
                raw = await store.get(key)
                await store.delete(key)
            except StoreError:
                self.ports.observer.saw("store_error", store="sessions", op="delete")
                return False
        kept = self._read(key, raw)
        if kept is not None and kept.birth:
            self._forgotten[kept.birth] = None
            while len(self._forgotten) > MAX_FORGOTTEN:
                self._forgotten.popitem(last=False)
        return raw is not None

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

    def _read(self, key: str, raw: bytes | None) -> Session | None:
        try:
            kept: Any = loads(raw) if raw is not None else None
            if kept is None:
                return None
            history, birth = _messages(kept["history"]), kept.get("birth", "")
            return Session(key, kept["state"], history, birth=birth)
        except (RequestError, ValueError, KeyError, TypeError):
            self.ports.observer.saw("store_error", store="sessions", op="get")
            return None

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


def _written(plan: SessionPlan, session: Session) -> bytes:
    history = render_messages(session.history) if plan.server_history else []
    return dumps({"state": session.state, "history": history, "birth": session.birth})


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
