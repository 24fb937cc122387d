"""The official OpenAI SDK for Python: straight at the stub, passed through and translated.

Whatever comes back is validated with the SDK's own models, strictly: the SDK itself never does.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from .openai_stub import CITIES, PERSON, PIECES, TEXT
from .ways import WAYS, Way

pytestmark = pytest.mark.asyncio(loop_scope="module")
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
THROUGH = WAYS[1:]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, all_ways: dict[str, Way]) -> Way:
    return all_ways[request.param]


@pytest_asyncio.fixture(loop_scope="module")
async def client(way: Way) -> AsyncIterator[AsyncOpenAI]:
    async with way.client() as made:
        yield made


def valid(reply: ChatCompletion) -> ChatCompletion:
    """The reply, after its exact JSON has passed the SDK's model."""
    ChatCompletion.model_validate_json(json.dumps(reply.to_dict()), strict=True)
    for choice in reply.to_dict()["choices"]:  # type: ignore[attr-defined] # it is a list
        assert {"index", "message", "finish_reason", "logprobs"} <= set(choice)
        assert {"role", "content", "refusal"} <= set(choice["message"])
    return reply


async def collected(stream: Any) -> list[ChatCompletionChunk]:
    """All chunks, each after its exact JSON has passed the SDK's model."""
    chunks: list[ChatCompletionChunk] = []
    async for chunk in stream:
        ChatCompletionChunk.model_validate_json(json.dumps(chunk.to_dict()), strict=True)
        for choice in chunk.to_dict()["choices"]:
            assert {"index", "delta", "finish_reason"} <= set(choice)
        chunks.append(chunk)
    assert 1 == len({(chunk.id, chunk.created, chunk.model) for chunk in chunks})
    return chunks


def text_of(chunks: Iterable[ChatCompletionChunk], index: int = 0) -> str:
    return "".join(
        choice.delta.content or ""
        for chunk in chunks
        for choice in chunk.choices
        if choice.index == index
    )


def finishes_of(chunks: Iterable[ChatCompletionChunk], index: int = 0) -> list[str]:
    return [
        choice.finish_reason
        for chunk in chunks
        for choice in chunk.choices
        if choice.index == index and choice.finish_reason
    ]


# ---- text ----


async def test_a_plain_answer(client: AsyncOpenAI, way: Way) -> None:
    reply = valid(await client.chat.completions.create(model=way.model("talk"), messages=HELLO))
    message = reply.choices[0].message
    assert ("assistant", TEXT, "stop") == (
        message.role, message.content, reply.choices[0].finish_reason
    )  # fmt: skip
    assert reply.usage is not None
    assert (19, len(TEXT)) == (reply.usage.prompt_tokens, reply.usage.completion_tokens)
    assert reply.usage.prompt_tokens_details is not None
    assert 3 == reply.usage.prompt_tokens_details.cached_tokens


@pytest.mark.parametrize("model", ["talk", "bytes"])
async def test_a_stream(client: AsyncOpenAI, way: Way, model: str) -> None:
    chunks = await collected(
        await client.chat.completions.create(model=way.model(model), messages=HELLO, stream=True)
    )
    assert (TEXT, ["stop"]) == (text_of(chunks), finishes_of(chunks))
    assert "assistant" == chunks[0].choices[0].delta.role
    assert [None] * len(chunks) == [chunk.usage for chunk in chunks]
    assert all(chunk.choices for chunk in chunks)


