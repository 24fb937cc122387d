"""One server's life, on a server that does what is wanted: tests/tooling/odd_server.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.chat import Media, Text
from engine.shell.mcp_server import Down, Server, _parts
from engine.shell.mcp_settings import McpServer
from tests.tooling.stage import odd

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    spec = McpServer(command=odd(tmp_path), allow=["e*", "fail"], start=60.0)  # type: ignore[arg-type]
    made = Server("odd", spec, lambda name, **fields: None)
    async with asyncio.TaskGroup() as group:
        group.create_task(made.run())
        yield made
        made.close()


async def test_it_is_started_when_it_is_wanted_and_shows_what_is_allowed(server: Server) -> None:
    assert ("idle", 0) == (server.state, server.starts)
    assert ["echo", "fail"] == [tool.name for tool in await server.tools()]
    assert ("up", 1) == (server.state, server.starts)
    refused = await server.call("long", {}, 60)
    assert "refused" == refused.outcome
    answer = await server.call("echo", {"text": "hi"}, 60)
    assert ("ok", [Text("echo hi")]) == (answer.outcome, answer.parts)
    assert "error" == (await server.call("fail", {}, 60)).outcome
    assert "error" == (await server.call("echo", {"wrong": 1}, 60)).outcome


async def test_one_that_does_not_start_is_down_and_says_so_at_once() -> None:
    spec = McpServer(command=["/nonexistent"], allow=["*"])
    made = Server("none", spec, lambda name, **fields: None)
    async with asyncio.TaskGroup() as group:
        group.create_task(made.run())
        with pytest.raises(Down, match="No such file"):
            await made.tools()
        assert "down" == (await made.call("x", {}, 60)).outcome
        assert "down" == made.state
        made.close()


def test_results_become_parts_and_long_texts_are_cut() -> None:
    from mcp.types import CallToolResult, ImageContent, ResourceLink, TextContent

    content = [
        TextContent(type="text", text="12345678"),
        ImageContent(type="image", data="AA==", mime_type="image/png"),
        ResourceLink(type="resource_link", name="r", uri="file:///r"),
    ]
    parts = _parts(CallToolResult(content=content), 5)  # type: ignore[arg-type]
    assert Text("12345\n[3 characters left out]") == parts[0]
    assert Media("image", "image/png", "AA==") == parts[1]
    bare = CallToolResult(content=[], structured_content={"a": 1})
    assert [Text('{"a":1}')] == _parts(bare, 100)
