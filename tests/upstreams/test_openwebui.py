"""The route openwebui-guest in front of a site that lets guests in, asked by SDKs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import openai
import pytest

from tests.upstreams.front import HELLO, Front, front, streamed
from tests.upstreams.openwebui import OpenWebUI, Turn, running

MODEL = "openwebui-chat"
QUICK = "retry: { attempts: 2, backoff: { initial: 10ms } }\n"


@asynccontextmanager
async def site(home: Path, *plan: Turn) -> AsyncIterator[tuple[OpenWebUI, Front]]:
    service = OpenWebUI(list(plan) or [Turn()])
    async with running(service) as url:
        env = {"OPENWEBUI_BASE_URL": url}
        async with front(home, "openwebui-guest", env=env, edit=lambda text: text + QUICK) as made:
            yield service, made


async def test_chats_streamed_and_not(tmp_path: Path) -> None:
    async with site(tmp_path, Turn(thought="They greet.")) as (service, on):
        whole = await on.openai.chat.completions.create(
            model=MODEL, messages=HELLO, temperature=0.5, reasoning_effort="low"
        )
        assert await streamed(on, MODEL) == ("Good day.", "stop")
    message = whole.choices[0].message
    assert (message.content, whole.choices[0].finish_reason) == ("Good day.", "stop")
    assert (message.model_extra or {})["reasoning_content"] == "They greet."
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (19, 7)
    first, second = service.asked
    assert first["messages"] == HELLO
    assert (first["params"], first["features"]["enable_thinking"]) == ({"temperature": 0.5}, True)
    assert (second["params"], second["features"]["enable_thinking"]) == ({}, False)
    assert "{{CURRENT_DATE}}" in first["variables"]


async def test_the_sites_models_are_listed(tmp_path: Path) -> None:
    async with site(tmp_path) as (_, on), asyncio.timeout(20):
        while "glm-like" not in [model.id async for model in on.openai.models.list()]:
            await asyncio.sleep(0.05)
        assert await on.ask("glm-like") == "Good day."


async def test_a_guest_whose_token_ended_gets_another(tmp_path: Path) -> None:
    async with site(tmp_path) as (service, on):
        await on.ask(MODEL)
        service.tokens[:] = [f"{token}-gone" for token in service.tokens]
        assert await on.ask(MODEL) == "Good day."


@pytest.mark.parametrize(
    ("turn", "status", "words"),
    [
        (Turn(status=429, detail="slow down"), 429, "slow down"),
        (Turn(status=500, detail="it broke"), 502, "it broke"),
        (Turn(status=400, detail="Model not found"), 404, "Model not found"),
        (Turn(status=405, detail="blocked"), 503, "blocked"),
    ],
)
async def test_what_fails_before_the_answer_is_an_error(
    tmp_path: Path, turn: Turn, status: int, words: str
) -> None:
    async with site(tmp_path, turn) as (_, on):
        with pytest.raises(openai.APIStatusError, match=words) as caught:
            await on.ask(MODEL)
        assert (await streamed(on, MODEL))[1].startswith("error: ")
    assert caught.value.status_code == status


@pytest.mark.parametrize(
    ("turn", "words"),
    [(Turn(error="it is tired"), "it is tired"), (Turn(cut=True), "ended before it was whole")],
)
async def test_what_fails_in_the_midst_is_an_error_behind_the_text(
    tmp_path: Path, turn: Turn, words: str
) -> None:
    async with site(tmp_path, turn) as (_, on):
        text, reason = await streamed(on, MODEL)
    assert text == "Good day."
    assert words in reason


async def test_a_chat_with_an_id_would_be_answered_elsewhere(tmp_path: Path) -> None:
    service = OpenWebUI()
    async with running(service) as url:
        named = ("    stream: true\n", '    stream: true\n    chat_id: "{{ uuid4() }}"\n')
        async with front(
            tmp_path,
            "openwebui-guest",
            env={"OPENWEBUI_BASE_URL": url},
            edit=lambda text: text.replace(*named) + QUICK,
        ) as on:
            with pytest.raises(openai.APIStatusError) as caught:
                await on.ask(MODEL)
    assert caught.value.status_code == 502
