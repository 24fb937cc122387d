"""The official SDKs in a browser, bundled as web UIs bundle them: the cases that Node runs, too."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.openai_stub import TEXT
from tests.clients.test_node import COUNTS
from tests.clients.test_openai_node import CASES
from tests.upstreams.front import KEY

from .world import World, bundle

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


async def ran(served: World, name: str, url: str, path: str, **more: str) -> list[dict[str, Any]]:
    """The cases of a file, as a page of a listed origin ran them. path: where most of them go."""
    await bundle(served.home, f"{name}.mjs")
    page = await served.page("app.example")
    env = {"BASE_URL": url, "API_KEY": KEY, "TEXT": json.dumps(TEXT), **more}
    lines: list[dict[str, Any]] = await page.run("cases", f"/{name}.js", env)
    await page.close()
    assert ["OPTIONS", "POST"] == sorted(set(page.methods(url + path)))
    return lines


async def test_openais_sdk_in_a_page(served: World) -> None:
    url = f"{served.gateway.url}/v1"
    lines = await ran(served, "chat", url, "/chat/completions", PREFIX="passed.")
    assert {} == {case["name"]: case["wrong"] for case in lines if case["wrong"]}
    assert set(CASES) == {case["name"] for case in lines}


@pytest.mark.parametrize("route", ["messages_passed", "chat"])
async def test_anthropics_sdk_in_a_page(served: World, route: str) -> None:
    given = {
        "ROUTES": json.dumps([route]),
        "OPEN_STREAMS": f"{served.at('app.example')}open-streams",
    }
    lines = await ran(served, "messages", served.gateway.url, "/v1/messages", **given)
    assert {} == {case["name"]: case["wrong"] for case in lines if case["wrong"]}
    assert COUNTS["messages"] == len(lines)
