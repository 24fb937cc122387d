"""Row 58: embeddings by the official SDK for Python, in the form it asks for, whatever the upstream
gives; and counts of tokens by an upstream that counts. Those of the Node SDK: test_openai_node.py.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest
import pytest_asyncio
from anthropic import AsyncAnthropic
from jsonschema import Draft202012Validator
from openai import AsyncOpenAI
from openai.types import CreateEmbeddingResponse

from tests.faults.client import CLIENT_KEY, Reply, call
from tests.faults.stage import gateway

from . import anthropic_stub, openai_stub
from .openai_stub import VECTORS

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCHEMA = Path(__file__).parents[1] / "schemas/openai_embeddings.json"
TEXTS = list(VECTORS)
ROUTE = """\
version: 1
extends: openai
base_url: "{url}"
auth: {{ bearer: "{key}" }}
retry: {{ attempts: 2, backoff: {{ initial: 10ms, max: 20ms }} }}
timeouts: {{ total: 15s }}
profiles: {{ embed-strict: {{ encoding_format: drop }} }}
models: [{models}]
"""
MESSAGES = """\
version: 1
extends: anthropic
base_url: "{url}/v1"
auth: {{ header: {{ x-api-key: "{key}" }} }}
models: [{{ id: claude, upstream: talk }}]
"""
ALL = pytest.mark.parametrize("model", ["embed", "embed-plain", "embed-packed", "embed-strict"])


@dataclass(slots=True)
class World:
    port: int
    stub: openai_stub.Stub
    counting: anthropic_stub.Stub
    openai: AsyncOpenAI
    anthropic: AsyncAnthropic

    async def post(self, **body: object) -> Reply:
        key = {"Authorization": f"Bearer {CLIENT_KEY}"}
        return await call(self.port, "POST", "/v1/embeddings", key, json.dumps(body).encode())


@asynccontextmanager
async def world(home: Path) -> AsyncIterator[World]:
    async with openai_stub.openai_stub() as stub, anthropic_stub.anthropic_stub() as counting:
        models = ", ".join(openai_stub.MODELS)
        routes = {
            "one": ROUTE.format(url=stub.url, key=openai_stub.UPSTREAM_KEY, models=models),
            "two": MESSAGES.format(url=counting.url, key=anthropic_stub.UPSTREAM_KEY),
        }
        async with gateway(home, routes) as running:
            url = f"http://127.0.0.1:{running.port}"
            one = AsyncOpenAI(base_url=f"{url}/v1", api_key=CLIENT_KEY, max_retries=0, timeout=20)
            two = AsyncAnthropic(base_url=url, api_key=CLIENT_KEY, max_retries=0, timeout=20)
            async with one, two:
                yield World(running.port, stub, counting, one, two)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("gateway")) as made:
        yield made


@ALL
async def test_row_58_what_the_sdk_asks_for_by_itself(served: World, model: str) -> None:
    made = await served.openai.embeddings.create(model=model, input=TEXTS)
    assert [item.embedding for item in made.data] == list(VECTORS.values())
    assert (made.usage.prompt_tokens, made.usage.total_tokens) == (4, 4)
    told = served.stub.requests[-1].get("encoding_format")
    assert told == (None if model == "embed-strict" else "base64")


@ALL
@pytest.mark.parametrize("form", ["float", "base64"])
async def test_row_58_a_form_that_is_asked_for(served: World, model: str, form: Any) -> None:
    made = await served.openai.embeddings.create(model=model, input="a", encoding_format=form)
    (item,) = made.data
    if form == "float":
        assert item.embedding == VECTORS["a"]
    else:
        assert str(item.embedding) == openai_stub._vector("a", packed=True)


@ALL
@pytest.mark.parametrize("form", [None, "float", "base64"])
async def test_answers_are_as_the_api_says(served: World, model: str, form: str | None) -> None:
    asked = {"model": model, "input": TEXTS, **({"encoding_format": form} if form else {})}
    reply = await served.post(**asked)
    value = json.loads(reply.body)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(value)
    kinds = {type(item["embedding"]) for item in value["data"]}
    assert (reply.status, kinds) == (200, {str if form == "base64" else list})
    if form != "base64":
        CreateEmbeddingResponse.model_validate_json(reply.body, strict=True)


async def test_errors_are_those_of_the_api(served: World) -> None:
    with pytest.raises(openai.NotFoundError):
        await served.openai.embeddings.create(model="nobody", input="a")
    with pytest.raises(openai.RateLimitError):
        await served.openai.embeddings.create(model="error-429", input="a")
    with pytest.raises(openai.InternalServerError):
        await served.openai.embeddings.create(model="error-503", input="a")
    with pytest.raises(openai.BadRequestError, match="makes no embeddings") as caught:
        await served.openai.embeddings.create(model="claude", input="a")
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "model")
    refused = await served.post(model="embed", input="a", encoding_format="hex")
    assert (refused.status, b"encoding_format" in refused.body) == (400, True)
    stranger = await call(served.port, "POST", "/v1/embeddings", {}, b"{}")
    assert stranger.status == 401


async def test_an_ollama_clients_embeddings(served: World) -> None:
    headers = {"Authorization": f"Bearer {CLIENT_KEY}"}
    client = ollama.AsyncClient(host=f"http://127.0.0.1:{served.port}", headers=headers)
    made = await client.embed("embed", TEXTS)
    assert [list(vector) for vector in made.embeddings] == list(VECTORS.values())
    assert made.prompt_eval_count == 4
    older = await client.embeddings("embed", "a")
    assert list(older.embedding) == VECTORS["a"]
    with pytest.raises(ollama.ResponseError) as caught:
        await client.embed("claude", TEXTS)
    assert caught.value.status_code == 400


# ---- counts of tokens ----


async def test_tokens_are_counted_by_the_upstream_of_the_same_dialect(served: World) -> None:
    hello: Any = [{"role": "user", "content": "hello"}]
    made = await served.anthropic.messages.with_raw_response.count_tokens(
        model="claude", messages=hello
    )
    assert (await made.parse()).input_tokens == anthropic_stub.COUNTED
    assert "x-penstock-token-count" not in made.headers
    assert served.counting.requests[-1] == {"model": "talk", "messages": hello}
    estimated = await served.anthropic.messages.with_raw_response.count_tokens(
        model="talk", messages=hello
    )
    assert estimated.headers["x-penstock-token-count"] == "estimate"
    with pytest.raises(anthropic.NotFoundError):
        await served.anthropic.messages.count_tokens(model="nobody", messages=hello)
