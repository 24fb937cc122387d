"""How an upstream is reached: the connections, cookies and proxy of one route and account."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from .errors import ExchangeError
from .options import Env, Template
from .ports import Answer, Line, Sent, Upstream
from .route.alike import alike
from .route.reader import REFERENCES
from .route.render import text
from .route.route import Route
from .route.talking import TalkPlan
from .wire import HttpRequest

_LINES: WeakKeyDictionary[Route, Line] = WeakKeyDictionary()


def line_of(route: Route, scopes: Mapping[str, str], env: Env | None = None) -> Line:
    """How this route's upstream is reached for one request. Raises ExchangeError, RenderError."""
    line = _LINES.get(route)
    if line is None:
        line = _LINES[route] = alike(_line(route))
    proxy = route.spec.upstream.proxy
    if env is not None and proxy is not None and _varies(proxy):
        line = dataclasses.replace(line, proxy=proxy_of(proxy, env))
    account, cookies = scopes["account"], route.spec.upstream.cookies
    if not account and cookies == "none":
        return line
    jar = "" if cookies == "none" else f"{route.name}|{scopes[cookies]}"
    pool = f"{route.name}|{account}" if account else ""
    return dataclasses.replace(line, pool=pool, jar=jar)


def line_of_request(route: Route, line: Line, env: Env) -> Line:
    """The line of the main request: it may have a proxy of its own."""
    proxy = route.spec.request.proxy if route.spec.request else None
    return line if proxy is None else dataclasses.replace(line, proxy=proxy_of(proxy, env))


def called(
    upstream: Upstream,
    request: HttpRequest,
    line: Line,
    talk: TalkPlan | None,
    env: Env,
    sent: Sent = None,
) -> AbstractAsyncContextManager[Answer]:
    """The call: over HTTP, or by a conversation over a websocket."""
    if talk is None:
        return upstream.stream(request, line, sent)
    return upstream.converse(request, talk(env), line, sent)


def _varies(proxy: Template) -> bool:
    return any(name.split(".")[0] != REFERENCES for name in proxy.mentions)


def proxy_of(template: Template, env: Env) -> str | None:
    """The URL of a proxy, None where the template gives nothing. Raises ExchangeError."""
    url = text(template.render(env)).strip()
    if not url:
        return None
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ExchangeError("fatal", "a proxy must be a URL such as http://proxy.example:3128")
    return url


def _line(route: Route) -> Line:
    upstream = route.spec.upstream
    proxy, env = upstream.proxy, {REFERENCES: route.references}
    return Line(
        proxy=proxy_of(proxy, env) if proxy is not None and not _varies(proxy) else None,
        verify=upstream.tls.verify,
        ca=upstream.tls.ca,
        reuse=upstream.reuse,
        connect=float(route.spec.timeouts.connect),
        sniff=upstream.sniff,
    )
