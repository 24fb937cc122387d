"""aider edits a file in a repository, over every upstream dialect."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.clients.cli.programs import Machine, Ran
from tests.clients.cli.speech import Fields, Say
from tests.clients.cli.world import World, world
from tests.faults.client import CLIENT_KEY

from .environments import program

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
ROUTES = ("chat", "responses", "messages", "gemini", "ollama")
BEFORE = 'def greet():\n    return "hello"\n'
AFTER = BEFORE.replace("hello", "héllo 世界")
EDIT = f"""Here you are.

greet.py
```python
<<<<<<< SEARCH
{BEFORE.splitlines()[1]}
=======
{AFTER.splitlines()[1]}
>>>>>>> REPLACE
```
"""
SUBJECT = "feat: greet in two languages"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("gateway"), ROUTES) as made:
        yield made


def model(results: list[str], body: Fields) -> Say:
    """The edit; or, asked for one, the message of its commit."""
    told = json.dumps(body)
    return Say(EDIT if "SEARCH/REPLACE" in told else SUBJECT)


@pytest.fixture
def machine(served: World, tmp_path: Path) -> Machine:
    """With a repository that holds a file."""
    served.upstream.reset()
    served.upstream.script = model
    machine = Machine(tmp_path)
    machine.work.mkdir()
    (machine.work / "greet.py").write_text(BEFORE)
    git(machine, "init", "-q", "-b", "main")
    git(machine, "add", "greet.py")
    git(machine, "commit", "-q", "-m", "begin")
    return machine


def git(machine: Machine, *arguments: str) -> str:
    author = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    ran = subprocess.run(
        ["git", *author, *arguments], cwd=machine.work, check=True, capture_output=True, text=True
    )
    return ran.stdout.strip()


async def aider(served: World, machine: Machine, route: str, *more: str) -> Ran:
    path = program("aider", "aider")
    machine.env = {
        "OPENAI_API_KEY": CLIENT_KEY,
        "OPENAI_API_BASE": f"{served.url}/v1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    started = await machine.start(
        path, "--model", f"openai/{route}-m", "--edit-format", "diff", "--yes-always",
        "--no-show-model-warnings", "--no-check-update", "--analytics-disable", "--no-pretty",
        "--no-gitignore", "--map-tokens", "0", *more, "-m", "greet in two languages", "greet.py",
        needs="",
    )  # fmt: skip
    return await started.end()


@pytest.mark.parametrize(
    ("route", "how"),
    [*((route, "--stream") for route in ROUTES), ("messages", "--no-stream")],
)
async def test_it_edits_a_file_and_commits(
    served: World, machine: Machine, route: str, how: str
) -> None:
    ran = await aider(served, machine, route, how)
    assert AFTER == (machine.work / "greet.py").read_text(), ran
    assert SUBJECT == git(machine, "log", "-1", "--format=%s"), ran
    assert "" == git(machine, "status", "--porcelain", "greet.py")
    assert [] == served.upstream.refused
    assert 2 == len(served.upstream.requests)  # the edit, the message of its commit


@pytest.mark.parametrize("route", ["messages", "gemini"])
async def test_an_error_is_shown(served: World, machine: Machine, route: str) -> None:
    served.upstream.status = 400
    ran = await aider(served, machine, route)
    assert "This is a 400." in ran.out, ran
    assert BEFORE == (machine.work / "greet.py").read_text()
    assert 1 == len(served.upstream.requests)
