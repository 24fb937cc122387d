"""The loop between every client and every upstream: the official SDKs, real tools, and upstreams
that refuse what the real services refuse. Each is run whole and as a stream."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from .clients import CLIENTS, ask, then
from .stage import GRANTED, Stage, odd, stage
from .upstream import TONGUES, Heard, Say

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession"),  # Google's own
]
PAIRS = pytest.mark.parametrize(
    ("who", "model"), [(who, model) for who in CLIENTS for model in TONGUES]
)
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
ROUTE = """\
version: 1
models: [%MODEL%]
retry: { attempts: 2, backoff: { initial: 10ms, max: 10ms } }
timeouts: { connect: 1s, first_byte: 1s, idle: 1s }
tools: { mcp: [odd], max_rounds: 3 }
"""


def echo(*words: str) -> tuple[tuple[str, str], ...]:
    return tuple(("echo", json.dumps({"text": word})) for word in words)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    home = tmp_path_factory.mktemp("dialects")
    routes = {
        name: ROUTE.replace("%MODEL%", name if name != "gemini" else "{ id: gemini, upstream: m }")
        + tongue.ROUTE
        for name, tongue in TONGUES.items()
    }
    async with stage(home, {"odd": {"command": odd(home)}}, routes=routes) as on:
        yield on


@pytest.fixture
def on(made: Stage) -> Stage:
    made.upstream.reset()
    return made


def thought(model: str, text: str) -> str:
    """What an upstream thinks; one of plain text does not."""
    return "" if model == "plain" else text


@PAIRS
@STREAMS
async def test_parallel_calls_and_a_further_round(
    on: Stage, who: str, model: str, stream: bool
) -> None:
    def script(heard: Heard) -> Say:
        told = len(heard.results)
        if told == 0:
            return Say("Let me see. ", echo("one", "two"), thought=thought(model, "Hm."))
        if told == 2:
            return Say("", echo("three"), thought=thought(model, "Well."))
        return Say(" / ".join(heard.results), thought=thought(model, "Ah."))

    on.upstream.script = script
    told = await ask(on, who, model, stream)
    assert ("", [], []) == (told.error, on.upstream.refused, told.calls)
    assert ("Let me see. echo one / echo two / echo three", "stop") == (told.text, told.finish)
    assert 3 == len(on.upstream.asked)
    assert all("echo" in heard.offered for heard in on.upstream.heard)
    notes = ["Calling echo of odd.\n", "echo answered.\n"]
    assert [3, 3] == [told.thinking.count(note) for note in notes]
    thoughts = [] if model == "plain" else ["Hm.", "Well.", "Ah."]
    assert thoughts == [word for word in ("Hm.", "Well.", "Ah.") if word in told.thinking]
    if model == "plain":
        assert told.usage > (30, 10)
    else:
        assert (30, 15) == told.usage


@PAIRS
@STREAMS
async def test_of_a_mixed_answer_the_client_gets_its_own_call_and_the_upstream_all_results(
    on: Stage, who: str, model: str, stream: bool
) -> None:
    def script(heard: Heard) -> Say:
        if heard.results:
            return Say(f"It says: {' / '.join(heard.results)}")
        calls = (*echo("one"), ("own", "{}"), *echo("two"))
        return Say("", calls, thought=thought(model, "Hm."))

    on.upstream.script = script
    told = await ask(on, who, model, stream, tools=True)
    assert ("", [("own", {})], "calls") == (told.error, [c[1:] for c in told.calls], told.finish)
    assert 1 == len(on.upstream.asked)
    turns = then(who, CLIENTS[who].first("Go."), told, "forty")
    after = await ask(on, who, model, stream, turns, tools=True)
    assert ([], "") == (on.upstream.refused, after.error)
    results = "forty" if who == "ollama" else "echo one / forty / echo two"  # it drops ids
    assert (f"It says: {results}", "stop") == (after.text, after.finish)


@PAIRS
@STREAMS
async def test_a_clients_call_after_rounds_of_ours(
    on: Stage, who: str, model: str, stream: bool
) -> None:
    def script(heard: Heard) -> Say:
        told = " / ".join(heard.results)
        if "forty" in told:
            return Say(f"It says: {told}")
        call = (("own", "{}"),) if told else echo("one")
        return Say("And. ", call, thought=thought(model, "Hm."))

    on.upstream.script = script
    told = await ask(on, who, model, stream, tools=True)
    assert ("", [("own", {})], "calls") == (told.error, [c[1:] for c in told.calls], told.finish)
    turns = then(who, CLIENTS[who].first("Go."), told, "forty")
    after = await ask(on, who, model, stream, turns, tools=True)
    assert ([], "") == (on.upstream.refused, after.error)
    assert ("It says: forty", "stop") == (after.text, after.finish)


@STREAMS
async def test_thinking_goes_back_to_an_upstream_whose_client_did_not_ask_for_its_encrypted_form(
    on: Stage, stream: bool
) -> None:
    def script(heard: Heard) -> Say:
        if heard.results:
            return Say("Done.")
        return Say("", echo("one"), thought="Hm.")

    on.upstream.script = script
    async with on.session.post(
        f"{on.gateway.url}/v1/responses",
        json={"model": "responses", "input": "Go.", "stream": stream},
        headers={"Authorization": f"Bearer {GRANTED}"},
    ) as answer:
        assert "Done." in await answer.text()
    assert [] == on.upstream.refused
    assert [["reasoning.encrypted_content"]] * 2 == [body["include"] for body in on.upstream.asked]


async def test_calls_of_a_providers_tools_that_clients_run_are_the_clients(on: Stage) -> None:
    """Their names stand in no list: `bash` is that of `bash_20250124`."""
    on.upstream.script = lambda heard: Say(calls=(("bash", '{"command": "ls"}'),))
    bash: Any = {"type": "bash_20250124", "name": "bash"}
    fields: Any = {"model": "messages", "max_tokens": 99, "tools": [bash]}
    said: Any = [{"role": "user", "content": "Go."}]
    async with on.anthropic() as client, client.messages.stream(messages=said, **fields) as made:
        answer = await made.get_final_message()
    assert ["tool_use"] == [block.type for block in answer.content]
    assert {"bash", "echo"} <= set(on.upstream.offered())
