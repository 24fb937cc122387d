"""Claude Code through the five example routes that replace a program each, before their stubs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.upstreams.five import FIVE, Stand
from tests.upstreams.front import KEY

from .agent import Step
from .claude import Claude
from .programs import Machine

pytestmark = pytest.mark.timeout(240)
EACH = pytest.mark.parametrize("name", FIVE)
SAID = "Héllo, 世界 👩‍👩‍👧"
COMMAND = "printf 'made by a tool 世界' > made.txt && echo first-$((40+2))"
STEPS = (
    Step("Bash", {"command": COMMAND, "description": "Make it"}),
    Step("Bash", {"command": "cat made.txt", "description": "Look"}, after="first-42"),
)


def claude(stand: Stand, home: Path) -> Claude:
    machine = Machine(home / "machine")
    machine.work.mkdir(parents=True)
    return Claude(stand.on.url, KEY, machine)


def last(stand: Stand) -> str:
    return json.dumps(stand.asked()[-1], ensure_ascii=False)


@EACH
async def test_an_answer(tmp_path: Path, name: str) -> None:
    async with FIVE[name](tmp_path) as stand:
        stand.say(SAID)
        answer = await claude(stand, tmp_path).run(stand.model, "say hello to the world")
        assert (SAID, False) == (answer.text, answer.told["is_error"])
        assert "say hello to the world" in last(stand)
        assert 1 == len(stand.asked())


@pytest.mark.parametrize("name", [name for name in FIVE if name != "kimi-ai"])
async def test_commands_are_run_and_change_the_disk(tmp_path: Path, name: str) -> None:
    async with FIVE[name](tmp_path) as stand:
        assert stand.work is not None
        stand.work(STEPS, SAID)
        one = claude(stand, tmp_path)
        answer = await one.run(stand.model, "make a file")
        assert (SAID, 3) == (answer.text, answer.told["num_turns"])
        assert "made by a tool 世界" == (one.machine.work / "made.txt").read_text()
        assert "first-42" in last(stand)
        assert 3 == len(stand.asked())


@EACH
async def test_a_refusal_is_shown(tmp_path: Path, name: str) -> None:
    async with FIVE[name](tmp_path) as stand:
        stand.refuse()
        answer = await claude(stand, tmp_path).run(stand.model, "say hello")
        assert (True, 400) == (answer.told["is_error"], answer.told["api_error_status"])
        assert stand.refusal in answer.text
        assert 1 == len(stand.asked())


async def test_kimi_ai_is_told_what_was_said_and_nothing_else(tmp_path: Path) -> None:
    """Its prompt has room for 1000 characters: system texts, which are longer, go first."""
    async with FIVE["kimi-ai"](tmp_path) as stand:
        one = claude(stand, tmp_path)
        stand.say("first answer")
        first = await one.run(stand.model, "first question")
        stand.say("second answer")
        second = await one.run(stand.model, "second question", "--resume", first.session)
        assert "second answer" == second.text
        told = stand.asked()[-1]["message"]
        assert len(told) <= 1000
        assert told.startswith("用户: <system-reminder>")
        words = ("first question", "\n模型: first answer\n用户: ", "second question")
        places = [told.index(word) for word in words]
        assert sorted(places) == places
        assert "系统" not in told
        stand.say("never asked")
        long = await one.run(stand.model, "too long " * 120)
        assert "Prompt is too long" in long.text
        assert 2 == len(stand.asked())
