"""Answers that an upstream keeps: read, listed, cancelled, deleted and gone on from where they are.

Clients that are passed through get the upstream's own ids. Whose route and which account an id came
from is noted for the client that got it; what it asks about that id goes there again, with that
account and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from engine.dialects import Dialect, Target
from engine.kept.answers import Answers

from . import endpoints
from .chats import Caller, Chats
from .continued import Action


@dataclass(slots=True)
class Carried:
    """The endpoints of answers, for those that are not kept here. who: raises RequestError."""

    answers: Answers
    chats: Chats
    who: Callable[[web.BaseRequest], Caller]

    def actions(self, here: Mapping[str, Action]) -> dict[str, Action]:
        """here: the same endpoints for what is kept here."""
        return {name: partial(self._ask, name, action) for name, action in here.items()}

    async def _ask(
        self,
        name: str,
        here: Action,
        dialect: Dialect,
        target: Target,
        request: web.BaseRequest,
    ) -> web.StreamResponse:
        caller, ident = self.who(request), target.model
        origin = await self.answers.origin(caller.client, ident)
        if origin is None:
            return await here(dialect, target, request)
        make = partial(endpoints.of_answer, action=name, ident=ident, query=target.query)
        return await self.chats.carry(dialect, request, caller, origin, make)
