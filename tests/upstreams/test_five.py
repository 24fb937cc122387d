"""The five example routes, each asked by both official SDKs for the same things."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.upstreams.five import FIVE
from tests.upstreams.front import HELLO

SAID = "Héllo, 世界 👩‍👩‍👧"
EACH = pytest.mark.parametrize("name", FIVE)
STREAMED = pytest.mark.parametrize("stream", [False, True])


@EACH
@STREAMED
async def test_the_anthropic_sdk_gets_the_answer(tmp_path: Path, name: str, stream: bool) -> None:
    async with FIVE[name](tmp_path) as stand:
        stand.say(SAID)
        asked: Any = {"model": stand.model, "max_tokens": 999, "messages": HELLO}
        if stream:
            async with stand.on.anthropic.messages.stream(**asked) as events:
                pieces = [piece async for piece in events.text_stream]
                answer = await events.get_final_message()
            assert SAID == "".join(pieces)
        else:
            answer = await stand.on.anthropic.messages.create(**asked)
        assert SAID == "".join(block.text for block in answer.content if block.type == "text")
        assert ("assistant", stand.model, "end_turn") == (
            answer.role, answer.model, answer.stop_reason,
        )  # fmt: skip
        assert answer.usage.output_tokens > 0
        assert 1 == len(stand.asked())


@EACH
@STREAMED
async def test_the_openai_sdk_gets_the_answer(tmp_path: Path, name: str, stream: bool) -> None:
    async with FIVE[name](tmp_path) as stand:
        stand.say(SAID)
        asked: Any = {"model": stand.model, "messages": HELLO}
        if stream:
            async with stand.on.openai.chat.completions.stream(**asked) as events:
                choice: Any = (await events.get_final_completion()).choices[0]
        else:
            choice = (await stand.on.openai.chat.completions.create(**asked)).choices[0]
        assert (SAID, "stop") == (choice.message.content, choice.finish_reason)
        assert 1 == len(stand.asked())


@EACH
@STREAMED
async def test_a_refusal_is_the_error_of_each_sdk(tmp_path: Path, name: str, stream: bool) -> None:
    async with FIVE[name](tmp_path) as stand:
        stand.refuse()
        asked: Any = {"model": stand.model, "messages": HELLO, "stream": stream}
        with pytest.raises(anthropic.BadRequestError) as first:
            await stand.on.anthropic.messages.create(max_tokens=999, **asked)
        with pytest.raises(openai.BadRequestError) as second:
            await stand.on.openai.chat.completions.create(**asked)
        body: Any = first.value.body
        assert ("error", "invalid_request_error") == (body["type"], body["error"]["type"])
        assert stand.refusal in body["error"]["message"]
        assert stand.refusal in second.value.message
        assert "invalid_request_error" == second.value.type
        assert 2 == len(stand.asked())
