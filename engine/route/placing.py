"""Where credentials are put: `auth.bearer`, `auth.header` and `auth.basic` as headers.

What is the same for all requests of a route is rendered when it is loaded: `fixed`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

from engine.auth.static import basic
from engine.options import OMIT, Env, Template
from engine.wire import HttpRequest

from .http_spec import HttpSpec
from .mentions import mentioned, mentioned_templates
from .reader import REFERENCES
from .render import Pairs, pairs, text, without_case
from .spec import AuthSpec, RouteSpec


def placements(spec: AuthSpec) -> Callable[[Env], Pairs]:
    """The headers that carry the credentials."""
    headers = pairs(spec.header, "header")
    if spec.bearer is not None:
        bearer = pairs({"Authorization": _prefixed("Bearer ", spec.bearer)}, "header")
        return lambda env: headers(env) + bearer(env)
    if spec.basic is not None:
        user, password = spec.basic.username.render, spec.basic.password.render

        def place(env: Env) -> Pairs:
            value = basic(text(user(env)), text(password(env)))
            return (*headers(env), ("Authorization", "«basic»" if env.get("_mask") else value))

        return place
    return headers


def _prefixed(prefix: str, template: Template) -> Template:
    render = template.render

    def prefixed(env: Env) -> object:
        value = render(env)
        return OMIT if value is OMIT else prefix + text(value)

    return dataclasses.replace(template, render=prefixed)


def held(
    spec: RouteSpec, placed: Callable[[Env], Pairs], references: Mapping[str, object]
) -> Pairs | None:
    """The headers that carry the credentials, when nothing but references stands in them."""
    return placed({REFERENCES: references}) if _steady(spec.auth, ()) else None


def _steady(auth: AuthSpec, templates: Iterable[Template]) -> bool:
    """Whether credentials and these templates are the same for all requests."""
    whole = (tuple(templates), auth)
    if auth.from_ is not None or any(_root(name) != REFERENCES for name in mentioned(whole)):
        return False
    moving = (template for template in mentioned_templates(whole) if not template.constant)
    return all(REFERENCES in map(_root, template.mentions) for template in moving)


def fixed(
    spec: RouteSpec,
    request: HttpSpec,
    placed: Callable[[Env], Pairs],
    references: Mapping[str, object],
) -> tuple[Pairs, Pairs] | None:
    """All headers of a request and the query of its credentials, when nothing but references
    stands in them."""
    templates = [*spec.upstream.headers.values(), *request.headers.values()]
    if spec.auth.sign is not None or not _steady(spec.auth, templates):
        return None
    env: Env = {REFERENCES: references}
    layers = without_case(spec.upstream.headers, request.headers)
    plain = HttpRequest("", "", pairs(layers, "header")(env))
    headers = plain.with_headers(dict(placed(env))).headers
    cookies = "; ".join(f"{n}={v}" for n, v in pairs(spec.auth.cookie, "cookie")(env))
    headers = (*headers, ("Cookie", cookies)) if cookies else headers
    return headers, pairs(spec.auth.query, "query parameter")(env)


def _root(name: str) -> str:
    return name.split(".")[0]
