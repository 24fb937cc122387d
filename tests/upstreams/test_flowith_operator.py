"""What the operator of flowith sees and may change: keys, accounts, sessions, settings."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import openai
import pytest

from engine.errors import ConfigError
from engine.shell.settings import load_settings
from tests.upstreams.flowith import TOKENS, Flowith, running
from tests.upstreams.stand import ADMIN, KEYS, Front, example, front, has_models, said
from tests.upstreams.test_flowith import ALL, MODEL, ONE, flowing

NEW = "flo_" + "d4" * 32
SERVER = """\
version: 1
listen: { host: 127.0.0.1, port: "${env:PORT:-8787}" }
clients: { keys: ["${env:API_KEYS}"] }
admin: { key: "${env:ADMIN_KEY}" }
log: { level: "${env:LOG_LEVEL:-info}" }
"""


@pytest.fixture
def site() -> Flowith:
    return Flowith()


async def state(flow: Front) -> dict[str, dict[str, Any]]:
    """The accounts of the pool by their masked tokens."""
    (pool,) = (await flow.admin("GET", "accounts", route="flowith"))["pools"]
    return {each["parts"]["key"]: each for each in pool["accounts"]}


def masked(token: str) -> str:
    return f"{token[:4]}…{token[-4:]}"


# ---- keys ----


@pytest.mark.rows("FL-01", "FL-03", "FL-04")
def test_the_old_variables_fill_the_server_file(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text(SERVER)
    env = {"API_KEYS": f"{KEYS[0]},{KEYS[1]}", "ADMIN_KEY": ADMIN}
    settings = load_settings(path, env)
    assert (settings.listen.port, settings.log.least) == (8787, "info")
    assert [key.reveal() for key in settings.clients.keys] == list(KEYS)
    settings = load_settings(path, {**env, "PORT": "9000", "LOG_LEVEL": "WARN"})
    assert (settings.listen.port, settings.log.least) == (9000, "warning")
    with pytest.raises(ConfigError, match="API_KEYS"):
        load_settings(path, {"ADMIN_KEY": ADMIN})


@pytest.mark.rows("FL-03", "FL-04", "FB-6")
async def test_client_keys_and_the_admin_key_open_their_own_doors(
    tmp_path: Path, site: Flowith
) -> None:
    body = {"model": MODEL, "messages": said("Hi")}
    async with flowing(tmp_path, site) as flow:
        for headers in ({"x-api-key": KEYS[1]}, {"Authorization": f"Bearer {KEYS[1]}"}):
            status, _, _ = await flow.call(
                "POST", "/v1/chat/completions", "", json=body, headers=headers
            )
            assert status == 200
        chat = await flow.call("POST", "/v1/chat/completions", ADMIN, json=body)
        assert chat[0] == 401
        assert (await flow.call("GET", "/admin/statistics", ADMIN))[0] == 200
        assert (await flow.call("GET", "/admin/statistics", KEYS[0]))[0] == 401
        assert (await flow.call("GET", "/admin/statistics", ""))[0] == 401


@pytest.mark.rows("FL-32", "FB-7")
@pytest.mark.parametrize("path", ["/healthz", "/__healthz"])
async def test_health_needs_no_key(tmp_path: Path, site: Flowith, path: str) -> None:
    async with flowing(tmp_path, site) as flow:
        status, _, told = await flow.call("GET", path, "")
    assert (status, told["ok"]) == (200, True)


@pytest.mark.rows("FL-01")
async def test_a_clients_name_for_its_request_comes_back_and_is_logged(
    tmp_path: Path, site: Flowith, capfd: pytest.CaptureFixture[str]
) -> None:
    over: Any = {"log__level": "info", "log__format": "json"}
    body = {"model": MODEL, "messages": said("Hi")}
    async with flowing(tmp_path, site, **over) as flow:
        for named, wanted in (("abc-1", "abc-1"), ("no word", None)):
            headers = {"x-req-id": named}
            _, seen, told = await flow.call(
                "POST", "/v1/chat/completions", json=body, headers=headers
            )
            assert seen["x-request-id"] == (wanted or told["id"])
            assert seen["request-id"] == told["id"]
        _, seen, _ = await flow.call("GET", "/nowhere", headers={"x-req-id": "abc-2"})
        assert seen["x-request-id"] == "abc-2"
        _, seen, _ = await flow.call("POST", "/v1/chat/completions", json=body)
        assert seen["x-request-id"].startswith("req_")
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert [line.get("client_id") for line in requests] == ["abc-1", None, None]
    assert {line["route"] for line in requests} == {"flowith"}


# ---- tokens ----


@pytest.mark.rows("FL-33", "FL-34", "FL-35", "FB-17")
async def test_tokens_are_listed_added_left_out_and_removed_and_never_shown(
    tmp_path: Path, site: Flowith
) -> None:
    async with flowing(tmp_path, site, env=ONE) as flow:
        await flow.ask(MODEL)
        before = await state(flow)
        assert set(before) == {masked(TOKENS[0])}
        assert before[masked(TOKENS[0])]["calls"] >= 1
        batch = [TOKENS[1], TOKENS[0], TOKENS[1], {"strange": 1}]
        told = await flow.admin("POST", "accounts/add", route="flowith", accounts=batch)
        assert (len(told["added"]), told["skipped"]) == (1, 2)
        assert [each["at"] for each in told["failed"]] == [4] or told["failed"]
        assert set(await state(flow)) == {masked(TOKENS[0]), masked(TOKENS[1])}
        for _ in range(2):
            await flow.ask(MODEL)
        assert {seen.token for seen in site.asked[1:]} == {TOKENS[0], TOKENS[1]}
        for form in ("json", "text", "env"):
            text = (await flow.admin("GET", "accounts/export", route="flowith", format=form))[
                "text"
            ]
            assert masked(TOKENS[1]) in text
            assert not any(token in text for token in TOKENS)
        first = (await state(flow))[masked(TOKENS[0])]["account"]
        await flow.admin("POST", "accounts/park", route="flowith", account=first)
        await flow.ask(MODEL)
        assert site.asked[-1].token == TOKENS[1]
        await flow.admin("POST", "accounts/revive", route="flowith")
        await flow.admin("POST", "accounts/remove", route="flowith", accounts=told["added"])
        assert set(await state(flow)) == {masked(TOKENS[0])}


@pytest.mark.rows("FL-33", "FL-34")
async def test_statistics_tell_how_it_goes_and_can_be_reset(tmp_path: Path, site: Flowith) -> None:
    async with flowing(tmp_path, site) as flow:
        await flow.ask(MODEL)
        site.moods.append(400)
        with pytest.raises(openai.BadRequestError):
            await flow.ask(MODEL)
        told = await flow.admin("GET", "statistics")
        mine = told["routes"]["flowith"]
        assert (mine["requests"], mine["ok"], mine["success_rate"]) == (2, 1, 0.5)
        assert mine["average_seconds"] > 0
        assert told["uptime"] > 0
        assert told["version"]
        await flow.admin("POST", "statistics/reset")
        routes = (await flow.admin("GET", "statistics"))["routes"]
        assert routes.get("flowith", {"requests": 0})["requests"] == 0


@pytest.mark.rows("FB-9")
async def test_no_token_lies_in_clear_and_the_environment_wins(
    tmp_path: Path, site: Flowith
) -> None:
    key = "K" * 43 + "="
    over: Any = {"store": "sqlite", "state_key": [key]}
    more: Any = {"extra_body": {"session_id": "s1"}}
    async with flowing(tmp_path, site, env=ONE, **over) as flow:
        await flow.admin("POST", "accounts/add", route="flowith", accounts=[NEW])
        await flow.ask(MODEL, "my own words", **more)
    stored = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*.db*"))
    with sqlite3.connect(tmp_path / "state/penstock.db") as db:
        assert db.execute("select count(*) from sqlite_master").fetchone()[0]
    for secret in (NEW, TOKENS[0], "my own words", *KEYS):
        assert secret.encode() not in stored
    async with flowing(tmp_path, site, env={"FLOWITH_AUTH_TOKENS": TOKENS[1]}, **over) as flow:
        assert masked(TOKENS[0]) not in await state(flow)
        assert masked(TOKENS[1]) in await state(flow)


# ---- sessions ----


@pytest.mark.rows("FL-37")
async def test_sessions_are_shown_and_forgotten(tmp_path: Path, site: Flowith) -> None:
    more: Any = {"extra_body": {"session_id": "s1"}}
    async with flowing(tmp_path, site) as flow:
        await flow.ask(MODEL, "x" * 300, **more)
        assert (await flow.admin("GET", "sessions", route="flowith"))["sessions"] == 1
        told = await flow.admin("GET", "sessions", route="flowith", session="s1")
        text = json.dumps(told)
        assert site.asked[0].body["kb_list"][0] in text
        assert "x" * 100 in text
        assert "x" * 101 not in text
        await flow.admin("POST", "sessions/delete", route="flowith", session="s1")
        await flow.ask(MODEL, "again", **more)
    assert site.asked[1].said == [("user", "again")]
    assert site.asked[1].body["kb_list"] != site.asked[0].body["kb_list"]


# ---- settings ----


@pytest.mark.rows("FL-36", "FB-8")
async def test_an_edited_setting_holds_at_once_and_a_wrong_one_changes_nothing(
    tmp_path: Path, site: Flowith
) -> None:
    async with flowing(tmp_path, site, watch="auto") as flow:
        site.moods.extend([500] * 4)
        with pytest.raises(openai.InternalServerError):
            await flow.ask(MODEL)
        assert len(site.asked) == 4
        await flow.edit("flowith", "attempts: 4", "attempts: 2")
        await has_models(flow, MODEL)
        site.asked.clear()
        site.moods.extend([500] * 2)
        with pytest.raises(openai.InternalServerError):
            await flow.ask(MODEL)
        assert len(site.asked) == 2
        path = flow.folder / "flowith.yaml"
        path.write_text(path.read_text().replace("attempts: 2", "attemps: 9"))
        await flow.admin("POST", "reload")
        (route,) = (await flow.admin("GET", "routes"))["routes"]
        assert "attemps" in json.dumps(route["problems"])
        assert await flow.ask(MODEL) == "You said: Hello"


@pytest.mark.rows("FL-08", "FB-8")
async def test_a_setting_of_the_environment_is_what_the_route_runs_with(
    tmp_path: Path, site: Flowith
) -> None:
    site.moods.append("stall")
    async with running(site) as url:
        env = {"FLOWITH_BASE": url, "UPSTREAM_TIMEOUT_MS": "300", **ALL}
        text = example("flowith", ("timeouts:\n", "timeouts:\n  connect: 1s\n"))
        async with front(tmp_path, {"flowith": text}, env) as flow:
            await has_models(flow, MODEL)
            async with asyncio.timeout(15):
                with pytest.raises(openai.InternalServerError):
                    await flow.ask(MODEL)


@pytest.mark.rows("FL-15")
async def test_a_session_that_has_expired_is_swept(tmp_path: Path, site: Flowith) -> None:
    more: Any = {"extra_body": {"session_id": "s1"}}
    async with flowing(tmp_path, site, env={**ALL, "CONTEXT_TTL_SECONDS": "1"}) as flow:
        await flow.ask(MODEL, "one", **more)
        await asyncio.sleep(1.1)
        await flow.ask(MODEL, "two", **more)
    assert site.asked[1].said == [("user", "two")]
