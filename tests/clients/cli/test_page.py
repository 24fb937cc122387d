"""Every fence of docs/clients.md, as it stands but for the address: its client gets the answer."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import pytest_asyncio

from tests.clients.apart.environments import program
from tests.clients.text_stub import ROUTE, TextStub, text_stub
from tests.faults.client import CLIENT_KEY
from tests.faults.stage import gateway

from .programs import HERE, Machine, without

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
PAGE = (HERE.parents[2] / "docs/clients.md").read_text("utf-8")
_FENCE = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```", re.M | re.S)
FENCES = {
    title: _FENCE.findall(body)
    for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
}
SAID = "Héllo, 世界"
ANSWERS = {
    "OpenAI SDK": 2,
    "LangChain": 2,
    "LiteLLM": 2,
    "AI SDK": 3,
}  # one, where nothing is said here
QUIET = {  # what looks for news elsewhere, in vain and for long
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "AIDER_CHECK_UPDATE": "false",
    "AIDER_ANALYTICS": "false",
}
APART = {  # in what environment of its own a client lives
    "aider": "aider", "llm": "frameworks", "pydantic-ai": "frameworks", "LlamaIndex": "litellm",
    "LiteLLM": "litellm",
}  # fmt: skip
MODULES = {
    "OpenAI SDK": "openai", "Anthropic SDK": "anthropic", "Google's SDK": "google.genai",
    "Ollama's SDK": "ollama", "LangChain": "langchain_openai",
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[TextStub, str]]:
    async with text_stub() as stub:
        stub.script = lambda turns: SAID
        route = ROUTE.format(url=stub.url, style="xml").replace("[plain]", "[large]")
        async with gateway(tmp_path_factory.mktemp("gateway"), {"large": route}) as running:
            yield stub, f"http://127.0.0.1:{running.port}"


async def test_every_client_of_the_page_has_a_fence() -> None:
    assert all(FENCES.values())
    assert len(FENCES) >= 10


@pytest.mark.parametrize("title", FENCES)
async def test_a_client_set_up_as_the_page_says_gets_its_answer(
    served: tuple[TextStub, str], tmp_path: Path, title: str
) -> None:
    stub, url = served
    machine = Machine(tmp_path, dict(QUIET))
    out = ""
    for kind, name, text in FENCES[title]:
        here = text.replace("http://127.0.0.1:8080", url).replace("sk-mine", CLIENT_KEY)
        if name:
            _save(machine, name, here)
        else:
            out += await _play(machine, title, kind, here)
    assert ANSWERS.get(title, 1) == out.count(SAID), out
    assert stub.asked


def _save(machine: Machine, name: str, text: str) -> None:
    folder = machine.home if name.startswith("~/") else machine.work
    path = folder / name.removeprefix("~/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


async def _play(machine: Machine, title: str, kind: str, text: str) -> str:
    if kind == "bash" and title in APART:
        folder = Path(program(APART[title], title)).parent
        machine.env["PATH"] = f"{folder}:{os.environ['PATH']}"
        ran = await (await machine.start("bash", "-c", text, needs="")).end()
    elif kind == "python" and title in APART:
        ran = await (await machine.start(program(APART[title]), "-c", text, needs="")).end()
    elif kind == "bash":
        client = text.splitlines()[-1].split()[0]
        ran = await (await machine.start("bash", "-c", text, needs=client)).end()
    elif kind == "python":
        if find_spec(MODULES[title]) is None:
            without(f"{MODULES[title]} is not installed")
        ran = await (await machine.start(sys.executable, "-c", text, needs="")).end()
    else:
        script = HERE / "node_modules/.page.mjs"
        if not (HERE / "node_modules/ai").exists():
            without("ai is not installed: `make test-clients` does that")
        script.write_text(text)
        ran = await (await machine.start("node", str(script), needs="")).end()
    assert 0 == ran.code, ran
    return ran.out
