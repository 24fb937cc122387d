"""qwen-code, unmodified, against the gateway, over upstreams of every dialect."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.client import CLIENT_KEY

from .programs import Machine, Ran
from .speech import Fields, Say
from .world import World, world

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
ROUTES = ("chat", "chat_passed", "responses", "messages", "gemini", "ollama")
EVERYWHERE = pytest.mark.parametrize("route", ROUTES)
HELLO = "Héllo, 世界 👩‍👩‍👧"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("gateway"), ROUTES) as made:
        yield made


@pytest.fixture
def machine(served: World, tmp_path: Path) -> Machine:
    served.upstream.reset()
    env = {"OPENAI_API_KEY": CLIENT_KEY, "OPENAI_BASE_URL": f"{served.url}/v1"}
    return Machine(tmp_path, env)


async def ask(machine: Machine, route: str, prompt: str) -> Ran:
    machine.env["OPENAI_MODEL"] = f"{route}-m"
    return await machine.run("qwen", "--auth-type", "openai", "-y", "-p", prompt)


@EVERYWHERE
async def test_it_shows_the_answer(served: World, machine: Machine, route: str) -> None:
    served.upstream.script = lambda results, body: Say(HELLO)
    ran = await ask(machine, route, "say hello")
    assert (0, True) == (ran.code, HELLO in ran.out), ran
    assert [] == served.upstream.refused


def shell(results: list[str], body: Fields) -> Say:
    """Two commands, one after the other, then what came of them."""
    if not results:
        command = "printf 'made by a tool 世界' > made.txt && echo first-$((40+2))"
        return Say(calls=(("run_shell_command", {"command": command, "is_background": False}),))
    if len(results) == 1:
        look = {"command": "cat made.txt", "is_background": False}
        return Say("One more.", calls=(("run_shell_command", look),))
    return Say(HELLO)


@EVERYWHERE
async def test_commands_are_run_and_change_the_disk(
    served: World, machine: Machine, route: str
) -> None:
    served.upstream.script = shell
    ran = await ask(machine, route, "make a file")
    assert (0, True) == (ran.code, HELLO in ran.out), ran
    assert "made by a tool 世界" == (machine.work / "made.txt").read_text()
    assert [] == served.upstream.refused
    told = json.dumps(served.upstream.requests[2], ensure_ascii=False)
    assert "first-42" in told


@EVERYWHERE
async def test_an_error_is_shown(served: World, machine: Machine, route: str) -> None:
    served.upstream.status = 400
    ran = await ask(machine, route, "hello")
    assert "This is a 400." in ran.out + ran.err, ran
