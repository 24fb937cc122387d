"""The Responses API over every upstream dialect, and other clients over a Responses upstream: the
official SDKs, a real gateway, and stubs that refuse what the APIs refuse."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
import pytest_asyncio
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from openai.types.responses import ResponseItemList
from pydantic import BaseModel

from tests.faults.client import CLIENT_KEY
from tests.faults.stage import gateway
from tests.grammar import check_responses_stream
from tests.specs import check_response

from . import anthropic_stub, openai_stub, responses_stub
from .openai_stub import CITIES, TEXT
from .responses_stub import SECRET

pytestmark = pytest.mark.asyncio(loop_scope="module")
ROUTES = ("chat", "messages", "responses", "responses_passed")
EVERYWHERE = pytest.mark.parametrize("route", ROUTES)
TRANSLATED = pytest.mark.parametrize("route", ROUTES[:3])
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
DATA = "data:image/png;base64,iVBORw0KGgo="
WEATHER: Any = {
    "type": "function", "name": "weather", "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                   "required": ["city"], "additionalProperties": False},
}  # fmt: skip
_HEAD = """\
version: 1
extends: {preset}
base_url: "{url}"
auth: {{ {auth} }}
retry: {{ attempts: 2, backoff: {{ initial: 10ms, max: 20ms }} }}
timeouts: {{ total: 15s }}
{lines}
models: [{models}]
"""
OTHER_KEY = "client-key-of-somebody-else-91"


@dataclass(slots=True)
class World:
    """A gateway in front of three stubs."""

    url: str
    stubs: dict[str, Any]
    openai: AsyncOpenAI
    anthropic: AsyncAnthropic

    def sent(self, route: str) -> dict[str, Any]:
        """The last body that the route's upstream got."""
        found: dict[str, Any] = self.stubs[route.partition("_")[0]].requests[-1]
        return found


@asynccontextmanager
async def world(home: Path) -> AsyncIterator[World]:
    async with (
        openai_stub.openai_stub() as chat,
        anthropic_stub.anthropic_stub() as messages,
        responses_stub.responses_stub() as responses,
    ):
        stubs: dict[str, Any] = {"chat": chat, "messages": messages, "responses": responses}
        async with gateway(home, {name: _route(name, stubs) for name in ROUTES}) as running:
            url = f"http://127.0.0.1:{running.port}"
            one = AsyncOpenAI(base_url=f"{url}/v1", api_key=CLIENT_KEY, max_retries=0, timeout=20)
            two = AsyncAnthropic(base_url=url, api_key=CLIENT_KEY, max_retries=0, timeout=20)
            async with one, two:
                yield World(url, stubs, one, two)


def _route(name: str, stubs: dict[str, Any]) -> str:
    kind, _, passed = name.partition("_")
    preset, module, path = {
        "chat": ("openai", openai_stub, ""),
        "messages": ("anthropic", anthropic_stub, "/v1"),
        "responses": ("openai-responses", responses_stub, ""),
    }[kind]
    key: str = module.UPSTREAM_KEY
    auth = f'header: {{ x-api-key: "{key}" }}' if kind == "messages" else f'bearer: "{key}"'
    known: tuple[str, ...] = module.MODELS
    models = ", ".join(f'{{ id: "{name}.{model}", upstream: "{model}" }}' for model in known)
    lines = "" if passed else "transforms: [think_tags]"
    url = stubs[kind].url + path
    return _HEAD.format(preset=preset, url=url, auth=auth, lines=lines, models=models)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("gateway")) as made:
        yield made


async def ask(served: World, model: str, stream: bool, given: Any = "hello", **fields: Any) -> Any:
    """A response, valid by all that is published of it."""
    if not stream:
        answer = await served.openai.responses.create(model=model, input=given, **fields)
    else:
        async with served.openai.responses.stream(model=model, input=given, **fields) as made:
            async for _ in made:
                pass
            answer = await made.get_final_response()
    if "responses" not in model:  # the stub's own answers are not ours
        check_response({**answer.to_dict(), "output": items_of(answer)})
    return answer


