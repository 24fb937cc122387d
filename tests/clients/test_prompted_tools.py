"""Tools on an upstream that speaks only text, through the official SDKs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.faults.client import CLIENT_KEY
from tests.faults.stage import gateway

from .text_stub import ROUTE, TextStub, Turns, text_stub

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
STYLES = ("xml", "json")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[TextStub, str]]:
    async with text_stub() as stub:
        routes = {
            f"plain-{style}": ROUTE.format(url=stub.url, style=style).replace(
                "[plain]", f"[{style}]"
            )
            for style in STYLES
        }
        async with gateway(tmp_path_factory.mktemp("gateway"), routes) as running:
            yield stub, f"http://127.0.0.1:{running.port}"


def weather(turns: Turns) -> str:
    """Asks for two cities at once, then says what it was told."""
    last = turns[-1]["content"]
    if "<tool_result" in last:
        return "They say: " + " and ".join(
            part.partition(">\n")[2].partition("\n<")[0] for part in last.split("<tool_result")[1:]
        )
    assert '"city"' in turns[0]["content"]
    calls = [{"name": "get_weather", "arguments": {"city": city}} for city in ("Paris", "Zürich")]
    if "```json" in turns[0]["content"]:
        return "One moment.\n```json\n" + json.dumps({"tool_calls": calls}) + "\n```"
    return "One moment.\n" + "\n".join(f"<tool_call>{json.dumps(c)}</tool_call>" for c in calls)


CHAT_TOOL: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "the weather", "parameters": SCHEMA},
}


@pytest.mark.rows("K2-26", "K2-27", "K2-28")
@pytest.mark.parametrize("style", STYLES)
async def test_a_tool_loop_with_the_openai_sdk(upstream: tuple[TextStub, str], style: str) -> None:
    stub, url = upstream
    stub.script = weather
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key=CLIENT_KEY, max_retries=0)
    messages: list[Any] = [{"role": "user", "content": "How is it in Paris and Zürich?"}]
    first = await client.chat.completions.create(model=style, messages=messages, tools=[CHAT_TOOL])
    choice = first.choices[0]
    calls: list[Any] = choice.message.tool_calls or []
    assert "tool_calls" == choice.finish_reason
    assert ["Paris", "Zürich"] == [json.loads(call.function.arguments)["city"] for call in calls]
    assert "One moment." == (choice.message.content or "").strip()
    messages.append(choice.message.model_dump(exclude_none=True))
    messages += [
        {"role": "tool", "tool_call_id": call.id, "content": f"{at} degrees"}
        for at, call in enumerate(calls)
    ]
    stream = await client.chat.completions.create(
        model=style, messages=messages, tools=[CHAT_TOOL], stream=True
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert "They say: 0 degrees and 1 degrees" == text
    assert "stop" == next(c.choices[0].finish_reason for c in reversed(chunks) if c.choices)


@pytest.mark.parametrize("style", STYLES)
async def test_a_streamed_tool_loop_with_the_anthropic_sdk(
    upstream: tuple[TextStub, str], style: str
) -> None:
    stub, url = upstream
    stub.script = weather
    client = AsyncAnthropic(base_url=url, api_key=CLIENT_KEY, max_retries=0)
    tool: Any = {"name": "get_weather", "description": "the weather", "input_schema": SCHEMA}
    messages: list[Any] = [{"role": "user", "content": "How is it in Paris and Zürich?"}]
    async with client.messages.stream(
        model=style, max_tokens=900, messages=messages, tools=[tool]
    ) as stream:
        first = await stream.get_final_message()
    calls: list[Any] = [block for block in first.content if block.type == "tool_use"]
    assert "tool_use" == first.stop_reason
    assert [{"city": "Paris"}, {"city": "Zürich"}] == [call.input for call in calls]
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": f"{at} degrees"}
        for at, call in enumerate(calls)
    ]
    messages += [{"role": "assistant", "content": first.content}]
    messages += [{"role": "user", "content": results}]
    last = await client.messages.create(
        model=style, max_tokens=900, messages=messages, tools=[tool]
    )
    assert "They say: 0 degrees and 1 degrees" == "".join(
        block.text for block in last.content if block.type == "text"
    )
    assert "end_turn" == last.stop_reason


async def test_a_choice_of_no_tool_offers_none(upstream: tuple[TextStub, str]) -> None:
    stub, url = upstream
    stub.script = lambda turns: '<tool_call>{"name":"get_weather","arguments":{}}</tool_call>'
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key=CLIENT_KEY, max_retries=0)
    answer = await client.chat.completions.create(
        model="xml",
        messages=[{"role": "user", "content": "Hi"}],
        tools=[CHAT_TOOL],
        tool_choice="none",
    )
    assert [{"role": "user", "content": "Hi"}] == stub.asked[-1]
    assert stub.script([]) == answer.choices[0].message.content
    assert "stop" == answer.choices[0].finish_reason
