"""aimock, whose dialects nothing of ours has shaped, behind shipped routes; LiteLLM before it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest
import pytest_asyncio

from engine.shell.bundle import bundled_routes
from tests.clients.apart.environments import program
from tests.upstreams.stand import Front, front, has_models

from .asking import CLIENTS, Question
from .scripted import REFUSAL, RESULT, SAID, aimock
from .servers import free_port, serving

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]
KEY = "sk-litellm-5c1f0a83"
# As shipped, but for the address, which the shipped one does not ask for, and the list of models,
# which aimock tells in the form of another dialect.
COHERE = """\
version: 1
extends: cohere
base_url: "{url}"
auth: {{ bearer: "${{env:COHERE_API_KEY}}" }}
models: [command-a]
"""
MODELS = {
    "openai": "gpt-4o",
    "openai-responses": "gpt-5-codex",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash",
    "ollama": "gpt-4",  # which aimock lists
    "azure-openai": "my-deployment",
    "cohere": "command-a",
}
BY_LITELLM = ("openai", "openai-responses", "anthropic")
WAYS = [*MODELS, *(f"{name} by litellm" for name in BY_LITELLM)]
EACH = pytest.mark.parametrize("way", WAYS)
BY_ALL = pytest.mark.parametrize("client", CLIENTS)
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


@asynccontextmanager
async def litellm(home: Path, url: str) -> AsyncIterator[str]:
    """LiteLLM's proxy before aimock, and with words of its own; gives its URL."""
    places = {
        "gpt-4o": {"model": "openai/gpt-4o", "api_base": f"{url}/v1"},
        "gpt-5-codex": {"model": "openai/gpt-5-codex", "api_base": f"{url}/v1"},
        "claude-haiku-4-5": {"model": "anthropic/claude-haiku-4-5", "api_base": url},
        "gpt-5-pro": {"model": "openai/gpt-5-pro", "mock_response": SAID},
        "claude-sonnet-5-5": {"model": "anthropic/claude-sonnet-5-5", "mock_response": SAID},
    }
    config = {
        "model_list": [
            {"model_name": name, "litellm_params": {"api_key": "sk-0123456789", **place}}
            for name, place in places.items()
        ],
        "general_settings": {"master_key": KEY},
        "router_settings": {"disable_cooldowns": True, "num_retries": 0},
    }
    (home / "config.yaml").write_text(json.dumps(config, ensure_ascii=False))
    port = free_port()
    command = [program("litellm", "litellm"), "--config", "config.yaml", "--host", "127.0.0.1"]
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    ready = "/health/liveliness"
    async with serving(home, port, [*command, "--port", str(port)], ready, **quiet) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Front]]:
    """A gateway before aimock, and one before LiteLLM, each with the shipped routes."""
    folder = tmp_path_factory.mktemp
    async with aimock(folder("aimock")) as url, litellm(folder("litellm"), url) as other:
        routes = {name: shipped(name) for name in MODELS}
        routes["cohere"] = COHERE.format(url=url)
        few = {name: routes[name] for name in BY_LITELLM}
        async with (
            front(folder("one"), routes, env_of(url, "sk-0123456789")) as one,
            front(folder("two"), few, env_of(other, KEY)) as two,
        ):
            await has_models(one, *MODELS.values())
            yield {"": one, "litellm": two}


def shipped(name: str) -> str:
    """A route as it is shipped."""
    return (bundled_routes() / f"{name}.yaml").read_text("utf-8")


def env_of(url: str, key: str) -> dict[str, str]:
    return {
        "OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": key,
        "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": key,
        "GEMINI_BASE_URL": url, "GEMINI_API_KEY": key,
        "AZURE_OPENAI_ENDPOINT": url, "AZURE_OPENAI_API_KEY": key,
        "AZURE_OPENAI_DEPLOYMENT": "my-deployment",
        "OLLAMA_URL": url, "COHERE_API_KEY": key,
    }  # fmt: skip


def stand(served: dict[str, Front], way: str) -> tuple[Front, str]:
    """The gateway of a way, and a model of its route."""
    route, _, server = way.partition(" by ")
    return served[server], MODELS[route]


@EACH
@BY_ALL
@STREAMED
async def test_its_text_reaches_every_client(
    served: dict[str, Front], client: str, way: str, stream: bool
) -> None:
    said = await CLIENTS[client](*stand(served, way), Question("hello", stream))
    assert (SAID, "stop", []) == (said.text, said.finish, said.calls)


@EACH
@BY_ALL
@STREAMED
async def test_its_calls_are_made_and_their_results_told(
    served: dict[str, Front], client: str, way: str, stream: bool
) -> None:
    ask, place = CLIENTS[client], stand(served, way)
    said = await ask(*place, Question("the weather?", stream, tool=True))
    assert ("tool", 1) == (said.finish, len(said.calls))
    (call,) = said.calls
    assert ("weather", {"city": "Oslo"}) == call[1:]
    then = Question("the weather?", stream, tool=True, call=call, result=RESULT)
    assert f"It is {RESULT}." == (await ask(*place, then)).text


@EACH
@BY_ALL
@STREAMED
async def test_its_refusal_is_the_clients_error(
    served: dict[str, Front], client: str, way: str, stream: bool
) -> None:
    errors = (openai.RateLimitError, anthropic.RateLimitError, ollama.ResponseError)
    with pytest.raises(errors) as caught:
        await CLIENTS[client](*stand(served, way), Question("too fast", stream))
    error: Any = caught.value
    assert 429 == error.status_code
    assert REFUSAL in str(error)


# ---- what LiteLLM says by itself ----


@BY_ALL
async def test_a_whole_answer_where_a_stream_was_asked_for_is_streamed(
    served: dict[str, Front], client: str
) -> None:
    """Its Messages answer to a stream is JSON, where it has the words itself."""
    said = await CLIENTS[client](served["litellm"], "claude-sonnet-5-5", Question("hello", True))
    assert (SAID, "stop") == (said.text, said.finish)


@BY_ALL
async def test_an_error_in_a_good_answer_is_an_error(served: dict[str, Front], client: str) -> None:
    """It cannot stream its own words as Responses: the first event, after status 200, says so."""
    errors = (openai.APIError, anthropic.APIError, ollama.ResponseError)
    with pytest.raises(errors) as caught:
        await CLIENTS[client](served["litellm"], "gpt-5-pro", Question("hello", True))
    assert "Error processing stream start" in str(caught.value)
