"""Real servers: time, git, filesystem and everything; over stdio and HTTP."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.tooling.stage import TIME, Stage, children, node, stage
from tests.tooling.upstream import calling

pytestmark = pytest.mark.timeout(180)
GIT = str(Path(sys.executable).with_name("mcp-server-git"))


def repository(home: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(home)], check=True)
    (home / "new.txt").write_text("x")
    return home


async def execute(on: Stage, server: str, tool: str, **arguments: object) -> tuple[str, str]:
    """Outcome and first text of a call by the operator."""
    answer = await on.admin("POST", "tools/execute", server=server, tool=tool, arguments=arguments)
    return answer["outcome"], answer["content"][0]["text"]


@pytest.mark.rows("FL-60", "FL-62")
async def test_an_operator_lists_and_calls_tools_of_python_servers(tmp_path: Path) -> None:
    home = repository(tmp_path / "repository")
    servers = {
        "time": {"command": TIME, "allow": ["get_*"]},
        "git": {"command": [GIT, "--repository", str(home)], "allow": ["git_status"]},
    }
    async with stage(tmp_path, servers) as on:
        shown = await on.admin("GET", "tools")
        assert {("time", "get_current_time"), ("git", "git_status")} == {
            (tool["server"], tool["name"]) for tool in shown["tools"]
        }
        outcome, text = await execute(on, "git", "git_status", repo_path=str(home))
        assert "ok" == outcome
        assert "new.txt" in text
        outcome, text = await execute(on, "time", "get_current_time", timezone="Nowhere")
        assert "error" == outcome
        refused = await execute(on, "time", "convert_time")
        assert ("refused", "the tool convert_time is not allowed here") == refused
        line = (await on.lines("tool_call"))[0]
        assert ("admin", "git", "git_status") == (line["client"], line["server"], line["tool"])
        answer = await on.admin("POST", "tools/execute", server="nobody", tool="x")
        assert "there is no such server" in str(answer)
    assert [] == children(str(home))


async def test_clients_may_not_call_tools_as_operators_do(tmp_path: Path) -> None:
    async with (
        stage(tmp_path, {"time": {"command": TIME}}) as on,
        on.session.post(
            f"{on.gateway.url}/admin/tools/execute",
            json={"server": "time", "tool": "get_current_time"},
            headers={"Authorization": f"Bearer {on.openai().api_key}", "X-Penstock-Admin": "1"},
        ) as answer,
    ):
        assert 401 == answer.status


async def test_the_filesystem_server_keeps_to_its_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "a.txt").write_text("what is inside")
    (tmp_path / "secret.txt").write_text("what is outside")
    (inside / "link").symlink_to(tmp_path / "secret.txt")
    command = [*node("mcp-server-filesystem"), str(inside)]
    async with stage(tmp_path, {"files": {"command": command, "allow": ["read_*"]}}) as on:
        good = await execute(on, "files", "read_text_file", path=str(inside / "a.txt"))
        assert ("ok", "what is inside") == good
        for path in (f"{inside}/../secret.txt", "/etc/passwd", str(inside / "link")):
            outcome, text = await execute(on, "files", "read_text_file", path=path)
            assert ("error", "Access denied") == (outcome, text[:13])
        on.upstream.script = calling("read_text_file", path=f"{inside}/../secret.txt")
        ask: Any = [{"role": "user", "content": "Read it."}]
        answer = await on.openai().chat.completions.create(model="m", messages=ask)
        assert "Access denied" in on.upstream.heard[1].results[0]
        assert "what is outside" not in (answer.choices[0].message.content or "")
        refused = await execute(on, "files", "write_file", path=str(inside / "b"), content="x")
        assert "refused" == refused[0]


async def test_the_everything_server_over_stdio(tmp_path: Path) -> None:
    command = [*node("mcp-server-everything"), "stdio"]
    async with stage(tmp_path, {"all": {"command": command}}) as on:
        assert ("ok", "Echo: hi") == await execute(on, "all", "echo", message="hi")
        answer = await on.admin(
            "POST", "tools/execute", server="all", tool="get-tiny-image", arguments={}
        )
        assert "image/png" in {part.get("mime") for part in answer["content"]}


@asynccontextmanager
async def everything(port: int) -> AsyncIterator[int]:
    """The everything server on HTTP; port 0 takes a free one."""
    if not port:
        listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        listener.close()
        await listener.wait_closed()
    process = await asyncio.create_subprocess_exec(
        *node("mcp-server-everything"),
        "streamableHttp",
        env={**os.environ, "PORT": str(port)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.1)
                else:
                    writer.close()
                    break
        yield port
    finally:
        process.kill()
        await process.wait()


async def test_the_everything_server_over_http(tmp_path: Path) -> None:
    async with everything(0) as port:
        servers = {"all": {"url": f"http://127.0.0.1:{port}/mcp", "allow": ["echo"]}}
        async with stage(tmp_path, servers) as on:
            assert ("ok", "Echo: hi") == await execute(on, "all", "echo", message="hi")
            on.upstream.script = calling("echo", message="there")
            ask: Any = [{"role": "user", "content": "Go."}]
            said = await on.openai().chat.completions.create(model="m", messages=ask)
            assert "It says: Echo: there" == said.choices[0].message.content
