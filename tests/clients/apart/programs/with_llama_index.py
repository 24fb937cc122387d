"""LlamaIndex' model for services like OpenAI's: answers, streams, tools, structured answers."""

import openai
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
from suite import API_KEY, BASE_URL, CITIES, ERRORS, PERSON, QUESTION, TEXT
from suite import fails, has_all, joined, makes_objects, run, shown

HELLO = [ChatMessage(role="user", content="hello")]


class Person(BaseModel):
    name: str
    age: int


def weather(city: str) -> str:
    """The weather in a city."""
    return f"21° in {city}"


TOOL = FunctionTool.from_defaults(weather)


def made(name, **more):
    return OpenAILike(
        model=name,
        api_base=f"{BASE_URL}/v1",
        api_key=API_KEY,
        is_chat_model=True,
        is_function_calling_model=True,
        context_window=100_000,
        max_retries=0,
        **more,
    )


async def plain(model, route):
    answer = await made(model("talk")).achat(HELLO)
    assert answer.message.content == TEXT
    assert answer.raw.usage.prompt_tokens == 19


async def stream(model, route):
    pieces = await made(model("bytes")).astream_chat(HELLO)
    assert await joined(pieces, lambda piece: piece.delta) == TEXT


async def tools(model, route):
    llm = made(model("talk"))
    turns = [ChatMessage(role="user", content=QUESTION)]
    first = await llm.achat_with_tools([TOOL], chat_history=turns, allow_parallel_tool_calls=True)
    await finish(llm, turns, first.message, llm.get_tool_calls_from_response(first))


async def tools_streamed(model, route):
    llm = made(model("talk"))
    turns = [ChatMessage(role="user", content=QUESTION)]
    asked = {"chat_history": turns, "allow_parallel_tool_calls": True}
    pieces = [piece async for piece in await llm.astream_chat_with_tools([TOOL], **asked)]
    await finish(llm, turns, pieces[-1].message, llm.get_tool_calls_from_response(pieces[-1]))


async def finish(llm, turns, message, calls):
    assert [call.tool_kwargs["city"] for call in calls] == CITIES
    results = [
        ChatMessage(
            role="tool",
            content=weather(**call.tool_kwargs),
            additional_kwargs={"tool_call_id": call.tool_id},
        )
        for call in calls
    ]
    has_all((await llm.achat([*turns, message, *results])).message.content)


async def an_object(model, route):
    if makes_objects(route):
        llm = made(model("talk"), should_use_structured_outputs=True)
        answer = await llm.as_structured_llm(Person).achat(HELLO)
        assert answer.raw == Person(**PERSON)


async def errors(model, route):
    for status in ERRORS:
        error = await fails(made(model(f"error-{status}")).achat(HELLO))
        assert isinstance(error, openai.APIStatusError), error
        assert error.status_code == shown(status)
        assert status == 401 or f"his is a {status}" in str(error), error


async def a_stream_that_fails(model, route):
    async def streamed(name):
        pieces = await made(model(name)).astream_chat(HELLO)
        return await joined(pieces, lambda piece: piece.delta)

    for name in ("breaks", "cut"):
        await fails(streamed(name))


run(plain, stream, tools, tools_streamed, an_object, errors, a_stream_that_fails)
