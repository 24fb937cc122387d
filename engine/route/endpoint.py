"""What a route leaves to its dialect: the path and the query of the request."""

from __future__ import annotations

import dataclasses

from engine.dialects import Dialect

from .alike import once
from .spec import RequestSpec
from .template import Roots, compile_template
from .view import FIELDS

_ROOTS: Roots = {"req": frozenset(FIELDS), "model": frozenset({"id", "upstream", "max_output"})}


@once
def whole_request(written: RequestSpec | None, dialect: Dialect | None) -> RequestSpec:
    """The request of a route. Without `path` or `url` it goes where the dialect's requests go.

    The query of the dialect belongs to its path; a parameter that the route writes wins.
    """
    request = written or RequestSpec()
    if dialect is None or any((request.path, request.url, request.websocket)):
        return request
    query = {name: compile_template(text, _ROOTS) for name, text in dialect.query.items()}
    path = compile_template(dialect.path, _ROOTS)
    return dataclasses.replace(request, path=path, query={**query, **request.query})