def items_of(answer: Any) -> list[dict[str, Any]]:
    """The items as they came: what the SDK adds to a parsed answer stays behind."""
    items = [item.to_dict() for item in answer.output]
    for item in items:
        item.pop("parsed_arguments", None)
        for part in item.get("content") or ():
            part.pop("parsed", None)
    return items


def calls_of(answer: Any) -> list[Any]:
    return [item for item in answer.output if item.type == "function_call"]


@EVERYWHERE
@STREAMS
@pytest.mark.parametrize("model", ["talk", "bytes"])
async def test_text_and_usage(served: World, route: str, stream: bool, model: str) -> None:
    answer = await ask(served, f"{route}.{model}", stream)
    counts = answer.usage
    assert (TEXT, "completed") == (answer.output_text, answer.status)
    assert (19, 3, len(TEXT), 2, 19 + len(TEXT)) == (
        counts.input_tokens, counts.input_tokens_details.cached_tokens, counts.output_tokens,
        counts.output_tokens_details.reasoning_tokens, counts.total_tokens,
    )  # fmt: skip


@TRANSLATED
async def test_the_bytes_of_a_stream_obey_the_grammar(served: World, route: str) -> None:
    headers = {"Authorization": f"Bearer {CLIENT_KEY}"}
    async with aiohttp.ClientSession(served.url, headers=headers) as session:
        for model, more in (("talk", {}), ("thinks", {}), ("talk", {"tools": [WEATHER]})):
            body = {"model": f"{route}.{model}", "input": "hello", "stream": True, **more}
            async with session.post("/v1/responses", json=body) as answer:
                assert "text/event-stream" == answer.content_type
                check_responses_stream(await answer.read())


@EVERYWHERE
@STREAMS
@pytest.mark.parametrize("model", ["talk", "thinks"])
async def test_parallel_calls_and_their_results(
    served: World, route: str, stream: bool, model: str
) -> None:
    fields: dict[str, Any] = {
        "tools": [WEATHER], "store": False, "include": ["reasoning.encrypted_content"],
        "reasoning": {"summary": "auto"},
    }  # fmt: skip
    turns: list[Any] = [{"role": "user", "content": "hello"}]
    first = await ask(served, f"{route}.{model}", stream, turns, **fields)
    calls = calls_of(first)
    assert [("weather", {"city": city}) for city in CITIES] == [
        (call.name, json.loads(call.arguments)) for call in calls
    ]
    turns += items_of(first)
    turns += [
        {"type": "function_call_output", "call_id": call.call_id,
         "output": json.loads(call.arguments)["city"]}
        for call in reversed(calls)
    ]  # fmt: skip
    then = await ask(served, f"{route}.{model}", stream, turns, **fields)
    assert sorted(CITIES) == sorted(then.output_text.split("; "))


@EVERYWHERE
async def test_one_call_at_a_time(served: World, route: str) -> None:
    fields: dict[str, Any] = {"tools": [WEATHER], "parallel_tool_calls": False}
    assert 1 == len(calls_of(await ask(served, f"{route}.talk", False, **fields)))


@TRANSLATED
@STREAMS
async def test_thinking_in_full_and_as_a_summary(served: World, route: str, stream: bool) -> None:
    asked: Any = {"summary": "auto"}
    answer = await ask(served, f"{route}.thinks", stream, reasoning=asked)
    thought = answer.output[0]
    assert ("reasoning", TEXT) == (thought.type, answer.output_text)
    assert "well, 好" == "".join(part.text for part in thought.summary)
    if route == "responses":
        return
    answer = await ask(served, f"{route}.thinks", stream)
    assert "well, 好" == answer.output[0].content[0].text


