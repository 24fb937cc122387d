"""A route is edited while one of its streams runs: the stream ends as it began, the next is new."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from engine.shell.app import Gateway, gateway
from engine.shell.settings import load_settings
from engine.shell.shelf import Shelf

PIECES = 30
ROUTE = """\
version: 1
base_url: {url}
models: [m-{name}]
vars: {{ word: {word} }}
request:
  path: /talk
  json: {{ word: "{{{{ vars.word }}}}" }}
stream:
  format: ndjson
  events:
    - match: {{ kind: piece }}
      text: $.text
    - match: {{ kind: end }}
      finish: stop
"""


async def talk(request: web.Request) -> web.StreamResponse:
    """Repeats the word it is sent, slowly."""
    word = (await request.json())["word"]
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(PIECES):
        await response.write(b'{"kind":"piece","text":"%s "}\n' % word.encode())
        await asyncio.sleep(0.03)
    await response.write(b'{"kind":"end"}\n')
    return response


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[tuple[Gateway, Path, str]]:
    """An upstream, and a gateway with the routes `one` and `two` in front of it."""
    app = web.Application()
    app.router.add_post("/talk", talk)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    routes = tmp_path / "routes"
    routes.mkdir()
    for name in ("one", "two"):
        (routes / f"{name}.yaml").write_text(ROUTE.format(url=url, name=name, word="old"))
    settings = load_settings(
        None,
        {},
        {"listen.port": 0, "clients.auth": "none", "state": str(tmp_path), "log.level": "error"},
    )
    try:
        async with gateway(settings, Shelf([routes], env={})) as built:
            yield built, routes, url
    finally:
        await runner.cleanup()


async def ask(url: str, model: str) -> str:
    """The text of a streamed answer."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/chat/completions", json=body) as answer,
    ):
        text = (await answer.read()).decode()
        assert "data: [DONE]" in text, text
        return text


async def test_a_stream_ends_on_the_route_it_began_with(tmp_path: Path) -> None:
    async with running(tmp_path) as (built, routes, upstream):
        streams = [asyncio.ensure_future(ask(built.url, "m-one")) for _ in range(3)]
        other = asyncio.ensure_future(ask(built.url, "m-two"))
        await asyncio.sleep(0.2)
        before = built.keeper.book
        fresh = tmp_path / "fresh"
        fresh.write_text(ROUTE.format(url=upstream, name="one", word="new"))
        os.replace(fresh, routes / "one.yaml")
        async with asyncio.timeout(6):
            while built.keeper.book is before:
                await asyncio.sleep(0.01)
        assert before.routes["two"] is built.keeper.book.routes["two"]
        assert "new " in await ask(built.url, "m-one")
        for text in await asyncio.gather(*streams):
            assert PIECES == text.count("old ")
            assert "new " not in text
        assert PIECES == (await other).count("old ")


async def test_a_broken_edit_leaves_the_last_good_route_serving(tmp_path: Path) -> None:
    async with running(tmp_path) as (built, routes, _):
        (routes / "one.yaml").write_text("version: 1\nmodells: [x]\n")
        async with asyncio.timeout(6):
            while {"stale"} != {s.state for s in built.keeper.states.values() if s.name == "one"}:
                await asyncio.sleep(0.02)
        assert "old " in await ask(built.url, "m-one")
