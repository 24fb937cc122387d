"""The route dify-agent in front of an agent app of Dify, asked by SDKs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.upstreams.dify import KEY, Dify, Turn, running
from tests.upstreams.front import HELLO, Front, front, streamed

MODEL = "dify-agent"
QUICK = "retry: { attempts: 2, backoff: { initial: 10ms } }\n"


@asynccontextmanager
async def app(home: Path, *plan: Turn, key: str = KEY) -> AsyncIterator[tuple[Dify, Front]]:
    service = Dify(list(plan) or [Turn()])
    async with running(service) as url:
        env = {"DIFY_BASE_URL": url, "DIFY_API_KEY": key}
        async with front(home, MODEL, env=env, edit=lambda text: text + QUICK) as made:
            yield service, made


async def test_chats_streamed_and_not(tmp_path: Path) -> None:
    async with app(tmp_path, Turn(thought="I look it up.")) as (service, on):
        whole = await on.openai.chat.completions.create(
            model=MODEL, messages=HELLO, user="ann", extra_body={"inputs": {"city": "Oslo"}}
        )
        assert await streamed(on, MODEL) == ("Good day.", "stop")
    message = whole.choices[0].message
    assert (message.content, whole.choices[0].finish_reason) == ("Good day.", "stop")
    assert (message.model_extra or {})["reasoning_content"] == "I look it up."
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (9, 2)
    first, second = service.asked
    assert (first["user"], first["inputs"]) == ("ann", {"city": "Oslo"})
    assert (second["user"], second["inputs"]) == ("penstock", {})


async def test_a_conversation_is_told_only_what_is_new(tmp_path: Path) -> None:
    async with app(tmp_path) as (service, on):
        for words in ("One.", "Two."):
            messages: Any = [{"role": "user", "content": words}]
            assert await on.ask(MODEL, messages, user="ann") == "Good day."
            assert await on.ask(MODEL, messages, user="bob") == "Good day."
    assert service.conversations == {
        "conv-1": ["User: One.", "Two."],
        "conv-2": ["User: One.", "Two."],
    }
    assert [asked["user"] for asked in service.asked] == ["ann", "bob", "ann", "bob"]


async def test_a_conversation_that_was_lost_is_begun_anew(tmp_path: Path) -> None:
    async with app(tmp_path) as (service, on):
        await on.ask(MODEL, user="ann")
        service.conversations = {"conv-0": []}
        assert await on.ask(MODEL, user="ann") == "Good day."
    assert service.conversations["conv-2"] == ["User: Hello"]


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        ((400, "provider_quota_exceeded", "no quota left"), 429),
        ((400, "app_unavailable", "not configured"), 502),
        ((400, "provider_not_initialize", "no model"), 502),
        ((400, "model_currently_not_support", "not this one"), 404),
        ((400, "invalid_param", "inputs is required"), 400),
        ((429, "too_many_requests", "slow down"), 429),
        ((500, "internal_server_error", "it broke"), 502),
    ],
)
async def test_what_is_refused_is_an_error(
    tmp_path: Path, refusal: tuple[int, str, str], status: int
) -> None:
    async with app(tmp_path, Turn(refusal=refusal)) as (_, on):
        with pytest.raises(openai.APIStatusError, match=refusal[2]) as caught:
            await on.ask(MODEL)
        assert (await streamed(on, MODEL))[1].startswith("error: ")
    assert caught.value.status_code == status


async def test_a_wrong_key_is_an_error(tmp_path: Path) -> None:
    async with app(tmp_path, key="app-key-of-others-1") as (_, on):
        with pytest.raises(openai.APIStatusError, match="credential rejected") as caught:
            await on.ask(MODEL)
    assert caught.value.status_code == 502


async def test_what_may_pass_is_tried_again(tmp_path: Path) -> None:
    failed = Turn(refusal=(400, "completion_request_error", "text generation failed"))
    async with app(tmp_path, failed, Turn()) as (service, on):
        assert await on.ask(MODEL) == "Good day."
    assert len(service.asked) == 2


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (Turn(error=("provider_quota_exceeded", "no quota left")), "no quota left"),
        (Turn(cut=True), "ended before it was whole"),
    ],
)
async def test_what_fails_in_the_midst_is_an_error_behind_the_text(
    tmp_path: Path, turn: Turn, words: str
) -> None:
    async with app(tmp_path, turn) as (_, on):
        text, reason = await streamed(on, MODEL)
    assert text == "Good day."
    assert words in reason


async def test_an_answer_that_is_taken_back_is_filtered(tmp_path: Path) -> None:
    async with app(tmp_path, Turn(replaced="I cannot say that.")) as (_, on):
        assert await streamed(on, MODEL) == ("Good day.", "content_filter")
