"""The SDK is an extra; what an operator does with tools is in tests/shell/test_mcp_tools.py."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from engine.errors import ConfigError
from engine.ports import NoTools
from engine.shell.mcp_settings import McpServer
from engine.shell.testing import Silent
from engine.shell.tools import open_tools


async def test_without_servers_there_is_nothing_to_open() -> None:
    async with open_tools({}, Silent()) as tools:
        assert isinstance(tools, NoTools)
        assert [] == await tools.offered(["time"])
        assert "refused" == (await tools.call("time", "now", {}, 1.0)).outcome


def test_a_missing_sdk_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Any = None
    for name in [name for name in sys.modules if name.startswith("engine.shell.mcp_")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", missing)
    with pytest.raises(ConfigError, match=r"pip install 'penstock\[mcp\]'"):
        open_tools({"s": McpServer(command=["x"], allow=["*"])}, Silent())
