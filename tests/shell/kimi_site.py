"""A site that behaves as kimi-ai.chat is known to: a page with a nonce, a form, a JSON answer.

    GET  /chat/                     HTML with two scripts; the second one holds the nonce
    POST /wp-admin/admin-ajax.php   action, nonce, message, model, session_id, urlencoded

A message beyond 1000 characters and an old nonce are `success: false`; a strange action is status
400 with the body `0`, as WordPress says it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from aiohttp import web

from engine.shell.stub import listening

MODELS = {"moonshotai/Kimi-K2-Instruct-0905", "moonshotai/Kimi-K2-Instruct"}
PAGE = """<!DOCTYPE html><html><head>
<script>var wpApiSettings = {"root":"https:\\/\\/kimi-ai.chat\\/","nonce":"0f1e2d3c4b"};</script>
</head><body><script id="kimi-chat-js-extra">
var kimi_ajax = {"ajax_url":"\\/wp-admin\\/admin-ajax.php","nonce":"NONCE"};
</script></body></html>"""

Form = dict[str, str]


def _echo(message: str) -> str:
    return "You said: " + message.rpartition(": ")[2]


@dataclass(slots=True)
class Site:
    """The site. Attributes may be changed while it runs.

    pages, chats   requests seen; forms: what the chats sent
    delay          seconds each answer takes
    together       chats are answered only when so many wait
    refuse         how an old nonce is told: "json" (200, success false) or "status" (403, -1)
    broken         what every chat gets, instead of an answer
    """

    answer: Callable[[str], str] = _echo
    delay: float = 0.0
    page_delay: float = 0.0
    together: int = 1
    refuse: str = "json"
    broken: Callable[[], web.Response] | None = None
    pages: int = 0
    forms: list[Form] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    _nonce: int = 1
    _waiting: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def chats(self) -> int:
        return len(self.forms)

    @property
    def nonce(self) -> str:
        return f"{self._nonce:010x}"

    def expire(self) -> None:
        """From now on only the nonce of a new page is good."""
        self._nonce += 1

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if (request.method, request.path) == ("GET", "/chat/"):
            return await self._page()
        if (request.method, request.path) == ("POST", "/wp-admin/admin-ajax.php"):
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            try:
                return await self._chat(request)
            finally:
                self.open -= 1
        return web.Response(status=404, text="<h1>Not found</h1>", content_type="text/html")

    async def _page(self) -> web.Response:
        self.pages += 1
        await asyncio.sleep(self.page_delay)
        text = PAGE.replace("NONCE", self.nonce)
        return web.Response(text=text, content_type="text/html", charset="utf-8")

    async def _chat(self, request: web.BaseRequest) -> web.Response:
        form = await _form(request)
        self.forms.append(form)
        good = form["nonce"] == self.nonce
        await self._assemble()
        await asyncio.sleep(self.delay)
        if self.broken is not None:
            return self.broken()
        if form["action"] != "kimi_send_message":
            return web.Response(status=400, text="0", content_type="text/html")
        if not good and self.refuse == "status":
            return web.Response(status=403, text="-1", content_type="text/html")
        fault = _fault(form) if good else "Nonce verification failed"
        if fault:
            return web.json_response({"success": False, "data": fault})
        return web.json_response(
            {"success": True, "data": {"message": self.answer(form["message"])}}
        )

    async def _assemble(self) -> None:
        """Wait until `together` chats have come."""
        self._waiting.append(asyncio.get_running_loop().create_future())
        if len(self._waiting) >= self.together:
            for waiting in self._waiting:
                waiting.set_result(None)
            self._waiting = []
            return
        await self._waiting[-1]


async def _form(request: web.BaseRequest) -> Form:
    assert request.content_type == "application/x-www-form-urlencoded"
    assert request.headers["X-Requested-With"] == "XMLHttpRequest"
    body = (await request.content.read()).decode("ascii")
    return {name: values[0] for name, values in parse_qs(body, strict_parsing=True).items()}


def _fault(form: Form) -> str:
    if len(form["message"]) > 1000:
        return "Message too long"
    if not re.fullmatch(r"session_\d{13}_[a-z0-9]{9}", form["session_id"]):
        return "Invalid session"
    return "" if form["model"] in MODELS else "Invalid model"


@asynccontextmanager
async def running(site: Site, port: int = 0) -> AsyncIterator[str]:
    """Serve the site; gives its URL."""
    async with listening(site.handle, port=port) as url:
        yield url