async def test_usage_in_a_stream(client: AsyncOpenAI, way: Way) -> None:
    chunks = await collected(
        await client.chat.completions.create(
            model=way.model("talk"),
            messages=HELLO,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *others, last = chunks
    assert [] == last.choices
    assert last.usage is not None
    assert (19, len(TEXT)) == (last.usage.prompt_tokens, last.usage.completion_tokens)
    assert [None] * len(others) == [chunk.usage for chunk in others]
    assert all("usage" in chunk.to_dict() for chunk in others)


async def test_no_usage_where_it_is_not_wanted(client: AsyncOpenAI, way: Way) -> None:
    chunks = await collected(
        await client.chat.completions.create(
            model=way.model("talk"),
            messages=HELLO,
            stream=True,
            stream_options={"include_usage": False},
        )
    )
    assert (TEXT, [None]) == (text_of(chunks), list({chunk.usage for chunk in chunks}))


async def test_the_stream_helper(client: AsyncOpenAI, way: Way) -> None:
    async with client.chat.completions.stream(model=way.model("talk"), messages=HELLO) as stream:
        deltas = [event.delta async for event in stream if event.type == "content.delta"]
    final = await stream.get_final_completion()
    assert TEXT == "".join(deltas) == final.choices[0].message.content
    assert "stop" == final.choices[0].finish_reason


async def test_fifty_streams_at_once(client: AsyncOpenAI, way: Way) -> None:
    async def one(at: int) -> str:
        tool: list[Any] = [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "a", "content": f"流 {at} 👩‍👩‍👧"},
        ]  # fmt: skip
        stream = await client.chat.completions.create(
            model=way.model("bytes"), messages=tool, stream=True
        )
        return text_of(await collected(stream))

    found = await asyncio.gather(*(one(at) for at in range(50)))
    assert [f"流 {at} 👩‍👩‍👧" for at in range(50)] == found


async def test_the_synchronous_client(way: Way) -> None:
    def talk() -> tuple[str | None, str]:
        with OpenAI(base_url=way.url, api_key=way.key, max_retries=0) as client:
            whole = client.chat.completions.create(model=way.model("talk"), messages=HELLO)
            stream = client.chat.completions.create(
                model=way.model("talk"), messages=HELLO, stream=True
            )
            return valid(whole).choices[0].message.content, text_of(stream)

    assert (TEXT, TEXT) == await asyncio.to_thread(talk)


@pytest.mark.parametrize("way", ["translated"], indirect=True)
async def test_thoughts_in_tags_become_reasoning(client: AsyncOpenAI, way: Way) -> None:
    whole = await client.chat.completions.create(model=way.model("thinks"), messages=HELLO)
    said = valid(whole).choices[0].message
    assert (TEXT, "well, 好") == (said.content, said.to_dict()["reasoning_content"])
    chunks = await collected(
        await client.chat.completions.create(model=way.model("thinks"), messages=HELLO, stream=True)
    )
    thoughts = [chunk.choices[0].delta.to_dict().get("reasoning_content") for chunk in chunks]
    assert (TEXT, "well, 好") == (text_of(chunks), "".join(str(part) for part in thoughts if part))


# ---- tools, structure, images ----


def _called(message: Any) -> list[tuple[str, object]]:
    return [
        (call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls
    ]


EXPECTED = [("weather", {"city": city}) for city in CITIES]


async def test_parallel_tool_calls_and_their_results(client: AsyncOpenAI, way: Way) -> None:
    first = valid(
        await client.chat.completions.create(
            model=way.model("talk"), messages=HELLO, tools=[WEATHER], tool_choice="auto"
        )
    )
    message = first.choices[0].message
    assert "tool_calls" == first.choices[0].finish_reason
    assert EXPECTED == _called(message)
    results: list[Any] = [
        {"role": "tool", "tool_call_id": call.id, "content": f"21° {call.id}"}
        for call in message.tool_calls or ()
    ]
    second = valid(
        await client.chat.completions.create(
            model=way.model("talk"),
            messages=[*HELLO, message.to_dict(), *results],  # type: ignore[list-item] # as dict
            tools=[WEATHER],
        )
    )
    ids = [call.id for call in message.tool_calls or ()]
    assert "; ".join(f"21° {ident}" for ident in ids) == second.choices[0].message.content


async def test_one_tool_call_at_a_time(client: AsyncOpenAI, way: Way) -> None:
    reply = await client.chat.completions.create(
        model=way.model("talk"), messages=HELLO, tools=[WEATHER], parallel_tool_calls=False
    )
    assert EXPECTED[:1] == _called(valid(reply).choices[0].message)


async def test_arguments_in_a_stream(client: AsyncOpenAI, way: Way) -> None:
    chunks = await collected(
        await client.chat.completions.create(
            model=way.model("bytes"), messages=HELLO, tools=[WEATHER], stream=True
        )
    )
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for chunk in chunks:
        for call in chunk.choices[0].delta.tool_calls or ():
            assert call.function is not None
            if call.id:
                assert call.index not in names, "an id twice"
                names[call.index] = call.function.name or ""
            known = arguments.get(call.index, "")
            arguments[call.index] = known + (call.function.arguments or "")
    found = [(names[at], json.loads(arguments[at])) for at in sorted(names)]
    assert (EXPECTED, ["tool_calls"]) == (found, finishes_of(chunks))


async def test_arguments_through_the_stream_helper(client: AsyncOpenAI, way: Way) -> None:
    async with client.chat.completions.stream(
        model=way.model("talk"), messages=HELLO, tools=[WEATHER]
    ) as stream:
        final = await stream.get_final_completion()
    calls = final.choices[0].message.tool_calls or []
    assert [{"city": city} for city in CITIES] == [call.function.parsed_arguments for call in calls]


class Person(BaseModel):
    name: str
    age: int


async def test_structured_output(client: AsyncOpenAI, way: Way) -> None:
    reply = await client.chat.completions.parse(
        model=way.model("talk"), messages=HELLO, response_format=Person
    )
    assert Person.model_validate_json(PERSON) == reply.choices[0].message.parsed
    async with client.chat.completions.stream(
        model=way.model("talk"), messages=HELLO, response_format=Person
    ) as stream:
        final = await stream.get_final_completion()
    assert Person.model_validate_json(PERSON) == final.choices[0].message.parsed


async def test_images(client: AsyncOpenAI, way: Way) -> None:
    data = base64.b64encode(bytes(range(256)) * 4000).decode()
    parts: Any = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "image_url", "image_url": {"url": "https://x.example/a.png?b=c", "detail": "low"}},
    ]
    reply = await client.chat.completions.create(
        model=way.model("talk"), messages=[{"role": "user", "content": parts}]
    )
    expected = "image/png of 1024000 bytes, auto; an image at https://x.example/a.png?b=c, low"
    assert expected == valid(reply).choices[0].message.content


