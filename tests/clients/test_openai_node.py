"""The official OpenAI SDK for Node: `node/chat.mjs` holds the cases, this reports them.

Installed by `npm ci` from the committed lock file when it is not there yet. Without Node or npm the
tests are skipped with a reason; PENSTOCK_TEST_NO_SKIP=1 makes that a failure.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from .openai_stub import TEXT
from .ways import WAYS, Way

HERE = Path(__file__).parent / "node"
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
CASES = (
    "plain", "stream", "stream of single bytes", "stream helper", "tools", "tools, streamed",
    "tools, run by the SDK", "image", "errors", "error in a stream", "models", "embeddings",
)  # fmt: skip


def _without(reason: str) -> None:
    if os.environ.get("PENSTOCK_TEST_NO_SKIP") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


async def run(*command: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=HERE,
        env={**os.environ, **(env or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def install() -> None:
    if not shutil.which("node") or not shutil.which("npm"):
        _without("Node.js and npm are not installed")
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]["openai"]
    installed = HERE / "node_modules/openai/package.json"
    if installed.is_file() and json.loads(installed.read_text())["version"] == wanted:
        return
    code, _, err = await run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    if code != 0:
        _without(f"`npm ci` failed: {err.strip()[-300:]}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def results(all_ways: dict[str, Way]) -> AsyncIterator[dict[tuple[str, str], str]]:
    """What is wrong with each case on each way, "" for nothing."""
    await install()
    found: dict[tuple[str, str], str] = {}
    for name, way in all_ways.items():
        env = {
            "BASE_URL": way.url,
            "API_KEY": way.key,
            "PREFIX": way.model(""),
            "TEXT": json.dumps(TEXT),
        }
        code, out, err = await run("node", "chat.mjs", env=env)
        assert code == 0, err
        for line in out.splitlines():
            case = json.loads(line)
            found[name, case["name"]] = case["wrong"]
    yield found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
async def test_a_case_of_the_node_sdk(
    results: dict[tuple[str, str], str], way: str, case: str
) -> None:
    assert "" == results[way, case], results[way, case]


async def test_no_case_is_forgotten(results: dict[tuple[str, str], str]) -> None:
    assert {(way, case) for way in WAYS for case in CASES} == set(results)
