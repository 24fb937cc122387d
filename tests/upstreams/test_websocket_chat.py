"""The route websocket-chat in front of a service that speaks websockets, asked by SDKs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.upstreams.front import HELLO, Front, front, streamed
from tests.upstreams.websocket_chat import Turn, WebsocketChat, running

MODEL = "websocket-chat"
QUICK = "retry: { attempts: 2, backoff: { initial: 10ms } }\n"


@asynccontextmanager
async def chat(home: Path, *plan: Turn, more: str = QUICK) -> AsyncIterator[tuple[Any, Front]]:
    service = WebsocketChat(list(plan) or [Turn()])
    async with running(service) as url:
        env = {"WEBSOCKET_CHAT_BASE_URL": url, "WEBSOCKET_CHAT_TOKENS": "token-one-0001"}
        async with front(home, MODEL, env=env, edit=lambda text: text + more) as made:
            yield service, made
        assert service.mistakes == []


async def until(holds: Any) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


async def test_chats_streamed_and_not(tmp_path: Path) -> None:
    async with chat(tmp_path, Turn(thought="They greet.")) as (service, on):
        whole = await on.openai.chat.completions.create(model=MODEL, messages=HELLO)
        assert await streamed(on, MODEL) == ("Good day.", "stop")
        await until(lambda: service.deleted == ["c1", "c2"])
    message = whole.choices[0].message
    assert (message.content, whole.choices[0].finish_reason) == ("Good day.", "stop")
    assert (message.model_extra or {})["reasoning_content"] == "They greet."
    assert service.told == {"c1": ["User: Hello"], "c2": ["User: Hello"]}
    assert [each.query["accessToken"] for each in service.upgrades] == ["token-one-0001"] * 2
    assert service.closed == [1000, 1000]


async def test_a_conversation_is_told_only_what_is_new(tmp_path: Path) -> None:
    async with chat(tmp_path) as (service, on):
        for words in ("One.", "Two."):
            messages: Any = [{"role": "user", "content": words}]
            assert await on.ask(MODEL, messages, user="ann") == "Good day."
    assert service.told == {"c1": ["User: One.", "Two."]}


@pytest.mark.parametrize(
    ("turn", "status", "words"),
    [
        (Turn(status=401), 502, "credential rejected"),
        (Turn(status=403), 502, "no way"),
        (Turn(status=429), 429, "no way"),
        (Turn(status=500), 502, "no way"),
        (Turn(pieces=(), close=(1011, "crashed")), 502, "crashed"),
        (Turn(pieces=(), close=(1008, "not allowed")), 502, "not allowed"),
        (Turn(pieces=(), close=(1013, "come back later")), 503, "come back later"),
        (Turn(pieces=(), close=(4429, "slow down")), 429, "slow down"),
        (Turn(pieces=(), close=(1000, "")), 502, "ended before it was whole"),
        (Turn(pieces=(), end="abort"), 502, "broke off"),
        (Turn(pieces=(), raw=b"\x81\x02\xff\xfe"), 502, "not UTF-8"),
        (Turn(pieces=(), error={"errorCode": "throttled", "message": "slower"}), 429, "slower"),
    ],
)
async def test_what_fails_before_the_answer_is_an_error(
    tmp_path: Path, turn: Turn, status: int, words: str
) -> None:
    async with chat(tmp_path, turn) as (_, on):
        with pytest.raises(openai.APIStatusError, match=words) as caught:
            await on.ask(MODEL)
        assert (await streamed(on, MODEL))[1].startswith("error: ")
    assert caught.value.status_code == status


@pytest.mark.parametrize(
    "first",
    [
        Turn(status=500),
        Turn(pieces=(), close=(1011, "")),
        Turn(pieces=(), close=(1000, "")),
        Turn(pieces=(), end="abort"),
        Turn(thought="Hm.", pieces=(), close=(1012, "restart")),
    ],
)
async def test_what_fails_before_any_text_is_tried_again(tmp_path: Path, first: Turn) -> None:
    async with chat(tmp_path, first, Turn()) as (service, on):
        assert await on.ask(MODEL) == "Good day."
    assert len(service.upgrades) == 2


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (Turn(close=(1011, "crashed")), "crashed"),
        (Turn(close=(1008, "policy")), "policy"),
        (Turn(close=(1013, "later")), "later"),
        (Turn(close=(1000, "")), "ended before it was whole"),
        (Turn(end="abort"), "broke off"),
        (Turn(raw=b"\x81\x02\xff\xfe"), "not UTF-8"),
        (Turn(error={"errorCode": "odd", "message": "it is tired"}), "it is tired"),
    ],
)
async def test_what_fails_in_the_midst_is_an_error_behind_the_text(
    tmp_path: Path, turn: Turn, words: str
) -> None:
    async with chat(tmp_path, turn) as (service, on):
        text, reason = await streamed(on, MODEL)
    assert text == "Good day."
    assert reason.startswith("error: ")
    assert words in reason
    assert len(service.upgrades) == 1


async def test_a_message_that_is_too_large_is_an_error(tmp_path: Path) -> None:
    more = QUICK + "limits: { event: 2KiB }\n"
    async with chat(tmp_path, Turn(pieces=("Well, ", "x" * 3000)), more=more) as (service, on):
        text, reason = await streamed(on, MODEL)
        await until(lambda: service.closed)
    assert (text, "larger than 2048 bytes" in reason) == ("Well, ", True)
    assert service.closed == [1009]


@pytest.mark.parametrize(("pieces", "text"), [((), ""), (("Well, ",), "Well, ")])
async def test_silence_is_a_timeout_and_closes_the_socket(
    tmp_path: Path, pieces: tuple[str, ...], text: str
) -> None:
    more = "timeouts: { first_byte: 5s, idle: 300ms }\nretry: { attempts: 1 }\n"
    async with chat(tmp_path, Turn(pieces=pieces, end="stall"), more=more) as (service, on):
        found, reason = await streamed(on, MODEL)
        await until(lambda: service.closed)
    assert (found, "in time" in reason) == (text, True)
    assert service.closed == [1001]


async def test_an_upgrade_that_is_never_answered_is_a_timeout(tmp_path: Path) -> None:
    more = "timeouts: { connect: 1s, first_byte: 300ms }\nretry: { attempts: 1 }\n"
    async with chat(tmp_path, Turn(status=0), more=more) as (_, on):
        with pytest.raises(openai.APIStatusError, match="in time") as caught:
            await on.ask(MODEL)
    assert caught.value.status_code == 504


async def test_many_conversations_do_not_meet(tmp_path: Path) -> None:
    async with chat(tmp_path) as (service, on):
        asked: Any = [[{"role": "user", "content": f"Number {at}"}] for at in range(20)]
        answers = await asyncio.gather(*(on.ask(MODEL, messages) for messages in asked))
        await until(lambda: len(service.deleted) == 20)
    assert answers == ["Good day."] * 20
    told = sorted(words for said in service.told.values() for words in said)
    assert told == sorted(f"User: Number {at}" for at in range(20))
    assert service.closed == [1000] * 20


async def test_a_client_that_leaves_closes_the_socket(tmp_path: Path) -> None:
    async with chat(tmp_path, Turn(end="stall")) as (service, on):
        answer = await on.openai.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        await anext(aiter(answer))
        await answer.close()
        await until(lambda: service.closed and service.deleted)
    assert (service.closed, service.deleted) == ([1001], ["c1"])


async def test_a_conversation_that_was_lost_is_begun_anew(tmp_path: Path) -> None:
    async with chat(tmp_path) as (service, on):
        await on.ask(MODEL, user="ann")
        del service.told["c1"]
        assert await on.ask(MODEL, user="ann") == "Good day."
    assert list(service.told) == ["c2"]


async def test_other_dialects_are_served_as_well(tmp_path: Path) -> None:
    async with chat(tmp_path, Turn(thought="They greet.")) as (_, on):
        answer = await on.anthropic.messages.create(model=MODEL, max_tokens=99, messages=HELLO)
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.stop_reason == "end_turn"


@pytest.mark.parametrize(
    "turn",
    [
        Turn(pieces=(), close=(4001, "no: token-one-0001")),
        Turn(close=(1011, "no: token-one-0001")),
        Turn(error={"errorCode": "odd", "message": "no: token-one-0001"}),
    ],
)
async def test_a_secret_that_the_upstream_repeats_is_not_told(tmp_path: Path, turn: Turn) -> None:
    async with chat(tmp_path, turn) as (_, on):
        _, reason = await streamed(on, MODEL)
        assert "no: «env:WEBSOCKET_CHAT_TOKENS" in reason
        assert "token-one-0001" not in reason + on.log
