"""Counts of tokens where nobody else counts: an estimate that learns from upstreams' figures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from anthropic import AsyncAnthropic
from google import genai

from engine.dialects.tokens import FACTOR
from tests.faults.client import CLIENT_KEY
from tests.faults.stage import gateway
from tests.tooling.upstream import Heard, Say, Upstream, upstream

from . import google

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")  # Google
WORDS = "word " * 800
SAID: Any = [{"role": "user", "content": WORDS}]
ROUTE = """\
version: 1
dialect: openai_chat
base_url: "{url}/v1"
models: [{model}]
"""
PLAIN = 4 + len(WORDS) / 4 * FACTOR  # what is estimated before anything is known
TOLD = 2000  # what the upstream says of these words


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[tuple[AsyncAnthropic, genai.Client, Upstream]]:
    async with upstream() as behind:
        routes = {name: ROUTE.format(url=behind.url, model=name) for name in ("m", "other")}
        async with gateway(tmp_path, routes) as running:
            url = f"http://127.0.0.1:{running.port}"
            async with AsyncAnthropic(base_url=url, api_key=CLIENT_KEY) as client:
                yield client, google.client(url), behind


async def begun(client: AsyncAnthropic) -> int:
    """What a stream's `message_start` says was read."""
    made = await client.messages.create(model="m", max_tokens=9, messages=SAID, stream=True)
    found = [event.message.usage.input_tokens async for event in made
             if event.type == "message_start"]  # fmt: skip
    return found[0]


async def test_counts_are_those_of_the_upstream_after_a_few_answers(
    world: tuple[AsyncAnthropic, genai.Client, Upstream],
) -> None:
    client, googles, behind = world
    behind.script = lambda heard: Say("Hm.", read=TOLD)
    before = await client.messages.count_tokens(model="m", messages=SAID)
    assert round(PLAIN) == before.input_tokens
    assert [round(PLAIN)] * 3 == [await begun(client) for _ in range(3)]
    assert abs(TOLD - await begun(client)) <= 1
    raw = await client.messages.with_raw_response.count_tokens(model="m", messages=SAID)
    assert "estimate" == raw.headers["x-penstock-token-count"]
    assert abs(TOLD - (await raw.parse()).input_tokens) <= 1
    counted = await googles.aio.models.count_tokens(model="m", contents=WORDS)
    assert abs(TOLD - (counted.total_tokens or 0)) <= 1
    other = await client.messages.count_tokens(model="other", messages=SAID)
    assert round(PLAIN) == other.input_tokens
    await googles.aio.aclose()


async def test_an_answer_without_figures_is_estimated_by_what_was_learned(
    world: tuple[AsyncAnthropic, genai.Client, Upstream],
) -> None:
    client, googles, behind = world

    def script(heard: Heard) -> Say:
        return Say("Hm.", read=TOLD if len(behind.asked) <= 3 else 0)

    behind.script = script
    answers = [
        await client.messages.create(model="m", max_tokens=9, messages=SAID) for _ in range(4)
    ]
    assert [TOLD] * 3 == [answer.usage.input_tokens for answer in answers[:3]]
    usage = answers[3].usage
    assert abs(TOLD - usage.input_tokens) <= 1
    assert True is usage.to_dict()["penstock_estimated"]
    await googles.aio.aclose()
