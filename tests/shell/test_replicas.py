"""Two engines on one Redis: one refresh for all, and another takes over from who dies in it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.shell.redis_server import RedisServer, need_redis

KEY = "sk-replicas-client-k29fJ3"
SERVER = """
version: 1
listen: {{ port: 0 }}
clients: {{ keys: [{key}] }}
routes: [routes]
state: state
store: redis
redis: {{ url: "{url}", timeout: 2s }}
watch: "off"
"""
ROUTE = """
version: 1
base_url: {url}
models: [m]
values:
  token:
    request: {{ path: /token }}
    extract: [{{ json: $.token }}]
    refresh_for: [auth_expired]
request:
  path: /chat
  headers: {{ authorization: "Bearer {{{{ values.token }}}}" }}
  json: {{ prompt: "{{{{ req.prompt }}}}" }}
response: {{ events: [ {{ text: $.text, finish: stop }} ] }}
errors: {{ rules: [ {{ status: 401, as: auth_expired }} ] }}
"""

OAUTH = """
version: 1
base_url: {url}
models: [m]
auth:
  from:
    oauth2:
      flow: client_credentials
      token_url: {url}/token
      client_id: me
      client_secret: not-a-real-secret
  bearer: "{{{{ account.access_token }}}}"
request:
  path: /chat
  json: {{ prompt: "{{{{ req.prompt }}}}" }}
response: {{ events: [ {{ text: $.text, finish: stop }} ] }}
errors: {{ rules: [ {{ status: 401, as: auth_expired }} ] }}
"""


class Upstream:
    """Gives out tokens and serves who has the last one; `gate` holds a token up."""

    def __init__(self) -> None:
        self.tokens = 0
        self.good = ""
        self.refused = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.Response:
        await request.read()
        if request.path == "/token":
            self.tokens += 1
            self.good = f"token-{self.tokens}"
            await asyncio.sleep(0.2)
            await self.gate.wait()
            told = {"token": self.good, "access_token": self.good, "expires_in": 3600}
            return web.json_response({**told, "token_type": "Bearer"})
        if request.headers["Authorization"] != f"Bearer {self.good}":
            self.refused += 1
            return web.json_response({"error": "expired"}, status=401)
        return web.json_response({"text": "fine"})


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    made = Upstream()
    runner = web.ServerRunner(web.Server(made.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    need_redis()
    made = RedisServer(tmp_path)
    made.start()
    yield made
    made.kill()


class Engine:
    """One process of the engine."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url

    async def ask(self, session: aiohttp.ClientSession) -> int:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        head = {"Authorization": f"Bearer {KEY}"}
        async with session.post(
            f"{self.url}/v1/chat/completions", json=body, headers=head
        ) as answer:
            await answer.read()
            return answer.status


@asynccontextmanager
async def engine(
    folder: Path, upstream: Upstream, server: RedisServer, route: str = ROUTE
) -> AsyncIterator[Engine]:
    (folder / "routes").mkdir(parents=True)
    (folder / "routes" / "r.yaml").write_text(route.format(url=upstream.url))
    (folder / "penstock.yaml").write_text(SERVER.format(key=KEY, url=server.url))
    root = str(Path(__file__).parents[2])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "engine", "serve",
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found is not None, line
        yield Engine(process, found[0])
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@asynccontextmanager
async def two(
    tmp_path: Path, upstream: Upstream, server: RedisServer, route: str = ROUTE
) -> AsyncIterator[tuple[Engine, Engine, aiohttp.ClientSession]]:
    wide = aiohttp.TCPConnector(limit=0)
    async with (
        engine(tmp_path / "a", upstream, server, route) as one,
        engine(tmp_path / "b", upstream, server, route) as other,
        aiohttp.ClientSession(connector=wide) as session,
    ):
        yield one, other, session


@pytest.mark.rows("KT-14")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("route", [ROUTE, OAUTH], ids=["value", "oauth2"])
async def test_a_thousand_requests_on_an_expired_token_make_one_refresh(
    tmp_path: Path, upstream: Upstream, server: RedisServer, route: str
) -> None:
    async with two(tmp_path, upstream, server, route) as (one, other, session):
        first = await asyncio.gather(one.ask(session), other.ask(session))
        assert (*first, upstream.tokens) == (200, 200, 1)
        upstream.good = "another"
        asked = [each.ask(session) for _ in range(500) for each in (one, other)]
        answers = await asyncio.gather(*asked)
    assert answers == [200] * 1000
    assert upstream.refused > 1
    assert upstream.tokens == 2


@pytest.mark.timeout(120)
async def test_when_who_fetches_is_killed_another_takes_over(
    tmp_path: Path, upstream: Upstream, server: RedisServer
) -> None:
    async with two(tmp_path, upstream, server) as (one, other, session):
        upstream.gate.clear()
        lost = asyncio.create_task(one.ask(session))
        while upstream.tokens == 0:
            await asyncio.sleep(0.01)
        waiting = [asyncio.create_task(other.ask(session)) for _ in range(20)]
        await asyncio.sleep(0.3)
        assert upstream.tokens == 1
        one.process.kill()
        with pytest.raises(aiohttp.ClientError):
            await lost
        upstream.gate.set()
        assert await asyncio.gather(*waiting) == [200] * 20
        assert upstream.tokens == 2


@pytest.mark.timeout(120)
async def test_when_the_store_is_killed_each_fetches_for_itself(
    tmp_path: Path, upstream: Upstream, server: RedisServer
) -> None:
    async with two(tmp_path, upstream, server) as (one, other, session):
        server.kill()
        assert await one.ask(session) == 200
        assert await one.ask(session) == 200
        assert upstream.tokens == 1
        assert await other.ask(session) == 200
