"""An MCP server, over standard input and output, with tools that fail in every way.

It imports the SDK only: it is started as a program of its own.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from mcp.server.mcpserver import MCPServer

server = MCPServer("odd")
folder = Path(sys.argv[1])


@server.tool()
def echo(text: str) -> str:
    """Say it again."""
    return f"echo {text}"


@server.tool()
async def sleep(seconds: float) -> str:
    """Take a while; tell a file when it was called off."""
    (folder / "begun").touch()
    try:
        await asyncio.sleep(seconds)
    except BaseException:
        (folder / "cancelled").touch()
        raise
    return "slept"


@server.tool()
async def wait(name: str) -> str:
    """Answer once there is a file of this name."""
    while not (folder / name).exists():
        await asyncio.sleep(0.01)
    return "there"


@server.tool()
def die() -> str:
    """Be killed in the middle of a call."""
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


@server.tool()
def fail() -> str:
    """Raise."""
    raise ValueError("it broke")


@server.tool()
def secret_environment() -> str:
    """What it was started with."""
    return " ".join(sorted(os.environ))


@server.tool()
def long() -> str:
    """More than anybody wants."""
    return "x" * 1_000_000


server.run("stdio")
