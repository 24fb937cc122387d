"""A real Chromium without a window, driven over its DevTools protocol.

It is Debian's `chromium`, or whatever Chrome is installed. It reaches this machine and no other:
names that end in `.example` lead here, all others nowhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.clients.cli.programs import without

NAMES = ("chromium", "chromium-browser", "google-chrome")
START = 30.0  # seconds that it may take to start; it needs one
_NAMES_HERE = "MAP *.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
_FLAGS = (
    "--headless",
    "--no-sandbox",  # of root, and in containers; it sees no page but ours
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--disable-component-update",
    "--disable-background-networking",
    "--remote-debugging-port=0",
    f"--host-resolver-rules={_NAMES_HERE}",
)
Fields = dict[str, Any]


class ScriptError(Exception):
    """A script of a page threw this."""


@dataclass(slots=True)
class Page:
    """A tab with nothing in common with others: caches and permissions are its own.

    blocked  why requests were not made, or their answers kept from the page, as Chromium says it
    """

    browser: Chromium
    target: str
    session: str
    context: str
    blocked: list[str] = field(default_factory=list)
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    _made: dict[str, tuple[str, str]] = field(default_factory=dict)  # some of them never leave
    _left: dict[str, dict[str, str]] = field(default_factory=dict)

    async def run(self, function: str, *arguments: object) -> Any:
        """What a function of the page gives, a promise's value too. Raises ScriptError."""
        given = ", ".join(json.dumps(value) for value in arguments)
        return await self.evaluate(f"{function}({given})")

    async def evaluate(self, script: str) -> Any:
        told = await self.browser.command(
            "Runtime.evaluate",
            self.session,
            expression=script,
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in told:
            raise ScriptError(told["result"].get("description", str(told["exceptionDetails"])))
        return told["result"].get("value")

    async def go(self, url: str) -> None:
        self.loaded.clear()
        told = await self.browser.command("Page.navigate", self.session, url=url)
        assert "errorText" not in told, told
        await self.loaded.wait()

    async def close(self) -> None:
        await self.browser.command("Target.closeTarget", targetId=self.target)

    @property
    def sent(self) -> list[tuple[str, str, dict[str, str]]]:
        """(method, URL, headers) of each request that left, preflights included."""
        return [(*self._made[number], self._left[number]) for number in self._left]

    def methods(self, url: str) -> list[str]:
        """Of the requests to this URL, in order."""
        return [method for method, to, _ in self.sent if to == url]

    def saw(self, event: str, told: Fields) -> None:
        match event:
            case "Page.loadEventFired":
                self.loaded.set()
            case "Network.requestWillBeSent":
                asked = told["request"]
                self._made[told["requestId"]] = asked["method"], asked["url"]
            case "Network.requestWillBeSentExtraInfo":  # perhaps before the other
                headers = {name.lower(): value for name, value in told["headers"].items()}
                self._left[told["requestId"]] = headers
            case "Network.loadingFailed":
                if "corsErrorStatus" in told:
                    self.blocked.append(told["corsErrorStatus"]["corsError"])


@dataclass(slots=True)
class Chromium:
    """A running browser. version: as it tells it, `Chrome/156.0.8078.114`."""

    socket: aiohttp.ClientWebSocketResponse
    version: str = ""
    _number: int = 0
    _waiting: dict[int, asyncio.Future[Fields]] = field(default_factory=dict)
    _pages: dict[str, Page] = field(default_factory=dict)

    async def command(self, method: str, session: str = "", **params: object) -> Fields:
        self._number += 1
        number = self._number
        self._waiting[number] = asyncio.get_running_loop().create_future()
        message: Fields = {"id": number, "method": method, "params": params}
        await self.socket.send_json({**message, "sessionId": session} if session else message)
        told = await self._waiting[number]
        assert "error" not in told, f"{method}: {told['error']}"
        return dict(told["result"])

    async def page(self, url: str = "about:blank", *permissions: str) -> Page:
        """A new tab at this URL, once it is loaded. permissions: what its user has allowed."""
        context = (await self.command("Target.createBrowserContext"))["browserContextId"]
        if permissions:
            await self.command(
                "Browser.grantPermissions", browserContextId=context, permissions=permissions
            )
        made = await self.command(
            "Target.createTarget", url="about:blank", browserContextId=context
        )
        target = made["targetId"]
        told = await self.command("Target.attachToTarget", targetId=target, flatten=True)
        page = Page(self, target, told["sessionId"], context)
        self._pages[page.session] = page
        for domain in ("Page", "Network", "Runtime"):
            await self.command(f"{domain}.enable", page.session)
        if url != "about:blank":
            await page.go(url)
        return page

    async def listen(self) -> None:
        """Hand out what the browser says, until it is gone."""
        async for message in self.socket:
            told = json.loads(message.data)
            if "id" in told:
                waiting = self._waiting.pop(told["id"])
                if not waiting.done():
                    waiting.set_result(told)
            elif (page := self._pages.get(told.get("sessionId", ""))) is not None:
                page.saw(told["method"], told["params"])
        for waiting in self._waiting.values():
            waiting.cancel()


@asynccontextmanager
async def chromium(home: Path, *flags: str) -> AsyncIterator[Chromium]:
    """A browser with its files in `home`. Skips the test where none is installed."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        without("no Chromium is installed: `apt-get install chromium` does that")
        raise AssertionError
    told = home / "said"
    with told.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            program,
            *_FLAGS,
            f"--user-data-dir={home / 'profile'}",
            *flags,
            env={**os.environ, "HOME": str(home)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        url = await _address(home / "profile/DevToolsActivePort", process, told)
        async with (
            aiohttp.ClientSession() as web,
            web.ws_connect(url, max_msg_size=0) as socket,
        ):
            browser = Chromium(socket)
            listening = asyncio.create_task(browser.listen())
            browser.version = (await browser.command("Browser.getVersion"))["product"]
            yield browser
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _address(file: Path, process: asyncio.subprocess.Process, told: Path) -> str:
    """Where it is to be talked to, which it writes into a file once it listens."""
    with suppress(TimeoutError):
        async with asyncio.timeout(START):
            while process.returncode is None:
                lines = _lines(file)
                if len(lines) == 2:
                    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
                await asyncio.sleep(0.02)
    raise AssertionError(f"Chromium did not start: {_lines(told)[-20:]}")


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
