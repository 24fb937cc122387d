"""gemini-cli in front of every upstream: what it shows, what it runs, what it sends back."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.clients import anthropic_stub, gemini_stub, openai_stub
from tests.clients.gemini_stub import SIGNATURE
from tests.clients.google import ROUTES, Google, google
from tests.clients.openai_stub import TEXT
from tests.faults.client import CLIENT_KEY

from .programs import Machine, Ran

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
EVERYWHERE = pytest.mark.parametrize("route", ROUTES)
PNG = b64decode("iVBORw0KGgo=")
SETTINGS = {
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "telemetry": {"enabled": False},
    "privacy": {"usageStatisticsEnabled": False},
    "general": {"enableAutoUpdate": False},
}
COMMAND = "printf 'made: 你好' > made.txt && cat made.txt"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Google]:
    async with google(tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.fixture
def machine(served: Google, tmp_path: Path) -> Machine:
    settings = tmp_path / "home/.gemini/settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(SETTINGS))
    url = f"http://127.0.0.1:{served.port}"
    env = {"GEMINI_API_KEY": CLIENT_KEY, "GOOGLE_GEMINI_BASE_URL": url}
    return Machine(tmp_path, env)


def calls(monkeypatch: pytest.MonkeyPatch, name: str = "", **args: object) -> None:
    """What every stub calls when tools are on offer: this, or nothing."""
    used = {"type": "tool_use", "id": "toolu_0", "name": name, "input": args}
    function = {"name": name, "arguments": json.dumps(args)}
    call = {"id": "call_0", "type": "function", "function": function}
    part = {"functionCall": {"name": name, "args": args}}
    for stub, place, made in (
        (openai_stub, "calls_of", call),
        (anthropic_stub, "_calls", used),
        (gemini_stub, "_calls", part),
    ):
        monkeypatch.setattr(
            stub,
            place,
            lambda body, made=made: [dict(made)] if name and not _answered(body) else [],
        )


def _answered(body: dict[str, Any]) -> bool:
    """Whether a Chat request ends with what a tool said: the others look for that themselves."""
    turns: list[dict[str, Any]] = body.get("messages", [])
    return bool(turns) and turns[-1]["role"] == "tool"


async def ask(machine: Machine, model: str, prompt: str, *more: str) -> Ran:
    return await machine.run("gemini", "--skip-trust", "-m", model, "-p", prompt, *more)


@EVERYWHERE
@pytest.mark.parametrize("model", ["talk", "bytes"])
async def test_it_shows_the_answer(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, route: str, model: str
) -> None:
    calls(monkeypatch)
    ran = await ask(machine, f"{route}.{model}", "hello")
    assert (0, True) == (ran.code, TEXT in ran.out), ran


@EVERYWHERE
async def test_it_counts_tokens(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    calls(monkeypatch)
    ran = await ask(machine, f"{route}.talk", "hello", "-o", "json")
    shown = json.loads(ran.out)
    assert shown["response"] == TEXT
    (found,) = shown["stats"]["models"].values()
    assert 3 == found["tokens"]["cached"]
    assert 19 == found["tokens"]["prompt"] + found["tokens"]["tool"]


@EVERYWHERE
async def test_it_runs_a_tool_and_sends_back_what_it_said(
    served: Google, machine: Machine, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    calls(monkeypatch, "run_shell_command", command=COMMAND, description="makes a file")
    ran = await ask(machine, f"{route}.talk", "make a file", "--approval-mode", "yolo")
    assert (machine.work / "made.txt").read_text() == "made: 你好"
    assert (0, True) == (ran.code, "made: 你好" in ran.out), ran
    assert "made: 你好" in json.dumps(served.sent(route), ensure_ascii=False)


@pytest.mark.parametrize("route", ["gemini", "gemini_passed"])
async def test_row_27_it_gives_signatures_back(
    served: Google, machine: Machine, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    calls(monkeypatch, "run_shell_command", command=COMMAND, description="makes a file")
    ran = await ask(machine, f"{route}.gemini-3-x", "make a file", "--approval-mode", "yolo")
    assert ran.code == 0, ran
    parts = [part for turn in served.sent(route)["contents"] for part in turn["parts"]]
    (call,) = [part for part in parts if "functionCall" in part]
    assert SIGNATURE == call["thoughtSignature"]


@EVERYWHERE
async def test_it_shows_pictures(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    calls(monkeypatch)
    machine.work.mkdir()
    (machine.work / "a.png").write_bytes(PNG)
    ran = await ask(machine, f"{route}.talk", "what is this? @a.png")
    assert "image/png of 8 bytes" in ran.out, ran


@EVERYWHERE
@pytest.mark.parametrize("status", [400, 404])
async def test_it_shows_what_failed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, route: str, status: int
) -> None:
    calls(monkeypatch)
    ran = await ask(machine, f"{route}.error-{status}", "hello")
    assert ran.code != 0
    assert f"This is a {status}." in ran.out + ran.err