async def test_a_signature_travels_through_the_client(served: World) -> None:
    name = "messages.thinks"
    first = await ask(served, name, False, reasoning={"summary": "auto"}, store=False)
    turns: list[Any] = [{"role": "user", "content": "hello"}]
    turns += [*(item.to_dict() for item in first.output), {"role": "user", "content": "more"}]
    await ask(served, name, False, turns)
    thought = served.sent("messages")["messages"][1]["content"][0]
    expected = {"type": "thinking", "thinking": "well, 好", "signature": anthropic_stub.SIGNATURE}
    assert expected == thought


@EVERYWHERE
@pytest.mark.parametrize("url", [DATA, "https://example.com/a.png"])
async def test_images(served: World, route: str, url: str) -> None:
    content = [{"type": "input_text", "text": "what is this?"},
               {"type": "input_image", "image_url": url, "detail": "low"}]  # fmt: skip
    given = [{"role": "user", "content": content[::-1] if route == "messages" else content}]
    answer = await ask(served, f"{route}.talk", False, given)
    known = url if url != DATA or route.startswith("responses") else "image/png of 8 bytes"
    assert known in answer.output_text


class Person(BaseModel):
    name: str
    age: int


@pytest.mark.parametrize("route", ["chat", "responses", "responses_passed"])
async def test_an_answer_that_is_parsed(served: World, route: str) -> None:
    answer = await served.openai.responses.parse(
        model=f"{route}.talk", input="who?", text_format=Person
    )
    assert Person(name="Žofia 王", age=34) == answer.output_parsed


async def test_the_format_of_an_answer_goes_to_messages(served: World) -> None:
    schema: Any = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"],
                   "additionalProperties": False}  # fmt: skip
    form: Any = {"type": "json_schema", "name": "p", "schema": schema, "strict": True}
    await ask(served, "messages.talk", False, text={"format": form})
    expected = {"type": "json_schema", "schema": schema}
    assert expected == served.sent("messages")["output_config"]["format"]


@TRANSLATED
@STREAMS
async def test_row_22_a_custom_tool(served: World, route: str, stream: bool) -> None:
    tool: Any = {"type": "custom", "name": "weather", "description": "d"}
    answer = await ask(served, f"{route}.talk", stream, tools=[tool])
    found = [item for item in answer.output if item.type == "custom_tool_call"]
    assert ["weather", "weather"] == [item.name for item in found]
    cities = [*CITIES] if route == "responses" else [json.dumps({"city": c}, ensure_ascii=False)
                                                     for c in CITIES]  # fmt: skip
    said = [item.input for item in found]
    assert cities == said if route != "messages" else len(said) == 2


async def test_tools_of_a_namespace_and_of_the_provider(served: World) -> None:
    space: Any = {"type": "namespace", "name": "city", "description": "d", "tools": [WEATHER]}
    search: Any = {"type": "web_search"}
    made = await served.openai.responses.with_raw_response.create(
        model="chat.talk", input="hello", tools=[space, search]
    )
    assert "tools.web_search" == made.headers["x-penstock-dropped"]
    answer: Any = made.parse()
    check_response(answer.to_dict())
    assert {("city", "weather")} == {(call.namespace, call.name) for call in calls_of(answer)}
    assert "city__weather" == served.sent("chat")["tools"][0]["function"]["name"]
    with pytest.raises(openai.BadRequestError, match="web_search"):
        await ask(served, "chat.talk", False, tools=[search], tool_choice=search)


# ---- kept answers ----


@pytest.mark.rows("TR-26")
@EVERYWHERE
@STREAMS
async def test_row_26_a_conversation_goes_on(served: World, route: str, stream: bool) -> None:
    model = f"{route}.talk"
    first = await ask(served, model, stream, "one", instructions="Be brief.")
    second = await ask(served, model, stream, "two", previous_response_id=first.id)
    assert first.id == second.previous_response_id
    third = await ask(served, model, stream, "recall", previous_response_id=second.id)
    sent = served.sent(route)
    if route == "responses_passed":
        assert "one | two | recall" == third.output_text
        assert second.id == sent["previous_response_id"]
        return
    assert "Be brief." not in json.dumps(sent)
    turns = sent["input"] if route == "responses" else sent["messages"]
    assert ["user", "assistant"] * 2 + ["user"] == [turn["role"] for turn in turns]
    assert "previous_response_id" not in sent


