"""An upstream that makes jobs, through the official SDKs: whole and streamed, tools, failures."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest
import pytest_asyncio

from tests.faults.client import CLIENT_KEY
from tests.faults.stage import gateway
from tests.job_stub import BUSY, CUT, ROUTE, RUNNING, JobStub, Tell, Turns, done, job_stub

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "the weather", "parameters": SCHEMA},
}
ASK: Any = [{"role": "user", "content": "How is it in Paris?"}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[JobStub, str]]:
    async with job_stub() as stub:
        routes = {"jobs": ROUTE.format(url=stub.url)}
        async with gateway(tmp_path_factory.mktemp("gateway"), routes) as running:
            yield stub, f"http://127.0.0.1:{running.port}"


def chat(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=CLIENT_KEY, max_retries=0)


def messages(url: str) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=url, api_key=CLIENT_KEY, max_retries=0)


def weather(turns: Turns) -> list[Tell]:
    """A job that takes its time: it asks for the weather, then says what it was told."""
    if "<tool_result" in turns[-1]["content"]:
        said = turns[-1]["content"].partition(">\n")[2].partition("\n<")[0]
        return [RUNNING, done(f"They say: {said}")]
    call = {"name": "get_weather", "arguments": {"city": "Paris"}}
    assert "get_weather" in turns[0]["content"]
    text = f"One moment.\n<tool_call>{json.dumps(call)}</tool_call>"
    return [RUNNING, BUSY, CUT, RUNNING, done(text)]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_loop_over_jobs_with_the_openai_sdk(
    upstream: tuple[JobStub, str], stream: bool
) -> None:
    stub, url = upstream
    stub.script, turns = weather, list(ASK)
    before = len(stub.jobs)
    text, calls, reason = await spoken(chat(url), turns, stream)
    assert ("One moment.", "tool_calls") == (text.strip(), reason)
    assert [("get_weather", {"city": "Paris"})] == [(name, args) for _, name, args in calls]
    turns += [
        {
            "role": "assistant",
            "content": text,
            "tool_calls": [
                {
                    "id": ident,
                    "type": "function",
                    "function": {"name": name, "arguments": json.dumps(args)},
                }
                for ident, name, args in calls
            ],
        },
        {"role": "tool", "tool_call_id": calls[0][0], "content": "9 degrees"},
    ]
    assert ("They say: 9 degrees", [], "stop") == await spoken(chat(url), turns, stream)
    assert [5, 2] == [job.asked for job in stub.jobs[before:]]


async def spoken(
    client: openai.AsyncOpenAI, turns: list[Any], stream: bool
) -> tuple[str, list[tuple[str, str, Any]], str | None]:
    """Text, calls and the reason of the end, as the SDK has them."""
    if stream:
        async with client.chat.completions.stream(
            model="m", messages=turns, tools=[TOOL]
        ) as events:
            choice: Any = (await events.get_final_completion()).choices[0]
    else:
        whole = await client.chat.completions.create(model="m", messages=turns, tools=[TOOL])
        choice = whole.choices[0]
    calls = [
        (call.id, call.function.name, json.loads(call.function.arguments))
        for call in choice.message.tool_calls or []
    ]
    return choice.message.content or "", calls, choice.finish_reason


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_loop_over_jobs_with_the_anthropic_sdk(
    upstream: tuple[JobStub, str], stream: bool
) -> None:
    stub, url = upstream
    stub.script, turns, before = weather, list(ASK), len(stub.jobs)
    first = await said(messages(url), turns, stream)
    calls: list[Any] = [block for block in first.content if block.type == "tool_use"]
    assert ("tool_use", [{"city": "Paris"}]) == (first.stop_reason, [each.input for each in calls])
    assert 5 == first.usage.input_tokens
    result = {"type": "tool_result", "tool_use_id": calls[0].id, "content": "9 degrees"}
    turns += [{"role": "assistant", "content": first.content}]
    turns += [{"role": "user", "content": [result]}]
    last = await said(messages(url), turns, stream)
    texts = [block.text for block in last.content if block.type == "text"]
    assert (["They say: 9 degrees"], "end_turn") == (texts, last.stop_reason)
    assert [5, 2] == [job.asked for job in stub.jobs[before:]]


async def said(client: anthropic.AsyncAnthropic, turns: list[Any], stream: bool) -> Any:
    tool: Any = {"name": "get_weather", "description": "the weather", "input_schema": SCHEMA}
    if not stream:
        return await client.messages.create(model="m", max_tokens=900, messages=turns, tools=[tool])
    async with client.messages.stream(
        model="m", max_tokens=900, messages=turns, tools=[tool]
    ) as events:
        return await events.get_final_message()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_job_that_failed_is_an_error_of_the_openai_sdk(
    upstream: tuple[JobStub, str], stream: bool
) -> None:
    stub, url = upstream
    stub.script = lambda turns: [RUNNING, Tell(body={"state": "failed", "why": "out of memory"})]
    before = len(stub.jobs)
    with pytest.raises(openai.APIStatusError) as caught:
        await chat(url).chat.completions.create(model="m", messages=ASK, stream=stream)
    assert (caught.value.status_code, "out of memory") == (502, caught.value.body["message"])  # type: ignore[index]
    assert [(2, 0)] == [(job.asked, job.cancelled) for job in stub.jobs[before:]]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_job_that_is_refused_is_an_error_of_the_anthropic_sdk(
    upstream: tuple[JobStub, str], stream: bool
) -> None:
    stub, url = upstream
    stub.script = lambda turns: [Tell(body={"state": "blocked", "why": "not about this"})]
    with pytest.raises(anthropic.BadRequestError, match="not about this"):
        await messages(url).messages.create(model="m", max_tokens=9, messages=ASK, stream=stream)
