"""web_search and its like: there if a declared server has them, else neither offered nor run."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from .clients import ask
from .stage import HERE, Stage, odd, stage
from .upstream import calling

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession"),  # Google's own
]
BUILT_IN = ("web_search", "image_gen", "code_interpreter")
EVERYBODY = ("chat", "messages", "responses", "gemini", "ollama")


def search(home: Path) -> list[str]:
    """The command of a server that searches one page."""
    pages = home / "pages"
    pages.mkdir()
    (pages / "rivers.txt").write_text("The Aare flows through Bern.\nThe Reuss flows on.\n")
    return [sys.executable, str(HERE / "search_server.py"), str(pages)]


async def execute(on: Stage, server: str, tool: str) -> tuple[str, str]:
    body = {"server": server, "tool": tool, "arguments": {"query": "bern"}}
    answer = await on.admin("POST", "tools/execute", **body)
    return answer["outcome"], answer["content"][0]["text"]


@pytest.mark.rows("FL-63")
async def test_a_declared_server_brings_web_search(tmp_path: Path) -> None:
    servers = {"search": {"command": search(tmp_path), "allow": ["web_search"]}}
    async with stage(tmp_path, servers) as on:
        for who in EVERYBODY:
            on.upstream.reset()
            on.upstream.script = calling("web_search", query="bern")
            told = await ask(on, who, "m", True)
            assert "It says: rivers: The Aare flows through Bern." == told.text
            assert ["web_search"] == on.upstream.offered(0)
            assert "Calling web_search of search.\n" in told.thinking
        assert ("ok", "rivers: The Aare flows through Bern.") == await execute(
            on, "search", "web_search"
        )


@pytest.mark.rows("FL-63")
async def test_without_such_a_server_it_is_neither_offered_nor_run(tmp_path: Path) -> None:
    async with stage(tmp_path, {"odd": {"command": odd(tmp_path), "allow": ["echo"]}}) as on:
        for name, who in product(BUILT_IN, EVERYBODY):
            on.upstream.reset()
            on.upstream.script = calling(name, query="bern")
            told = await ask(on, who, "m", True)
            assert ["echo"] == on.upstream.offered(0)
            assert ("", []) == (told.error, told.calls)  # no client is to run it
            assert f"It says: Error: there is no tool `{name}` here" == told.text
        for name in BUILT_IN:
            refusal = f"the tool {name} is not allowed here"
            assert ("refused", refusal) == await execute(on, "odd", name)
        lines = await on.lines("tool_call", len(BUILT_IN) * (len(EVERYBODY) + 1))
        assert Counter(
            {("", name, "refused"): len(EVERYBODY) for name in BUILT_IN}
            | {("odd", name, "refused"): 1 for name in BUILT_IN}
        ) == Counter((line["server"], line["tool"], line["outcome"]) for line in lines)


async def test_a_server_that_is_allowed_all_has_no_more_than_it_has(tmp_path: Path) -> None:
    async with stage(tmp_path, {"odd": {"command": odd(tmp_path)}}) as on:
        outcome, text = await execute(on, "odd", "web_search")
        assert "error" == outcome
        assert "web_search" in text
