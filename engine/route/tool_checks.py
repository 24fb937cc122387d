"""What a route's `tools` means, checked: its servers are declared, and nothing contradicts it."""

from __future__ import annotations

from collections.abc import Collection

from engine.errors import Problem

from .hints import did_you_mean
from .nodes import Node
from .places import find, key_mark
from .spec import RouteSpec


def check_tools(
    spec: RouteSpec, tree: Node, servers: Collection[str] | None, problems: list[Problem]
) -> None:
    """servers: what the server file declares, None where there is none to look at."""
    if spec.tools is None:
        return
    if not spec.tools.mcp:
        message = "`tools.mcp` names no server"
        problems.append(key_mark(tree, ("tools",)).problem("E540", message))
    for at, name in enumerate(spec.tools.mcp):
        if servers is not None and name not in servers:
            known = did_you_mean(name, tuple(servers))
            message = f"`tools.mcp`: no server `{name}` in `mcp` of penstock.yaml{known}"
            problems.append(find(tree, ("tools", "mcp", at)).mark.problem("E540", message))
    if spec.continuation is not None:
        message = "`tools` and `continuation` exclude one another"
        problems.append(key_mark(tree, ("tools",)).problem("E106", message))
