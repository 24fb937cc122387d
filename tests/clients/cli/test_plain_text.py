"""Whole sessions of Claude Code and Codex on an upstream that speaks only plain text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.clients.text_stub import ROUTE, TextStub, text_stub
from tests.faults.client import CLIENT_KEY
from tests.faults.stage import gateway

from .agent import Agent, Step
from .claude import Claude
from .codex import Codex
from .programs import Machine

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
STYLES = pytest.mark.parametrize("style", ["xml", "json"])
LINE = '    return "hello"  # {"a": 1} </tool_call>'
BEFORE = f"def greet():\n{LINE}\n\n\nprint(greet())\n"
BETTER = LINE.replace("hello", "héllo 世界")
AFTER = BEFORE.replace(LINE, BETTER)


@dataclass(slots=True)
class World:
    url: str
    stub: TextStub


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with text_stub() as stub:
        routes = {
            style: ROUTE.format(url=stub.url, style=style).replace("[plain]", f"[{style}]")
            for style in ("xml", "json")
        }
        async with gateway(tmp_path_factory.mktemp("gateway"), routes) as running:
            yield World(f"http://127.0.0.1:{running.port}", stub)


@pytest.fixture
def machine(served: World, tmp_path: Path) -> Machine:
    """With a program that is to be changed."""
    served.stub.asked.clear()
    machine = Machine(tmp_path)
    machine.work.mkdir()
    (machine.work / "greet.py").write_text(BEFORE)
    return machine


@STYLES
async def test_claude_code_reads_edits_runs_and_answers(
    served: World, machine: Machine, style: str
) -> None:
    file = str(machine.work / "greet.py")
    edit = {"file_path": file, "old_string": LINE, "new_string": BETTER}
    command = {"command": "python3 greet.py | tee said.txt", "description": "Run it"}
    steps = [
        Step("Read", {"file_path": file}),
        Step("Edit", edit, after=LINE),
        Step("Bash", command, after="greet.py"),
    ]
    served.stub.script = Agent(steps, "It says: {}", last="héllo 世界")
    answer = await Claude(served.url, CLIENT_KEY, machine).run(style, "make it say héllo 世界")
    assert "It says: héllo 世界" == answer.text
    assert AFTER == (machine.work / "greet.py").read_text()
    assert "héllo 世界\n" == (machine.work / "said.txt").read_text()
    assert 4 == len(served.stub.asked)
    assert 4 == answer.told["num_turns"]
    assert not answer.told["is_error"]


@STYLES
async def test_codex_reads_edits_runs_and_answers(
    served: World, machine: Machine, style: str
) -> None:
    patch = (
        "*** Begin Patch\n*** Update File: greet.py\n@@\n def greet():\n"
        f"-{LINE}\n+{BETTER}\n*** End Patch"
    )
    steps = [
        Step("exec_command", {"cmd": "cat greet.py"}),
        Step("exec_command", {"cmd": f"apply_patch <<'EOF'\n{patch}\nEOF"}, after=LINE),
        Step("exec_command", {"cmd": "python3 greet.py | tee said.txt"}, after="greet.py"),
    ]
    served.stub.script = Agent(steps, "It says: {}", last="héllo 世界")
    turn = await Codex(served.url, CLIENT_KEY, machine).run(style, "make it say héllo 世界")
    assert "" == turn.error
    assert "It says: " in turn.text
    assert "héllo 世界" in turn.text.rpartition("It says: ")[2]
    assert AFTER == (machine.work / "greet.py").read_text()
    assert "héllo 世界\n" == (machine.work / "said.txt").read_text()
    assert 4 == len(served.stub.asked)
