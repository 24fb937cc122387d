"""One login by a person, or of a client by itself: the conversation, the browser, what is typed.

It works without a display: the page's address is shown, and what the browser was sent to afterwards
(or the code alone) may be pasted.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random, SystemRandom
from typing import TextIO

from engine.accounts.conversing import Driver
from engine.auth.flows import renew
from engine.auth.granting import Login
from engine.auth.grants import Errand, by_code, by_device, code_of, page
from engine.auth.steps import Flow, Show
from engine.auth.tokens import Tokens, read_kept
from engine.errors import ExchangeError
from engine.lines import line_of
from engine.ports import Ports
from engine.route.route import Route

from .callback import Back, listening_back
from .clock import SystemClock
from .settings import Settings
from .stores import open_stores
from .tokens import TokenPlaces
from .upstream import AiohttpUpstream

PATIENCE = 300.0  # seconds for a person to log in
LARGEST = 1024 * 1024  # bytes of an identity service's answer
LIMIT = 30.0

Say = Callable[[str], None]


class Unseen:
    """A log for what happens outside of the gateway: problems of the store alone are told."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def saw(self, name: str, **fields: object) -> None:
        if name == "store_error":
            self._say("the tokens could not be read or written where they are kept")


@asynccontextmanager
async def desk(settings: Settings, say: Say) -> AsyncIterator[Ports]:
    """The ports of a login: the network, and the stores that the gateway uses."""
    clock, observer, random = SystemClock(), Unseen(say), Random(SystemRandom().getrandbits(128))
    async with AsyncExitStack() as stack:
        upstream = AiohttpUpstream()
        stack.push_async_callback(upstream.close)
        stores = open_stores(settings, clock, observer)
        stack.push_async_callback(stores.close)
        tokens = TokenPlaces(stores.durable, clock, observer, random)
        yield Ports(
            upstream, clock, stores.passing, stores.durable, observer, random, tokens=tokens
        )


async def state_of(ports: Ports, login: Login) -> str:
    """How an account stands, in a few words."""
    tokens = read_kept(await ports.tokens.load(login.place), login.client.options.parts)
    if tokens is None:
        return "not logged in" if login.by_a_person else "logs in by itself"
    if tokens.valid(ports.clock.now()):
        return f"logged in{until(tokens)}"
    return "to be refreshed" if tokens.refresh else "ended"


def until(tokens: Tokens) -> str:
    if tokens.until is None:
        return ""
    return f" until {datetime.fromtimestamp(tokens.until, UTC):%Y-%m-%d %H:%M} UTC"


@dataclass(slots=True)
class Booth:
    """Where a person logs in. lines: what is typed; opens: shows a page, False if it cannot."""

    ports: Ports
    route: Route
    login: Login
    say: Say
    lines: asyncio.Queue[str]
    opens: Callable[[str], bool]

    async def run(self) -> Tokens:
        """Raises ExchangeError, and TimeoutError when nobody came."""
        flow = self.login.client.options.flow
        if flow == "authorization_code":
            return await self._in_a_browser()
        if flow == "device_code":
            return await self._drive(by_device(self.login.client, self._env(), self.ports.random))
        return await self._drive(renew(self.login.client, self._env()))

    def _env(self) -> dict[str, object]:
        return self.route.unasked({}, self.ports.clock.now(), self.ports.random)

    async def _drive(self, flow: Flow) -> Tokens:
        scopes = {"route": "", "account": self.login.digest, "session": "", "request": ""}
        line = line_of(self.route, scopes)
        driver = Driver(self.ports, line, LIMIT, LARGEST, self.login.place, show=self._show)
        tokens: Tokens = await driver.run(flow)
        return tokens

    def _show(self, shown: Show) -> None:
        self.say(f"Open {shown.page} and type the code {shown.code}")
        if shown.whole:
            self.say(f"or open {shown.whole}")
        self.opens(shown.whole or shown.page)

    # ---- a browser that comes back ----

    async def _in_a_browser(self) -> Tokens:
        client, options = self.login.client, self.login.client.options
        async with AsyncExitStack() as stack:
            try:
                back = await stack.enter_async_context(listening_back(options.callback))
            except OSError:
                self.say(f"Port {options.callback.port} is taken: nothing can come back to it.")
                where = options.callback
                back = Back(f"http://{where.host}:{where.port}{where.path}", where.path)
            errand = page(client, self._env(), back.uri, self.ports.random)
            back.errand = errand
            self.say(f"Open this page and log in:\n\n  {errand.url}\n")
            self.opens(errand.url)
            self.say("Then paste here the address it leads to, or the code, if nothing happens:")
            code = await self._code(back, errand)
            return await self._drive(by_code(client, self._env(), code, errand))

    async def _code(self, back: Back, errand: Errand) -> str:
        """What came first: the browser, or something typed that is right."""
        async with self.ports.clock.deadline(PATIENCE):
            async with asyncio.TaskGroup() as group:
                typed = group.create_task(self._typed(errand))
                await asyncio.wait([back.came, typed], return_when=asyncio.FIRST_COMPLETED)
                typed.cancel()
            return (back.came if typed.cancelled() else typed).result()

    async def _typed(self, errand: Errand) -> str:
        while True:
            line = await self.lines.get()
            try:
                if line.strip():
                    return code_of(line, errand, pasted=True)
            except ExchangeError as error:
                self.say(f"{error.message}; once more:")


# ---- this machine ----


def typed_lines(stream: TextIO | None = None) -> asyncio.Queue[str]:
    """Lines of the terminal. A thread waits for them that ends with the process."""
    source, lines = stream or sys.stdin, asyncio.Queue[str]()
    loop = asyncio.get_running_loop()

    def read() -> None:
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            for line in source:
                loop.call_soon_threadsafe(lines.put_nowait, line)

    threading.Thread(target=read, daemon=True, name="penstock-typed").start()
    return lines


def open_page(url: str) -> bool:
    """Show a page, if there is a display to show it on."""
    shows = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    with contextlib.suppress(webbrowser.Error):
        return shows and webbrowser.open(url)
    return False
