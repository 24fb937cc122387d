"""Accounts that log in by themselves, over sockets: who logs in when, and never in a storm."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.pools.identity import Identity, person, route
from tests.security.stage import Staged, staged

pytestmark = pytest.mark.timeout(90)


@asynccontextmanager
async def serving(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    people: int = 3,
    identity: Identity | None = None,
) -> AsyncIterator[tuple[Staged, Identity]]:
    identity = identity or Identity()
    (tmp_path / "routes").mkdir(exist_ok=True)
    (tmp_path / "routes/accounts.jsonl").write_text("".join(map(person, range(people))))
    async with staged(tmp_path, monkeypatch, {"people": text}, echo=identity) as on:
        yield on, identity


async def ask(on: Staged, prompt: str = "hi") -> Any:
    """What the service said of the caller, or the status if that is no answer."""
    status, text = await on.ask("people", prompt)
    if status != 200:
        return status
    content = json.loads(text.partition("\n\n")[2])["choices"][0]["message"]["content"]
    return json.loads(content)


async def who(on: Staged, times: int) -> list[Any]:
    said = [await ask(on) for _ in range(times)]
    return [each if isinstance(each, int) else each["who"].partition("@")[0] for each in said]


async def test_each_account_logs_in_once_and_its_cookies_stay_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, monkeypatch, route()) as (on, identity):
        said = [await ask(on) for _ in range(9)]
        assert set(identity.logins.values()) == {1}
        assert len(identity.logins) == 3
        assert [each["who"] for each in said] == [each["jar"] for each in said]


@pytest.mark.rows("K2-10")
async def test_only_the_account_whose_token_ended_logs_in_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, monkeypatch, route()) as (on, identity):
        await who(on, 3)
        identity.expire("p1@example.com")
        assert sorted(await who(on, 3)) == ["p0", "p1", "p2"]
        assert sorted(identity.logins.values()) == [1, 1, 2]
        assert identity.logins["p1@example.com"] == 2


async def test_a_refused_login_parks_that_account_and_the_next_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = Identity(refuses={"p0@example.com"})
    async with serving(tmp_path, monkeypatch, route(), identity=identity) as (on, _):
        assert await who(on, 5) == ["p1", "p2", "p1", "p2", "p1"]
        assert identity.tried == 3


@pytest.mark.rows("K2-14", "KB-6")
async def test_while_the_service_is_down_nobody_is_parked_and_it_is_not_stormed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = Identity(down=True)
    text = route(more="retry: { backoff: { initial: 1ms } }\n")
    async with serving(tmp_path, monkeypatch, text, people=50, identity=identity) as (on, _):
        assert set(await asyncio.gather(*[ask(on) for _ in range(60)])) == {503}
        assert identity.tried < 12  # 60 requests, 3 attempts each, 50 accounts
        identity.down = False
        await asyncio.sleep(1.5)
        assert isinstance(await ask(on), dict)


@pytest.mark.rows("K2-14")
async def test_tokens_that_end_together_are_renewed_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, monkeypatch, route(), people=200) as (on, identity):
        await asyncio.gather(*[ask(on) for _ in range(200)])
        assert (len(identity.logins), identity.most) == (200, 4)
        identity.expire()
        identity.most, identity.slow = 0, 0.002
        said = await asyncio.gather(*[ask(on) for _ in range(200)])
        assert all(isinstance(each, dict) for each in said)
        assert (set(identity.logins.values()), identity.most) == ({2}, 4)


async def test_tokens_are_spread_so_that_they_do_not_end_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, monkeypatch, route(), people=30) as (on, _):
        await who(on, 30)
        slots = on.gateway.server.chats.keyring.slots.values()
        ends = sorted(slot.expires for slot in slots if slot.expires is not None)
        assert len(ends) == 30
        assert ends[-1] - ends[0] > 60  # of an hour


@pytest.mark.rows("K2-09", "K2-11", "KB-6")
async def test_accounts_that_fail_in_a_row_are_logged_in_anew_though_no_class_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = route("refresh_all: { after: 2, min_pool: 3 }").replace("[auth_expired]", "[]")
    text = text.replace("as: auth_expired", "as: quota_exhausted")
    async with serving(tmp_path, monkeypatch, text) as (on, identity):
        await who(on, 3)
        identity.expire("p0@example.com", "p1@example.com")
        assert await who(on, 1) == ["p2"]
        for _ in range(100):
            if len(identity.logins) == 3 and identity.logins.total() == 5:
                break
            await asyncio.sleep(0.02)
        assert dict(identity.logins) == {
            "p0@example.com": 2, "p1@example.com": 2, "p2@example.com": 1,
        }  # fmt: skip
        assert sorted(await who(on, 3)) == ["p0", "p1", "p2"]


@pytest.mark.rows("K2-18", "K2-10")
async def test_when_all_are_out_for_their_tokens_they_log_in_and_the_request_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = route().replace("as: auth_expired", "as: auth_invalid")
    async with serving(tmp_path, monkeypatch, text, people=2) as (on, identity):
        await who(on, 2)
        identity.expire()
        assert await who(on, 1) == [502]  # both are out now
        assert (await who(on, 1))[0] in ("p0", "p1")
        assert set(identity.logins.values()) == {2}


@pytest.mark.rows("K2-12", "K2-16")
async def test_tokens_survive_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, identity = route(value="persist: true"), Identity()
    for _ in range(2):
        async with serving(tmp_path, monkeypatch, text, identity=identity) as (on, _):
            assert sorted(await who(on, 3)) == ["p0", "p1", "p2"]
    assert set(identity.logins.values()) == {1}


async def test_a_login_may_take_several_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = """
  key:
    scope: account
    request: { path: /session, headers: { Authorization: "Bearer {{ values.token }}" } }
    extract: [ { json: $.key } ]
    secret: false
"""
    text = route().replace("\nrequest: { path: /talk", steps + "request: { path: /talk", 1)
    text = text.replace('prompt: "{{ req.prompt }}"', 'prompt: "{{ values.key }}"')
    async with serving(tmp_path, monkeypatch, text, people=2) as (on, _):
        for _ in range(4):
            said = await ask(on)
            assert said["asked"] == f"key of {said['who']}"


@pytest.mark.rows("K2-12")
async def test_accounts_are_logged_in_ahead_where_the_route_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, monkeypatch, route(value="prefetch: true")) as (on, identity):
        for _ in range(100):
            if len(identity.logins) == 3:
                break
            await asyncio.sleep(0.02)
        assert (len(identity.logins), identity.calls.total()) == (3, 0)
        await who(on, 3)
        assert set(identity.logins.values()) == {1}
