"""The request of a route that brings none of its own: what its dialect says of its endpoint."""

from __future__ import annotations

from engine.dialects import Dialect

from .spec import RequestSpec
from .template import Roots, compile_template
from .view import FIELDS

_ROOTS: Roots = {"req": frozenset(FIELDS), "model": frozenset({"id", "upstream", "max_output"})}


def own_request(dialect: Dialect | None) -> RequestSpec:
    """Path and query as the dialect has them, compiled as a route's own would be."""
    if dialect is None:
        return RequestSpec()
    return RequestSpec(
        path=compile_template(dialect.path, _ROOTS),
        query={name: compile_template(text, _ROOTS) for name, text in dialect.query.items()},
    )
