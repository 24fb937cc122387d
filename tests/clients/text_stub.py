"""An upstream that speaks plain text and nothing else: no tools, no JSON, no events.

It is asked with JSON (`messages`, texts only) and answers a stream of text, a few bytes at a time.
What it says is up to the script of a test: a function from the conversation to the answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Turns = list[dict[str, str]]
Script = Callable[[Turns], str]

ROUTE = """\
version: 1
base_url: "{url}"
models: [plain]
transforms:
  - prompted_tools: {{ style: {style} }}
request:
  path: /talk
  json: {{ messages: "{{{{ req.messages | as_text_messages }}}}" }}
stream:
  use: always
  format: text
  finish_optional: true
  events:
    - text: $
"""


@dataclass(slots=True)
class TextStub:
    """script: what is answered; asked: every conversation it was sent."""

    url: str
    script: Script = lambda turns: "nothing"
    asked: list[Turns] = field(default_factory=list)

    async def talk(self, request: web.Request) -> web.StreamResponse:
        body: Any = await request.json()
        turns: Turns = body["messages"]
        assert {"role", "content"} == {key for turn in turns for key in turn}
        assert all(isinstance(turn["content"], str) for turn in turns)
        self.asked.append(turns)
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        said = self.script(turns).encode()
        for at in range(0, len(said), 7):
            await response.write(said[at : at + 7])
        await response.write_eof()
        return response


@asynccontextmanager
async def text_stub() -> AsyncIterator[TextStub]:
    stub = TextStub("")
    app = web.Application(client_max_size=64 * 1024**2)
    app.router.add_post("/talk", stub.talk)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    stub.url = f"http://{host}:{port}"
    try:
        yield stub
    finally:
        await runner.cleanup()
