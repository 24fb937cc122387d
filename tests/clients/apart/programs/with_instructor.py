"""instructor on the Chat and the Messages API: answers in the form of a pydantic model."""

from collections.abc import Iterable

import instructor
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic import BaseModel
from suite import API_KEY, BASE_URL, CITIES, ERRORS, PERSON, QUESTION
from suite import fails, makes_objects, run, shown

CHAT = AsyncOpenAI(base_url=f"{BASE_URL}/v1", api_key=API_KEY, max_retries=0)
MESSAGES = AsyncAnthropic(base_url=BASE_URL, api_key=API_KEY, max_retries=0)
Mode = instructor.Mode


class Person(BaseModel):
    name: str
    age: int


class Weather(BaseModel):
    """The weather in a city."""

    city: str


def said(text):
    return [{"role": "user", "content": text}]


async def an_object(model, route):
    if makes_objects(route):
        client = instructor.from_openai(CHAT, mode=Mode.JSON_SCHEMA)
        asked = {"model": model("talk"), "response_model": Person, "messages": said("who?")}
        assert (await client.create(max_retries=0, **asked)).model_dump() == PERSON


async def an_object_in_pieces(model, route):
    if makes_objects(route):
        client = instructor.from_openai(CHAT, mode=Mode.JSON_SCHEMA)
        asked = {"model": model("bytes"), "response_model": Person, "messages": said("who?")}
        parts = [part async for part in client.create_partial(max_retries=0, **asked)]
        assert len(parts) > 1
        assert parts[-1].model_dump() == PERSON


async def one_call(model, route):
    client = instructor.from_openai(CHAT, mode=Mode.TOOLS)
    asked = {"response_model": Weather, "messages": said("weather?"), "parallel_tool_calls": False}
    got = await client.create(model=model("talk"), max_retries=0, **asked)
    assert got.city == CITIES[0]


async def parallel_calls(model, route):
    client = instructor.from_openai(CHAT, mode=Mode.PARALLEL_TOOLS)
    got = await client.create(
        model=model("talk"),
        response_model=Iterable[Weather],
        messages=said(QUESTION),
        max_retries=0,
    )
    assert [weather.city for weather in got] == CITIES


async def one_call_over_messages(model, route):
    if route in ("gemini", "ollama"):
        return  # which cannot be told to make one call at a time; instructor then refuses two
    client = instructor.from_anthropic(MESSAGES, mode=Mode.ANTHROPIC_TOOLS)
    got = await client.create(
        model=model("talk"),
        max_tokens=1000,
        response_model=Weather,
        messages=said("weather?"),
        max_retries=0,
    )
    assert got.city in CITIES


async def errors(model, route):
    client = instructor.from_openai(CHAT, mode=Mode.TOOLS)
    for status in ERRORS:
        error = await fails(
            client.create(
                model=model(f"error-{status}"),
                response_model=Weather,
                messages=said("weather?"),
                max_retries=0,
            )
        )
        assert f"Error code: {shown(status)}" in str(error), error
        assert status == 401 or f"his is a {status}" in str(error), error


run(an_object, an_object_in_pieces, one_call, parallel_calls, one_call_over_messages, errors)
