"""LangChain's three chat models over every upstream dialect."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, BaseMessageChunk, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from .everywhere import ERRORS, KEY, UPSTREAMS, World
from .openai_stub import CITIES, PERSON, TEXT

pytestmark = pytest.mark.asyncio(loop_scope="module")
CLIENTS = ("chat", "responses", "messages")
EVERYWHERE = pytest.mark.parametrize("upstream", UPSTREAMS)
BY_ALL = pytest.mark.parametrize("client", CLIENTS)
PNG = "iVBORw0KGgo="
SCHEMA = {
    "title": "weather",
    "description": "The weather in a city",
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}


def model(world: World, client: str, name: str, **more: Any) -> Any:
    """A chat model of LangChain that speaks a client dialect."""
    if client == "messages":
        return ChatAnthropic(
            model_name=name,
            base_url=world.url,
            api_key=SecretStr(KEY),
            max_retries=0,
            timeout=20,
            **more,
        )
    return ChatOpenAI(
        model=name, base_url=f"{world.url}/v1", api_key=SecretStr(KEY), max_retries=0, timeout=20,
        use_responses_api=client == "responses", stream_usage=True, **more,
    )  # fmt: skip


async def streamed(made: Any, given: Any) -> AIMessage:
    """An answer put together from its chunks."""
    whole: BaseMessageChunk | None = None
    async for chunk in made.astream(given):
        whole = chunk if whole is None else whole + chunk
    assert isinstance(whole, AIMessage)
    return whole


@BY_ALL
@EVERYWHERE
@pytest.mark.parametrize("name", ["talk", "bytes"])
async def test_text_and_usage(world: World, client: str, upstream: str, name: str) -> None:
    made = model(world, client, f"{upstream}.{name}")
    for answer in (await made.ainvoke("hello"), await streamed(made, "hello")):
        counts = answer.usage_metadata
        assert answer.text == TEXT
        assert counts is not None
        assert counts["input_tokens"] == 19
        assert counts["output_tokens"] > 0


@BY_ALL
@EVERYWHERE
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_parallel_calls_and_their_results(
    world: World, client: str, upstream: str, stream: bool
) -> None:
    made = model(world, client, f"{upstream}.talk").bind_tools([SCHEMA])
    turns: list[Any] = [HumanMessage("weather in Paris and Zürich")]
    first = await (streamed(made, turns) if stream else made.ainvoke(turns))
    assert [{"city": city} for city in CITIES] == [call["args"] for call in first.tool_calls]
    assert [] == first.invalid_tool_calls
    turns.append(first)
    turns += [ToolMessage(f"21° in {call['args']['city']}", tool_call_id=call["id"])
              for call in first.tool_calls]  # fmt: skip
    then = await (streamed(made, turns) if stream else made.ainvoke(turns))
    assert all(f"21° in {city}" in then.text for city in CITIES)
    assert [] == then.tool_calls


@EVERYWHERE
async def test_thinking(world: World, upstream: str) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    made = model(world, "messages", f"{upstream}.thinks", thinking=thinking, max_tokens=2000)
    answer = await streamed(made, "hello")
    assert answer.text == TEXT
    thoughts = [block for block in answer.content_blocks if block["type"] == "reasoning"]
    between = "\n\n" if upstream == "responses" else ""  # two parts of a summary
    assert f"well, {between}好" == "".join(block["reasoning"] for block in thoughts)


@BY_ALL
@EVERYWHERE
async def test_images(world: World, client: str, upstream: str) -> None:
    image: Any = {"type": "image", "base64": PNG, "mime_type": "image/png"}
    words: Any = {"type": "text", "text": "what is this?"}
    answer = await model(world, client, f"{upstream}.talk").ainvoke(
        [HumanMessage(content_blocks=[words, image])]
    )
    seen = f"data:image/png;base64,{PNG}" if upstream == "responses" else "of 8 bytes"
    assert seen in answer.text


@pytest.mark.parametrize("client", ["chat", "responses"])
@pytest.mark.parametrize("upstream", ["chat", "responses", "ollama"])
async def test_structured_answers(world: World, client: str, upstream: str) -> None:
    form = {
        "title": "person",
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    made = model(world, client, f"{upstream}.talk")
    found = await made.with_structured_output(form, method="json_schema").ainvoke("who?")
    assert {"name": "Žofia 王", "age": 34} == found, PERSON


# What a client gets for an upstream's status. 401 is about the gateway's credential, not about his.
SHOWN: dict[int, tuple[type[Exception], type[Exception]]] = {
    400: (openai.BadRequestError, anthropic.BadRequestError),
    401: (openai.InternalServerError, anthropic.InternalServerError),
    404: (openai.NotFoundError, anthropic.NotFoundError),
    429: (openai.RateLimitError, anthropic.RateLimitError),
    500: (openai.InternalServerError, anthropic.InternalServerError),
}


@BY_ALL
@EVERYWHERE
@pytest.mark.parametrize("status", ERRORS)
async def test_failures(world: World, client: str, upstream: str, status: int) -> None:
    made = model(world, client, f"{upstream}.error-{status}")
    for asked in (made.ainvoke("hello"), streamed(made, "hello")):
        with pytest.raises(SHOWN[status][client == "messages"]) as caught:
            await asked
        error: Any = caught.value
        if status != 401:
            assert f"his is a {status}" in str(error)
        if status == 429:
            assert error.response.headers["retry-after"] == "40"


@BY_ALL
@EVERYWHERE
@pytest.mark.parametrize("name", ["breaks", "cut"])
async def test_a_stream_that_fails_raises(
    world: World, client: str, upstream: str, name: str
) -> None:
    with pytest.raises((openai.APIError, anthropic.APIError, ValueError)):
        await streamed(model(world, client, f"{upstream}.{name}"), "hello")
