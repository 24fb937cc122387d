"""OAuth servers that others wrote: authlib's parts, and oauth2-mock-server of npm."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from engine.auth.tokens import kept
from engine.route.values import claim
from engine.shell.stub import listening
from tests.auth.test_assertions import pair, service_account
from tests.authlib_server import SECRET, Tables, authlib_server
from tests.identity import ANSWER, Identity
from tests.shell.test_login import CODE, DEVICE, Person, booth, in_a_browser
from tests.shell.test_oauth import ask, serving, stored

NODE = Path(__file__).parents[1] / "identity_node"


def age(home: Path) -> None:
    """The access token is over; what refreshes it is not."""
    found = stored(home)
    (home / "creds.json").write_text(json.dumps({**found, "expiry_date": 1, "obtained_at": 1}))


# ---- authlib ----


@pytest.fixture(autouse=True)
def plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


def at(tables: Tables) -> Identity:
    """Its address, where our own service is expected."""
    return Identity(url=tables.url)


def refreshed(tables: Tables) -> list[int]:
    return [status for kind, status, _ in tables.answers if kind == "refresh_token"]


@pytest.mark.parametrize("way", ["form", "basic", "none"])
async def test_authlib_gives_a_code_for_a_challenge_and_rotates(tmp_path: Path, way: str) -> None:
    text = CODE.replace("scope: chat", f"scope: chat\n      client_auth: {way}")
    assert SECRET == "the-clients-secret"
    async with authlib_server() as tables:
        person = Person()
        async with booth(at(tables), tmp_path, person, text) as made:
            tokens, _ = await in_a_browser(made, person)
        assert (tokens.scope, tokens.refresh in tables.refreshers) == ("chat", True)
        async with serving(at(tables), tmp_path, text) as running:
            assert (await ask(running))[0] == 200
        for _ in range(3):
            age(tmp_path)
            async with serving(at(tables), tmp_path, text) as running:
                told = await asyncio.gather(*(ask(running) for _ in range(10)))
                assert {status for status, _ in told} == {200}
        assert refreshed(tables) == [200, 200, 200]
        assert sum(row.spent for row in tables.refreshers.values()) == 3


async def test_authlib_refuses_a_spent_token_and_that_is_the_end(tmp_path: Path) -> None:
    async with authlib_server() as tables:
        person = Person()
        async with booth(at(tables), tmp_path, person) as made:
            tokens, _ = await in_a_browser(made, person)
        tables.refreshers[tokens.refresh].spent = True
        age(tmp_path)
        async with serving(at(tables), tmp_path, CODE) as running:
            for _ in range(3):
                assert (await ask(running))[0] == 502
                await asyncio.sleep(0.3)
        assert refreshed(tables) == [400]


async def test_authlib_waits_for_a_device_and_slows_it_down(tmp_path: Path) -> None:
    text = DEVICE.replace("flow: device_code", "flow: device_code\n      client_auth: none")
    async with authlib_server() as tables:
        person = Person()
        async with booth(at(tables), tmp_path, person, text) as made:

            async def types_the_code() -> None:
                while not person.pages:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(1.3)
                (row,) = tables.devices.values()
                row.polled = float("inf")  # whoever comes next is too fast
                await asyncio.sleep(1.0)
                tables.agreed.add(row.user_code)

            async with asyncio.TaskGroup() as group:
                group.create_task(types_the_code())
                login = group.create_task(made.run())
        polls = [text for kind, _, text in tables.answers if kind == "device_code"]
        assert ["authorization_pending" in text for text in polls[:1]] == [True]
        assert any("slow_down" in text for text in polls)
        assert "access_token" in polls[-1]
        assert kept(login.result())["access_token"] in tables.good
        async with serving(at(tables), tmp_path, text) as running:
            assert (await ask(running))[0] == 200


ASSERTING = """
version: 1
base_url: URL/v1
dialect: openai_chat
models: [m]
auth:
  from:
    oauth2:
      flow: jwt_bearer
      token_url: URL/token
      scope: chat
      ASSERTION
  bearer: "{{ account.access_token }}"
