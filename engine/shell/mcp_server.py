"""One MCP server, from its first use to the end: started, listed, called, started anew.

It is started when it is first wanted. One that dies is started again, after a pause that grows
while it fails; meanwhile its calls fail at once. A task of its own holds the connection, because
the SDK closes it in the task that opened it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TextIO

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.types import (
    CONNECTION_CLOSED,
    INVALID_REQUEST,
    CallToolResult,
    ToolListChangedNotification,
)

from engine.chat import Media, Part, Text
from engine.ports import ServerTool, ToolAnswer
from engine.wire import dumps

from .mcp_settings import McpServer

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds between two starts
STEADY = 30.0  # seconds after which a server counts as well
PAGES = 50  # of its list of tools
Tell = Callable[..., None]


class Down(Exception):
    """The server does not run."""


class Watched:
    """A stream of a transport that says when it ends."""

    def __init__(self, stream: Any, over: Callable[[], None]) -> None:
        self._stream = stream
        self._over = over

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> Watched:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except BaseException:
            self._over()
            raise

    async def __aenter__(self) -> Watched:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stream.aclose()


class Server:
    """`run` is its life; `tools` and `call` are for everybody. state: idle, starting, up, down."""

    def __init__(self, name: str, spec: McpServer, tell: Tell) -> None:
        self.name = name
        self.spec = spec
        self.state = "idle"
        self.error = ""
        self.starts = 0
        self._tell = tell
        self._client: Client | None = None
        self._tools: list[ServerTool] | None = None
        self._listing = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()  # up or down, not on the way
        self._leave = asyncio.Event()  # the connection is to be given up
        self._closing = False

    # ---- its life ----

    async def run(self) -> None:
        """Until `close`."""
        failures, loop = 0, asyncio.get_running_loop()
        await self._wanted.wait()
        while not self._closing:
            begun = loop.time()
            try:
                await self._live()
                self.error = "the connection was lost"
            except Exception as error:  # whatever a server and its transport do
                self.error = _cause(error)
            self._set("down")
            failures = 0 if loop.time() - begun > STEADY else failures + 1
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** max(0, failures - 1))
            self._leave.clear()
            if not self._closing:
                self._tell("tools_down", server=self.name, error=self.error, pause=pause)
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._leave.wait()

    def close(self) -> None:
        self._closing = True
        self._wanted.set()
        self._leave.set()

    async def _live(self) -> None:
        """One connection, as long as it holds."""
        self._set("starting")
        self.starts += 1
        client = Client(self._transport(), cache=None, message_handler=self._hear)
        async with asyncio.timeout(float(self.spec.start)) as limit, client:
            limit.reschedule(None)
            self._client = client
            self._set("up")
            self._tell("tools_up", server=self.name, starts=self.starts)
            try:
                await self._attend(client)
            finally:
                self._client = self._tools = None

    async def _attend(self, client: Client) -> None:
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen(client))
            await self._leave.wait()
            listening.cancel()

    def _set(self, state: str) -> None:
        self.state = state
        (self._settled.clear if state == "starting" else self._settled.set)()

    @asynccontextmanager
    async def _transport(self) -> AsyncIterator[tuple[Any, Any]]:
        spec = self.spec
        if spec.command is None:
            headers = {name: value.reveal() for name, value in spec.headers.items()}
            limits = httpx2.Timeout(30.0, read=300.0)
            async with (
                httpx2.AsyncClient(headers=headers, timeout=limits, trust_env=False) as http,
                streamable_http_client(spec.url or "", http_client=http) as (read, write),
            ):
                yield Watched(read, self._leave.set), write
            return
        program, *arguments = spec.command
        env = {name: value.reveal() for name, value in spec.env.items()}
        started = StdioServerParameters(command=program, args=arguments, env=env, cwd=spec.cwd)
        with _appending(spec.log or os.devnull) as log:
            async with stdio_client(started, errlog=log) as (read, write):
                yield Watched(read, self._leave.set), write

    # ---- what it offers ----

    async def _hear(self, message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._tools = None

    async def _listen(self, client: Client) -> None:
        """Changes of the list, from servers that tell them only to those who ask."""
        unable = (ListenNotSupportedError, SubscriptionLost, MCPError, TimeoutError)
        with suppress(*unable):
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._tools = None

    def allows(self, tool: str) -> bool:
        return any(fnmatchcase(tool, pattern) for pattern in self.spec.allow)

    async def tools(self) -> list[ServerTool]:
        """Those that may be called. Raises Down."""
        try:
            async with asyncio.timeout(float(self.spec.start)):
                client = await self._connected()
                async with self._listing:
                    found = self._tools
                    if found is None:
                        found = self._tools = await self._fetch(client)
        except (TimeoutError, MCPError) as error:
            raise Down(_cause(error)) from None
        return [tool for tool in found if self.allows(tool.name)]

    async def _fetch(self, client: Client) -> list[ServerTool]:
        found: list[ServerTool] = []
        cursor: str | None = None
        for _ in range(PAGES):
            page = await client.list_tools(cursor=cursor)
            found += [
                ServerTool(self.name, tool.name, tool.description or "", tool.input_schema)
                for tool in page.tools
            ]
            cursor = page.next_cursor
            if not cursor:
                break
        return found

    async def _connected(self) -> Client:
        """The connection, made if there is none. Raises Down."""
        self._wanted.set()
        if self.state == "idle":
            self.state = "starting"
        if self.state == "starting":
            await self._settled.wait()
        client = self._client
        if client is None:
            raise Down(self.error or "it does not run")
        return client

    # ---- calls ----

    async def call(self, name: str, arguments: Mapping[str, object], seconds: float) -> ToolAnswer:
        """One call. It raises nothing; what went wrong is in the answer."""
        if not self.allows(name):
            return _failed("refused", f"the tool {name} is not allowed here")
        limit = min(seconds, float(self.spec.timeout))
        try:
            async with asyncio.timeout(limit):
                client = await self._connected()
                result = await client.call_tool(name, dict(arguments))
        except TimeoutError:
            return _failed("timeout", f"the tool did not answer within {limit:g} s")
        except Down:
            return _failed("down", f"the server {self.name} of this tool does not run")
        except MCPError as error:
            return self._refused(error)
        except Exception as error:  # an answer against the protocol
            self._tell("tools_failed", server=self.name, tool=name, error=type(error).__name__)
            return _failed("error", "the server's answer cannot be read")
        return ToolAnswer(
            _parts(result, int(self.spec.result)), "error" if result.is_error else "ok"
        )

    def _refused(self, error: MCPError) -> ToolAnswer:
        lost = error.code == CONNECTION_CLOSED
        if lost or (error.code == INVALID_REQUEST and self.spec.url is not None):
            self._leave.set()  # an HTTP server that forgot the session, too
        if lost:
            return _failed("down", f"the server {self.name} of this tool went away")
        return _failed("error", error.message)


def _appending(path: str) -> TextIO:
    return Path(path).open("a")


def _failed(outcome: Any, text: str) -> ToolAnswer:
    return ToolAnswer([Text(text)], outcome)


def _cause(error: BaseException) -> str:
    """What went wrong first, in a group of errors; no text of the server's."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it did not start in time" if isinstance(error, TimeoutError) else type(error).__name__


def _parts(result: CallToolResult, room: int) -> list[Part]:
    """A result in the conversation's words; what it has none for is named."""
    parts: list[Part] = []
    for block in result.content:
        part = _part(block)
        if isinstance(part, Text):
            said, room = part.text[:room], max(0, room - len(part.text))
            left = len(part.text) - len(said)
            part = Text(f"{said}\n[{left} characters left out]" if left else said)
        parts.append(part)
    if not parts and result.structured_content is not None:
        parts.append(Text(dumps(result.structured_content).decode()[:room]))
    return parts


def _part(block: Any) -> Part:
    if block.type == "text":
        return Text(block.text)
    if block.type in ("image", "audio"):
        return Media(block.type, block.mime_type, block.data)
    if block.type == "resource_link":
        return Text(f"[resource {block.uri}]")
    text = getattr(getattr(block, "resource", None), "text", None)
    return Text(text if isinstance(text, str) else f"[{block.type} left out]")
