"""pydantic-ai on the Chat and the Responses API: agents with tools, streams, structured answers."""

from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from suite import API_KEY, BASE_URL, ERRORS, PERSON, QUESTION, TEXT
from suite import fails, has_all, makes_objects, run_kinds, shown

CLIENT = AsyncOpenAI(base_url=f"{BASE_URL}/v1", api_key=API_KEY, max_retries=0)
PROVIDER = OpenAIProvider(openai_client=CLIENT)
KINDS = {"chat": OpenAIChatModel, "responses": OpenAIResponsesModel}


class Person(BaseModel):
    name: str
    age: int


def agent(kind, name, **more):
    return Agent(KINDS[kind](name, provider=PROVIDER), **more)


def informed(kind, name):
    made = agent(kind, name)

    @made.tool_plain
    def weather(city: str) -> str:
        """The weather in a city."""
        return f"21° in {city}"

    return made


async def plain(kind, model, route):
    answer = await agent(kind, model("talk")).run("hello")
    assert answer.output == TEXT
    usage = answer.usage() if callable(answer.usage) else answer.usage
    assert usage.input_tokens == 19, usage


async def stream(kind, model, route):
    async with agent(kind, model("bytes")).run_stream("hello") as answer:
        pieces = [piece async for piece in answer.stream_text(delta=True)]
    assert "".join(pieces) == TEXT


async def tools(kind, model, route):
    has_all((await informed(kind, model("talk")).run(QUESTION)).output)


async def tools_streamed(kind, model, route):
    kinds = set()

    async def watch(context, events):
        async for event in events:
            kinds.add(type(event).__name__)

    made = informed(kind, model("talk"))
    has_all((await made.run(QUESTION, event_stream_handler=watch)).output)
    assert {"PartDeltaEvent", "FunctionToolResultEvent"} <= kinds, kinds


async def an_object(kind, model, route):
    if makes_objects(route):
        made = agent(kind, model("talk"), output_type=NativeOutput(Person))
        assert (await made.run("who?")).output == Person(**PERSON)


async def errors(kind, model, route):
    for status in ERRORS:
        error = await fails(agent(kind, model(f"error-{status}")).run("hello"))
        assert isinstance(error, ModelHTTPError), error
        assert error.status_code == shown(status)
        assert status == 401 or f"his is a {status}" in str(error.body), error.body


async def a_stream_that_fails(kind, model, route):
    if kind == "responses":
        return  # it does not look at `response.failed`

    async def streamed(name):
        async with agent(kind, model(name)).run_stream("hello") as answer:
            return [piece async for piece in answer.stream_text(delta=True)]

    for name in ("breaks", "cut"):
        await fails(streamed(name))


CASES = (plain, stream, tools, tools_streamed, an_object, errors, a_stream_that_fails)
run_kinds(KINDS, CASES)
