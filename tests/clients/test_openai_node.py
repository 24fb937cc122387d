"""The official OpenAI SDK for Node: `node/chat.mjs` holds the cases, this reports them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .node_sdk import install, run
from .openai_stub import TEXT
from .ways import WAYS, Way

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
CASES = (
    "plain", "stream", "stream of single bytes", "stream helper", "tools", "tools, streamed",
    "tools, run by the SDK", "image", "errors", "error in a stream", "models", "embeddings",
)  # fmt: skip


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
