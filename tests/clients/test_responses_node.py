"""The Responses API through the official SDK for Node: `node/responses.mjs` holds the cases."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.client import CLIENT_KEY

from .node_sdk import install, run
from .openai_stub import TEXT
from .test_responses import ROUTES, world

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
CASES = ("plain", "stream helper", "tools and what follows", "errors")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def results(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[dict[tuple[str, str], str]]:
    """What is wrong with each case on each route, "" for nothing."""
    await install()
    found: dict[tuple[str, str], str] = {}
    async with world(tmp_path_factory.mktemp("gateway")) as served:
        base = {"BASE_URL": f"{served.url}/v1", "API_KEY": CLIENT_KEY, "TEXT": json.dumps(TEXT)}
        for route in ROUTES:
            code, out, err = await run("node", "responses.mjs", env={**base, "ROUTE": route})
            assert code == 0, err
            for line in out.splitlines():
                case = json.loads(line)
                found[route, case["name"]] = case["wrong"]
    yield found


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("case", CASES)
async def test_a_case_of_the_node_sdk(
    results: dict[tuple[str, str], str], route: str, case: str
) -> None:
    assert "" == results[route, case], results[route, case]


async def test_no_case_is_forgotten(results: dict[tuple[str, str], str]) -> None:
    assert {(route, case) for route in ROUTES for case in CASES} == set(results)
