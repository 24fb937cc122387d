"""Pools as an operator sees and changes them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from engine.ports import StoreError
from engine.shell.accounts import masked
from tests.pools.identity import Identity, route
from tests.pools.test_logins import who
from tests.shell.admin_stage import KEYED, KEYS, Desk, desk

pytestmark = pytest.mark.timeout(90)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("", "…"), ("short", "…"), ("x" * 19, "…"), ("flo_" + "0" * 60, "flo_…0000")],
)
def test_a_secret_is_shown_by_its_ends_if_it_is_long(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.rows("K2-33", "K2-34")
async def test_the_state_of_a_pool_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = Identity(refuses={"p1@example.com"})
    async with desk(tmp_path, monkeypatch, identity=identity) as at:
        await who(at.on, 4)
        (pool,) = (await at.get("accounts", route="people"))["pools"]
        told = {name: pool[name] for name in ("route", "pick", "free", "parked", "min_pool")}
        assert told == {
            "route": "people", "pick": "round_robin", "free": 2, "parked": 1, "min_pool": 1,
        }  # fmt: skip
        accounts = await at.pool()
        states = {name: (each["state"], each["why"]) for name, each in accounts.items()}
        assert states == {
            "p0@example.com": ("free", ""),
            "p1@example.com": ("parked", "login"),
            "p2@example.com": ("free", ""),
        }
        assert accounts["p1@example.com"]["parked_for"] is None
        assert accounts["p0@example.com"]["calls"] == 2
        assert accounts["p0@example.com"]["parts"] == {
            "email": "p0@example.com", "password": "word….com",
        }  # fmt: skip


@pytest.mark.rows("K2-35")
async def test_an_operator_parks_and_revives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, monkeypatch) as at:
        ident = (await at.pool())["p0@example.com"]["account"]
        assert await at.post("accounts/park", route="people", account=ident) == {
            "accounts": [ident]
        }
        assert set(await who(at.on, 4)) == {"p1", "p2"}
        assert (await at.pool())["p0@example.com"]["why"] == "operator"
        await at.post("accounts/revive", route="people", account=ident)
        assert set(await who(at.on, 3)) == {"p0", "p1", "p2"}
        await at.post("accounts/park", route="people", account=ident, seconds=0.05)
        await asyncio.sleep(0.1)
        assert (await at.pool())["p0@example.com"]["state"] == "free"
        revived = (await at.post("accounts/revive", route="people"))["accounts"]
        assert len(revived) == 3


@pytest.mark.rows("K2-36")
async def test_an_operator_has_accounts_log_in_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, monkeypatch) as at:
        await who(at.on, 3)
        ident = (await at.pool())["p0@example.com"]["account"]
        await at.post("accounts/refresh", route="people", account=ident)
        await logged_in(at, 4)
        assert at.identity.logins["p0@example.com"] == 2
        await at.post("accounts/refresh", route="people")
        await logged_in(at, 7)
        assert await at.post("accounts/refresh", route="keyed") == (
            400,
            "the accounts of keyed do not log in",
        )


async def logged_in(at: Desk, times: int) -> None:
    for _ in range(200):
        if at.identity.logins.total() >= times:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("nobody logged in")


# ---- credentials ----


@pytest.mark.rows("FL-35")
async def test_added_credentials_are_used_kept_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = {"email": "p7@example.com", "password": "word of p7@example.com"}
    async with desk(tmp_path, monkeypatch, people=1) as at:
        told = await at.post("accounts/add", route="people", accounts=[new, new, {"email": "x"}, 7])
        (ident,) = told["added"]
        assert told["skipped"] == 1
        assert told["failed"] == [
            {"at": 2, "why": "lacks `password`"},
            {"at": 3, "why": "neither text nor an object of texts"},
        ]
        assert set(await who(at.on, 2)) == {"p0", "p7"}
        assert (await at.pool())["p7@example.com"]["added"] is True
    async with desk(tmp_path, monkeypatch, people=1) as at:  # after a restart
        assert set(await who(at.on, 2)) == {"p0", "p7"}
        own = (await at.pool())["p0@example.com"]["account"]
        status, message = await at.post("accounts/remove", route="people", accounts=[own])
        assert (status, "did not come by this API" in message) == (400, True)
        assert await at.post("accounts/remove", route="people", accounts=[ident]) == {
            "removed": [ident]
        }
        assert await who(at.on, 2) == ["p0", "p0"]
    async with desk(tmp_path, monkeypatch, people=1) as at:
        assert await who(at.on, 2) == ["p0", "p0"]
        assert await at.post("accounts/remove", route="people") == {"removed": []}


async def test_texts_are_added_to_a_pool_of_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, monkeypatch) as at:
        told = await at.post("accounts/add", route="keyed", accounts=["flo_third_key", KEYS[0]])
        assert (len(told["added"]), told["skipped"], told["failed"]) == (1, 1, [])
        assert f"added:{told['added'][0][:8]}" in await at.pool("keyed")
        assert "flo_third_key" not in at.on.written.getvalue().decode()


async def test_credentials_that_cannot_be_kept_are_not_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, monkeypatch) as at:

        async def broken(*what: object) -> None:
            raise StoreError("no")

        store = at.on.gateway.server.chats.ports.durable
        monkeypatch.setattr(type(store), "put", broken)
        assert await at.post("accounts/add", route="keyed", accounts=["flo_third_key"]) == (
            503,
            "the store cannot be written",
        )
        assert len(await at.pool("keyed")) == 2


@pytest.mark.rows("FB-17")
@pytest.mark.parametrize("form", ["json", "text", "env"])
async def test_credentials_are_exported_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    async with desk(tmp_path, monkeypatch) as at:
        text = (await at.get("accounts/export", route="keyed", format=form))["text"]
        assert not any(key in text for key in KEYS)
        ends = {"text": "flo_…cdef\nflo_…cdef", "env": "KEYED_KEYS=flo_…cdef,flo_…cdef"}
        assert text == ends.get(form, text)
        if form == "json":
            assert [each["key"] for each in json.loads(text)] == ["flo_…cdef"] * 2


# ---- what is refused ----


async def test_what_is_not_there_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ = KEYED.replace("auth: { from: { env: KEYS", "x-auth: { from: { env: KEYS")
    open_ = open_.replace("keyed", "open")
    texts = {"people": route(), "open": open_}
    async with desk(tmp_path, monkeypatch, texts) as at:
        assert await at.get("accounts", route="nobody") == (404, "there is no such route")
        assert await at.get("accounts", route="open") == (400, "open has no accounts")
        assert [pool["route"] for pool in (await at.get("accounts"))["pools"]] == ["people"]
        for path in ("accounts/park", "accounts/revive", "accounts/refresh"):
            found = await at.post(path, route="people", account="0" * 16)
            assert found == (404, "there is no such account")
        assert await at.get("accounts/export", route="people", format="xml") == (
            400,
            "`format` is json, text or env",
        )
