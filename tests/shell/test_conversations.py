"""Sessions as an operator sees them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.security.stage import KEY, Staged
from tests.shell.admin_stage import desk
from tests.upstreams.front import front

SECOND = "sk-second-client-Q7vX2mN9"
OVER: dict[str, Any] = {"clients__keys": [KEY, SECOND]}


async def chat(on: Staged, key: str = KEY, words: str = "hello there") -> None:
    headers = {"X-Nothing": "1"}
    await on.ask("keyed", words, key=key, headers=headers, user="ada")


@pytest.mark.rows("FL-37")
async def test_a_session_is_found_by_its_name_for_each_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, monkeypatch, **OVER) as at:
        at.identity.tokens = {
            "flo_first_0123456789abcdef": ("one", 1e12),
            "flo_second_0123456789abcdef": ("two", 1e12),
        }
        await chat(at.on, words="x" * 500)
        await chat(at.on, SECOND)
        assert await at.get("sessions", route="keyed") == {"route": "keyed", "sessions": 2}
        found = (await at.get("sessions", route="keyed", session="ada"))["sessions"]
        assert sorted(each["turns"][0]["text"] for each in found) == ["hello there", "x" * 100]
        assert all(each["state"]["id"] for each in found)
        assert await at.post("sessions/delete", route="keyed", session="ada") == {"deleted": 2}
        for path in ("sessions", "sessions/delete"):
            ask = at.get if path == "sessions" else at.post
            assert await ask(path, route="keyed", session="ada") == (
                404,
                "there is no such session",
            )


SLOW = """\
version: 1
base_url: "URL"
models: [m]
session: { key: [req.user], history: server }
request: { path: /talk, json: { turns: "{{ req.messages | length }}" } }
response: { events: [ { text: $.text, finish: stop } ] }
"""


async def test_a_request_under_way_does_not_bring_a_deleted_session_back(tmp_path: Path) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def talk(request: web.Request) -> web.Response:
        asked.set()
        await go_on.wait()
        return web.json_response({"text": f"turn {(await request.json())['turns']}"})

    app = web.Application()
    app.router.add_post("/talk", talk)
    async with TestServer(app) as behind:
        files = {"m.yaml": SLOW.replace("URL", str(behind.make_url("/")))}
        async with front(tmp_path, files=files) as on:
            first = asyncio.ensure_future(on.ask("m", user="ada"))
            await asyncio.wait_for(asked.wait(), 10)
            told = {"route": "m", "session": "ada"}
            assert {"deleted": 1} == await on.admin("POST", "/admin/sessions/delete", **told)
            go_on.set()
            assert "turn 1" == await first
            status, _ = await on.admin("GET", "/admin/sessions", **told)
            assert 404 == status
            assert "turn 1" == await on.ask("m", user="ada")
            assert "turn 3" == await on.ask("m", user="ada")


async def test_a_route_without_sessions_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, monkeypatch) as at:
        assert await at.get("sessions", route="people") == (400, "people has no sessions")
        assert await at.get("sessions", route="nobody") == (404, "there is no such route")
