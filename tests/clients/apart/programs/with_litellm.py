"""LiteLLM as a client of all three APIs: by `openai/`, by `openai/responses/`, by `anthropic/`."""

import json

import litellm
from suite import API_KEY, BASE_URL, CITIES, ERRORS, PERSON, QUESTION, TEXT
from suite import fails, has_all, joined, makes_objects, run_kinds, shown

litellm.suppress_debug_info = True
PLACES = {
    "openai": f"{BASE_URL}/v1",
    "openai/responses": f"{BASE_URL}/v1",
    "anthropic": BASE_URL,
}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
FORM = {
    "type": "json_schema",
    "json_schema": {
        "name": "person",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
            "required": ["name", "age"],
            "additionalProperties": False,
        },
    },
}


async def ask(kind, name, messages, **more):
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    return await litellm.acompletion(
        model=f"{kind}/{name}",
        api_base=PLACES[kind],
        api_key=API_KEY,
        messages=messages,
        max_retries=0,
        **more,
    )


def text_of(piece):
    return piece.choices[0].delta.content


async def message_of(answer):
    """Of a whole answer, or of its pieces."""
    if not hasattr(answer, "__aiter__"):
        return answer.choices[0].message
    pieces = [piece async for piece in answer]
    return litellm.stream_chunk_builder(pieces).choices[0].message


async def plain(kind, model, route):
    answer = await ask(kind, model("talk"), "hello")
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens == 19


async def stream(kind, model, route):
    assert await joined(await ask(kind, model("bytes"), "hello", stream=True), text_of) == TEXT


async def loop(kind, model, **how):
    turns = [{"role": "user", "content": QUESTION}]
    message = await message_of(await ask(kind, model("talk"), turns, tools=[TOOL], **how))
    calls = message.tool_calls
    assert [json.loads(call.function.arguments)["city"] for call in calls] == CITIES
    turns.append(message.model_dump(exclude_none=True))
    turns += [
        {"role": "tool", "tool_call_id": call.id, "content": f"21° in {city}"}
        for call, city in zip(calls, CITIES, strict=True)
    ]
    then = await message_of(await ask(kind, model("talk"), turns, tools=[TOOL], **how))
    has_all(then.content)


async def tools(kind, model, route):
    await loop(kind, model)


async def tools_streamed(kind, model, route):
    if kind == "openai/responses":
        return  # it runs the arguments of two calls together
    await loop(kind, model, stream=True)


async def an_object(kind, model, route):
    if makes_objects(route) and kind != "anthropic":
        answer = await ask(kind, model("talk"), "who?", response_format=FORM)
        assert json.loads(answer.choices[0].message.content) == PERSON


async def errors(kind, model, route):
    for status in ERRORS:
        error = await fails(ask(kind, model(f"error-{status}"), "hello"))
        assert getattr(error, "status_code", 0) == shown(status), (status, error)
        assert status == 401 or f"his is a {status}" in str(error), error


async def a_stream_that_fails(kind, model, route):
    if kind == "openai/responses":
        return  # it does not look at `response.failed`

    async def streamed(name):
        return await joined(await ask(kind, model(name), "hello", stream=True), text_of)

    for name in ("breaks", "cut"):
        await fails(streamed(name))


CASES = (plain, stream, tools, tools_streamed, an_object, errors, a_stream_that_fails)
run_kinds(PLACES, CASES)
