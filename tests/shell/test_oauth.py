"""OAuth accounts behind the real gateway, with an identity service that lets nothing pass."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engine.shell.app import Gateway, gateway
from engine.shell.settings import load_settings
from engine.shell.shelf import Shelf
from tests.identity import SECRET, Identity, answer, identity, refusal

MANY = int(os.environ.get("PENSTOCK_TEST_MANY", "20"))  # requests at once, to each engine
ROUTE = """
version: 1
extends: openai
base_url: URL/v1
models: [m]
auth:
  from:
    oauth2:
      flow: authorization_code
      authorize_url: URL/authorize
      token_url: URL/token
      client_id: me
      client_secret: "${env:SECRET}"
      store: STORE
      errors: [ { match: { success: false }, as: retryable } ]
  bearer: "{{ account.access_token }}"
errors: { rules: [ { status: 401, as: auth_expired } ] }
retry: { attempts: 1 }
"""
KEYED = ROUTE.replace(
    "      store: STORE\n",
    """      store: STORE
      exchange:
        request: { url: URL/key, query: { accessToken: "{{ oauth.access_token }}" } }
        take: { api_key: $.data.apiKey }
""",
).replace("account.access_token", "account.api_key")


@asynccontextmanager
async def serving(
    service: Identity, home: Path, route: str = ROUTE, **env: str
) -> AsyncIterator[Gateway]:
    routes = home / "routes"
    routes.mkdir(exist_ok=True)
    text = route.replace("URL", service.url).replace("STORE", str(home / "creds.json"))
    (routes / "r.yaml").write_text(text)
    given = {"listen.port": 0, "clients.auth": "none", "state": str(home), "log.level": "error"}
    shelf = Shelf([routes], env={"SECRET": SECRET, "FIRST": "rt-first", **env})
    async with gateway(load_settings(None, {}, given), shelf) as running:
        yield running


async def ask(running: Gateway) -> tuple[int, str]:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{running.url}/v1/chat/completions", json=body) as told,
    ):
        return told.status, (await told.read()).decode()


def stored(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "creds.json").read_bytes())
    return found


def log_in(service: Identity, home: Path, left: float = 1800, **more: Any) -> dict[str, Any]:
    """The file as another program has written it."""
    pair = service.login()
    found = {
        "access_token": pair["access_token"], "refresh_token": pair["refresh_token"],
        "expiry_date": int((time.time() + left) * 1000), "token_type": "bearer", **more,
    }  # fmt: skip
    (home / "creds.json").write_text(json.dumps(found))
    return found


async def test_tokens_of_another_program_are_used(tmp_path: Path) -> None:
    async with identity() as service:
        kept = log_in(service, tmp_path)
        async with serving(service, tmp_path) as running:
            assert (await ask(running))[0] == 200
        assert service.calls == [kept["access_token"]]
        assert service.asked == []
        assert stored(tmp_path) == kept


@pytest.mark.rows("IF-02", "IB-2")
async def test_a_token_that_is_over_is_refreshed_once_for_all(tmp_path: Path) -> None:
    async with identity(delay=0.1) as service:
        old = log_in(service, tmp_path, left=-1, email="kept@example.com")
        async with serving(service, tmp_path) as running:
            told = await asyncio.gather(*(ask(running) for _ in range(50)))
        assert {status for status, _ in told} == {200}
        assert (service.refreshes, service.reused) == (1, 0)
        new = stored(tmp_path)
        assert new["refresh_token"] != old["refresh_token"]
        assert new["access_token"] == service.calls[0]
        assert new["email"] == "kept@example.com"
        assert (tmp_path / "creds.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.rows("IF-02")
async def test_a_token_about_to_end_is_renewed_while_requests_go_on(tmp_path: Path) -> None:
    async with identity() as service:
        log_in(service, tmp_path, left=1800)
        async with serving(service, tmp_path) as running:
            assert (await ask(running))[0] == 200
            log_in(service, tmp_path, left=100)
            slot = next(iter(running.server.chats.keyring.slots.values()))
            slot.due = 0.0
            assert (await ask(running))[0] == 200
            for _ in range(100):
                if service.refreshes and slot.flight is None:
                    break
                await asyncio.sleep(0.02)
            assert (await ask(running))[0] == 200
        assert (service.refreshes, service.reused) == (1, 0)
        assert service.calls[0] == service.calls[1] != service.calls[2]


async def test_a_token_that_the_upstream_refuses_is_refreshed_and_tried_once(
    tmp_path: Path,
) -> None:
    async with identity() as service:
        log_in(service, tmp_path)
        async with serving(service, tmp_path) as running:
            service.expire()
            assert (await ask(running))[0] == 200
            assert (service.refreshes, len(service.calls)) == (1, 2)
            service.next = [refusal("invalid_grant")] * 2
            service.expire()
            status, text = await ask(running)
        assert status == 502
        assert "upstream credential" in text
        assert "at-" not in text


@pytest.mark.rows("IF-23")
async def test_a_dead_login_is_not_tried_again_until_somebody_logs_in(tmp_path: Path) -> None:
    async with identity() as service:
        log_in(service, tmp_path, left=-1)
        service.refreshers.clear()
        async with serving(service, tmp_path) as running:
            for _ in range(3):
                assert (await ask(running))[0] == 502
                await asyncio.sleep(0.3)
            assert service.refreshes == 1
            log_in(service, tmp_path)
            await asyncio.sleep(1.1)
            assert (await ask(running))[0] == 200
        assert service.refreshes == 1


@pytest.mark.parametrize(
    "trouble",
    [
        answer({"success": False, "code": "500", "message": "当前找我聊的人太多了", "data": None}),
        answer(b"<html>busy</html>", 503),
        answer({}, 429, Retry_After="1"),
    ],
    ids=["an error as 200", "down", "too many"],
)
@pytest.mark.rows("IF-23")
async def test_trouble_keeps_the_old_token_while_it_is_valid(tmp_path: Path, trouble: Any) -> None:
    async with identity() as service:
        kept = log_in(service, tmp_path, left=100)
        service.next = [trouble] * 10
        async with serving(service, tmp_path) as running:
            assert (await ask(running))[0] == 200
            assert (await ask(running))[0] == 200
        assert service.calls == [kept["access_token"]] * 2
        assert service.refreshes == 1
        assert stored(tmp_path) == kept


@pytest.mark.rows("IF-02")
async def test_the_key_of_the_exchange_is_used_and_kept(tmp_path: Path) -> None:
    async with identity(keyed=True) as service:
        log_in(service, tmp_path, left=-1, apiKey="key-of-yesterday")
        async with serving(service, tmp_path, KEYED) as running:
            assert (await ask(running))[0] == 200
        assert service.calls == [f"key-of-{stored(tmp_path)['access_token']}"]
        assert stored(tmp_path)["apiKey"] == service.calls[0]


@pytest.mark.rows("IB-3")
async def test_a_failed_exchange_never_overwrites_a_good_key(tmp_path: Path) -> None:
    async with identity(keyed=True) as service:
        service.good.add("key-of-old")
        log_in(service, tmp_path, left=100, apiKey="key-of-old")
        service.next_key = [answer({"success": False}), answer(b"", 500)]
        async with serving(service, tmp_path, KEYED) as running:
            assert (await ask(running))[0] == 200
        kept = stored(tmp_path)
        assert (kept["apiKey"], service.calls) == ("key-of-old", ["key-of-old"])
        assert kept["refresh_token"] in service.refreshers
        assert service.refreshers[kept["refresh_token"]] > 0


async def test_nobody_has_logged_in(tmp_path: Path) -> None:
    async with identity() as service:
        async with serving(service, tmp_path) as running:
            assert (await ask(running))[0] == 502
            log_in(service, tmp_path)
            await asyncio.sleep(0.4)
            assert (await ask(running))[0] == 200
        assert service.refreshes == 0


CLIENT = """
version: 1
extends: openai
base_url: URL/v1
models: [m]
auth:
  from:
    oauth2: { flow: client_credentials, token_url: URL/token, client_id: me,
      client_secret: "${env:SECRET}", client_auth: [basic, form], scope: chat }
  bearer: "{{ account.access_token }}"
