"""Codex, unmodified, against the gateway: over Chat, Messages and Responses upstreams, the last
passed through and translated."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.clients.anthropic_stub import SIGNATURE
from tests.faults.client import CLIENT_KEY

from .codex import Codex
from .programs import Machine
from .speech import Fields, Say
from .world import World, world

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
ROUTES = ("chat", "messages", "responses", "responses_passed")
EVERYWHERE = pytest.mark.parametrize("route", ROUTES)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("gateway"), ROUTES) as made:
        yield made


@pytest.fixture
def codex(served: World, tmp_path: Path) -> Codex:
    served.upstream.reset()
    return Codex(served.url, CLIENT_KEY, Machine(tmp_path))


@EVERYWHERE
async def test_an_answer_and_its_usage(served: World, codex: Codex, route: str) -> None:
    served.upstream.script = lambda results, body: Say("Héllo, 世界 👩‍👩‍👧")
    turn = await codex.run(f"{route}-m", "say hello")
    assert ("Héllo, 世界 👩‍👩‍👧", "") == (turn.text, turn.error)
    usage = turn.usage
    assert (50, 20, 7) == (
        usage["input_tokens"], usage["cached_input_tokens"], usage["output_tokens"],
    )  # fmt: skip
    assert 1 == len(served.upstream.requests)


def shell(results: list[str], body: Fields) -> Say:
    """Two commands, one after the other, then what came of them."""
    if not results:
        command = {"cmd": "printf 'made by a tool 世界' > made.txt && echo first-$((40+2))"}
        return Say(calls=(("exec_command", command),), thinking="I need a file.")
    if len(results) == 1:
        return Say("One more.", calls=(("exec_command", {"cmd": "cat made.txt"}),))
    return Say("done")


@EVERYWHERE
async def test_commands_are_run_and_change_the_disk(
    served: World, codex: Codex, route: str
) -> None:
    served.upstream.script = shell
    turn = await codex.run(f"{route}-m", "make a file")
    assert "" == turn.error
    assert "made by a tool 世界" == (codex.machine.work / "made.txt").read_text()
    assert turn.text.endswith("done")
    assert 3 == len(served.upstream.requests)
    third = served.upstream.requests[-1]
    told = json.dumps(third, ensure_ascii=False)
    assert "first-42" in told
    assert "made by a tool 世界" in told  # which only the second command printed
    assert 3 * 50 == turn.usage["input_tokens"]
    assert ["I need a file."] == [item["text"] for item in turn.items("reasoning")]
    if route == "chat":
        roles = [message["role"] for message in third["messages"]]
        assert ["assistant", "tool", "assistant", "tool"] == roles[-4:]
        assert "I need a file." == third["messages"][-4]["reasoning_content"]
        names = [tool["function"]["name"] for tool in third["tools"]]
        assert "exec_command" in names
    elif route == "messages":
        thought, call = third["messages"][-4]["content"]
        assert ["thinking", "tool_use"] == [thought["type"], call["type"]]
        assert ("I need a file.", SIGNATURE) == (thought["thinking"], thought["signature"])
    else:
        kinds = [item["type"] for item in third["input"]]
        assert ["reasoning", "function_call", "function_call_output"] == kinds[-6:-3]
        assert "secret-1" == third["input"][-6]["encrypted_content"]


@EVERYWHERE
@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (400, "", "This is a 400."),
        (400, "context_length_exceeded", "ran out of room"),
        (401, "", "upstream credential rejected"),
        (404, "model_not_found", "This is a 404."),
        (429, "rate_limit_exceeded", "429"),
        (500, "", "This is a 500."),
    ],
)
async def test_errors_reach_the_user(
    served: World, codex: Codex, route: str, status: int, code: str, said: str
) -> None:
    served.upstream.status, served.upstream.code = status, code
    turn = await codex.run(f"{route}-m", "say hello")
    assert said in turn.error
    assert 1 == len(served.upstream.requests)


async def test_a_wrong_key_is_named(served: World, codex: Codex) -> None:
    codex.key = "wrong"
    turn = await codex.run("chat-m", "say hello")
    assert "Invalid API key provided" in turn.error
    assert "401" in turn.error


@EVERYWHERE
async def test_a_session_goes_on(served: World, codex: Codex, route: str) -> None:
    served.upstream.script = lambda results, body: Say("first answer")
    await codex.run(f"{route}-m", "first question")
    served.upstream.script = lambda results, body: Say("second answer")
    turn = await codex.resume(f"{route}-m", "second question")
    assert "second answer" == turn.text
    told = json.dumps(served.upstream.requests[-1])
    assert "first question" in told
    assert "first answer" in told
