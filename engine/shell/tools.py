"""The servers of tools that the server file declares, and what an operator does with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from engine.chat import Media, Part, Text, text_of
from engine.errors import ConfigError, Problem, RequestError
from engine.ports import Clock, NoTools, Observer, Tools
from engine.wire import dumps

from .mcp_settings import McpServer

LONGEST = 600.0  # seconds of a call
Sent = dict[str, Any]


def open_tools(
    servers: Mapping[str, McpServer], observer: Observer
) -> AbstractAsyncContextManager[Tools]:
    """Raises ConfigError where the SDK is wanted and not installed."""
    if not servers:
        return nullcontext(NoTools())
    try:
        from .mcp_tools import McpTools
    except ImportError:
        message = "`mcp` needs a package that is not installed: pip install 'penstock[mcp]'"
        raise ConfigError([Problem("penstock.yaml", 0, 0, "E607", message)]) from None
    return McpTools(servers, observer)


class ToolsAdmin:
    """The admin's view: what there is, and one call. declared: the servers by name."""

    def __init__(
        self, tools: Tools, declared: Mapping[str, McpServer], clock: Clock, observer: Observer
    ) -> None:
        self._tools = tools
        self._declared = declared
        self._clock = clock
        self._observer = observer

    def work(self) -> dict[tuple[str, str], Callable[[Sent], Any]]:
        return {
            ("GET", "/admin/tools"): self.show,
            ("POST", "/admin/tools/execute"): self.execute,
        }

    async def show(self, sent: Sent) -> object:
        """Servers that were not wanted before are started."""
        offered = await self._tools.offered(list(self._declared))
        lives: Mapping[str, Any] = getattr(self._tools, "servers", {})
        servers = [
            {
                "name": name,
                "kind": "http" if self._declared[name].url else "stdio",
                "state": life.state,
                "error": life.error,
                "starts": life.starts,
            }
            for name, life in lives.items()
        ]
        return {"servers": servers, "tools": [dataclasses.asdict(tool) for tool in offered]}

    async def execute(self, sent: Sent) -> object:
        server, name = sent["server"], sent["tool"]
        if server not in self._declared:
            raise RequestError("not_found", "there is no such server", param="server")
        limit = min(LONGEST, max(0.0, float(sent.get("timeout", LONGEST))))
        arguments, begun = sent.get("arguments", {}), self._clock.monotonic()
        answer = await self._tools.call(server, name, arguments, limit)
        seconds = round(self._clock.monotonic() - begun, 3)
        self._observer.saw(
            "tool_call",
            request="",
            client="admin",
            route="",
            server=server,
            tool=name,
            outcome=answer.outcome,
            seconds=seconds,
            sent=len(dumps(arguments)),
            received=len(text_of(answer.parts)),
        )
        content = [_shown(part) for part in answer.parts]
        return {"outcome": answer.outcome, "seconds": seconds, "content": content}


def _shown(part: Part) -> dict[str, object]:
    if isinstance(part, Media):
        return {"type": part.kind, "mime": part.mime, "data": part.data}
    return {"type": "text", "text": part.text if isinstance(part, Text) else ""}
