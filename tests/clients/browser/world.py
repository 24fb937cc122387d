"""Pages of several origins, a browser that shows them, and the gateway that they call.

One server gives the same page under all names that lead to this machine. The gateway lists one of
them, `http://app.example:PORT`; loopback names are welcome anyway, `evil.example` is not. A second
and a third, over `http` and `https`, look to the browser as if they were in another network.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from tests.clients import anthropic_stub, everywhere, node_sdk, openai_stub, ways
from tests.clients.endless import counted
from tests.clients.openai_stub import PIECES, UPSTREAM_KEY
from tests.upstreams.front import Front, front

from .chromium import Chromium, Page, chromium

HERE = Path(__file__).parent
OWN = ("127.0.0.1", "localhost", "app.example")  # names of pages that may call
LARGEST = 2**20  # bytes of a request
_PAGE = """\
<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<script type="module" src="/page.mjs"></script>
"""
_PACED = """\
version: 1
extends: openai
base_url: "{url}"
auth: {{ bearer: "{key}" }}
retry: {{ attempts: 1 }}
models: [paced]
"""


async def _serve(stack: AsyncExitStack, handler: Any, safely: ssl.SSLContext | None = None) -> int:
    """Serve on a port of this machine; the port."""
    server = web.Server(handler, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=0.5)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=safely).start()
    return int(runner.addresses[0][1])


def _certified(home: Path) -> ssl.SSLContext:
    """TLS with a certificate that nobody signed; the browser does not mind."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.NameAttribute(NameOID.COMMON_NAME, "a"),
    )
    named, now = x509.Name([name]), datetime.now(UTC)
    made = x509.CertificateBuilder(named, named, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, *form)
    file = home / "certified.pem"
    file.write_bytes(pem + made.sign(key, SHA256()).public_bytes(serialization.Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


@dataclass(slots=True)
class Paced:
    """An upstream that says its first word at once, and the last when it is told to."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    open_streams: int = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        return await counted(self, self._answer(request))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = json.loads(await request.content.read())
        chunks = (json.dumps(each, ensure_ascii=False) for each in openai_stub.chunks(body))
        said = [f"data: {chunk}\n\n".encode() for chunk in chunks]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"".join(said[:2]))  # the role and the first word
        await self.go.wait()
        await response.write(b"".join(said[2:]) + b"data: [DONE]\n\n")
        return response


@dataclass(slots=True)
class World:
    """home: bundles of the pages are in it.

    port: of the pages; public, safe: of the same page, as if it came from another network, and that
    over https
    """

    home: Path
    browser: Chromium
    gateway: Front
    chat: openai_stub.Stub
    messages: anthropic_stub.Stub
    paced: Paced
    port: int
    public: int
    safe: int

    def at(self, name: str) -> str:
        """The address of the page under a name."""
        return f"http://{name}:{self.port}/"

    async def page(self, name: str) -> Page:
        return await self.browser.page(self.at(name))

    @property
    def asked(self) -> int:
        """How many requests came to the upstreams."""
        return len(self.chat.requests) + len(self.messages.requests)

    @property
    def open_streams(self) -> int:
        """How many streams of the upstreams are under way."""
        return sum(each.open_streams for each in (self.chat, self.messages, self.paced))

    async def closed(self) -> bool:
        """Whether no stream of an upstream is open, within ten seconds."""
        for _ in range(500):
            if self.open_streams == 0:
                return True
            await asyncio.sleep(0.02)
        return False


@asynccontextmanager
async def world(home: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        chat = await stack.enter_async_context(openai_stub.openai_stub())
        messages = await stack.enter_async_context(anthropic_stub.anthropic_stub())
        paced = Paced()
        behind = await _serve(stack, paced.handle)

        async def pages(request: web.BaseRequest) -> web.StreamResponse:
            if request.path == "/open-streams":
                return web.Response(text=str(chat.open_streams + messages.open_streams))
            for name in (HERE / "page.mjs", *(home / "bundles").glob("*.js")):
                if request.path == f"/{name.name}":
                    return web.FileResponse(name, headers={"Content-Type": "text/javascript"})
            return web.Response(text=_PAGE, content_type="text/html")

        port, public = await _serve(stack, pages), await _serve(stack, pages)
        safe = await _serve(stack, pages, _certified(home))
        files = {
            "passed.yaml": ways.route("passed", chat.url),
            "chat.yaml": everywhere.route("chat", chat.url),
            "messages_passed.yaml": everywhere.route("messages_passed", messages.url),
            "paced.yaml": _PACED.format(url=f"http://127.0.0.1:{behind}", key=UPSTREAM_KEY),
        }
        gateway = await stack.enter_async_context(
            front(
                home,
                files=files,
                cors__origins=[f"http://app.example:{port}", f"https://app.example:{safe}"],
                limits__request=f"{LARGEST}",
            )
        )
        spaces = f"127.0.0.1:{public}=public,127.0.0.1:{safe}=public"
        flags = f"--ip-address-space-overrides={spaces}", "--ignore-certificate-errors"
        browser = await stack.enter_async_context(chromium(home, *flags))
        yield World(home, browser, gateway, chat, messages, paced, port, public, safe)


async def bundle(home: Path, *names: str) -> None:
    """Cases of ../node as modules for a page, made as a web UI is made."""
    await node_sdk.install()
    code, _, err = await node_sdk.run(
        "node_modules/.bin/esbuild",
        *names,
        "--bundle",
        "--format=esm",
        "--platform=browser",
        "--define:process.env=settings",
        f"--alias:node:assert/strict={HERE / 'assert.mjs'}",
        f"--outdir={home / 'bundles'}",
    )
    assert code == 0, err


FIRST, LAST = PIECES[0], PIECES[-1]
