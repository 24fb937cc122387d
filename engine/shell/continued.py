"""The stored side of the Responses API: going on from an answer, reading it, forgetting it.

Only what the gateway answered itself is kept here. An upstream that clients reach on bytes keeps
its own answers, under its own ids: of these is noted where they are (`engine/shell/carried.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from engine.chat import ChatRequest
from engine.dialects import Dialect, Target
from engine.dialects.openai_responses import kept
from engine.dialects.openai_responses.items import NAME
from engine.errors import RequestError
from engine.exchange.attempt import Call
from engine.kept.answers import Answers, Kept
from engine.route.route import Route
from engine.wire import dumps

from .endpoints import no_stream

Keep = Callable[[object], Awaitable[None]]
Who = Callable[[web.BaseRequest], str]
Action = Callable[[Dialect, Target, web.BaseRequest], Awaitable[web.StreamResponse]]
_PAGE, _LARGEST = 20, 100


@dataclass(slots=True)
class Continued:
    """`begin` looks at each request; `actions` are the endpoints of stored answers."""

    answers: Answers

    async def begin(self, call: Call) -> Keep | None:
        """Put the conversation before the request that goes on from it; what keeps its answer.

        Raises RequestError(previous_response_not_found).
        """
        if call.dialect.name != NAME:
            return None
        chat, client = call.asked.chat, call.asked.client
        before: list[object] = []
        ident = kept.previous(chat)
        if ident is not None:
            found = await self.answers.find(client, ident)
            if found is None:
                raise kept.not_found(ident)
            before = [*found.items, *found.answer["output"]]
            call.asked = call.asked.with_chat(kept.continued(chat, before))
        return self._keeping(call, before)

    def _keeping(self, call: Call, before: list[object]) -> Keep | None:
        """before: the items that the answer stands on, without the request's own."""
        client, chat = call.asked.client, call.asked.chat
        return partial(self._keep, client, before, chat) if kept.stores(chat) else None

    def turn(self, call: Call, keep: Keep | None, *, passes: bool) -> Keep | None:
        """What keeps the answer of a route that took a request over.

        keep: what would have kept that of the route before; passes: whether the new one keeps its
        answers itself.
        """
        if call.dialect.name != NAME:
            return None
        if passes:
            call.note = partial(self.answers.note, call.asked.client)
            return None
        return keep or self._keeping(call, [])

    async def _keep(
        self, client: str, before: list[object], chat: ChatRequest, answer: object
    ) -> None:
        if isinstance(answer, dict):
            items = [*before, *kept.items_of(chat)]
            await self.answers.keep(client, answer["id"], Kept(answer, items))

    async def accompany(self, route: Route, call: Call) -> None:
        """A request that passes through: where its answer is kept is noted, and an answer that it
        goes on from decides its account."""
        if call.dialect.name != NAME:
            return
        client = call.asked.client
        call.note = partial(self.answers.note, client)
        if not call.continues or len(route.roster.accounts) < 2:
            return
        ident = kept.previous(call.asked.chat)
        origin = await self.answers.origin(client, ident) if ident is not None else None
        if origin is not None and origin.route == route.name:
            call.bound = origin.account

    # ---- endpoints ----

    def actions(self, who: Who) -> dict[str, Action]:
        """who: the client of a request, RequestError `auth` for a stranger."""
        return {
            "response": partial(self._show, who),
            "delete_response": partial(self._delete, who),
            "input_items": partial(self._items, who),
            "cancel_response": partial(self._cancel, who),
        }

    async def _find(self, client: str, ident: str) -> Kept:
        found = await self.answers.find(client, ident)
        if found is None:
            raise _missing(ident)
        return found

    async def _show(
        self, who: Who, dialect: Dialect, target: Target, request: web.BaseRequest
    ) -> web.StreamResponse:
        found = await self._find(who(request), target.model)
        no_stream(target.query)
        return _json(found.answer)

    async def _delete(
        self, who: Who, dialect: Dialect, target: Target, request: web.BaseRequest
    ) -> web.StreamResponse:
        if not await self.answers.forget(who(request), target.model):
            raise _missing(target.model)
        return _json({"id": target.model, "object": "response", "deleted": True})

    async def _items(
        self, who: Who, dialect: Dialect, target: Target, request: web.BaseRequest
    ) -> web.StreamResponse:
        found = await self._find(who(request), target.model)
        limit = target.query.get("limit", str(_PAGE))
        if not limit.isdecimal() or not 1 <= int(limit) <= _LARGEST:
            message = f"limit: expected a number from 1 to {_LARGEST}"
            raise RequestError("bad_request", message, param="limit")
        return _json(
            kept.page(
                kept.listed(found.items, target.model),
                after=target.query.get("after", ""),
                limit=int(limit),
                ascending=target.query.get("order") == "asc",
            )
        )

    async def _cancel(
        self, who: Who, dialect: Dialect, target: Target, request: web.BaseRequest
    ) -> web.StreamResponse:
        await self._find(who(request), target.model)
        raise RequestError("bad_request", "Cannot cancel a response that is complete.")


def _missing(ident: str) -> RequestError:
    return RequestError("not_found", f"Response with id '{ident[:200]}' not found.")


def _json(value: object) -> web.Response:
    return web.Response(body=dumps(value), content_type="application/json")