@TRANSLATED
async def test_a_conversation_goes_on_after_calls(served: World, route: str) -> None:
    model, tools = f"{route}.thinks", [WEATHER]
    first = await ask(served, model, True, tools=tools)
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": call.name}
               for call in calls_of(first)]  # fmt: skip
    then = await ask(served, model, True, results, tools=tools, previous_response_id=first.id)
    assert "weather; weather" == then.output_text


@EVERYWHERE
async def test_an_unknown_answer_cannot_be_gone_on_from(served: World, route: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await ask(served, f"{route}.talk", False, previous_response_id="resp_none")
    assert "previous_response_not_found" == caught.value.code
    assert "previous_response_id" == caught.value.param or route == "responses_passed"


async def test_an_answer_that_is_not_to_be_kept_is_not(served: World) -> None:
    first = await ask(served, "chat.talk", False, store=False)
    with pytest.raises(openai.BadRequestError):
        await ask(served, "chat.talk", False, previous_response_id=first.id)
    with pytest.raises(openai.NotFoundError):
        await served.openai.responses.retrieve(first.id)


@STREAMS
async def test_an_answer_is_read_listed_and_deleted(served: World, stream: bool) -> None:
    client = served.openai.responses
    first = await ask(served, "chat.talk", stream, "one")
    given = [{"role": "user", "content": "two"}, {"role": "user", "content": "three"}]
    second = await ask(served, "chat.talk", stream, given, previous_response_id=first.id)
    read = await client.retrieve(second.id)
    check_response(read.to_dict())
    assert (second.id, TEXT) == (read.id, read.output_text)
    with pytest.raises(openai.BadRequestError, match="whole"):  # not a stream without an event
        await client.retrieve(second.id, stream=True)
    listed: Any = await client.input_items.list(second.id, order="asc")
    ResponseItemList.model_validate_json(json.dumps(listed.to_dict()))
    assert ["one", TEXT, "two", "three"] == [item.content[0].text for item in listed.data]
    assert 4 == len({item.id for item in listed.data})
    pages = [item.id async for item in client.input_items.list(second.id, limit=1)]
    assert [item.id for item in listed.data[::-1]] == pages
    await client.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        await client.retrieve(second.id)
    with pytest.raises(openai.NotFoundError):
        await client.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        await client.input_items.list(second.id)
    await client.retrieve(first.id)
    with pytest.raises(openai.BadRequestError, match="complete"):
        await client.cancel(first.id)
    with pytest.raises(openai.BadRequestError, match="limit"):
        await client.input_items.list(first.id, limit=1000)


async def test_tokens_are_counted_by_an_estimate(served: World) -> None:
    counted = await served.openai.responses.input_tokens.count(
        model="chat.talk", input="word " * 1000
    )
    assert "response.input_tokens" == counted.object
    assert 1000 < counted.input_tokens < 3000


# ---- errors ----


@EVERYWHERE
@STREAMS
@pytest.mark.parametrize(
    ("status", "shown", "code"),
    [(400, 400, None), (404, 404, "model_not_found"), (429, 429, "rate_limit_exceeded"),
     (500, 502, "bad_gateway")],
)  # fmt: skip
async def test_failures(
    served: World, route: str, status: int, shown: int, code: str | None, stream: bool
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await ask(served, f"{route}.error-{status}", stream)
    error: Any = caught.value
    assert shown == error.status_code
    assert f"This is a {status}." in error.message
    assert {"message", "type", "param", "code"} == set(error.body)
    assert code is None or code == error.code
    if status == 429:
        assert "40" == error.response.headers["retry-after"]


@EVERYWHERE
@pytest.mark.parametrize("model", ["breaks", "cut"])
async def test_a_stream_that_fails_ends_with_an_error(
    served: World, route: str, model: str
) -> None:
    made = await served.openai.responses.create(model=f"{route}.{model}", input="a", stream=True)
    events = [event async for event in made]
    last: Any = events[-1]
    assert "response.failed" == last.type
    assert last.response.error.code == "server_error"
    ids = {event.response.id for event in events if hasattr(event, "response")}
    assert 1 == len(ids)


async def test_a_wrong_key_and_an_unknown_model(served: World) -> None:
    with pytest.raises(openai.NotFoundError):
        await ask(served, "no-such-model", False)
    made = served.openai.with_options(api_key="wrong")
    with pytest.raises(openai.AuthenticationError):
        await made.responses.create(model="chat.talk", input="a")
    with pytest.raises(openai.AuthenticationError):
        await made.responses.retrieve("resp_1")


# ---- other clients over a Responses upstream ----

CHAT_TOOL: Any = {"type": "function",
                  "function": {"name": "weather", "parameters": WEATHER["parameters"]}}  # fmt: skip


@STREAMS
async def test_a_chat_client(served: World, stream: bool) -> None:
    create: Any = served.openai.chat.completions.create
    turns: list[Any] = [{"role": "system", "content": "Be brief."},
                        {"role": "user", "content": "hello"}]  # fmt: skip
    if stream:
        text = ""
        async for chunk in await create(model="responses.thinks", messages=turns, stream=True):
            text += chunk.choices[0].delta.content or ""
        assert TEXT == text
        return
    answer = await create(model="responses.thinks", messages=turns, tools=[CHAT_TOOL])
    message = answer.choices[0].message
    assert "tool_calls" == answer.choices[0].finish_reason
    assert "well, \n\n好" == message.reasoning_content
    sent = served.sent("responses")
    assert (False, "Be brief.") == (sent["store"], sent["instructions"])
    turns.append(message.to_dict())
    turns += [{"role": "tool", "tool_call_id": call.id, "content": "21"}
              for call in message.tool_calls]  # fmt: skip
    then = await create(model="responses.thinks", messages=turns, tools=[CHAT_TOOL])
    assert "21; 21" == then.choices[0].message.content
    assert (19, 5) == (then.usage.prompt_tokens, then.usage.completion_tokens - 1)


@STREAMS
async def test_a_messages_client_brings_the_secret_back(served: World, stream: bool) -> None:
    tools: Any = [{"name": "weather", "input_schema": WEATHER["parameters"]}]
    turns: list[Any] = [{"role": "user", "content": "hello"}]
    fields: dict[str, Any] = {"model": "responses.thinks", "max_tokens": 1000, "tools": tools}
    thinking: Any = {"type": "adaptive"}
    for _ in range(2):
        if stream:
            async with served.anthropic.messages.stream(
                messages=turns, thinking=thinking, **fields
            ) as made:
                answer = await made.get_final_message()
        else:
            answer = await served.anthropic.messages.create(
                messages=turns, thinking=thinking, **fields
            )
        if answer.stop_reason != "tool_use":
            break
        assert "thinking" == answer.content[0].type
        blocks = [block.to_dict() for block in answer.content]
        turns.append({"role": "assistant", "content": blocks})
        turns.append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": block["id"], "content": "21"}
            for block in blocks if block["type"] == "tool_use"]})  # fmt: skip
    assert "21; 21" == answer.content[-1].text  # type: ignore[union-attr]
    thought = served.sent("responses")["input"][1]
    assert ("rs_1", SECRET) == (thought["id"], thought["encrypted_content"])
    assert 19 == answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0)


@pytest.mark.parametrize("model", ["breaks", "cut"])
async def test_other_clients_see_that_a_stream_failed(served: World, model: str) -> None:
    hello: Any = [{"role": "user", "content": "hello"}]
    with pytest.raises(openai.APIError):
        async for _ in await served.openai.chat.completions.create(
            model=f"responses.{model}", messages=hello, stream=True
        ):
            pass
    with pytest.raises(anthropic.APIError):
        async with served.anthropic.messages.stream(
            model=f"responses.{model}", max_tokens=99, messages=hello
        ) as made:
            await made.get_final_message()
