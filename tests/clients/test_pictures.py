"""The SDKs in front of an upstream that answers with pictures, as OpenRouter's image models do."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import ollama
import pytest
import pytest_asyncio
from aiohttp import web
from anthropic import AsyncAnthropic
from google.genai import Client
from openai import AsyncOpenAI

from engine.wire import dumps
from tests.faults.client import CLIENT_KEY
from tests.faults.stage import gateway

from .google import client as google_client

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession"),  # Google's own
]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(200_000)).decode()
IMAGE = {"index": 0, "type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
USAGE = {"prompt_tokens": 3, "completion_tokens": 1290, "total_tokens": 1293}
LEFT_OUT = "[image (image/png) of 200008 bytes left out: this API's answers cannot hold it]"
WAYS = pytest.mark.parametrize("way", ["read", "passed"])
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
ASK: list[Any] = [{"role": "user", "content": "draw"}]
ROUTE = """\
version: 1
extends: openai
base_url: "{url}"
auth: {{ bearer: "k" }}
discover: null
{lines}
models: [{{ id: {name}, upstream: painter }}]
"""


@dataclass(slots=True)
class World:
    """A gateway and its clients; asked: bodies that the upstream got."""

    openai: AsyncOpenAI
    anthropic: AsyncAnthropic
    google: Client
    ollama: ollama.AsyncClient
    asked: list[dict[str, Any]] = field(default_factory=list)


def _head(kind: str) -> dict[str, Any]:
    return {"id": "gen-1", "object": kind, "created": 1, "model": "painter"}


def _chunk(finish: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    usage = {"usage": USAGE} if finish else {}
    return b"data: %b\n\n" % dumps({**_head("chat.completion.chunk"), "choices": [choice], **usage})


@asynccontextmanager
async def painter(asked: list[dict[str, Any]]) -> AsyncIterator[str]:
    """The upstream: a text, a picture beside it, the finish."""

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        asked.append(body)
        if not body.get("stream"):
            message = {"role": "assistant", "content": "here", "images": [IMAGE]}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response(
                {**_head("chat.completion"), "choices": [choice], "usage": USAGE}
            )
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for frame in (
            _chunk(role="assistant", content="here"),
            _chunk(role="assistant", content="", images=[IMAGE]),
            _chunk("stop", content=""),
            b"data: [DONE]\n\n",
        ):
            await response.write(frame)
        return response

    app = web.Application()
    app.router.add_post("/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    asked: list[dict[str, Any]] = []
    async with painter(asked) as url:
        routes = {
            "read": ROUTE.format(url=url, name="read", lines="transforms: [think_tags]"),
            "passed": ROUTE.format(url=url, name="passed", lines=""),
        }
        async with gateway(tmp_path_factory.mktemp("gateway"), routes) as running:
            home = f"http://127.0.0.1:{running.port}"
            headers = {"Authorization": f"Bearer {CLIENT_KEY}"}
            one = AsyncOpenAI(base_url=f"{home}/v1", api_key=CLIENT_KEY, max_retries=0)
            two = AsyncAnthropic(base_url=home, api_key=CLIENT_KEY, max_retries=0)
            async with one, two:
                three = ollama.AsyncClient(host=home, headers=headers)
                yield World(one, two, google_client(home), three, asked)


@WAYS
async def test_openai_s_sdk_finds_the_picture_in_the_message(served: World, way: str) -> None:
    made = await served.openai.chat.completions.create(model=way, messages=ASK)
    message: Any = made.choices[0].message
    assert ("here", [IMAGE]) == (message.content, message.images)


@WAYS
async def test_openai_s_sdk_adds_up_a_stream_with_a_picture(served: World, way: str) -> None:
    async with served.openai.chat.completions.stream(model=way, messages=ASK) as stream:
        made = await stream.get_final_completion()
    message: Any = made.choices[0].message
    assert ("here", [IMAGE]) == (message.content, message.images)


async def test_a_message_with_a_picture_may_be_sent_back(served: World) -> None:
    made = await served.openai.chat.completions.create(model="read", messages=ASK)
    turns = [*ASK, made.choices[0].message, {"role": "user", "content": "more"}]
    await served.openai.chat.completions.create(model="read", messages=turns)
    assert [IMAGE] == served.asked[-1]["messages"][1]["images"]


@STREAMS
async def test_responses_has_an_item_for_it(served: World, stream: bool) -> None:
    if stream:
        async with served.openai.responses.stream(model="read", input="draw") as events:
            made: Any = await events.get_final_response()
    else:
        made = await served.openai.responses.create(model="read", input="draw")
    said, shown = made.output
    assert ("here", "image_generation_call", PNG) == (made.output_text, shown.type, shown.result)
    assert "message" == said.type


async def test_a_kept_answer_s_picture_is_there_when_the_conversation_goes_on(
    served: World,
) -> None:
    made = await served.openai.responses.create(model="read", input="draw")
    await served.openai.responses.create(model="read", input="more", previous_response_id=made.id)
    drawn, ask = served.asked[-1]["messages"][-2:]
    assert ("assistant", "here[image attached]") == (drawn["role"], drawn["content"])
    assert ["image_url", "text"] == [part["type"] for part in ask["content"]]
    assert IMAGE["image_url"] == ask["content"][0]["image_url"]


@STREAMS
async def test_google_s_sdk_gets_inline_data(served: World, stream: bool) -> None:
    models: Any = served.google.aio.models
    given = {"model": "read", "contents": "draw"}
    if stream:
        chunks = [chunk async for chunk in await models.generate_content_stream(**given)]
    else:
        chunks = [await models.generate_content(**given)]
    parts: list[Any] = [part for chunk in chunks for part in chunk.candidates[0].content.parts]
    (held,) = [part.inline_data for part in parts if part.inline_data]
    assert ("image/png", base64.b64decode(PNG)) == (held.mime_type, held.data)


@STREAMS
async def test_anthropic_s_sdk_is_told_what_was_left_out(served: World, stream: bool) -> None:
    given: dict[str, Any] = {"model": "read", "max_tokens": 50, "messages": ASK}
    if stream:
        async with served.anthropic.messages.stream(**given) as events:
            made: Any = await events.get_final_message()
    else:
        made = await served.anthropic.messages.create(**given)
    assert ["here", LEFT_OUT] == [block.text for block in made.content]


@STREAMS
async def test_ollama_s_client_gets_it_in_the_answer_to_a_prompt(
    served: World, stream: bool
) -> None:
    made = await cast("Any", served.ollama).generate(model="read", prompt="draw", stream=stream)
    parts = [part async for part in made] if stream else [made]
    assert [PNG] == [part.image for part in parts if part.image]
    assert "here" == "".join(part.response for part in parts)


@STREAMS
async def test_ollama_s_client_is_told_in_a_chat_what_was_left_out(
    served: World, stream: bool
) -> None:
    made = await cast("Any", served.ollama).chat(model="read", messages=ASK, stream=stream)
    parts = [part async for part in made] if stream else [made]
    assert f"here{LEFT_OUT}" == "".join(p.message.content for p in parts).replace("\n", "")
