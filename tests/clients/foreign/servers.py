"""Servers that others wrote, started from what `make test-clients` installed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp

LIMIT = 120.0  # seconds a server may take to come up


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def serving(
    home: Path, port: int, command: Sequence[str], health: str, **env: str
) -> AsyncIterator[str]:
    """Run a server in a folder while the block does; gives its URL.

    health: the path that says it is ready.
    """
    url, log = f"http://127.0.0.1:{port}", home / "log.txt"
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=home,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    try:
        assert await _ready(url + health, process), log.read_text()[-2000:]
        yield url
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _ready(url: str, process: asyncio.subprocess.Process) -> bool:
    """Whether the server says that it is ready, before it ends."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(LIMIT):
        while process.returncode is None:
            with suppress(aiohttp.ClientError):
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return True
            await asyncio.sleep(0.1)
    return False
