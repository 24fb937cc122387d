"""`mcp` of the server file: the servers whose tools routes may use, and who may cause it.

Nothing is allowed by omission: a server lists the tools that may be called, the client keys whose
requests may call them are listed, and a route names its servers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from engine.options import Duration, Secret, Size, option
from engine.route.nodes import read
from engine.route.urls import wrong_url

from .keys import ClientKeys, digest

EVERYONE = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """A server of tools, reached by its standard input and output, or by HTTP."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("command", "url")

    command: list[str] | None = option(
        None, "the program and its arguments; no shell reads it", example="[mcp-server-time]"
    )
    env: dict[str, Secret] = option(
        {}, "its environment, beside PATH, HOME and the user's name", secret=True
    )
    cwd: str | None = option(None, "the folder it runs in")
    url: str | None = option(
        None, "an endpoint of streamable HTTP", example="https://tools.example.com/mcp"
    )
    headers: dict[str, Secret] = option({}, "sent with every request to `url`", secret=True)
    allow: list[str] = option(
        doc="names of tools that may be called; `*` and `?` are wild",
        example='["get_*"]',
        lone=True,
    )
    timeout: Duration = option(Duration(60.0), "limit for one call")
    start: Duration = option(Duration(20.0), "limit for its start, or for the first contact")
    result: Size = option(Size(256 * 1024), "largest text of a result; what is more is cut off")
    log: str | None = option(None, "a file for what it writes to stderr; default: dropped")


def declared_servers(files: Iterable[Path]) -> frozenset[str] | None:
    """The names of servers in server files, whatever else is wrong there; None without a file."""
    trees = [read(path.read_bytes(), str(path), []) for path in files]
    if not trees:
        return None
    maps = [tree.get("mcp") for tree in trees if tree is not None]
    return frozenset(name for node in maps if node and node.kind == "map" for name in node.value)


def secrets_of(servers: Mapping[str, McpServer]) -> Iterator[Secret]:
    """All secrets in the servers' settings, for the redactor."""
    for server in servers.values():
        yield from server.env.values()
        yield from server.headers.values()


def wrong_server(server: McpServer) -> tuple[str, str] | None:
    """What is wrong with a server, as (key, end of a sentence)."""
    if server.command is not None:
        if not server.command or not server.command[0]:
            return "command", "names no program"
        return ("headers", "belongs to `url`") if server.headers else None
    wrong = wrong_url(server.url or "")
    if wrong:
        return "url", wrong
    for key in ("env", "cwd", "log"):
        if getattr(server, key):
            return key, "belongs to `command`"
    return None


def unknown_keys(tools: Iterable[Secret], keys: Iterable[Secret]) -> list[Secret]:
    """Keys that may use tools and that nobody has."""
    known = {digest(key.reveal()) for key in keys}
    return [tool for tool in tools if tool.reveal() != EVERYONE and _id(tool) not in known]


def _id(key: Secret) -> bytes:
    try:
        return digest(key.reveal())
    except ValueError:  # no hash after `sha256:`
        return hashlib.sha256(b"").digest()


def grants(tools: Iterable[Secret]) -> Callable[[str], bool]:
    """client -> whether its requests may have tools run; clients are named as ClientKeys does."""
    given = list(tools)
    if any(tool.reveal() == EVERYONE for tool in given):
        return lambda client: True
    allowed = frozenset(ClientKeys(given).ids)
    return lambda client: client in allowed
