"""What a browser is told so that a page may call: CORS, of the Fetch standard (§3.2).

Whose pages may is decided before (`Server.handle`): the origins that come here are let in. The
admin paths are for no page of another origin.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

DAY = "86400"  # seconds that a browser need not ask again; it may take fewer
_ADMIN = "/admin"


def permission(path: str, headers: Mapping[str, str]) -> dict[str, str]:
    """What goes with each answer to a page; nothing for who is no page."""
    origin = headers.get("Origin", "")
    if not origin or not origin.isprintable() or path.startswith(_ADMIN):
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "*",
        "Vary": "Origin",
    }


def is_preflight(request: web.BaseRequest) -> bool:
    asks = "Access-Control-Request-Method" in request.headers
    return request.method == "OPTIONS" and asks and bool(permission(request.path, request.headers))


async def preflight(request: web.BaseRequest) -> web.StreamResponse:
    """The answer to a browser that asks whether a page may send what it wants to send."""
    headers = {
        "Access-Control-Allow-Methods": "GET, POST, DELETE",
        "Access-Control-Allow-Headers": _plain(request, "Access-Control-Request-Headers"),
        "Access-Control-Max-Age": DAY,
    }
    if "Access-Control-Request-Private-Network" in request.headers:
        headers["Access-Control-Allow-Private-Network"] = "true"
    return web.Response(status=204, headers={name: text for name, text in headers.items() if text})


def _plain(request: web.BaseRequest, name: str) -> str:
    value = request.headers.get(name, "")
    return value if value.isprintable() else ""
