"""The pages of docs/moving, done as they say: old environment, old files, the same port."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from engine.shell.app import gateway
from engine.shell.settings import load_settings
from engine.shell.shelf import Shelf
from tests.upstreams import iflow, k2think, zenmux
from tests.upstreams.front import EXAMPLES, HELLO

KEY = "the-old-clients-key"
OLD_K2 = """
VALID_API_KEY={key}
K2THINK_BASE_URL={url}
HOST=127.0.0.1
PORT={port}
ENABLE_TOKEN_AUTO_UPDATE={auto}
TOKEN_UPDATE_INTERVAL=86400
MAX_TOKEN_FAILURES=3
REQUEST_TIMEOUT=60
PROXY_URL=
TOOL_SUPPORT=true
"""
OLD_ZENMUX = """
ZENMUX_API_KEY=sk-zen-0001
MOONSHOT_BASE_URL={url}
PROXY_HOST=127.0.0.1
PROXY_PORT={port}
DEBUG=false
PENSTOCK_API_KEY={key}
"""
OLD_IFLOW = """
PORT={port}
PENSTOCK_API_KEY={key}
IFLOW_BASE_URL={url}/v1
IFLOW_LOGIN_URL={url}
IFLOW_HOME={home}
IFLOW_CLIENT_ID=10009311001
IFLOW_CLIENT_SECRET=not-a-real-secret
"""


@dataclass(frozen=True)
class Old:
    """What an operator has: the proxy's environment, its data, the model its clients name."""

    page: str
    env: str
    model: str
    answer: str
    service: Callable[[], AbstractAsyncContextManager[str]]
    files: dict[str, str]


def _k2() -> AbstractAsyncContextManager[str]:
    return k2think.running(k2think.Site(tokens={"token-1": "p1"}))


CREDS = {
    "access_token": "at-1", "refresh_token": "rt-1", "apiKey": "sk-test-0000", "scope": "",
    "expiry_date": "2020-01-01 10:00", "token_type": "bearer",
}  # fmt: skip
SAID = "You said: Hello"
CASES = {
    "accounts.txt": Old(
        "k2think", OLD_K2.replace("{auto}", "true"), "MBZUAI-IFM/K2-Think", SAID, _k2,
        {"routes/accounts.txt": k2think.people(2)},
    ),
    "tokens.txt": Old(
        "k2think", OLD_K2.replace("{auto}", "false"), "MBZUAI-IFM/K2-Think", SAID, _k2,
        {"routes/tokens.txt": "# old\ntoken-1\n"},
    ),
    "zenmux": Old(
        "zenmux-kimi", OLD_ZENMUX, "kimi-k2.5", "Good day.",
        lambda: zenmux.running(zenmux.Zenmux()), {},
    ),
    "oauth_creds.json": Old(
        "iflow", OLD_IFLOW, "glm-4.6", "Good day.", lambda: iflow.running(iflow.Iflow()),
        {"old/oauth_creds.json": json.dumps(CREDS)},
    ),
    "settings.json": Old(
        "iflow", OLD_IFLOW, "glm-4.6", "Good day.", lambda: iflow.running(iflow.Iflow()),
        {"old/settings.json": '{"apiKey": "sk-test-0000", "baseUrl": "https://elsewhere.example"}'},
    ),
}  # fmt: skip


def prepare(home: Path, old: Old) -> None:
    """The folder as the page wants it."""
    for name, text in old.files.items():
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(text)
    (home / "routes").mkdir(exist_ok=True)
    shutil.copy(EXAMPLES / f"{old.page}.yaml", home / "routes")
    page = Path(f"docs/moving/{old.page}.md").read_text("utf-8")
    (fence,) = re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S)
    (home / "penstock.yaml").write_text(fence)


@asynccontextmanager
async def moved(home: Path, old: Old) -> AsyncIterator[AsyncOpenAI]:
    """The steps of the page; a client as it was before."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    prepare(home, old)
    async with old.service() as url:
        written = old.env.format(key=KEY, url=url, port=port, home=home / "old")
        env = {"HOME": str(home), **dict(re.findall(r"^(\w+)=(.*)$", written, re.M))}
        settings = load_settings(home / "penstock.yaml", env)
        async with (
            gateway(settings, Shelf([home / "routes"], env=env), strict=True),
            AsyncOpenAI(
                base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY, max_retries=0
            ) as client,
        ):
            yield client


@pytest.mark.rows("K2-04", "K2-13", "KT-01", "KT-02", "KT-03", "IF-02", "IF-03")
@pytest.mark.parametrize("name", CASES)
async def test_old_settings_and_files_serve_the_old_clients(tmp_path: Path, name: str) -> None:
    old = CASES[name]
    async with moved(tmp_path, old) as client:
        answer = await client.chat.completions.create(model=old.model, messages=HELLO)
        stream = await client.chat.completions.create(model=old.model, messages=HELLO, stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    assert answer.choices[0].message.content == "".join(pieces) == old.answer
