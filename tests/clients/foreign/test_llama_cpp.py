"""llama.cpp's own server with a model made on the spot, behind shipped routes, unmodified.

The model says nonsense, but at temperature 0 always the same: what the server answers to a bare
request is what every client has to get.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest
import pytest_asyncio

from engine.shell.bundle import bundled_routes
from tests.clients.apart.environments import program
from tests.upstreams.stand import KEYS, Front, front, has_models, said

from .asking import CLIENTS, Question
from .servers import free_port, serving
from .tiny_model import CONTEXT, write

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]
KEY = "sk-llama-5c1f0a83"
PROMPT = "The old cat sees a dog"
LIMIT = 24
# Its own route, then those of other dialects that it speaks.
MODELS = {
    "llama-cpp": "tiny",
    "openai": "gpt-4o",
    "openai-responses": "gpt-5-codex",
    "anthropic": "claude-haiku-4-5",
}
EACH = pytest.mark.parametrize("route", MODELS)
BY_ALL = pytest.mark.parametrize("client", CLIENTS)
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


@dataclass(slots=True)
class Served:
    """The gateway, and the server by itself."""

    front: Front
    url: str

    async def bare(self, path: str, **body: Any) -> Any:
        """What the server says to a request that comes straight to it."""
        headers = {"Authorization": f"Bearer {KEY}"}
        method = "POST" if body else "GET"
        async with self.front.http.request(
            method, self.url + path, headers=headers, json=body or None
        ) as answer:
            return json.loads(await answer.text())

    async def text(self) -> str:
        """What the model says to PROMPT."""
        told = await self.bare("/v1/chat/completions", messages=said(PROMPT), max_tokens=LIMIT)
        found: str = told["choices"][0]["message"]["content"]
        return found

    async def is_busy(self) -> bool:
        (slot,) = await self.bare("/slots")
        return bool(slot["is_processing"])


@asynccontextmanager
async def llama(home: Path, *options: str) -> AsyncIterator[str]:
    """The server; gives its URL."""
    path, port = program("llama-cpp", "llama-server"), free_port()
    write(home / "tiny.gguf")
    command = [
        path, "-m", "tiny.gguf", "--alias", "tiny", "--host", "127.0.0.1", "--port", str(port),
        "--api-key", KEY, "--parallel", "1", "--threads", "1", "--no-ui", "--offline",
        "--temp", "0", "--ctx-size", str(CONTEXT), *options,
    ]  # fmt: skip
    async with serving(home, port, command, "/health") as url:
        yield url


def env_of(url: str, key: str = KEY) -> dict[str, str]:
    return {
        "LLAMA_CPP_BASE_URL": f"{url}/v1", "LLAMA_CPP_API_KEY": key,
        "OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": key,
        "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": key,
    }  # fmt: skip


def shipped(*names: str) -> dict[str, str]:
    """Routes as they are shipped."""
    return {name: (bundled_routes() / f"{name}.yaml").read_text("utf-8") for name in names}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    folder = tmp_path_factory.mktemp
    async with (
        llama(folder("llama")) as url,
        front(folder("gateway"), shipped(*MODELS), env_of(url)) as made,
    ):
        await has_models(made, *MODELS.values())
        yield Served(made, url)


@EACH
@BY_ALL
@STREAMED
async def test_what_it_computes_reaches_every_client(
    served: Served, client: str, route: str, stream: bool
) -> None:
    asked = Question(PROMPT, stream, limit=LIMIT)
    told = await CLIENTS[client](served.front, MODELS[route], asked)
    # As Responses it says of an answer that was cut off that it is complete.
    finish = "stop" if route == "openai-responses" else "length"
    assert (await served.text(), finish, LIMIT) == (told.text, told.finish, told.usage[1])


@pytest.mark.parametrize("route", ["llama-cpp", "anthropic"])
@pytest.mark.parametrize("client", ["chat", "messages", "ollama"])
@STREAMED
async def test_a_stop_text_ends_its_answer(
    served: Served, client: str, route: str, stream: bool
) -> None:
    whole = await served.text()
    stop = whole[10:13]
    asked = Question(PROMPT, stream, limit=LIMIT, stop=stop)
    told = await CLIENTS[client](served.front, MODELS[route], asked)
    assert (whole.partition(stop)[0], "stop") == (told.text, told.finish)


@EACH
@pytest.mark.parametrize("client", ["chat", "responses", "messages"])
@STREAMED
async def test_it_calls_a_tool_and_is_told_the_result(
    served: Served, client: str, route: str, stream: bool
) -> None:
    ask, model = CLIENTS[client], MODELS[route]
    told = await ask(served.front, model, Question("weather?", stream, limit=200, tool=True))
    assert ("tool", 1) == (told.finish, len(told.calls))
    (call,) = told.calls
    assert call[0]
    assert ("weather", True) == (call[1], call[2]["city"] in ("Oslo", "Paris"))
    asked = Question("weather?", stream, limit=LIMIT, tool=True, call=call)
    short, long = [
        await ask(served.front, model, replace(asked, result=result))
        for result in ("21°", "21° " * 50)
    ]
    assert short.text
    assert long.usage[0] > short.usage[0] + 100  # it was told


async def test_a_grammar_reaches_it(served: Served) -> None:
    """A field of its own, which its route passes on."""
    asked = {"grammar": 'root ::= "yes" | "no"'}
    assert await served.front.ask("tiny", PROMPT, extra_body=asked) in ("yes", "no")


async def test_it_counts_tokens(served: Served) -> None:
    told = await served.front.anthropic.messages.count_tokens(
        model=MODELS["anthropic"], messages=said(PROMPT)
    )
    bare = await served.bare("/v1/messages/count_tokens", model="m", messages=said(PROMPT))
    assert bare["input_tokens"] == told.input_tokens > 20


@EACH
@BY_ALL
@STREAMED
async def test_a_conversation_beyond_its_context_is_told_as_such(
    served: Served, client: str, route: str, stream: bool
) -> None:
    errors = (openai.BadRequestError, anthropic.BadRequestError, ollama.ResponseError)
    with pytest.raises(errors) as caught:
        await CLIENTS[client](served.front, MODELS[route], Question("x" * 40_000, stream))
    error: Any = caught.value
    assert 400 == error.status_code
    if client in ("chat", "responses") and (client == "chat") == (route in ("llama-cpp", "openai")):
        assert "exceeds the available context size" in str(error)
    if client == "chat" and route == "llama-cpp":
        assert "context_length_exceeded" == error.code
    if client == "messages" and route == "llama-cpp":
        assert "prompt is too long" in str(error)


# ---- a stream that is left ----


async def _chat(front: Front, model: str) -> Any:
    async with await front.openai.chat.completions.create(
        model=model, messages=said(PROMPT), stream=True
    ) as pieces:
        return await anext(aiter(pieces))


async def _responses(front: Front, model: str) -> Any:
    async with await front.openai.responses.create(
        model=model, input=PROMPT, stream=True
    ) as pieces:
        return await anext(aiter(pieces))


async def _messages(front: Front, model: str) -> Any:
    async with front.anthropic.messages.stream(
        model=model, messages=said(PROMPT), max_tokens=30_000
    ) as pieces:
        return await anext(aiter(pieces.text_stream))


async def _ollama(front: Front, model: str) -> Any:
    client = ollama.AsyncClient(front.url, headers={"Authorization": f"Bearer {KEYS[0]}"})
    pieces: Any = await client.chat(model, said(PROMPT), stream=True)
    first = await anext(pieces)
    await pieces.aclose()
    return first


LEAVING: dict[str, Callable[[Front, str], Any]] = {
    "chat": _chat, "responses": _responses, "messages": _messages, "ollama": _ollama,
}  # fmt: skip


@pytest.mark.parametrize("route", ["llama-cpp", "anthropic"])
@BY_ALL
async def test_leaving_a_stream_frees_the_slot(served: Served, client: str, route: str) -> None:
    """The only one: the model would go on for half a minute, and the next request waits for it."""
    assert not await served.is_busy()
    assert await LEAVING[client](served.front, MODELS[route])
    async with asyncio.timeout(5):
        while await served.is_busy():
            await asyncio.sleep(0.05)


async def test_a_stream_that_is_read_keeps_the_slot(served: Served) -> None:
    async with await served.front.openai.chat.completions.create(
        model="tiny", messages=said(PROMPT), stream=True
    ) as pieces:
        await anext(aiter(pieces))
        await asyncio.sleep(1)
        assert await served.is_busy()


# ---- set up otherwise ----


@pytest.mark.parametrize("route", MODELS)
@STREAMED
async def test_a_key_that_it_refuses_is_the_gateways_fault(
    served: Served, tmp_path: Path, route: str, stream: bool
) -> None:
    text = shipped(route)[route] + ("" if route != "llama-cpp" else "models: [tiny]\n")
    async with front(tmp_path, {route: text}, env_of(served.url, "sk-wrong-000")) as made:
        with pytest.raises(openai.InternalServerError) as caught:
            await made.openai.chat.completions.create(
                model=MODELS[route], messages=said(PROMPT), stream=stream
            )
    assert (502, "upstream_credential") == (caught.value.status_code, caught.value.code)


async def test_its_vectors_come_in_both_forms(tmp_path: Path) -> None:
    (tmp_path / "llama").mkdir()
    (tmp_path / "gateway").mkdir()
    async with (
        llama(tmp_path / "llama", "--embeddings", "--pooling", "mean") as url,
        front(tmp_path / "gateway", shipped("llama-cpp"), env_of(url)) as made,
    ):
        await has_models(made, "tiny")
        bare = await Served(made, url).bare("/v1/embeddings", input=["a cat", "a dog"])
        packed = await made.openai.embeddings.create(model="tiny", input=["a cat", "a dog"])
        plain = await made.openai.embeddings.create(
            model="tiny", input=["a cat", "a dog"], encoding_format="float"
        )
        client = ollama.AsyncClient(made.url, headers={"Authorization": f"Bearer {KEYS[0]}"})
        other = await client.embed("tiny", ["a cat", "a dog"])
    wanted = [vector["embedding"] for vector in bare["data"]]
    assert wanted[0] != wanted[1]
    for found in ([v.embedding for v in packed.data], [v.embedding for v in plain.data],
                  other.embeddings):  # fmt: skip
        assert [pytest.approx(vector, abs=1e-5) for vector in wanted] == [list(v) for v in found]
