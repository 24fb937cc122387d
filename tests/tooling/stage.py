"""A gateway with MCP servers behind it, and in front of it the official SDKs.

Servers from npm are found in the folder `PENSTOCK_MCP_NODE` names (`make mcp-servers` fills it); a
test that needs one is skipped, with that word, where it is missing.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from engine.shell.app import Gateway, gateway
from engine.shell.settings import load_settings
from engine.shell.shelf import Shelf

from .upstream import Upstream, upstream

ADMIN = "sk-admin-Zq8Lw2Rt5Yv7"
GRANTED = "sk-client-granted-4Kd8Ws2Pm"
PLAIN = "sk-client-plain-7Hf3Vc9Qx1"
NODE = Path(os.environ.get("PENSTOCK_MCP_NODE", "build/mcp"))
HERE = Path(__file__).parent
TIME = [str(Path(sys.executable).with_name("mcp-server-time")), "--local-timezone", "UTC"]
ODD = [sys.executable, str(HERE / "odd_server.py")]
ROUTE = """\
version: 1
dialect: openai_chat
base_url: %URL%/v1
models: [m]
retry: { backoff: { initial: 10ms } }
tools: { mcp: [%SERVERS%]%MORE% }
"""


def node(name: str) -> list[str]:
    """The command of a server from npm, or a skip."""
    program = NODE / "node_modules/.bin" / name
    if not program.is_file():
        pytest.skip(f"{name} is not installed: make mcp-servers")
    return [str(program.absolute())]


@dataclass
class Stage:
    gateway: Gateway
    upstream: Upstream
    written: io.BytesIO
    session: aiohttp.ClientSession
    sdks: AsyncExitStack
    kept: dict[tuple[str, str], Any] = field(default_factory=dict)

    async def sdk(self, name: str, key: str, make: Callable[[], Any]) -> Any:
        """A client that is made once: making one takes longer than asking it."""
        found = self.kept.get((name, key))
        if found is None:
            found = self.kept[name, key] = await self.sdks.enter_async_context(make())
        return found

    def openai(self, key: str = GRANTED) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.gateway.url}/v1", api_key=key, max_retries=0)

    def anthropic(self, key: str = GRANTED) -> AsyncAnthropic:
        return AsyncAnthropic(base_url=self.gateway.url, api_key=key, max_retries=0)

    async def admin(self, method: str, path: str, **body: object) -> Any:
        headers = {"Authorization": f"Bearer {ADMIN}", "X-Penstock-Admin": "1"}
        url = f"{self.gateway.url}/admin/{path}"
        sent = body if method == "POST" else None
        async with self.session.request(method, url, headers=headers, json=sent) as answer:
            return json.loads(await answer.read())

    async def metrics(self) -> str:
        async with self.session.get(f"{self.gateway.url}/metrics") as answer:
            return await answer.text()

    async def lines(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """The log's lines of that name, once there are so many of them."""

        def found() -> list[dict[str, Any]]:
            lines = map(json.loads, self.written.getvalue().decode().splitlines())
            return [line for line in lines if line["event"] == name]

        await until(lambda: len(found()) >= count)
        return found()


async def until(holds: Callable[[], object], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.02)


def children(marker: str) -> list[int]:
    """Processes that run with this word in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if marker.encode() in line:
                found.append(int(entry.name))
    return found


def odd(tmp_path: Path) -> list[str]:
    """The command of a server that does what a test needs; the folder marks its processes."""
    return [*ODD, str(tmp_path)]


@asynccontextmanager
async def stage(
    tmp_path: Path,
    servers: Mapping[str, Mapping[str, object]],
    *,
    more: str = "",
    routes: Mapping[str, str] | None = None,
    tools: str = GRANTED,
) -> AsyncIterator[Stage]:
    """A route `m` that may use all these servers. more: further keys of its `tools`."""
    written = io.BytesIO()
    folder = tmp_path / "routes"
    folder.mkdir(parents=True)
    config = {
        "version": 1,
        "listen": {"port": 0},
        "clients": {"keys": [GRANTED, PLAIN], "tools": [tools] if tools else []},
        "admin": {"key": ADMIN},
        "log": {"format": "json", "level": "debug"},
        "state": str(tmp_path / "state"),
        "watch": "off",
        "drain": "500ms",
        "mcp": {name: {"allow": "*", "start": "60s", **server} for name, server in servers.items()},
    }
    (tmp_path / "penstock.yaml").write_text(json.dumps(config))  # JSON is YAML
    async with upstream() as behind, _stderr(written):
        default = {"m": ROUTE.replace("%SERVERS%", ", ".join(servers)).replace("%MORE%", more)}
        for name, text in (default if routes is None else routes).items():
            (folder / f"{name}.yaml").write_text(text.replace("%URL%", behind.url))
        settings = load_settings(tmp_path / "penstock.yaml", {})
        shelf = Shelf([folder], env={}, servers=settings.mcp)
        async with (
            gateway(settings, shelf, strict=True) as built,
            aiohttp.ClientSession() as session,
            AsyncExitStack() as sdks,
        ):
            yield Stage(built, behind, written, session, sdks)


@asynccontextmanager
async def _stderr(written: io.BytesIO) -> AsyncIterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", io.TextIOWrapper(written, write_through=True))
        try:
            yield
        finally:
            logging.captureWarnings(False)
