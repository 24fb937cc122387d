"""The admin API as a table: what the server answers, what is checked, and what its OpenAPI
description says come from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine import __version__
from engine.errors import RequestError
from engine.wire import JsonError, loads

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer"}
_SECONDS: Schema = {"type": "number"}
_FLAG: Schema = {"type": "boolean"}
_MAYBE: Schema = {"type": ["number", "null"]}
_TYPES: dict[str, Any] = {"string": str, "number": (int, float), "array": list, "object": dict}
HEADER = "X-Penstock-Admin"


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _map(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


@dataclass(frozen=True, slots=True)
class Operation:
    """One path. query and body: name -> (schema, what it is); needed: those that must be there."""

    method: str
    path: str
    summary: str
    answer: Schema
    query: Mapping[str, tuple[Schema, str]] = field(default_factory=dict)
    body: Mapping[str, tuple[Schema, str]] = field(default_factory=dict)
    needed: tuple[str, ...] = ()

    @property
    def place(self) -> tuple[str, str]:
        return self.method, self.path

    def read(self, query: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """What was sent, if it is what the table says. Raises RequestError."""
        sent: dict[str, Any] = dict(query)
        if self.method == "POST" and body.strip():
            try:
                found = loads(body)
            except JsonError:
                raise RequestError("bad_request", "the body is not JSON") from None
            if not isinstance(found, dict):
                raise RequestError("bad_request", "the body must be a JSON object")
            sent = found
        known = self.body if self.method == "POST" else self.query
        for name, value in sent.items():
            if name not in known:
                raise RequestError("bad_request", f"unknown field `{name}`", param=name)
            kind = known[name][0].get("type", "string")
            if not isinstance(value, _TYPES[kind]) or isinstance(value, bool):
                raise RequestError("bad_request", f"`{name}` must be of type {kind}", param=name)
        for name in self.needed:
            if not sent.get(name):
                raise RequestError("bad_request", f"`{name}` is missing", param=name)
        return sent


_ROUTE = (_TEXT, "name of a route")
_ACCOUNT = (_TEXT, "an account's `account`, as the list of accounts gives it")
_EVERY = (_TEXT, "an account's `account`; without it all accounts of the route")

_STATE = _map(
    account={**_TEXT, "description": "what names the account in this API; nothing of it is secret"},
    id={**_TEXT, "description": "its name in logs"},
    state={"enum": ["free", "busy", "parked"]},
    why={**_TEXT, "description": "outcome class, `login` or `operator`"},
    parked_for={**_MAYBE, "description": "seconds; null: until it changes, or is revived"},
    failures={**_COUNT, "description": "in a row"},
    calls=_COUNT,
    failed={**_COUNT, "description": "calls that failed by its own fault"},
    in_use=_COUNT,
    last_error=_TEXT,
    added={**_FLAG, "description": "it came by this API"},
    parts={"type": "object", "additionalProperties": _TEXT, "description": "masked"},
)
_POOL = _map(
    route=_TEXT,
    pick=_TEXT,
    accounts=_list(_STATE),
    free=_COUNT,
    parked=_COUNT,
    failing_in_a_row=_COUNT,
    refresh_after=_MAYBE,
    min_pool=_COUNT,
)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET", "/admin/routes",
        "Every route file with its state, generation, digest, problems and transforms",
        _map(routes=_list({"type": "object"})),
    ),
    Operation(
        "POST", "/admin/reload", "Look at all files anew",
        _map(results={"type": "object", "additionalProperties": _TEXT}),
    ),
    Operation(
        "GET", "/admin/stores", "Whether the store on disk or network answers",
        _map(stores=_list({"type": "object"})),
    ),
    Operation(
        "GET", "/admin/accounts", "Pools of accounts, their health, nothing secret",
        _map(pools=_list(_POOL)), query={"route": (_TEXT, "only this route")},
    ),
    Operation(
        "POST", "/admin/accounts/park", "Leave an account out", _map(accounts=_list(_TEXT)),
        body={"route": _ROUTE, "account": _ACCOUNT,
              "seconds": (_SECONDS, "for how long; without it until it is revived")},
        needed=("route", "account"),
    ),
    Operation(
        "POST", "/admin/accounts/revive",
        "Take accounts in again, and forget their failures", _map(accounts=_list(_TEXT)),
        body={"route": _ROUTE, "account": _EVERY}, needed=("route",),
    ),
    Operation(
        "POST", "/admin/accounts/refresh",
        "Log accounts in anew, in the background; what they have stays until then",
        _map(accounts=_list(_TEXT)),
        body={"route": _ROUTE, "account": _EVERY}, needed=("route",),
    ),
    Operation(
        "POST", "/admin/accounts/add", "Add credentials; they are kept in the store",
        _map(added=_list(_TEXT), skipped=_COUNT, failed=_list(_map(at=_COUNT, why=_TEXT))),
        body={"route": _ROUTE,
              "accounts": ({**_list({}), "description": "texts (`key`) or objects of parts"},
                           "the credentials")},
        needed=("route", "accounts"),
    ),
    Operation(
        "POST", "/admin/accounts/remove", "Remove credentials that came by this API",
        _map(removed=_list(_TEXT)),
        body={"route": _ROUTE, "accounts": (_list(_TEXT), "their `account`s; all if empty")},
        needed=("route",),
    ),
    Operation(
        "GET", "/admin/accounts/export", "Masked credentials", _map(text=_TEXT),
        query={"route": _ROUTE,
               "format": ({"type": "string", "enum": ["json", "text", "env"]}, "default: json")},
        needed=("route",),
    ),
    Operation(
        "GET", "/admin/sessions", "One session, or how many the route has",
        {"type": "object"},
        query={"route": _ROUTE, "session": (_TEXT, "its name, as the client says it")},
        needed=("route",),
    ),
    Operation(
        "POST", "/admin/sessions/delete", "Forget a session, whichever client's it is",
        _map(deleted=_COUNT),
        body={"route": _ROUTE, "session": (_TEXT, "its name")}, needed=("route", "session"),
    ),
    Operation(
        "GET", "/admin/tools", "Servers of tools, and the tools that may be called",
        _map(servers=_list({"type": "object"}), tools=_list({"type": "object"})),
    ),
    Operation(
        "POST", "/admin/tools/execute", "Call one tool",
        _map(outcome={"enum": ["ok", "error", "timeout", "refused", "down"]}, seconds=_SECONDS,
             content=_list({"type": "object"})),
        body={"server": (_TEXT, "its name in `mcp` of penstock.yaml"),
              "tool": (_TEXT, "the tool's own name"),
              "arguments": ({"type": "object"}, "default: none"),
              "timeout": (_SECONDS, "the server's own limit holds, too")},
        needed=("server", "tool"),
    ),
    Operation(
        "GET", "/admin/statistics", "What was served since the last reset",
        _map(version=_TEXT, uptime=_SECONDS, routes={"type": "object", "additionalProperties": _map(
            requests=_COUNT, ok=_COUNT, success_rate=_MAYBE, average_seconds=_MAYBE,
        )}),
    ),
    Operation(
        "POST", "/admin/statistics/reset", "Count from now on", _map(reset=_FLAG),
    ),
    Operation("GET", "/admin/openapi.json", "This description", {"type": "object"}),
)  # fmt: skip


def openapi() -> Schema:
    """The table as an OpenAPI 3.1 document."""
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    error = _map(error=_map(message=_TEXT, type=_TEXT))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock admin API",
            "version": __version__,
            "description": "State of routes and accounts. Off without `admin.key`. "
            "Nothing here accepts routes, transforms or URLs, and no answer holds a secret.",
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": error},
        },
    }


def _described(operation: Operation) -> Schema:
    out: Schema = {
        "operationId": operation.path.removeprefix("/admin/").replace("/", "_").split(".")[0],
        "summary": operation.summary,
        "responses": {
            "200": {"description": "done", "content": _json(operation.answer)},
            "default": {
                "description": "it was not",
                "content": _json({"$ref": "#/components/schemas/Error"}),
            },
        },
    }
    parameters = [
        {"name": name, "in": "query", "required": name in operation.needed,
         "schema": schema, "description": doc}
        for name, (schema, doc) in operation.query.items()
    ]  # fmt: skip
    if operation.method == "POST":
        must = {"type": "string", "const": "1"}
        parameters.append({"name": HEADER, "in": "header", "required": True, "schema": must})
    if parameters:
        out["parameters"] = parameters
    if operation.body:
        schema: Schema = {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                name: {"description": doc, **known} for name, (known, doc) in operation.body.items()
            },
        }
        if operation.needed:
            schema["required"] = list(operation.needed)
        out["requestBody"] = {"required": bool(operation.needed), "content": _json(schema)}
    return out


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}
