"""`llm`, the command: answers streamed and not, a tool of its user's, a form, an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients.cli.programs import Machine, Ran
from tests.clients.everywhere import KEY, UPSTREAMS, World
from tests.clients.openai_stub import CITIES, TEXT

from .environments import program

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
EVERYWHERE = pytest.mark.parametrize("route", UPSTREAMS)
WEATHER = '''
def weather(city: str) -> str:
    """The weather in a city."""
    return f"21° in {city}"
'''


async def llm(world: World, home: Path, model: str, *arguments: str) -> Ran:
    path = program("frameworks", "llm")
    machine = Machine(home)
    known = {
        "model_id": "large",
        "model_name": model,
        "api_base": f"{world.url}/v1",
        "api_key_name": "large",
        "supports_tools": True,
        "supports_schema": True,
    }
    folder = machine.home / "llm"
    folder.mkdir(parents=True)
    (folder / "extra-openai-models.yaml").write_text(json.dumps([known]))
    machine.env = {"LLM_USER_PATH": str(folder)}
    started = await machine.start(path, "-m", "large", "--key", KEY, *arguments, needs="")
    return await started.end()


@EVERYWHERE
@pytest.mark.parametrize("how", [(), ("--no-stream",)], ids=["stream", "plain"])
async def test_an_answer(world: World, tmp_path: Path, route: str, how: tuple[str, ...]) -> None:
    ran = await llm(world, tmp_path, f"{route}.bytes", *how, "hello")
    assert (0, f"{TEXT}\n") == (ran.code, ran.out), ran.err


@EVERYWHERE
@pytest.mark.parametrize("how", [(), ("--no-stream",)], ids=["stream", "plain"])
async def test_a_tool_is_run(
    world: World, tmp_path: Path, route: str, how: tuple[str, ...]
) -> None:
    asked = ("--functions", WEATHER, "weather in Paris and Zürich")
    ran = await llm(world, tmp_path, f"{route}.talk", *how, *asked)
    assert all(f"21° in {city}" in ran.out for city in CITIES), ran


@pytest.mark.parametrize("route", ["chat", "responses", "ollama"])
async def test_an_answer_of_a_form(world: World, tmp_path: Path, route: str) -> None:
    ran = await llm(world, tmp_path, f"{route}.talk", "--schema", "name, age int", "who?")
    assert {"name": "Žofia 王", "age": 34} == json.loads(ran.out), ran


@EVERYWHERE
async def test_an_error_is_shown(world: World, tmp_path: Path, route: str) -> None:
    ran = await llm(world, tmp_path, f"{route}.error-400", "hello")
    assert 1 == ran.code
    assert "his is a 400" in ran.err
