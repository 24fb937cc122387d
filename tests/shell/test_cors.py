"""Pages of other origins, as a browser asks for them (Fetch standard, CORS protocol).

A real browser's: tests/clients/browser/.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.clients.openai_stub import TEXT, UPSTREAM_KEY, openai_stub
from tests.upstreams.front import HELLO, Front, front

pytestmark = pytest.mark.asyncio(loop_scope="module")
PAGE, STRANGER = "https://chat.example.com", "https://evil.example"
ASKS = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}
CHAT, ADMIN = "/v1/chat/completions", "/admin/routes"
ROUTE = f"""\
version: 1
extends: openai
base_url: "URL"
auth: {{ bearer: "{UPSTREAM_KEY}" }}
retry: {{ attempts: 1 }}
models: [talk, error-500]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    async with openai_stub() as stub:
        files = {"m.yaml": ROUTE.replace("URL", stub.url)}
        home = tmp_path_factory.mktemp("gateway")
        async with front(home, files=files, cors__origins=[PAGE]) as made:
            yield made


async def test_a_browser_that_asks_before_is_told_what_a_page_may_send(on: Front) -> None:
    """It sends no credentials then."""
    status, headers, body = await on.raw(
        None, CHAT, "OPTIONS", Origin=PAGE, Authorization="", **ASKS
    )
    assert (204, "") == (status, body)
    assert (PAGE, "authorization,content-type") == (
        headers["Access-Control-Allow-Origin"],
        headers["Access-Control-Allow-Headers"],
    )
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert "86400" == headers["Access-Control-Max-Age"]
    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("model", "expected"), [("talk", 200), ("error-500", 502), ("unknown", 404)]
)
async def test_a_page_may_read_whatever_it_is_answered(
    on: Front, stream: bool, model: str, expected: int
) -> None:
    asked = {"model": model, "messages": HELLO, "stream": stream}
    status, headers, body = await on.raw(asked, Origin=PAGE)
    assert (expected, PAGE) == (status, headers["Access-Control-Allow-Origin"])
    assert ("Origin", "*") == (headers["Vary"], headers["Access-Control-Expose-Headers"])
    assert model != "talk" or stream or TEXT in body
    _, headers, _ = await on.raw(None, "/v1/models", "GET", Origin=PAGE)
    assert PAGE == headers["Access-Control-Allow-Origin"]


async def test_a_strangers_page_and_who_is_no_page_are_told_nothing(on: Front) -> None:
    asked = {"model": "talk", "messages": HELLO}
    for given, expected in (({"Origin": STRANGER}, 403), ({}, 200)):
        status, headers, _ = await on.raw(asked, **given)
        assert (expected, False) == (status, "Access-Control-Allow-Origin" in headers)
    status, headers, _ = await on.raw(None, CHAT, "OPTIONS", Origin=STRANGER, **ASKS)
    assert (403, False) == (status, "Access-Control-Allow-Origin" in headers)


async def test_the_admin_paths_are_for_no_page(on: Front) -> None:
    for method, expected in (("OPTIONS", 405), ("GET", 401)):
        status, headers, _ = await on.raw(None, ADMIN, method, Origin=PAGE, **ASKS)
        assert (expected, False) == (status, "Access-Control-Allow-Origin" in headers)


async def test_a_preflight_that_asks_for_less_or_more(on: Front) -> None:
    status, headers, _ = await on.raw(None, CHAT, "OPTIONS", Origin=PAGE)
    assert 405 == status  # it asks for nothing
    ask = {**ASKS, "Access-Control-Request-Private-Network": "true"}
    _, headers, _ = await on.raw(None, CHAT, "OPTIONS", Origin="http://localhost:3000", **ask)
    assert "true" == headers["Access-Control-Allow-Private-Network"]
