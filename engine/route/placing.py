"""Where credentials are put: `auth.bearer`, `auth.header` and `auth.basic` as headers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from engine.auth.static import basic
from engine.options import OMIT, Env, Template

from .render import Pairs, pairs, text
from .spec import AuthSpec


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
