"""The route connect-chat in front of a service that speaks Connect, asked by SDKs."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.upstreams.connect_chat import ConnectChat, Turn, envelope, running
from tests.upstreams.front import HELLO, Front, front, streamed

MODEL = "connect-chat"
QUICK = "retry: { attempts: 2, backoff: { initial: 10ms } }\n"


@asynccontextmanager
async def chat(
    home: Path, *plan: Turn, token: str = "token-one.e30.c2ln", edit: Any = lambda text: text
) -> AsyncIterator[tuple[ConnectChat, Front]]:
    service = ConnectChat(list(plan) or [Turn()])
    async with running(service) as url:
        env = {"CONNECT_CHAT_BASE_URL": url, "CONNECT_CHAT_TOKENS": token}
        async with front(home, MODEL, env=env, edit=lambda text: edit(text) + QUICK) as made:
            yield service, made


@pytest.mark.parametrize("packed", [False, True])
async def test_chats_streamed_and_not(tmp_path: Path, packed: bool) -> None:
    async with chat(tmp_path, Turn(thought="They greet.", packed=packed)) as (service, on):
        whole = await on.openai.chat.completions.create(
            model="connect-chat-thinking", messages=HELLO
        )
        assert await streamed(on, MODEL) == ("Good day.", "stop")
    message = whole.choices[0].message
    assert (message.content, whole.choices[0].finish_reason) == ("Good day.", "stop")
    assert (message.model_extra or {})["reasoning_content"] == "They greet."
    assert [asked["options"]["thinking"] for asked in service.asked] == [True, False]
    assert {head["content-type"] for head in service.heads} == {"application/connect+json"}


async def test_a_conversation_stays_in_its_chat(tmp_path: Path) -> None:
    async with chat(tmp_path) as (service, on):
        for words in ("One.", "Two."):
            messages: Any = [{"role": "user", "content": words}]
            assert await on.ask(MODEL, messages, user="ann") == "Good day."
    first, second = service.asked
    assert "chat_id" not in first
    assert (second["chat_id"], second["message"]["parent_id"]) == ("chat-1", "m-1")
    assert second["message"]["blocks"] == [{"message_id": "", "text": {"content": "Two."}}]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("unauthenticated", 502),
        ("resource_exhausted", 429),
        ("unavailable", 503),
        ("invalid_argument", 400),
        ("internal", 502),
    ],
)
async def test_the_trailer_tells_what_failed(tmp_path: Path, code: str, status: int) -> None:
    turn = Turn(pieces=(), error={"code": code, "message": "so it is"})
    async with chat(tmp_path, turn) as (_, on):
        with pytest.raises(openai.APIStatusError) as caught:
            await on.ask(MODEL)
        assert (await streamed(on, MODEL))[1].startswith("error: ")
    assert caught.value.status_code == status


async def test_a_body_that_is_no_envelope_is_told_so(tmp_path: Path) -> None:
    bare = ("  frames: { flags: true }\n  json:", "  json:")
    async with chat(tmp_path, edit=lambda text: text.replace(*bare)) as (service, on):
        with pytest.raises(openai.BadRequestError, match="promised another number of bytes"):
            await on.ask(MODEL)
    assert service.asked == []


async def test_a_refusal_over_http_is_an_error(tmp_path: Path) -> None:
    async with chat(tmp_path, token="token-two.e30.c2ln") as (_, on):
        with pytest.raises(openai.APIStatusError, match="credential rejected") as caught:
            await on.ask(MODEL)
    assert caught.value.status_code == 502


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (Turn(error={"code": "internal", "message": "it is tired"}), "it is tired"),
        (Turn(cut=True), "ended before it was whole"),
        (Turn(raw=b"\0\0\0\1\0{"), "ended before it was whole"),
        (Turn(raw=b"\0\x7f\xff\xff\xff"), "larger than"),
        (Turn(raw=b"\1" + struct.pack(">I", 4) + b"\x1f\x8b\0\0"), "cannot be unpacked"),
        (Turn(raw=b"\1" + struct.pack(">I", 4) + b"\x28\xb5\x2f\xfd"), "not JSON"),
    ],
)
async def test_what_fails_in_the_midst_is_an_error_behind_the_text(
    tmp_path: Path, turn: Turn, words: str
) -> None:
    async with chat(tmp_path, turn) as (_, on):
        text, reason = await streamed(on, MODEL)
    assert text == "Good day."
    assert words in reason


async def test_what_fails_before_any_text_is_tried_again(tmp_path: Path) -> None:
    tired = Turn(pieces=(), error={"code": "unavailable", "message": "not now"})
    async with chat(tmp_path, tired, Turn()) as (service, on):
        assert await on.ask(MODEL) == "Good day."
    assert len(service.asked) == 2


def test_an_envelope_is_a_flag_a_length_and_json() -> None:
    assert envelope([1], 2) == b"\2\0\0\0\3[1]"
