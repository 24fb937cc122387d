"""The real gateway with example routes from files, in front of a stub, and official SDKs of it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from engine.shell.app import Gateway, gateway
from engine.shell.bundle import bundled_routes
from engine.shell.settings import load_settings
from engine.shell.shelf import Shelf

EXAMPLES = bundled_routes() / "examples"
KEYS = ("sk-front-Za81kqPw5Lm3", "sk-other-Qm27xwTr8Bn6")
ADMIN = "sk-admin-Vt63hsYc9Kd2"


def example(name: str, *edits: tuple[str, str]) -> str:
    """The text of a shipped example, with pieces of it replaced."""
    text = (EXAMPLES / f"{name}.yaml").read_text("utf-8")
    for old, new in edits:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        text = text.replace(old, new)
    return text


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


@dataclass(slots=True)
class Front:
    """A gateway that serves, and clients of it. None of them tries twice."""

    gateway: Gateway
    folder: Path
    openai: AsyncOpenAI
    anthropic: AsyncAnthropic
    http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return self.gateway.url

    async def ask(self, model: str, text: str = "Hello", **more: Any) -> str:
        """The text of a plain answer."""
        asked = {"model": model, "messages": said(text), **more}
        answer = await self.openai.chat.completions.create(**asked)
        return answer.choices[0].message.content or ""

    async def stream(self, model: str, text: str = "Hello", **more: Any) -> list[Any]:
        """The chunks of a streamed answer."""
        asked = {"model": model, "messages": said(text), "stream": True, **more}
        return [chunk async for chunk in await self.openai.chat.completions.create(**asked)]

    async def call(
        self, method: str, path: str, key: str = KEYS[0], **more: Any
    ) -> tuple[int, Mapping[str, str], Any]:
        """Status, headers and body of a bare request; a body of JSON is read."""
        headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **more.pop("headers", {})}
        async with self.http.request(method, self.url + path, headers=headers, **more) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return answer.status, answer.headers, json.loads(text) if is_json else text

    async def admin(self, method: str, path: str, **body: Any) -> Any:
        more: dict[str, Any] = {"params": body} if method == "GET" else {"json": body}
        headers = {"X-Penstock-Admin": "1"}
        status, _, told = await self.call(method, f"/admin/{path}", ADMIN, headers=headers, **more)
        assert status == 200, told
        return told

    async def edit(self, name: str, old: str, new: str) -> None:
        """Edit a route's file as an operator does, and wait until it is served."""
        path, before = self.folder / f"{name}.yaml", self.gateway.keeper.book
        text = path.read_text("utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
        fresh = path.with_suffix(".new")
        fresh.write_text(text.replace(old, new), "utf-8")
        os.replace(fresh, path)
        await until(lambda: self.gateway.keeper.book is not before)


async def until(true: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


async def has_models(front: Front, *names: str) -> None:
    """Wait until these models were discovered."""
    await until(lambda: all(front.gateway.models.book.find(name) for name in names))


@asynccontextmanager
async def front(
    home: Path,
    routes: Mapping[str, str],
    env: Mapping[str, str],
    **over: object,
) -> AsyncIterator[Front]:
    """Routes are texts by name. over: keys of the server file, `__` for a dot."""
    folder = home / "routes"
    folder.mkdir(exist_ok=True)
    for name, text in routes.items():
        (folder / f"{name}.yaml").write_text(text, "utf-8")
    given: dict[str, object] = {
        "listen.port": 0,
        "clients.keys": list(KEYS),
        "admin.key": ADMIN,
        "state": str(home / "state"),
        "log.level": "error",
        "drain": "1s",
        "watch": "off",
        **{name.replace("__", "."): value for name, value in over.items()},
    }
    settings = load_settings(None, {}, {n: v for n, v in given.items() if v is not None})
    async with (
        gateway(settings, Shelf([folder], env=env), strict=True) as running,
        AsyncOpenAI(base_url=f"{running.url}/v1", api_key=KEYS[0], max_retries=0) as openai,
        AsyncAnthropic(base_url=running.url, api_key=KEYS[0], max_retries=0) as anthropic,
        aiohttp.ClientSession() as http,
    ):
        yield Front(running, folder, openai, anthropic, http)
