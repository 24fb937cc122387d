"""A pool of logins: who is out comes back when somebody has logged in, and only then."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from engine.shell.app import Gateway
from engine.shell.doorman import Doorman
from tests.identity import Identity, identity
from tests.shell.test_oauth import ROUTE, ask, serving

POOL = ROUTE.replace("store: STORE", 'store: "*.json"\n      accounts: [ann, bob]').replace(
    "attempts: 1", "attempts: 3"
)


def log_in(service: Identity, home: Path, name: str, left: float = 1800) -> str:
    pair = service.login()
    kept = {**pair, "expiry_date": int((time.time() + left) * 1000)}
    (home / "routes").mkdir(exist_ok=True)
    (home / f"routes/{name}.json").write_text(json.dumps(kept))
    return pair["access_token"]


def doorman(running: Gateway) -> Doorman:
    keyring = running.server.chats.keyring
    return Doorman(lambda: running.keeper.book.behind_logins, keyring)


def parked(running: Gateway) -> list[tuple[str, str]]:
    keyring = running.server.chats.keyring
    (route,) = running.keeper.book.routes.values()
    now = keyring.ports.clock.monotonic()
    return [(seat.account.id, seat.health.why) for seat in keyring.pools.of(route).parked(now)]


async def settled(running: Gateway) -> None:
    while running.server.chats.keyring.logging_in:
        await asyncio.sleep(0.01)


async def test_a_dead_login_of_a_pool_is_out_until_somebody_logs_in(tmp_path: Path) -> None:
    async with identity() as service:
        good = log_in(service, tmp_path, "ann")
        log_in(service, tmp_path, "bob", left=-1)
        service.refreshers.clear()
        async with serving(service, tmp_path, POOL) as running:
            for _ in range(4):
                assert (await ask(running))[0] == 200
            assert set(service.calls) == {good}
            assert (parked(running), service.refreshes) == ([("bob", "login")], 1)
            door = doorman(running)
            for _ in range(3):
                await door.look()
                await settled(running)
            assert (parked(running), service.refreshes) == ([("bob", "login")], 1)
            new = log_in(service, tmp_path, "bob")
            await door.look()
            await settled(running)
            assert parked(running) == []
            for _ in range(2):
                assert (await ask(running))[0] == 200
        assert {good, new} == set(service.calls)


async def test_a_login_that_was_never_there_is_seen(tmp_path: Path) -> None:
    async with identity() as service:
        log_in(service, tmp_path, "ann")
        async with serving(service, tmp_path, POOL) as running:
            for _ in range(2):
                assert (await ask(running))[0] == 200
            assert parked(running) == [("bob", "login")]
            door = doorman(running)
            await door.look()
            log_in(service, tmp_path, "bob")
            await door.look()
            await settled(running)
            assert parked(running) == []
        assert service.asked == []


async def test_an_account_that_the_upstream_refuses_comes_back_with_other_tokens(
    tmp_path: Path,
) -> None:
    route = POOL.replace("as: auth_expired", "as: auth_invalid")
    async with identity() as service:
        log_in(service, tmp_path, "ann")
        service.good.discard(log_in(service, tmp_path, "bob"))
        async with serving(service, tmp_path, route) as running:
            for _ in range(2):
                assert (await ask(running))[0] == 200
            assert parked(running) == [("bob", "auth_invalid")]
            door = doorman(running)
            await door.look()
            await settled(running)
            assert parked(running) == [("bob", "auth_invalid")]
            log_in(service, tmp_path, "bob")
            await door.look()
            await settled(running)
            assert parked(running) == []