errors: { rules: [ { status: 401, as: auth_expired } ] }
"""
FIRST = CLIENT.replace("client_credentials", "refresh_token").replace(
    "scope: chat", 'refresh_token: "${env:FIRST}"'
)


async def test_a_client_logs_in_by_itself_and_its_token_outlives_the_engine(tmp_path: Path) -> None:
    async with identity(ways=("form",)) as service:
        for _ in range(2):
            async with serving(service, tmp_path, CLIENT) as running:
                assert (await ask(running))[0] == 200
        assert [each.get("client_secret") for each in service.asked] == [None, SECRET]
        assert service.asked[0]["scope"] == "chat"
        assert len(set(service.calls)) == 1


async def test_a_refresh_token_of_the_route_is_spent_once(tmp_path: Path) -> None:
    async with identity() as service:
        service.refreshers["rt-first"] = 1
        for _ in range(2):
            async with serving(service, tmp_path, FIRST) as running:
                service.expire()
                assert (await ask(running))[0] == 200
        spent = [each["refresh_token"] for each in service.asked]
        assert spent[0] == "rt-first"
        assert len(spent) == len(set(spent)) == 2
        assert service.reused == 0


async def test_two_engines_on_one_store_refresh_once(tmp_path: Path) -> None:
    async with identity(delay=0.2) as service:
        service.refreshers["rt-first"] = 1
        async with (
            serving(service, tmp_path, FIRST) as one,
            serving(service, tmp_path, FIRST) as two,
        ):
            told = await asyncio.gather(*(ask(each) for each in (one, two) for _ in range(MANY)))
        assert {status for status, _ in told} == {200}
        assert (service.refreshes, service.reused) == (1, 0)


@pytest.mark.rows("IB-2")
async def test_two_engines_on_one_file_refresh_once(tmp_path: Path) -> None:
    async with identity(delay=0.2) as service:
        log_in(service, tmp_path, left=-1)
        async with serving(service, tmp_path) as one, serving(service, tmp_path) as two:
            told = await asyncio.gather(*(ask(each) for each in (one, two) for _ in range(MANY)))
        assert {status for status, _ in told} == {200}
        assert (service.refreshes, service.reused) == (1, 0)
