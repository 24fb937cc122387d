"""Two more pages of docs/moving, by the command: `penstock serve --env-file .env`."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from openai import AsyncOpenAI

from engine.errors import ConfigError
from engine.shell.settings import load_settings
from tests.shell import kimi_site
from tests.upstreams import flowith
from tests.upstreams.stand import EXAMPLES, said

ROOT = Path(__file__).parents[2]
CLIENT = "sk-old-client-0123456789"


def server_file(name: str) -> str:
    """The server file of a page about moving."""
    page = (ROOT / f"docs/moving/{name}.md").read_text("utf-8")
    hit = re.search(r"```yaml\n(# penstock\.yaml\n.*?)```", page, re.S)
    assert hit is not None
    return hit[1]


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


@asynccontextmanager
async def moved(home: Path, name: str, env: Mapping[str, str], port: int) -> AsyncIterator[str]:
    """`penstock serve --env-file .env` in a folder with the old `.env`; gives the old address."""
    (home / "routes").mkdir()
    shutil.copyfile(EXAMPLES / f"{name}.yaml", home / f"routes/{name}.yaml")
    (home / "penstock.yaml").write_text(server_file(name), "utf-8")
    (home / ".env").write_text("".join(f"{key}={value}\n" for key, value in env.items()), "utf-8")
    kept = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "engine", "serve", "--env-file", ".env",
        cwd=home, env={**kept, "PYTHONPATH": str(ROOT), "HOME": str(home)},
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        await _answers(url)
        yield url
    finally:
        process.terminate()
        assert await process.wait() == 0


async def _answers(url: str) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


async def _listed(client: AsyncOpenAI, model: str) -> None:
    async with asyncio.timeout(30):
        while model not in [each.id async for each in client.models.list()]:
            await asyncio.sleep(0.1)


async def test_flowith_moves(tmp_path: Path) -> None:
    site, port = flowith.Flowith(), free_port()
    async with flowith.running(site) as upstream:
        old = {
            "PORT": str(port),
            "LOG_LEVEL": "warn",
            "FLOWITH_BASE": upstream,
            "FLOWITH_AUTH_TOKENS": f"{flowith.TOKENS[0]},{flowith.TOKENS[1]} # two",
            "API_KEYS": f"{CLIENT},sk-old-second-0123456789",
            "ADMIN_KEY": "sk-old-admin-0123456789",
            "UPSTREAM_TIMEOUT_MS": "25000",
            "STREAM_IDLE_TIMEOUT_MS": "15000",
            "CONTEXT_TTL_SECONDS": "3600",
            "MAX_CONTEXT_MESSAGES": "20",
            "THINKING_PROMPT": "Please think step by step before answering.",
            "STORAGE_TYPE": "sqlite",
        }
        async with (
            moved(tmp_path, "flowith", old, port) as url,
            AsyncOpenAI(base_url=f"{url}/v1", api_key=CLIENT) as client,
        ):
            await _listed(client, flowith.MODELS[0])
            answer = await client.chat.completions.create(
                model=flowith.MODELS[0], messages=said("Hi"), extra_body={"session_id": "s1"}
            )
            assert answer.choices[0].message.content == "You said: Hi"
    assert site.asked[-1].said[0] == ("system", old["THINKING_PROMPT"])
    assert site.asked[-1].token in flowith.TOKENS[:2]
    assert (tmp_path / "data/penstock.db").is_file()


@pytest.mark.rows("KA-03", "FL-40")
async def test_kimi_ai_moves(tmp_path: Path) -> None:
    site, port = kimi_site.Site(), free_port()
    async with kimi_site.running(site) as upstream:
        old = {
            "API_MASTER_KEY": CLIENT,
            "NGINX_PORT": str(port),
            "API_REQUEST_TIMEOUT": "180",
            "SESSION_CACHE_TTL": "3600",
            "KIMI_AI_BASE_URL": upstream,
        }
        async with (
            moved(tmp_path, "kimi-ai", old, port) as url,
            AsyncOpenAI(base_url=f"{url}/v1", api_key=CLIENT) as client,
        ):
            for text in ("one", "two"):
                answer = await client.chat.completions.create(
                    model="kimi-k2-instruct", messages=said(text), user="ann"
                )
                assert answer.choices[0].message.content == f"You said: {text}"
    assert site.forms[1]["message"] == "用户: one\n模型: You said: one\n用户: two"


@pytest.mark.rows("KA-01", "AB-12")
@pytest.mark.parametrize("key", [None, "", "1"])
def test_nobody_is_let_in_because_a_key_is_missing_or_a_joke(
    tmp_path: Path, key: str | None
) -> None:
    """The old program took that for `no authentication`."""
    file = tmp_path / "penstock.yaml"
    file.write_text(server_file("kimi-ai"))
    with pytest.raises(ConfigError) as caught:
        load_settings(file, {} if key is None else {"API_MASTER_KEY": key})
    assert {problem.code for problem in caught.value.problems} <= {"E201", "E601", "E602"}


@pytest.mark.rows("KA-01", "AB-12", "FL-40")
@pytest.mark.parametrize("file", ["deploy/penstock.yaml"])
def test_what_is_shipped_asks_for_a_key(file: str) -> None:
    with pytest.raises(ConfigError, match="set a client key"):
        load_settings(ROOT / file, {})
    settings = load_settings(ROOT / file, {"PENSTOCK_API_KEY": CLIENT})
    assert (settings.clients.auth, len(settings.clients.keys)) == ("keys", 1)


@pytest.mark.rows("KA-01")
def test_open_access_is_written_down(tmp_path: Path) -> None:
    file = tmp_path / "penstock.yaml"
    file.write_text("version: 1\nclients: { auth: none }\n")
    assert load_settings(file, {}).clients.auth == "none"
    file.write_text("version: 1\n")
    with pytest.raises(ConfigError, match="there is no client key"):
        load_settings(file, {})
