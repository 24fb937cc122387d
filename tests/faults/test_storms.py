"""An upstream that is down under load gets few attempts, or none where others answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from openai import APIStatusError, AsyncOpenAI

from tests.clients.openai_stub import TEXT, UPSTREAM_KEY, Stub, openai_stub

from .client import CLIENT_KEY
from .stage import Gateway, gateway

pytestmark = pytest.mark.timeout(120)
HI: Any = [{"role": "user", "content": "Hi"}]
CHAT = f"""\
version: 1
extends: openai
base_url: "URL"
auth: {{ bearer: "{UPSTREAM_KEY}" }}
"""
ROUTES = {
    "down": CHAT + "models: [{ id: d, upstream: error-500 }]\n"
    "retry: { attempts: 4, backoff: { initial: 1ms, max: 2ms }, budget: { least: 1 } }\n",
    "broken": CHAT + "models: [{ id: b, upstream: error-503 }]\nfallback: [spare]\n"
    "retry: { attempts: 2, backoff: { initial: 1ms } }\nbreaker: { after: 3, probe: 10m }\n",
    "spare": CHAT + "models: [{ id: s, upstream: talk }]\n",
    "busy": CHAT + "models: [{ id: l, upstream: error-503 }]\n"
    "retry: { attempts: 3, backoff: { initial: 1ms, max: 2ms } }\n",
}


def openai(gate: Gateway) -> AsyncOpenAI:
    url = f"http://127.0.0.1:{gate.port}/v1"
    return AsyncOpenAI(base_url=url, api_key=CLIENT_KEY, max_retries=0, timeout=60)


def routes(stub: Stub) -> dict[str, str]:
    return {name: text.replace("URL", stub.url) for name, text in ROUTES.items()}


async def test_while_an_upstream_is_down_attempts_are_few(tmp_path: Path) -> None:
    async with openai_stub() as stub, gateway(tmp_path, routes(stub)) as gate:
        client = openai(gate)
        for _ in range(10):
            asked = [client.chat.completions.create(model="d", messages=HI) for _ in range(30)]
            failed = await asyncio.gather(*asked, return_exceptions=True)
            assert [502] * 30 == [each.status_code for each in failed]  # type: ignore[union-attr]
        assert 300 < len(stub.requests) <= 360


async def test_an_upstream_that_keeps_failing_is_left_alone_and_others_answer(
    tmp_path: Path,
) -> None:
    async with openai_stub() as stub, gateway(tmp_path, routes(stub)) as gate:
        client = openai(gate)
        for _ in range(20):
            answer = await client.chat.completions.create(model="b", messages=HI)
            assert TEXT == answer.choices[0].message.content
        asked = [body["model"] for body in stub.requests]
        assert (3, 20) == (asked.count("error-503"), asked.count("talk"))


@pytest.mark.rows("FL-13", "FL-14")
@pytest.mark.parametrize(
    ("model", "status", "upstream", "retries"),
    [("l", 503, "503", "2"), ("d", 502, "500", "3")],
)
async def test_a_client_reads_how_often_it_was_tried_and_what_came_last(
    tmp_path: Path, model: str, status: int, upstream: str, retries: str
) -> None:
    async with openai_stub() as stub, gateway(tmp_path, routes(stub)) as gate:
        with pytest.raises(APIStatusError) as told:
            await openai(gate).chat.completions.create(model=model, messages=HI)
        anthropic = AsyncAnthropic(
            base_url=f"http://127.0.0.1:{gate.port}", api_key=CLIENT_KEY, max_retries=0
        )
        assert status == told.value.status_code
        with pytest.raises(Exception, match="error") as other:
            await anthropic.messages.create(model=model, max_tokens=5, messages=HI)
        for error in (told.value, other.value):
            headers = error.response.headers  # type: ignore[attr-defined]
            assert (retries, "true") == (
                headers["x-retry-attempts"], headers["x-all-retries-failed"],
            )  # fmt: skip
            assert upstream == headers["x-penstock-upstream-status"]
