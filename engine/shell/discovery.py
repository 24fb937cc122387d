"""Models that routes find out: fetched in the background, last good list kept, never waited for.

The book that serves is the keeper's with these models in it. A list outlives a reload of its route
as long as it comes from the same place.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from engine.accounts.keyring import Keyring
from engine.chat import ChatRequest
from engine.dialects import DIALECTS
from engine.errors import ExchangeError
from engine.exchange.attempt import Call
from engine.exchange.errands import Collected, Errand
from engine.exchange.loop import Exchange
from engine.kept.sessions import Sessions
from engine.ports import Ports
from engine.route.book import RouteBook, make_book
from engine.route.route import Discovery, Offer, Route
from engine.route.view import Asked
from engine.transform import Model

AGAIN = 15.0  # most seconds to the next look after one that failed


@dataclass(frozen=True, slots=True)
class _Found:
    source: str
    ids: tuple[str, ...]


class Models:
    """`book` is what serves. Tell it of every swap, and let `run` run."""

    def __init__(self, ports: Ports, keyring: Keyring, sessions: Sessions) -> None:
        self.book = RouteBook()
        self._ports = ports
        self._keyring = keyring
        self._sessions = sessions
        self._found: dict[str, _Found] = {}
        self._base = RouteBook()
        self._tasks: dict[str, tuple[Route, asyncio.Task[None]]] = {}
        self.group: asyncio.TaskGroup | None = None

    def swapped(self, book: RouteBook) -> None:
        """The keeper has a new book."""
        self._base = book
        for name, found in list(self._found.items()):
            discovery = _discovery(book, name)
            if discovery is None or discovery.source != found.source:
                del self._found[name]
        self._publish()
        self._watch()

    def _publish(self) -> None:
        routes = self._base.routes
        found = {
            name: discovery.offers(known.ids)
            for name, known in self._found.items()
            if (discovery := _discovery(self._base, name)) is not None
        }
        self.book = make_book(routes.values(), found) if found else self._base

    async def run(self) -> None:
        """Look for models until cancelled."""
        async with asyncio.TaskGroup() as group:
            self.group = group
            self._watch()
            await asyncio.Event().wait()

    def _watch(self) -> None:
        """One task for each route that finds its models; those of replaced routes end."""
        if self.group is None:
            return
        routes = self._base.routes
        for name, (route, task) in list(self._tasks.items()):
            if routes.get(name) is not route:
                task.cancel()
                del self._tasks[name]
        for name, route in routes.items():
            if route.discovery is not None and name not in self._tasks:
                looking = self._look_on(route, route.discovery)
                self._tasks[name] = route, self.group.create_task(looking)

    async def _look_on(self, route: Route, discovery: Discovery) -> None:
        failed = False
        while True:
            outcome = await self._look(route, discovery)
            if isinstance(outcome, ExchangeError):
                if not failed:  # once: an upstream that is switched off is no news any more
                    level = "info" if outcome.cls == "connect" else "warning"
                    self._saw(route, level=level, outcome=outcome.cls, error=outcome.message)
            elif failed or self._found.get(route.name) != outcome:
                self._found[route.name] = outcome
                self._publish()
                self._saw(route, level="info", models=len(outcome.ids))
            failed = isinstance(outcome, ExchangeError)
            wait = min(AGAIN, discovery.every) if failed else discovery.every
            await self._ports.clock.sleep(wait)

    def _saw(self, route: Route, **fields: object) -> None:
        self._ports.observer.saw("discovery", route=route.name, **fields)

    async def _look(self, route: Route, discovery: Discovery) -> _Found | ExchangeError:
        sink = Collected()
        exchange = Exchange(
            route,
            _call(route, discovery, f"req_{self._ports.random.getrandbits(96):024x}"),
            self._ports,
            self._keyring,
            self._sessions,
            sink,
        )
        try:
            await exchange.run()
            if sink.error is not None:
                return sink.error
            return _Found(discovery.source, discovery.ids(sink.body))
        except ExchangeError as error:
            return error
        except Exception as error:  # a bug of ours: the gateway that serves must outlive it
            self._ports.observer.saw("crash", error=error, path=f"discovery of {route.name}")
            return ExchangeError("fatal", "the models could not be looked for")


def _discovery(book: RouteBook, name: str) -> Discovery | None:
    route = book.routes.get(name)
    return route.discovery if route is not None else None


def _call(route: Route, discovery: Discovery, ident: str) -> Call:
    dialect = route.dialect or DIALECTS["openai_chat"]
    empty = ChatRequest(dialect.name, "", [])
    return Call(
        asked=Asked(ident, lambda: empty, False),
        offer=Offer(Model("", "", None), route.spec.vars, route.name, {"id": "", "upstream": ""}),
        dialect=dialect,
        wants_stream=False,
        errand=Errand(discovery.plan, lambda offer: None, lambda body: (body, None)),
    )
