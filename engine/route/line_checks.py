"""Text that is known when a route is loaded, and must fit on one line of a request.

What a client brings is checked at every rendering; what stands in the file or its environment is
checked here, once, so that a key with a stray line end is a Problem and not a failed request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from engine.errors import ExchangeError, Problem
from engine.options import Template

from .checks import requests_of
from .nodes import Node
from .places import Way, dotted, find, key_mark
from .reader import REFERENCES
from .render import safe
from .spec import RouteSpec
from .urls import wrong_url

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


def check_lines(
    spec: RouteSpec, tree: Node, references: Mapping[str, object], problems: list[Problem]
) -> None:
    """Notes a Problem for each header, query parameter, cookie or path of several lines."""
    for way, template in _lines(spec):
        wrong = _wrong(template, references)
        if wrong is not None:
            problems.append(find(tree, way).mark.problem("E521", f"`{dotted(way)}` {wrong}"))
    problems += _proxies(spec, tree, references)
    for way in _header_names(spec):
        if not _TOKEN.fullmatch(str(way[-1])):
            message = f"`{way[-1]}` cannot be the name of a header"
            problems.append(key_mark(tree, way).problem("E521", message))


def _proxies(spec: RouteSpec, tree: Node, references: Mapping[str, object]) -> Iterator[Problem]:
    """Proxies that are known and no URL. Their text may hold a password: it is not repeated."""
    ways: list[tuple[Way, Template | None]] = [(("upstream", "proxy"), spec.upstream.proxy)]
    ways += [((*way, "proxy"), request.proxy) for way, request in requests_of(spec)]
    for way, template in ways:
        if template is None or not _known(template):
            continue
        url = str(template.render({REFERENCES: references})).strip()
        if url and wrong_url(url) is not None:
            message = f"`{dotted(way)}` must be a URL such as `http://proxy.example:3128`"
            yield find(tree, way).mark.problem("E506", message)


def _known(template: Template) -> bool:
    roots = {name.partition(".")[0] for name in template.mentions}
    return not roots - {REFERENCES} and bool(roots or template.constant)


def _wrong(template: Template, references: Mapping[str, object]) -> str | None:
    if not _known(template):
        return None
    try:
        safe(template.render({REFERENCES: references}), "")
    except ExchangeError:
        return "holds a line end or another control character"
    return None


def _lines(spec: RouteSpec) -> Iterator[tuple[Way, Template]]:
    auth = spec.auth
    maps: list[tuple[Way, Mapping[str, Template]]] = [
        (("upstream", "headers"), spec.upstream.headers),
        (("auth", "header"), auth.header),
        (("auth", "query"), auth.query),
        (("auth", "cookie"), auth.cookie),
    ]
    for way, request in requests_of(spec):
        maps += [((*way, "headers"), request.headers), ((*way, "query"), request.query)]
        if request.path is not None:
            yield (*way, "path"), request.path
    for way, templates in maps:
        for name, template in templates.items():
            yield (*way, name), template
    if auth.bearer is not None:
        yield ("auth", "bearer"), auth.bearer


def _header_names(spec: RouteSpec) -> Iterator[Way]:
    places: list[tuple[Way, Mapping[str, Template]]] = [
        (("upstream", "headers"), spec.upstream.headers),
        (("auth", "header"), spec.auth.header),
    ]
    hmac = spec.auth.sign.hmac if spec.auth.sign is not None else None
    places += [(("auth", "sign", "hmac", "headers"), hmac.headers)] if hmac is not None else []
    places += [((*way, "headers"), request.headers) for way, request in requests_of(spec)]
    return ((*way, name) for way, headers in places for name in headers)
