"""SDKs for Node, installed by `npm ci` from the committed lock file when they are not there yet.

Without Node or npm the tests are skipped with a reason; PENSTOCK_TEST_NO_SKIP=1 makes that a
failure.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "node"


def _without(reason: str) -> None:
    if os.environ.get("PENSTOCK_TEST_NO_SKIP") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


async def run(*command: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """A program's exit code and what it said, in the folder of the SDKs."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=HERE,
        env={**os.environ, **(env or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def _is_installed() -> bool:
    """Whether every package has the version that is wanted."""
    for name, version in json.loads((HERE / "package.json").read_text())["dependencies"].items():
        found = HERE / "node_modules" / name / "package.json"
        if not found.is_file() or json.loads(found.read_text())["version"] != version:
            return False
    return True


async def install() -> None:
    if not shutil.which("node") or not shutil.which("npm"):
        _without("Node.js and npm are not installed")
    if _is_installed():
        return
    code, _, err = await run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    if code != 0:
        _without(f"`npm ci` failed: {err.strip()[-300:]}")