async def test_log_probabilities(client: AsyncOpenAI, way: Way) -> None:
    reply = await client.chat.completions.create(
        model=way.model("talk"), messages=HELLO, logprobs=True, top_logprobs=1
    )
    found = valid(reply).choices[0].logprobs
    assert found is not None
    assert list(PIECES) == [token.token for token in found.content or ()]
    chunks = await collected(
        await client.chat.completions.create(
            model=way.model("talk"), messages=HELLO, logprobs=True, top_logprobs=1, stream=True
        )
    )
    told = [chunk.choices[0].logprobs for chunk in chunks if chunk.choices]
    assert list(PIECES) == [token.token for part in told if part for token in part.content or ()]


@pytest.mark.parametrize("way", ["direct", "passed"], indirect=True)
async def test_two_choices(client: AsyncOpenAI, way: Way) -> None:
    reply = await client.chat.completions.create(model=way.model("talk"), messages=HELLO, n=2)
    assert [TEXT, TEXT] == [choice.message.content for choice in valid(reply).choices]
    chunks = await collected(
        await client.chat.completions.create(
            model=way.model("talk"), messages=HELLO, n=2, stream=True
        )
    )
    for index in (0, 1):
        assert (TEXT, ["stop"]) == (text_of(chunks, index), finishes_of(chunks, index))


async def test_two_choices_are_refused_where_they_would_be_lost(all_ways: dict[str, Way]) -> None:
    way = all_ways["translated"]
    with pytest.raises(openai.BadRequestError) as caught:
        await way.client().chat.completions.create(model=way.model("talk"), messages=HELLO, n=2)
    assert "n" == caught.value.param


EVERYTHING: dict[str, Any] = {
    "temperature": 0.3,
    "top_p": 0.9,
    "stop": ["END", "完"],
    "seed": 2**62,
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "logit_bias": {"50256": -100},
    "max_completion_tokens": 77,
    "user": "user-1",
    "metadata": {"project": "ünïcode"},
    "store": False,
    "service_tier": "auto",
    "reasoning_effort": "low",
    "verbosity": "low",
    "prompt_cache_key": "key-1",
    "tools": [WEATHER],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "parallel_tool_calls": True,
    "messages": [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "name": "Ann", "content": [{"type": "text", "text": "hi "}]},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "and?"},
    ],
}


async def test_every_field_arrives_as_it_was_sent(client: AsyncOpenAI, way: Way) -> None:
    valid(await client.chat.completions.create(model=way.model("talk"), **EVERYTHING))
    sent = {**EVERYTHING, "model": "talk"}
    came = way.stub.requests[-1]
    assert sent == {name: came.get(name) for name in sent}
    assert {} == {name: came[name] for name in set(came) - set(sent) if came[name]}


# ---- errors ----

