"""A model without eyes, a model that sees, and a client that sends images; over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.clients.openai_stub import TEXT, UPSTREAM_KEY, Stub, openai_stub
from tests.faults.client import CLIENT_KEY
from tests.faults.stage import Gateway, gateway

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
PIXEL = "iVBORw0KGgo="
SEEN = "image/png of 8 bytes, auto"
CHAT = f"""\
version: 1
extends: openai
base_url: "URL"
auth: {{ bearer: "{UPSTREAM_KEY}" }}
retry: {{ attempts: 1 }}
"""
BLIND = """\
models: [{ id: MODEL, upstream: talk }]
values:
  seen:
    scope: request
    when: "'image' in req.media"
    ask: { model: "seer/SEER", messages: "{{ req.messages | newest(turns=1) | as_openai }}" }
    on_error: WHAT
transforms:
  - drop_media: {}
  - system_prompt: { append: "{{ 'The images show: ' ~ values.seen if values.seen else omit }}" }
fallback: [{ to: seer, model: talks }]
"""


def blind(model: str, seer: str, what: str) -> str:
    text = CHAT + BLIND.replace("MODEL", model).replace("SEER", seer)
    return text.replace("WHAT", what)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Gateway, Stub]]:
    async with openai_stub() as stub:
        routes = {
            "seer": f"{CHAT}models: [{{ id: talks, upstream: talk }}, error-500]\n",
            "blind": blind("b", "talks", "fail"),
            "broken": blind("c", "error-500", "fail"),
            "careless": blind("d", "error-500", "skip"),
        }
        routes = {name: text.replace("URL", stub.url) for name, text in routes.items()}
        async with gateway(tmp_path_factory.mktemp("gateway"), routes) as gate:
            yield gate, stub


def image() -> list[Any]:
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    return [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]


async def asked(gate: Gateway, model: str) -> tuple[str, str]:
    """The text, and the route that answered."""
    url = f"http://127.0.0.1:{gate.port}/v1"
    client = AsyncOpenAI(base_url=url, api_key=CLIENT_KEY, max_retries=0, timeout=20)
    raw: Any = await client.chat.completions.with_raw_response.create(model=model, messages=image())
    return raw.parse().choices[0].message.content, raw.headers["x-penstock-route"]


@pytest.mark.rows("IF-20")
async def test_images_are_described_by_a_model_that_sees(running: tuple[Gateway, Stub]) -> None:
    gate, stub = running
    stub.requests.clear()
    assert (TEXT, "blind") == await asked(gate, "b")
    first, then = stub.requests
    assert "image_url" == first["messages"][0]["content"][1]["type"]
    system, user = then["messages"]
    assert {"role": "system", "content": f"The images show: {SEEN}"} == system
    assert "image_url" not in str(user)


async def test_it_is_so_for_clients_of_another_dialect(running: tuple[Gateway, Stub]) -> None:
    gate, stub = running
    stub.requests.clear()
    client = AsyncAnthropic(
        base_url=f"http://127.0.0.1:{gate.port}", api_key=CLIENT_KEY, max_retries=0, timeout=20
    )
    source: Any = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content: Any = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
    async with client.messages.stream(
        model="b", max_tokens=50, messages=[{"role": "user", "content": content}]
    ) as stream:
        assert TEXT == await stream.get_final_text()
    assert f"The images show: {SEEN}" == stub.requests[1]["messages"][0]["content"]


@pytest.mark.rows("IF-20")
async def test_where_nothing_is_described_who_sees_may_answer(
    running: tuple[Gateway, Stub],
) -> None:
    assert (SEEN, "seer") == await asked(running[0], "c")


@pytest.mark.rows("IB-11")
async def test_or_the_request_goes_on_without(running: tuple[Gateway, Stub]) -> None:
    gate, stub = running
    stub.requests.clear()
    assert (TEXT, "careless") == await asked(gate, "d")
    assert ["user"] == [message["role"] for message in stub.requests[-1]["messages"]]
