"""The route path-patch-chat in front of a service that streams patches, asked by SDKs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.upstreams.front import HELLO, Front, front, streamed
from tests.upstreams.path_patch_chat import PathPatchChat, Turn, running

MODEL = "patch-chat"
QUICK = "retry: { attempts: 2, backoff: { initial: 10ms } }\n"
THOUGHT = ("THINK", ("They", " gre", "et."))
SAID = ("RESPONSE", ("Good ", "day", "."))


@asynccontextmanager
async def chat(
    home: Path, *plan: Turn, token: str = "token-one-0001"
) -> AsyncIterator[tuple[PathPatchChat, Front]]:
    service = PathPatchChat(list(plan) or [Turn()])
    async with running(service) as url:
        env = {"PATCH_CHAT_BASE_URL": url, "PATCH_CHAT_TOKENS": token}
        async with front(home, "path-patch-chat", env=env, edit=lambda text: text + QUICK) as made:
            yield service, made


async def test_chats_streamed_and_not(tmp_path: Path) -> None:
    async with chat(tmp_path, Turn((THOUGHT, SAID))) as (service, on):
        whole = await on.openai.chat.completions.create(model="patch-chat-thinking", messages=HELLO)
        assert await streamed(on, MODEL) == ("Good day.", "stop")
        async with asyncio.timeout(20):
            while service.deleted != ["s-1", "s-2"]:
                await asyncio.sleep(0.01)
    message = whole.choices[0].message
    assert (message.content, whole.choices[0].finish_reason) == ("Good day.", "stop")
    assert (message.model_extra or {})["reasoning_content"] == "They greet."
    assert [asked["thinking_enabled"] for asked in service.asked] == [True, False]


async def test_a_conversation_stays_in_its_chat(tmp_path: Path) -> None:
    async with chat(tmp_path) as (service, on):
        for words in ("One.", "Two."):
            messages: Any = [{"role": "user", "content": words}]
            assert await on.ask(MODEL, messages, user="ann") == "Good day."
    told = [(asked["prompt"], asked["parent_message_id"]) for asked in service.asked]
    assert told == [("User: One.", None), ("Two.", 2)]
    assert service.chats == ["s-1"]


async def test_a_chat_that_was_lost_is_begun_anew(tmp_path: Path) -> None:
    async with chat(tmp_path) as (service, on):
        await on.ask(MODEL, user="ann")
        service.chats[0] = "gone"
        assert await on.ask(MODEL, user="ann") == "Good day."
    assert service.asked[-1]["chat_session_id"] == "s-2"


@pytest.mark.parametrize(
    ("status", "reason"), [("INCOMPLETE", "length"), ("CONTENT_FILTER", "content_filter")]
)
async def test_the_status_tells_how_it_ended(tmp_path: Path, status: str, reason: str) -> None:
    async with chat(tmp_path, Turn(status=status)) as (_, on):
        assert await streamed(on, MODEL) == ("Good day.", reason)


async def test_a_token_that_is_refused_is_an_error(tmp_path: Path) -> None:
    async with chat(tmp_path, token="token-two-0002") as (_, on):
        with pytest.raises(openai.APIStatusError) as caught:
            await on.ask(MODEL)
    assert caught.value.status_code == 503  # the chat could not be made


async def test_what_fails_before_any_text_is_an_error_or_tried_again(tmp_path: Path) -> None:
    busy = Turn((), error=("rate_limit_reached", "too many messages"))
    async with chat(tmp_path, busy) as (_, on):
        with pytest.raises(openai.RateLimitError, match="too many messages"):
            await on.ask(MODEL)
    async with chat(tmp_path, Turn((THOUGHT,), status=""), Turn()) as (service, on):
        assert await on.ask(MODEL) == "Good day."
    assert len(service.asked) == 2


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (Turn(error=("", "server busy")), "server busy"),
        (Turn(status=""), "ended before it was whole"),
    ],
)
async def test_what_fails_in_the_midst_is_an_error_behind_the_text(
    tmp_path: Path, turn: Turn, words: str
) -> None:
    async with chat(tmp_path, turn) as (_, on):
        text, reason = await streamed(on, MODEL)
    assert text == "Good day."
    assert words in reason
