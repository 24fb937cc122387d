"""Ollama's own Python client before every upstream, and the SDKs of others before an Ollama."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ollama
import openai
import pytest
import pytest_asyncio
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.faults.client import CLIENT_KEY, call
from tests.faults.stage import gateway

from . import anthropic_stub, ollama_stub, openai_stub
from .ollama_stub import COUNTS
from .openai_stub import CITIES, PERSON, TEXT

pytestmark = pytest.mark.asyncio(loop_scope="module")
PNG = base64.b64decode("iVBORw0KGgo=")
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[Any] = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
ROUTES = ("chat", "messages", "ollama", "ollama_passed")
EVERYWHERE = pytest.mark.parametrize("route", ROUTES)
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
OWN = pytest.mark.parametrize("route", ["ollama", "ollama_passed"])
_HEAD = """\
version: 1
extends: {preset}
base_url: "{url}"
{auth}
retry: {{ attempts: 2, backoff: {{ initial: 10ms, max: 20ms }} }}
timeouts: {{ total: 15s }}
discover: null
{lines}
models: [{models}]
"""


def _route(name: str, preset: str, url: str, auth: str, known: tuple[str, ...]) -> str:
    models = ", ".join(f'{{ id: "{name}.{model}", upstream: "{model}" }}' for model in known)
    lines = "" if name.endswith("passed") else "transforms: [think_tags]"
    return _HEAD.format(preset=preset, url=url, auth=auth, lines=lines, models=models)


@dataclass(slots=True)
class World:
    """A gateway in front of three stubs, and clients."""

    port: int
    stub: ollama_stub.Stub
    client: ollama.AsyncClient
    openai: AsyncOpenAI
    anthropic: AsyncAnthropic


@asynccontextmanager
async def world(home: Path) -> AsyncIterator[World]:
    chats, messages = openai_stub.openai_stub(), anthropic_stub.anthropic_stub()
    async with chats as chat, messages as said, ollama_stub.ollama_stub() as stub:
        bearer = f'auth: {{ bearer: "{openai_stub.UPSTREAM_KEY}" }}'
        key = f'auth: {{ header: {{ x-api-key: "{anthropic_stub.UPSTREAM_KEY}" }} }}'
        own = ollama_stub.MODELS
        routes = {
            "chat": _route("chat", "openai", chat.url, bearer, openai_stub.MODELS),
            "messages": _route(
                "messages", "anthropic", f"{said.url}/v1", key, anthropic_stub.MODELS
            ),
            "ollama": _route("ollama", "ollama", stub.url, "", own),
            "ollama_passed": _route("ollama_passed", "ollama", stub.url, "", own),
            "local": f'version: 1\nextends: ollama\nbase_url: "{stub.url}"\n',
        }
        async with gateway(home, routes) as running:
            url = f"http://127.0.0.1:{running.port}"
            headers = {"Authorization": f"Bearer {CLIENT_KEY}"}
            client = ollama.AsyncClient(host=url, headers=headers, timeout=20)
            one = AsyncOpenAI(base_url=f"{url}/v1", api_key=CLIENT_KEY, max_retries=0, timeout=20)
            two = AsyncAnthropic(base_url=url, api_key=CLIENT_KEY, max_retries=0, timeout=20)
            async with one, two:
                yield World(running.port, stub, client, one, two)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("gateway")) as made:
        yield made


async def ask(served: World, model: str, stream: bool, **fields: Any) -> list[Any]:
    """The parts of an answer; one if it comes whole."""
    fields.setdefault("messages", HELLO)
    send: Any = served.client.chat
    made = await send(model=model, stream=stream, **fields)
    return [part async for part in made] if stream else [made]


def text_of(parts: list[Any]) -> str:
    return "".join(part.message.content or "" for part in parts)


@EVERYWHERE
@STREAMS
@pytest.mark.parametrize("model", ["talk", "bytes"])
async def test_text_and_counts(served: World, route: str, stream: bool, model: str) -> None:
    parts = await ask(served, f"{route}.{model}", stream)
    last = parts[-1]
    assert (text_of(parts), last.done, last.done_reason) == (TEXT, True, "stop")
    assert all(not part.done for part in parts[:-1])
    assert last.prompt_eval_count == 19
    assert last.eval_count == (COUNTS["eval_count"] if "ollama" in route else len(TEXT))
    assert last.total_duration > 0


@OWN
@STREAMS
async def test_durations_are_those_of_the_upstream(served: World, route: str, stream: bool) -> None:
    last = (await ask(served, f"{route}.talk", stream))[-1]
    assert {name: last[name] for name in COUNTS} == COUNTS


@EVERYWHERE
@STREAMS
async def test_thinking(served: World, route: str, stream: bool) -> None:
    parts = await ask(served, f"{route}.thinks", stream, think=True)
    thought = "".join(part.message.thinking or "" for part in parts)
    assert (thought, text_of(parts)) == ("well, 好", TEXT)


@EVERYWHERE
@STREAMS
async def test_parallel_calls_and_their_results(served: World, route: str, stream: bool) -> None:
    parts = await ask(served, f"{route}.talk", stream, tools=TOOLS)
    calls = [found for part in parts for found in part.message.tool_calls or ()]
    asked = [(found.function.name, found.function.arguments) for found in calls]
    assert asked == [("weather", {"city": city}) for city in CITIES]
    turn = {"role": "assistant", "content": text_of(parts), "tool_calls": calls}
    told = [{"role": "tool", "tool_name": "weather", "content": city} for city in CITIES]
    then = await ask(served, f"{route}.talk", stream, messages=[*HELLO, turn, *told], tools=TOOLS)
    assert all(city in text_of(then) for city in CITIES)


@EVERYWHERE
async def test_an_image(served: World, route: str) -> None:
    asked = [{"role": "user", "content": "what is this?", "images": [PNG]}]
    (answer,) = await ask(served, f"{route}.talk", False, messages=asked)
    assert f"of {len(PNG)} bytes" in answer.message.content


@pytest.mark.parametrize("route", ["chat", "ollama", "ollama_passed"])
async def test_an_answer_by_schema(served: World, route: str) -> None:
    (answer,) = await ask(served, f"{route}.talk", False, format=SCHEMA)
    assert answer.message.content == PERSON


@EVERYWHERE
@STREAMS
async def test_a_prompt(served: World, route: str, stream: bool) -> None:
    send: Any = served.client.generate
    made = await send(
        f"{route}.talk", "hello", system="be brief", stream=stream, options={"num_predict": 99}
    )
    parts = [part async for part in made] if stream else [made]
    assert ("".join(part.response for part in parts), parts[-1].done) == (TEXT, True)
    assert parts[-1].prompt_eval_count == 19


async def test_options_arrive(served: World) -> None:
    options = {"temperature": 0.5, "num_predict": 9, "num_ctx": 4096, "stop": ["x"]}
    for route in ("ollama", "ollama_passed"):
        await ask(served, f"{route}.talk", False, options=options, keep_alive="5m")
        sent = served.stub.requests[-1]
        assert (sent["options"], sent["keep_alive"]) == (options, "5m")


@EVERYWHERE
async def test_errors_before_the_answer(served: World, route: str) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        await ask(served, f"{route}.error-400", True)
    assert caught.value.status_code == 400
    with pytest.raises(ollama.ResponseError) as caught:
        await ask(served, "nobody", False)
    assert (caught.value.status_code, caught.value.error) == (
        404, "The model `nobody` does not exist",
    )  # fmt: skip


@EVERYWHERE
@pytest.mark.parametrize("model", ["breaks", "cut"])
async def test_an_answer_that_breaks_is_an_error(served: World, route: str, model: str) -> None:
    made: Any = await served.client.chat(f"{route}.{model}", HELLO, stream=True)
    first = await anext(made)
    assert (bool(first.message.content), first.done) == (True, False)
    with pytest.raises(ollama.ResponseError):
        _ = [part async for part in made]


async def test_the_list_and_a_model(served: World) -> None:
    listed = [found.model for found in (await served.client.list()).models]
    assert "chat.talk" in listed
    assert "ollama.talk" in listed
    shown = await served.client.show("chat.talk")
    assert shown.details is not None
    assert (shown.details.family, "tools" in (shown.capabilities or [])) == ("chat", True)
    assert (await served.client.ps()).models == []
    with pytest.raises(ollama.ResponseError) as caught:
        await served.client.show("nobody")
    assert caught.value.status_code == 404


async def test_models_that_the_upstream_lists(served: World) -> None:
    async with asyncio.timeout(10):
        while "talk" not in [found.model for found in (await served.client.list()).models]:
            await asyncio.sleep(0.05)
    for name in ("talk", "local/talk"):
        (answer,) = await ask(served, name, False)
        assert answer.message.content == TEXT


async def test_small_endpoints_and_their_keys(served: World) -> None:
    key = {"Authorization": f"Bearer {CLIENT_KEY}"}
    version = await call(served.port, "GET", "/api/version", key)
    assert b'"version"' in version.body
    assert (await call(served.port, "GET", "/api/version")).status == 401
    named = await call(served.port, "POST", "/api/show", key, b'{"name":"ollama.talk"}')
    assert named.status == 200
    wrong = await call(served.port, "DELETE", "/api/chat", key)
    assert (wrong.status, b'{"error":' in wrong.body) == (405, True)


# ---- other clients ----


@OWN
@STREAMS
async def test_openai_clients(served: World, route: str, stream: bool) -> None:
    create: Any = served.openai.chat.completions.create
    fields: dict[str, Any] = {"model": f"{route}.talk", "messages": HELLO}
    if not stream:
        answer = await create(**fields)
        said, counts = answer.choices[0].message.content, answer.usage
    else:
        chunks = [c async for c in await create(
            **fields, stream=True, stream_options={"include_usage": True})]  # fmt: skip
        said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        counts = chunks[-1].usage
    assert said == TEXT
    assert (counts.prompt_tokens, counts.completion_tokens) == (19, COUNTS["eval_count"])


async def test_an_openai_clients_tools(served: World) -> None:
    create: Any = served.openai.chat.completions.create
    made = await create(model="ollama.talk", messages=HELLO, tools=TOOLS)
    message = made.choices[0].message
    assert made.choices[0].finish_reason == "tool_calls"
    assert len({found.id for found in message.tool_calls}) == 2
    told = [
        {"role": "tool", "tool_call_id": found.id, "content": found.function.arguments}
        for found in message.tool_calls
    ]
    then = await create(model="ollama.talk", messages=[*HELLO, message, *told], tools=TOOLS)
    assert then.choices[0].message.content == "; ".join(
        f'weather {{"city":"{city}"}}' for city in CITIES
    )


async def test_an_openai_clients_broken_stream(served: World) -> None:
    for model in ("breaks", "cut"):
        chunks: Any = await served.openai.chat.completions.create(
            model=f"ollama.{model}", messages=HELLO, stream=True
        )
        with pytest.raises(openai.APIError):
            async for _ in chunks:
                pass


@OWN
async def test_anthropic_clients(served: World, route: str) -> None:
    async with served.anthropic.messages.stream(
        model=f"{route}.thinks", max_tokens=99, messages=HELLO
    ) as made:
        answer = await made.get_final_message()
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert (answer.stop_reason, answer.usage.input_tokens) == ("end_turn", 19)


@EVERYWHERE
@STREAMS
@pytest.mark.parametrize(("kept", "word"), [(None, "load"), (0, "unload")])
async def test_a_model_is_loaded_and_unloaded_by_asking_nothing(
    served: World, route: str, stream: bool, kept: int | None, word: str
) -> None:
    """As `ollama stop` and programs that warm a model up do. An Ollama upstream is told."""
    before = len(served.stub.requests)
    (chat,) = await ask(served, f"{route}.talk", stream, messages=[], keep_alive=kept)
    assert (True, word, "") == (chat.done, chat.done_reason, chat.message.content)
    generate: Any = served.client.generate
    made = await generate(model=f"{route}.talk", stream=stream, keep_alive=kept)
    (said,) = [part async for part in made] if stream else [made]
    assert (True, word, "") == (said.done, said.done_reason, said.response)
    told = [(body["messages"], body.get("keep_alive")) for body in served.stub.requests[before:]]
    assert told == ([([], kept)] * 2 if route.startswith("ollama") else [])


async def test_a_model_that_nobody_has_is_not_loaded(served: World) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        await served.client.generate(model="nobody", keep_alive=0)
    assert caught.value.status_code == 404
