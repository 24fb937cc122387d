"""Pages that call the gateway from another origin, in a real browser.

What is refused or granted by headers alone: tests/shell/test_cors.py. Here a browser reads them.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.clients.openai_stub import TEXT
from tests.upstreams.front import HELLO, KEY

from .chromium import Page
from .world import FIRST, LARGEST, LAST, OWN, World

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
SENT = {  # what SDKs in browsers send besides their bodies
    "Authorization": f"Bearer {KEY}",
    "content-type": "application/json",
    "x-stainless-lang": "js",
    "x-stainless-runtime": "browser:chrome",
    "x-stainless-retry-count": "0",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "files-api-2025-04-14",
    "anthropic-dangerous-direct-browser-access": "true",
}
everyone = pytest.mark.parametrize("name", OWN)


def post(model: str, **more: Any) -> dict[str, Any]:
    body = {"model": model, "messages": HELLO, "max_tokens": 99, **more}
    return {"method": "POST", "headers": SENT, "body": json.dumps(body)}


GET = {"headers": {"Authorization": f"Bearer {KEY}"}}


def asked_before(page: Page, url: str) -> set[str]:
    """The names of the headers that the one preflight asked for."""
    (headers,) = [headers for method, to, headers in page.sent if (method, to) == ("OPTIONS", url)]
    return set(headers["access-control-request-headers"].split(","))


@everyone
async def test_a_page_is_answered_and_may_read_all_of_it(served: World, name: str) -> None:
    page, url = await served.page(name), served.gateway.url + CHAT
    told = await page.run("ask", url, post("passed.talk"))
    assert (200, "cors") == (told["status"], told["type"])
    assert TEXT == json.loads(told["text"])["choices"][0]["message"]["content"]
    assert {name.lower() for name in SENT} == asked_before(page, url)
    assert "passed" == told["headers"]["x-penstock-route"]
    assert told["headers"]["x-request-id"].startswith("req_")
    await page.close()


SAID = [{"role": "user", "parts": [{"text": "Hello"}]}]
ELSEWHERE: dict[str, dict[str, Any]] = {  # what is not asked in other tests here
    "/v1/responses": {"model": "chat.talk", "input": "Hello"},
    "/v1/messages/count_tokens": {"model": "chat.talk", "messages": HELLO},
    "/v1/embeddings": {"model": "passed.embed", "input": "a"},
    "/v1beta/models/chat.talk:generateContent": {"contents": SAID},
    "/v1beta/models/chat.talk:streamGenerateContent?alt=sse": {"contents": SAID},
    "/api/chat": {"model": "chat.talk", "messages": HELLO},
    "/api/show": {"model": "chat.talk"},
}


async def test_a_page_may_call_every_api(served: World) -> None:
    page, told = await served.page("app.example"), {}
    for path, body in ELSEWHERE.items():
        asked = {"method": "POST", "headers": {**SENT, "x-goog-api-key": KEY}}
        asked["body"] = json.dumps(body)
        told[path] = (await page.run("ask", served.gateway.url + path, asked)).get("status")
    assert dict.fromkeys(ELSEWHERE, 200) == told
    await page.close()


async def test_a_page_may_fetch_and_delete_what_is_kept(served: World) -> None:
    page, url = await served.page("app.example"), f"{served.gateway.url}/v1/responses"
    asked = {"method": "POST", "headers": SENT}
    asked["body"] = json.dumps({"model": "chat.talk", "input": "Hello"})
    made = json.loads((await page.run("ask", url, asked))["text"])
    for method, status in (("GET", 200), ("DELETE", 200), ("GET", 404)):
        told = await page.run("ask", f"{url}/{made['id']}", {**GET, "method": method})
        assert (method, status) == (method, told.get("status"))
    await page.close()


@everyone
async def test_a_page_lists_the_models(served: World, name: str) -> None:
    page = await served.page(name)
    told = await page.run("ask", f"{served.gateway.url}/v1/models", GET)
    assert "passed.talk" in [model["id"] for model in json.loads(told["text"])["data"]]
    await page.close()


@everyone
@pytest.mark.parametrize("path", [CHAT, MESSAGES])  # passed through, translated
async def test_a_page_reads_the_first_word_before_the_last_is_sent(
    served: World, name: str, path: str
) -> None:
    served.paced.go.clear()
    page = await served.page(name)
    begun = await page.run("begin", served.gateway.url + path, post("paced", stream=True), FIRST)
    assert (200, "text/event-stream") == (begun["status"], begun["headers"]["content-type"])
    assert LAST not in begun["text"]
    served.paced.go.set()
    rest = await page.run("rest")
    assert LAST in rest
    assert ("[DONE]" if path == CHAT else "message_stop") in rest
    await page.close()


@pytest.mark.parametrize(
    ("model", "status", "said"),
    [
        ("passed.error-400", 400, "This is a 400."),
        ("passed.error-404", 404, "This is a 404."),
        ("passed.error-429", 429, "This is a 429."),
        ("passed.error-500", 502, "This is a 500."),
        ("nobody", 404, "The model `nobody` does not exist"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_page_may_read_errors(
    served: World, model: str, status: int, said: str, stream: bool
) -> None:
    page = await served.page("app.example")
    told = await page.run("ask", served.gateway.url + CHAT, post(model, stream=stream))
    assert (status, said) == (told["status"], json.loads(told["text"])["error"]["message"])
    headers = told["headers"]
    assert headers["x-request-id"].startswith("req_")
    if model.startswith("passed"):
        assert model[-3:] == headers["x-penstock-upstream-status"]
    if status == 429:
        assert ("40", "0") == (headers["retry-after"], headers["x-ratelimit-remaining-requests"])
    await page.close()


async def test_a_page_may_read_that_its_key_is_wrong_or_its_path(served: World) -> None:
    page = await served.page("app.example")
    wrong = post("passed.talk")
    wrong["headers"] = {**SENT, "Authorization": "Bearer nobody"}
    for path, asked, status in (
        (CHAT, wrong, 401),
        (MESSAGES, wrong, 401),
        ("/v1/nothing", GET, 404),
        (CHAT, GET, 405),
        (CHAT, {**post("passed.talk"), "body": "{"}, 400),
    ):
        told = await page.run("ask", served.gateway.url + path, asked)
        assert (status, True) == (told["status"], bool(json.loads(told["text"])["error"]))
        assert told["headers"]["x-request-id"].startswith("req_")
    await page.close()


async def test_a_page_may_read_that_it_sent_too_much(served: World) -> None:
    page = await served.page("app.example")
    large = {**post("passed.talk"), "body": "x" * (3 * LARGEST)}
    told = await page.run("ask", served.gateway.url + CHAT, large)
    assert 413 == told["status"], told
    await page.close()


async def test_a_browser_asks_once_for_all_its_requests(served: World) -> None:
    """Not only for the five seconds that an answer holds if it does not say how long."""
    page, url = await served.page("app.example"), served.gateway.url + CHAT
    for pause in (0.0, 5.5):
        await asyncio.sleep(pause)
        assert 200 == (await page.run("ask", url, post("passed.talk")))["status"]
    assert ["OPTIONS", "POST", "POST"] == sorted(page.methods(url))
    await page.close()


async def test_a_page_of_another_origin_learns_nothing_and_asks_nothing(served: World) -> None:
    page, before = await served.page("evil.example"), served.asked
    chat, models = served.gateway.url + CHAT, f"{served.gateway.url}/v1/models"
    assert "failed" in await page.run("ask", chat, post("passed.talk"))
    assert "failed" in await page.run("ask", models, GET)
    assert "failed" in await page.run("ask", models, {})
    left = [method for method, to, _ in page.sent if to in (chat, models)]
    assert ["OPTIONS", "OPTIONS", "GET"] == left
    simple = {**post("passed.talk"), "mode": "no-cors", "headers": {"content-type": "text/plain"}}
    assert ("opaque", 0, "") == _seen(await page.run("ask", chat, simple))
    assert before == served.asked
    assert {"PreflightMissingAllowOriginHeader", "MissingAllowOriginHeader"} == set(page.blocked)
    await page.close()


def _seen(told: dict[str, Any]) -> tuple[str, int, str]:
    return told["type"], told["status"], told["text"]


async def test_a_page_without_an_origin_is_another(served: World) -> None:
    page, before = await served.page("app.example"), served.asked
    told = await page.run("sandboxed", served.gateway.url + CHAT, post("passed.talk"))
    assert "TypeError: Failed to fetch" == told
    assert before == served.asked
    await page.close()


async def test_the_admin_paths_are_for_no_page(served: World) -> None:
    page = await served.page("app.example")
    told = await page.run("ask", f"{served.gateway.url}/admin/routes", GET)
    assert "failed" in told
    await page.close()


async def test_a_name_that_was_bound_anew_is_not_served(served: World) -> None:
    """DNS rebinding: to the browser it is a page and a server of one origin."""
    port = served.gateway.url.rpartition(":")[2]
    page = await served.browser.page(f"http://rebound.example:{port}/v1/models")
    told, before = await page.evaluate("document.body.innerText"), served.asked
    assert "this host name is not served here" in told
    script = f"fetch('{CHAT}', {json.dumps(post('passed.talk'))}).then((told) => told.status)"
    assert 403 == await page.evaluate(script)
    assert before == served.asked
    await page.close()


@pytest.mark.parametrize("model", ["passed.forever", "chat.forever", "paced"])
async def test_a_page_that_aborts_takes_its_upstream_along(served: World, model: str) -> None:
    served.paced.go.clear()
    page = await served.page("app.example")
    asked = post(model, stream=True)
    await page.run("begin", served.gateway.url + CHAT, asked, FIRST)
    assert 1 == served.open_streams
    assert "AbortError" == await page.run("leave")
    assert await served.closed()
    await page.close()


async def test_a_tab_that_is_closed_takes_its_upstream_along(served: World) -> None:
    page = await served.page("app.example")
    await page.run("begin", served.gateway.url + CHAT, post("chat.forever", stream=True), FIRST)
    assert 1 == served.open_streams
    await page.close()
    assert await served.closed()


async def test_a_page_from_elsewhere_calls_this_machine_if_its_user_lets_it(served: World) -> None:
    """Chromium asks its user, if the page came safely, and no server; older ones asked that."""
    url, allowed = f"{served.gateway.url}/v1/models", ("localNetworkAccess", "loopbackNetwork")
    unsafe = f"http://app.example:{served.public}/"
    for place, given, blocked in (
        (unsafe, allowed, ["InsecureLocalNetwork"]),
        (unsafe.replace("app.example", "localhost"), (), ["LocalNetworkAccessPermissionDenied"]),
        (f"https://app.example:{served.safe}/", (), ["LocalNetworkAccessPermissionDenied"]),
        (f"https://app.example:{served.safe}/", allowed, []),
    ):
        page = await served.browser.page(place, *given)
        told = await page.run("ask", url, GET)
        assert blocked == sorted(set(page.blocked))
        assert ("failed" if blocked else "status") in told
        assert ([] if blocked else ["OPTIONS", "GET"]) == page.methods(url)
        assert all("access-control-request-private-network" not in sent for _, _, sent in page.sent)
        await page.close()
