"""What a route asks of its upstream beside chat: other endpoints (`passthrough`), and the models it
has (`discover`). Both are requests with the route's own headers, query and credentials.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from engine.errors import ExchangeError
from engine.options import Path, Template
from engine.wire import JsonError, loads

from .http_spec import HttpSpec
from .offers import offers_of
from .profiles import ProfileOf
from .render import Plan, compile_request
from .route import Discovery, Offer
from .spec import ModelSpec, RouteSpec

MOST_MODELS = 5000
_LONGEST_ID = 512


@dataclass(frozen=True, slots=True)
class _Listed(Discovery):
    """`discover`, compiled."""

    route: str
    spec: RouteSpec
    path: Path
    profile_of: ProfileOf

    def ids(self, body: bytes) -> tuple[str, ...]:
        try:
            found = self.path.all(loads(body))
        except JsonError as error:
            raise ExchangeError("retryable", f"the list of models is {error}") from None
        ids = (item for item in found if isinstance(item, str) and 0 < len(item) <= _LONGEST_ID)
        known = tuple(dict.fromkeys(ids))[:MOST_MODELS]
        if not known:
            raise ExchangeError("retryable", "no models are found in the upstream's list")
        return known

    def offers(self, ids: Iterable[str]) -> dict[str, Offer]:
        models = [ModelSpec(id=ident) for ident in ids]
        spec = dataclasses.replace(self.spec, models=models)
        return offers_of(self.route, spec, self.profile_of)


def discovery_of(route: str, spec: RouteSpec, profile_of: ProfileOf) -> Discovery | None:
    """How the route's models are found; None if all of them are written down."""
    wanted = spec.discover
    if wanted is None:
        return None
    return _Listed(
        plan=_plan(spec, "GET", wanted.path),
        every=float(wanted.every),
        source=f"{spec.base_url} {wanted.path.source} {wanted.ids.source}",
        route=route,
        spec=spec,
        path=wanted.ids,
        profile_of=profile_of,
    )


def errands_of(spec: RouteSpec) -> dict[str, Plan]:
    """The endpoints that are passed on, by their names under `passthrough`."""
    fields = dataclasses.fields(spec.passthrough)
    named: dict[str, Template | None] = {
        field.name: getattr(spec.passthrough, field.name) for field in fields
    }
    return {name: _plan(spec, "POST", path) for name, path in named.items() if path is not None}


def _plan(spec: RouteSpec, method: str, path: Template) -> Plan:
    request = spec.request
    http = HttpSpec(
        path=path,
        headers=request.headers if request else {},
        query=request.query if request else {},
    )
    return compile_request(http, spec.base_url or "", spec.upstream.headers, method)
