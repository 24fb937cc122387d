"""The Tools port over MCP servers, by the official SDK (`penstock[mcp]`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Self

from engine.ports import Observer, ServerTool, ToolAnswer

from .mcp_server import Down, Server
from .mcp_settings import McpServer

CLOSING = 10.0  # seconds for all servers together


class McpTools:
    """Use it as an async context manager: inside the block servers run, behind it none does."""

    def __init__(self, declared: Mapping[str, McpServer], observer: Observer) -> None:
        # The SDK quotes what servers say; what matters of it is told by ourselves.
        logging.getLogger("mcp").setLevel(logging.CRITICAL)
        self.servers = {name: Server(name, spec, observer.saw) for name, spec in declared.items()}
        self.tasks = asyncio.TaskGroup()
        self._lives: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self.tasks.__aenter__()
        self._lives = [self.tasks.create_task(server.run()) for server in self.servers.values()]
        return self

    async def __aexit__(self, *error: object) -> None:
        for server in self.servers.values():
            server.close()
        if self._lives:
            _, late = await asyncio.wait(self._lives, timeout=CLOSING)
            for task in late:
                task.cancel()
        await self.tasks.__aexit__(None, None, None)

    async def offered(self, servers: Sequence[str]) -> list[ServerTool]:
        wanted = [self.servers[name] for name in servers if name in self.servers]
        lists = await asyncio.gather(*map(_tools, wanted))
        return [tool for found in lists for tool in found]

    async def call(
        self, server: str, name: str, arguments: Mapping[str, object], seconds: float
    ) -> ToolAnswer:
        return await self.servers[server].call(name, arguments, seconds)


async def _tools(server: Server) -> list[ServerTool]:
    try:
        return await server.tools()
    except Down:
        return []
