"""Frameworks over every upstream dialect: the files of `programs/` hold the cases."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.everywhere import KEY, UPSTREAMS, World
from tests.clients.openai_stub import TEXT

from .environments import program

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True, slots=True)
class Framework:
    """environment it lives in; cases: how many it has on a route."""

    environment: str
    cases: int


FRAMEWORKS = {
    "with_pydantic_ai": Framework("frameworks", 2 * 7),
    "with_instructor": Framework("frameworks", 6),
    "with_llama_index": Framework("litellm", 7),
    "with_litellm": Framework("litellm", 3 * 7),
}


@pytest.mark.parametrize("route", UPSTREAMS)
@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_cases_of_a_framework(world: World, tmp_path: Path, name: str, route: str) -> None:
    framework = FRAMEWORKS[name]
    env = {
        "HOME": str(tmp_path),
        "BASE_URL": world.url,
        "API_KEY": KEY,
        "TEXT": json.dumps(TEXT),
        "ROUTES": json.dumps([route]),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    process = await asyncio.create_subprocess_exec(
        program(framework.environment),
        str(PROGRAMS / f"{name}.py"),
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert 0 == process.returncode, err.decode()
    ran = [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
    wrong = [f"{case['name']}: {case['wrong']}" for case in ran if case["wrong"]]
    assert not wrong, "\n".join(wrong)
    assert framework.cases == len(ran)
