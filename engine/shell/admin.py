"""The admin paths: state of the routes, and reload. They need a key of their own.

JSON only; what changes something is a POST with `X-Penstock-Admin: 1`, which no web page can send
unasked. Nothing here accepts routes, transforms or URLs.
"""

from __future__ import annotations

import dataclasses

from aiohttp import web

from engine.errors import RequestError
from engine.options import Secret
from engine.wire import Headers, dumps

from .keys import ClientKeys
from .server import Handler, presented_key
from .stores import Stores
from .watch import RouteKeeper


class Admin:
    """Handlers by method and path."""

    def __init__(self, key: Secret, keeper: RouteKeeper, stores: Stores) -> None:
        self._keys = ClientKeys([key])
        self._keeper = keeper
        self._stores = stores

    def table(self) -> dict[tuple[str, str], Handler]:
        return {
            ("GET", "/admin/routes"): self.routes,
            ("GET", "/admin/stores"): self.stores,
            ("POST", "/admin/reload"): self.reload,
        }

    def _check(self, request: web.BaseRequest) -> None:
        if self._keys.check(presented_key(Headers(request.headers))) is None:
            raise RequestError("auth", "Invalid API key provided")

    async def routes(self, request: web.BaseRequest) -> web.Response:
        """Every route file with its state, generation, digest, problems and transforms."""
        self._check(request)
        states = [
            {
                **dataclasses.asdict(dataclasses.replace(state, problems=())),
                "problems": [_problem(str(problem)) for problem in state.problems],
                "transforms": dict(state.transforms),
            }
            for state in self._keeper.states.values()
        ]
        return web.Response(body=dumps({"routes": states}), content_type="application/json")

    async def stores(self, request: web.BaseRequest) -> web.Response:
        """Whether the store on disk or network answers, and why it does not."""
        self._check(request)
        health = dataclasses.asdict(self._stores.guard.health)
        return web.Response(body=dumps({"stores": [health]}), content_type="application/json")

    async def reload(self, request: web.BaseRequest) -> web.Response:
        """Look at all files anew; the answer has a result for each."""
        self._check(request)
        if request.headers.get("X-Penstock-Admin") != "1":
            raise RequestError("bad_request", "send the header X-Penstock-Admin: 1")
        results = await self._keeper.rescan(force=True)
        return web.Response(body=dumps({"results": results}), content_type="application/json")


def _problem(text: str) -> str:
    """A problem's first line: the excerpt below it could hold what a file should not."""
    return text.partition("\n")[0]
