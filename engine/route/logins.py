"""The logins of a route's OAuth accounts, collected while its sources are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from engine.auth.granting import Login, login_of
from engine.auth.oauth import ExchangeRequest, OAuth2
from engine.options import Env
from engine.wire import HttpRequest

from .http_spec import HttpSpec
from .render import compile_request


class Logins:
    """found: in the order of the file. Relative paths begin at the route's file."""

    def __init__(self, route: str, file: str) -> None:
        self._route = route
        self._file = file
        self.found: list[Login] = []

    def add(self, options: OAuth2, name: str) -> Login:
        login = login_of(options, name, self._route, self._place, exchanger)
        if login.digest not in {each.digest for each in self.found}:
            self.found.append(login)
        return login

    def _place(self, path: str) -> str:
        return path if path.startswith("~") else str(PurePosixPath(self._file).parent / path)


def exchanger(spec: ExchangeRequest) -> Callable[[Env], HttpRequest]:
    """The request of `exchange`, compiled."""
    request = HttpSpec(
        method=spec.method,
        url=spec.url,
        query=spec.query,
        headers=spec.headers,
        json=spec.json,
        form=spec.form,
    )
    return compile_request(request, "", {}).render
