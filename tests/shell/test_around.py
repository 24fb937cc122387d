"""Routes that stand in for one another, over real sockets and through the official SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from engine.events import ErrorEvent
from engine.exchange.errands import Errand
from engine.route.book import make_book
from engine.shell.around import next_route
from tests.clients.openai_stub import TEXT, UPSTREAM_KEY, Stub, openai_stub
from tests.clients.text_stub import ROUTE as PLAIN
from tests.clients.text_stub import TextStub, text_stub
from tests.faults.client import CLIENT_KEY
from tests.faults.stage import Gateway, gateway
from tests.kit import call_of, route_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
HI: Any = [{"role": "user", "content": "Hi"}]
CHAT = f"""\
version: 1
extends: openai
base_url: "URL"
auth: {{ bearer: "{UPSTREAM_KEY}" }}
retry: {{ attempts: 2, backoff: {{ initial: 10ms, max: 20ms }} }}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Gateway, Stub, TextStub]]:
    async with openai_stub() as stub, text_stub() as plain:
        chat = CHAT.replace("URL", stub.url)
        routes = {
            "first": f"{chat}fallback: [second, last]\nmodels: [error-500, error-400, cut]\n",
            "second": f"{chat}fallback: [first]\nmodels: [{{ id: b, upstream: error-503 }}]\n",
            "last": f"{chat}models: [talk]\n",
            "picky": f"{chat}fallback: [{{ to: last, for: [rate_limited] }}]\n"
            "models: [{ id: p, upstream: error-500 }, { id: q, upstream: error-429 }]\n",
            "careful": f"{chat}hold: full\nfallback: [last]\n"
            "models: [{ id: c, upstream: cut }]\n",
            "words": f"{chat}fallback: [plain]\nmodels: [{{ id: w, upstream: error-500 }}]\n",
            "plain": PLAIN.format(url=plain.url, style="xml"),
        }
        async with gateway(tmp_path_factory.mktemp("gateway"), routes) as gate:
            yield gate, stub, plain


def client(gate: Gateway) -> AsyncOpenAI:
    url = f"http://127.0.0.1:{gate.port}/v1"
    return AsyncOpenAI(base_url=url, api_key=CLIENT_KEY, max_retries=0, timeout=20)


async def asked(gate: Gateway, model: str) -> tuple[str, str]:
    """The text, and the route that answered."""
    raw = await client(gate).chat.completions.with_raw_response.create(model=model, messages=HI)
    choice = (await _parsed(raw)).choices[0]
    return choice.message.content or "", raw.headers["x-penstock-route"]


async def _parsed(raw: Any) -> Any:
    return raw.parse()


async def streamed(gate: Gateway, model: str) -> str:
    stream = await client(gate).chat.completions.create(model=model, messages=HI, stream=True)
    chunks = [chunk async for chunk in stream]
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


async def test_a_route_that_fails_leaves_its_client_to_the_next(
    running: tuple[Gateway, Stub, TextStub],
) -> None:
    gate, stub, _ = running
    stub.requests.clear()
    assert (TEXT, "last") == await asked(gate, "error-500")
    models = [body["model"] for body in stub.requests]
    assert ["error-500"] * 2 + ["error-503"] * 2 + ["talk"] == models
    assert TEXT == await streamed(gate, "error-500")


async def test_what_is_the_clients_own_fault_leads_nowhere(
    running: tuple[Gateway, Stub, TextStub],
) -> None:
    with pytest.raises(openai.BadRequestError):
        await asked(running[0], "error-400")


async def test_only_the_named_classes_lead_on(running: tuple[Gateway, Stub, TextStub]) -> None:
    gate = running[0]
    with pytest.raises(openai.APIStatusError):
        await asked(gate, "p")
    assert (TEXT, "last") == await asked(gate, "q")


async def test_a_stream_that_has_begun_is_not_left_to_another(
    running: tuple[Gateway, Stub, TextStub],
) -> None:
    with pytest.raises(openai.APIError):
        await streamed(running[0], "cut")


async def test_a_stream_that_is_held_whole_is(running: tuple[Gateway, Stub, TextStub]) -> None:
    assert TEXT == await streamed(running[0], "c")


async def test_a_route_of_another_kind_can_stand_in(
    running: tuple[Gateway, Stub, TextStub],
) -> None:
    gate, _, plain = running
    plain.script = lambda turns: f"you said {turns[-1]['content']}"
    assert ("you said Hi", "plain") == await asked(gate, "w")
    assert "you said Hi" == await streamed(gate, "w")


async def test_an_errand_is_left_to_nobody_else() -> None:
    """It is addressed to one upstream: another route would send its own credentials there."""
    text = "models: [m]\nrequest: { path: /x }\nresponse: { events: [ { text: $.a } ] }\n"
    one = route_of(f"version: 1\nname: one\nbase_url: https://a.example\nfallback: [two]\n{text}")
    two = route_of(f"version: 1\nname: two\nbase_url: https://b.example\n{text}")
    call, book = call_of(one, {"messages": HI}), make_book([one, two])
    error = ErrorEvent("overloaded", "busy")
    assert next_route(book, [one], call, error) is not None
    errand = Errand(one.plan, lambda offer: None, lambda body: (body, None))
    assert next_route(book, [one], replace(call, errand=errand), error) is None
