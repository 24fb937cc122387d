"""SDKs for Node over every upstream: Anthropic's, OpenAI's on the Responses API, and the AI SDK.

The files of `node/` hold the cases, this reports them.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_asyncio

from .everywhere import KEY, UPSTREAMS, World
from .node_sdk import install, run
from .openai_stub import TEXT

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
FILES: dict[str, tuple[str, ...]] = {
    "messages": (*UPSTREAMS, "messages_passed"),
    "responses_everywhere": (*UPSTREAMS, "responses_passed"),
    "ai": UPSTREAMS,
}
COUNTS = {"messages": 11, "responses_everywhere": 11, "ai": 4 * 10}  # cases of each file


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def results(world: World) -> dict[str, list[dict[str, Any]]]:
    """Of each file the cases that were run."""
    await install()
    found = {}
    for name, routes in FILES.items():
        env = {
            "BASE_URL": world.url,
            "API_KEY": KEY,
            "ROUTES": json.dumps(routes),
            "TEXT": json.dumps(TEXT),
        }
        code, out, err = await run("node", f"{name}.mjs", env=env)
        assert code == 0, err
        found[name] = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return found


@pytest.mark.parametrize(
    ("file", "route"), [(file, route) for file, routes in FILES.items() for route in routes]
)
async def test_cases_of_the_node_sdks(
    results: dict[str, list[dict[str, Any]]], file: str, route: str
) -> None:
    ran = [case for case in results[file] if case["route"] == route]
    assert COUNTS[file] == len(ran)
    assert {} == {case["name"]: case["wrong"] for case in ran if case["wrong"]}
