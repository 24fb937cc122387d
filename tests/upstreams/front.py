"""A shipped example route behind the real gateway, and clients that ask it over real sockets."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from anthropic import AsyncAnthropic
from openai import APIError, AsyncOpenAI

from engine.shell.app import Gateway, gateway
from engine.shell.bundle import bundled_routes
from engine.shell.settings import load_settings
from engine.shell.shelf import Shelf

KEY, ADMIN = "client-key-Za81kq", "admin-key-Qm27xw9"
HELLO: Any = [{"role": "user", "content": "Hello"}]
EXAMPLES = bundled_routes() / "examples"


@dataclass(slots=True)
class Front:
    """A gateway that serves, and its clients. `routes` is the folder it watches."""

    running: Gateway
    routes: Path
    openai: AsyncOpenAI
    anthropic: AsyncAnthropic
    web: aiohttp.ClientSession
    written: io.BytesIO

    @property
    def url(self) -> str:
        return self.running.url

    @property
    def log(self) -> str:
        return self.written.getvalue().decode()

    async def ask(self, model: str, messages: Any = HELLO, **more: Any) -> str:
        """The text of a plain answer of the Chat API."""
        answer = await self.openai.chat.completions.create(model=model, messages=messages, **more)
        return answer.choices[0].message.content or ""

    async def raw(
        self, body: Any, path: str = "/v1/chat/completions", method: str = "POST", **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """Status, headers and text of an answer to whatever is sent."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {KEY}", **headers}
        async with self.web.request(method, self.url + path, data=data, headers=sent) as answer:
            return answer.status, dict(answer.headers), await answer.text()

    async def admin(self, method: str, path: str, **body: Any) -> Any:
        """An operator's call; an error as (status, error)."""
        headers = {"Authorization": f"Bearer {ADMIN}", "X-Penstock-Admin": "1"}
        given: dict[str, Any] = {"json": body} if method == "POST" else {"params": body}
        url = (self.running.admin_url or self.url) + path
        async with self.web.request(method, url, headers=headers, **given) as answer:
            told = json.loads(await answer.read())
            return told if answer.status == 200 else (answer.status, told["error"])


@asynccontextmanager
async def front(
    home: Path,
    *names: str,
    env: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    edit: Callable[[str], str] = lambda text: text,
    **settings: object,
) -> AsyncIterator[Front]:
    """The example routes of these names, each through `edit`, on a free port.

    files: name in the routes folder -> text. settings: dotted keys with `__` for the dot.
    """
    folder = home / "routes"
    folder.mkdir(exist_ok=True)
    for name in names:
        text = (EXAMPLES / f"{name}.yaml").read_text("utf-8")
        (folder / f"{name}.yaml").write_text(edit(text), "utf-8")
    for name, text in (files or {}).items():
        (folder / name).write_text(text, "utf-8")
    given: dict[str, object] = {
        "listen.port": 0, "clients.keys": [KEY], "admin.key": ADMIN, "state": str(home / "state"),
        "log.level": "debug", "log.format": "json", "watch": "off", "drain": "500ms",
        **{name.replace("__", "."): value for name, value in settings.items()},
    }  # fmt: skip
    written = io.BytesIO()
    before, sys.stderr = sys.stderr, io.TextIOWrapper(written, write_through=True)
    try:
        async with (
            gateway(load_settings(None, {}, given), Shelf([folder], env=env or {})) as running,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as web,
            AsyncOpenAI(base_url=f"{running.url}/v1", api_key=KEY, max_retries=0) as openai,
            AsyncAnthropic(base_url=running.url, api_key=KEY, max_retries=0) as anthropic,
        ):
            yield Front(running, folder, openai, anthropic, web, written)
    finally:
        sys.stderr = before


async def streamed(on: Front, model: str, messages: Any = HELLO, **more: Any) -> tuple[str, str]:
    """Text and finish reason of a streamed answer; what came before an error, and the error."""
    text, reason = "", ""
    try:
        async for chunk in await on.openai.chat.completions.create(
            model=model, messages=messages, stream=True, **more
        ):
            text += chunk.choices[0].delta.content or ""
            reason = chunk.choices[0].finish_reason or reason
    except APIError as error:
        reason = f"error: {error.message}"
    return text, reason
