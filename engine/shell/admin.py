"""The admin paths: state of routes, accounts and sessions, and what an operator may do about them.

They need a key of their own and are not there without it. JSON only; what changes something is a
POST with `X-Penstock-Admin: 1`, which no web page can send unasked. Nothing here accepts routes,
transforms or URLs, and no answer holds a secret. The table of paths: engine/shell/admin_paths.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from aiohttp import web

from engine import __version__
from engine.errors import RequestError
from engine.options import Secret
from engine.wire import Headers, dumps

from .accounts import AccountsAdmin
from .admin_paths import HEADER, OPERATIONS, Operation, openapi
from .conversations import ConversationsAdmin
from .keys import ClientKeys
from .metrics import Metrics
from .server import Handler, Server, presented_key, read_body
from .stores import Stores
from .tools import ToolsAdmin
from .watch import RouteKeeper

LARGEST = 1024**2  # bytes of a body

Sent = dict[str, Any]
Work = Callable[[Sent], Awaitable[object]]


class Admin:
    """Handlers by method and path."""

    def __init__(
        self,
        key: Secret,
        keeper: RouteKeeper,
        stores: Stores,
        metrics: Metrics,
        parts: tuple[AccountsAdmin, ConversationsAdmin, ToolsAdmin],
        uptime: Callable[[], float],
    ) -> None:
        self._keys = ClientKeys([key])
        self._keeper = keeper
        self._stores = stores
        self._metrics = metrics
        self._uptime = uptime
        self._work: Mapping[tuple[str, str], Work] = {
            ("GET", "/admin/routes"): self.routes,
            ("GET", "/admin/stores"): self.stores,
            ("POST", "/admin/reload"): self.reload,
            ("GET", "/admin/statistics"): self.statistics,
            ("POST", "/admin/statistics/reset"): self.reset,
            ("GET", "/admin/openapi.json"): self.description,
            **parts[0].work(),
            **parts[1].work(),
            **parts[2].work(),
        }

    def table(self) -> dict[tuple[str, str], Handler]:
        return {
            operation.place: partial(self._serve, operation, self._work[operation.place])
            for operation in OPERATIONS
        }

    async def _serve(
        self, operation: Operation, work: Work, request: web.BaseRequest
    ) -> web.StreamResponse:
        if self._keys.check(presented_key(Headers(request.headers))) is None:
            raise RequestError("auth", "Invalid API key provided")
        if operation.method == "POST" and request.headers.get(HEADER) != "1":
            raise RequestError("bad_request", f"send the header {HEADER}: 1")
        body = await read_body(request, LARGEST) if operation.method == "POST" else b""
        query = {} if operation.method == "POST" else dict(request.query)
        query.pop("key", None)
        answer = await work(operation.read(query, body))
        return web.Response(body=dumps(answer), content_type="application/json")

    async def routes(self, sent: Sent) -> object:
        states = [
            {
                **dataclasses.asdict(dataclasses.replace(state, problems=())),
                "problems": [_problem(str(problem)) for problem in state.problems],
                "transforms": dict(state.transforms),
            }
            for state in self._keeper.states.values()
        ]
        return {"routes": states}

    async def stores(self, sent: Sent) -> object:
        return {"stores": [dataclasses.asdict(self._stores.guard.health)]}

    async def reload(self, sent: Sent) -> object:
        return {"results": await self._keeper.rescan(force=True)}

    async def statistics(self, sent: Sent) -> object:
        routes = self._metrics.statistics()
        return {"version": __version__, "uptime": round(self._uptime(), 1), "routes": routes}

    async def reset(self, sent: Sent) -> object:
        self._metrics.reset_statistics()
        return {"reset": True}

    async def description(self, sent: Sent) -> object:
        return openapi()


class AdminServer(Server):
    """A listener for the admin paths alone."""

    def _table(self) -> dict[tuple[str, str], Handler]:
        return {("GET", "/healthz"): self.health}

    def _search(self, request: web.BaseRequest) -> Handler:
        methods = sorted(method for method, path in self._handlers if path == request.path)
        if methods:
            raise RequestError("method", f"{request.path} takes {', '.join(methods)}")
        raise RequestError("not_found", f"there is nothing at {request.path}")


def _problem(text: str) -> str:
    """A problem's first line: the excerpt below it could hold what a file should not."""
    return text.partition("\n")[0]