CLASSES: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    404: openai.NotFoundError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}


@pytest.mark.parametrize("status", CLASSES)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_an_error_has_its_class(
    client: AsyncOpenAI, way: Way, status: int, stream: bool
) -> None:
    with pytest.raises(CLASSES[status]) as caught:
        await client.chat.completions.create(
            model=way.model(f"error-{status}"), messages=HELLO, stream=stream
        )
    assert f"This is a {status}." in caught.value.message
    assert isinstance(caught.value.type, str)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("way", THROUGH, indirect=True)
async def test_the_gateways_own_credential_is_not_the_clients(
    client: AsyncOpenAI, way: Way, status: int
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        await client.chat.completions.create(model=way.model(f"error-{status}"), messages=HELLO)
    assert 502 == caught.value.status_code


async def test_waiting_times_reach_the_client(client: AsyncOpenAI, way: Way) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model=way.model("error-429"), messages=HELLO)
    assert "40" == caught.value.response.headers["retry-after"]
    assert "rate_limit_exceeded" == caught.value.code


async def test_what_a_request_lacks_is_told(client: AsyncOpenAI, way: Way) -> None:
    orphan: Any = {"role": "tool", "tool_call_id": "none", "content": "21"}
    with pytest.raises(openai.BadRequestError, match="must be a response to a preceding"):
        await client.chat.completions.create(model=way.model("talk"), messages=[*HELLO, orphan])


async def test_the_parameter_at_fault_is_named(
    client: AsyncOpenAI, way: Way, request: pytest.FixtureRequest
) -> None:
    if way.name != "direct":
        reason = "an error's `param` is not kept: ExchangeError has no place for it"
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model=way.model("talk"), messages=HELLO, temperature=7)
    assert "temperature" == caught.value.param


@pytest.mark.parametrize("way", THROUGH, indirect=True)
async def test_the_sdk_does_not_multiply_attempts(client: AsyncOpenAI, way: Way) -> None:
    before = len(way.stub.requests)
    with pytest.raises(openai.InternalServerError):
        await client.with_options(max_retries=5).chat.completions.create(
            model=way.model("error-500"), messages=HELLO
        )
    assert 2 == len(way.stub.requests) - before


@pytest.mark.parametrize("model", ["breaks", "cut"])
async def test_a_stream_that_fails_raises(client: AsyncOpenAI, way: Way, model: str) -> None:
    stream = await client.chat.completions.create(
        model=way.model(model), messages=HELLO, stream=True
    )
    chunks: list[ChatCompletionChunk] = []

    async def read() -> None:
        async for chunk in stream:
            chunks.append(chunk)  # noqa: PERF401 (what came before the error counts)

    with pytest.raises(Exception) as caught:  # noqa: PT011 (straight at the stub a cut is none of the SDK's)
        await read()
    assert text_of(chunks)
    assert TEXT.startswith(text_of(chunks))
    assert [] == finishes_of(chunks)
    if way.name != "direct":
        assert isinstance(caught.value, openai.APIError)
        assert isinstance(caught.value.type, str)


async def test_a_wrong_key_is_an_authentication_error(client: AsyncOpenAI, way: Way) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        await client.with_options(api_key="wrong-key-000000").chat.completions.create(
            model=way.model("talk"), messages=HELLO
        )
    assert "invalid_api_key" == caught.value.code


async def test_an_unknown_model_is_not_found(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="no-such-model", messages=HELLO)
    assert "model_not_found" == caught.value.code


async def test_leaving_a_stream_ends_it_upstream(client: AsyncOpenAI, way: Way) -> None:
    stream = await client.chat.completions.create(
        model=way.model("forever"), messages=HELLO, stream=True
    )
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()
    left = time.monotonic()
    while way.stub.open_streams:
        assert time.monotonic() - left < 1, "the upstream's stream is still open"
        await asyncio.sleep(0.02)


# ---- models ----


async def test_the_models_list(client: AsyncOpenAI, way: Way) -> None:
    listed = [model async for model in client.models.list()]
    for model in listed:
        Model.model_validate_json(json.dumps(model.to_dict()), strict=True)
    assert way.model("talk") in [model.id for model in listed]
    assert len(listed) == len({model.id for model in listed})


async def test_one_model(client: AsyncOpenAI, way: Way) -> None:
    assert way.model("talk") == (await client.models.retrieve(way.model("talk"))).id
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("no-such-model")