errors: { rules: [ { status: 401, as: auth_expired } ] }
"""
KEYS = {
    "RS256": 'client_id: me\n      assertion: { key: "${env:SIGNING}", subject: ann }',
    "ES256": """client_id: me
      assertion: { key: "${env:SIGNING}", algorithm: ES256, issuer: us, key_id: k1 }""",
    "service": 'assertion: { service_account: "${env:SIGNING}" }',
}


@pytest.mark.parametrize("kind", KEYS)
async def test_authlib_takes_an_assertion_and_gives_a_token(tmp_path: Path, kind: str) -> None:
    algorithm = kind if kind in ("RS256", "ES256") else "RS256"
    private, public = pair(algorithm)
    issuer = {"RS256": "me", "ES256": "us", "service": "robot@project.example"}[kind]
    given = service_account().reveal() if kind == "service" else private
    async with authlib_server() as tables:
        tables.keys[issuer] = public
        text = ASSERTING.replace("ASSERTION", KEYS[kind])
        async with serving(at(tables), tmp_path, text, SIGNING=given) as running:
            told = await asyncio.gather(*(ask(running) for _ in range(10)))
            assert {200} == {status for status, _ in told}
            tables.good.clear()  # the service has forgotten its tokens
            assert 200 == (await ask(running))[0]
    assert [("jwt-bearer", 200)] * 2 == [answer[:2] for answer in tables.answers]


async def test_authlib_refuses_a_key_that_it_does_not_know(tmp_path: Path) -> None:
    async with authlib_server() as tables:
        tables.keys["me"] = pair("ES256")[1]
        text = ASSERTING.replace("ASSERTION", KEYS["RS256"])
        async with serving(at(tables), tmp_path, text, SIGNING=pair("RS256")[0]) as running:
            status, body = await ask(running)
    assert 502 == status
    assert ("jwt-bearer", 400) == tables.answers[0][:2]
    assert "PRIVATE KEY" not in body


# ---- oauth2-mock-server ----


@dataclass
class Mock:
    url: str
    said: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)


def _without(reason: str) -> None:
    if os.environ.get("PENSTOCK_TEST_NO_SKIP") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


async def _installed() -> None:
    if not shutil.which("node") or not shutil.which("npm"):
        _without("Node.js and npm are not installed")
    if (NODE / "node_modules/oauth2-mock-server/package.json").is_file():
        return
    process = await asyncio.create_subprocess_exec(
        "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund",
        cwd=NODE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    if process.returncode != 0:
        _without(f"`npm ci` failed: {out.decode().strip()[-300:]}")


@asynccontextmanager
async def mock_server() -> AsyncIterator[Mock]:
    """The server, and a chat that takes the tokens that it has signed."""
    await _installed()
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "node", "server.mjs", cwd=NODE, stdin=pipe, stdout=pipe
    )
    assert process.stdout is not None
    assert process.stdin is not None
    mock = Mock((await process.stdout.readline()).decode().strip())
    try:
        yield mock
    finally:
        process.stdin.close()
        rest = await process.stdout.read()
        mock.said += rest.decode().splitlines()
        await process.wait()


@pytest.mark.timeout(120)
async def test_oauth2_mock_server_logs_in_and_refreshes(tmp_path: Path) -> None:
    calls: list[str] = []

    async def chat(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        calls.append(request.headers["Authorization"].removeprefix("Bearer "))
        return web.json_response(ANSWER)

    async with listening(chat) as upstream, mock_server() as mock:
        text = CODE.replace("base_url: URL/v1", f"base_url: {upstream}/v1")
        person = Person()
        async with booth(Identity(url=mock.url), tmp_path, person, text) as made:
            tokens, _ = await in_a_browser(made, person)
        assert claim(tokens.access, "sub") == "johndoe"
        for _ in range(3):
            async with serving(Identity(url=mock.url), tmp_path, text) as running:
                told = await asyncio.gather(*(ask(running) for _ in range(5)))
                assert {status for status, _ in told} == {200}
            age(tmp_path)
        old = stored(tmp_path)
        async with serving(Identity(url=mock.url), tmp_path, text) as running:
            assert (await ask(running))[0] == 200
        (tmp_path / "creds.json").write_text(json.dumps(old))
        async with serving(Identity(url=mock.url), tmp_path, text) as running:
            assert (await ask(running))[0] == 502
    assert mock.said == [
        "authorization_code 200", *["refresh_token 200"] * 3, "refresh_token 400",
    ]  # fmt: skip
    assert len(calls) == 16


@pytest.mark.timeout(120)
async def test_oauth2_mock_server_knows_a_client(tmp_path: Path) -> None:
    async def chat(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        scope = claim(request.headers["Authorization"].removeprefix("Bearer "), "scope")
        return web.json_response(ANSWER, status=200 if scope == "chat" else 401)

    async with listening(chat) as upstream, mock_server() as mock:
        text = CODE.replace("base_url: URL/v1", f"base_url: {upstream}/v1")
        text = text.replace("flow: authorization_code", "flow: client_credentials")
        async with serving(Identity(url=mock.url), tmp_path, text) as running:
            assert (await ask(running))[0] == 200
    assert mock.said == ["client_credentials 200"]
