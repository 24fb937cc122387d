"""The admin's view of sessions: look one up by its name, forget it and undo what it had."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from engine.errors import RequestError
from engine.kept.sessions import Sessions
from engine.route.book import RouteBook
from engine.route.route import Route, SessionPlan

PREVIEW = 100  # characters of a turn

Sent = dict[str, Any]


class ConversationsAdmin:
    """clients: digests of all client keys; a session belongs to one of them.

    sweep   begins the clean-ups of sessions that are no more
    """

    def __init__(
        self,
        sessions: Sessions,
        book: Callable[[], RouteBook],
        clients: Iterable[str],
        sweep: Callable[[], Awaitable[None]],
    ) -> None:
        self._sweep = sweep
        self._sessions = sessions
        self._book = book
        self._clients = list(clients)

    def work(self) -> dict[tuple[str, str], Callable[[Sent], Any]]:
        return {
            ("GET", "/admin/sessions"): self.show,
            ("POST", "/admin/sessions/delete"): self.delete,
        }

    async def show(self, sent: Sent) -> object:
        route, plan = self._route(sent)
        if "session" not in sent:
            return {"route": route.name, "sessions": await self._sessions.count(route, plan)}
        found = []
        for client in self._clients:
            session = await self._sessions.peek(route, plan, client, sent["session"])
            if session is not None:
                turns = [
                    {"role": turn.role, "text": turn.text[:PREVIEW]} for turn in session.history
                ]
                found.append({"client": client[:8], "state": session.state, "turns": turns})
        if not found:
            raise RequestError("not_found", "there is no such session", param="session")
        return {"route": route.name, "sessions": found}

    async def delete(self, sent: Sent) -> object:
        route, plan = self._route(sent)
        deleted = 0
        for client in self._clients:
            deleted += await self._sessions.forget(route, plan, client, sent["session"])
        if not deleted:
            raise RequestError("not_found", "there is no such session", param="session")
        await self._sweep()
        return {"deleted": deleted}

    def _route(self, sent: Sent) -> tuple[Route, SessionPlan]:
        route = self._book().routes.get(sent["route"])
        if route is None:
            raise RequestError("not_found", "there is no such route", param="route")
        if route.session is None:
            raise RequestError("bad_request", f"{route.name} has no sessions", param="route")
        return route, route.session
