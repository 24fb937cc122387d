"""The pattern of a web chat behind the real gateway: create, complete, delete, over sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from engine.kept import cleanups
from engine.shell.bundle import bundled_routes
from tests.security.stage import CHAT, KEY, Echo, Received, Staged, staged

TEXT = (bundled_routes() / "examples" / "web-chat.yaml").read_text()
REFRESH = "refresh-token-of-the-tests"


class Site(Echo):
    """The site: its chats, what was said in each, which are deleted, who is in the middle."""

    def __init__(self) -> None:
        super().__init__(answer=self.serve)
        self.tokens = 0
        self.said: dict[str, list[str]] = {}
        self.deleted: list[str] = []
        self.slow = False
        self.broken_deletion = False

    async def serve(self, request: web.BaseRequest, got: Received) -> web.StreamResponse:
        if got.target == "/api/token":
            assert got.json == {"refresh_token": REFRESH}
            self.tokens += 1
            return web.json_response({"access_token": f"access-{self.tokens}", "expires_in": 300})
        if ("Authorization", f"Bearer access-{self.tokens}") not in got.headers:
            return web.json_response({"message": "token expired"}, status=401)
        if got.target == "/api/chats":
            name = f"c{len(self.said) + 1}"
            self.said[name] = []
            return web.json_response({"id": name})
        chat = got.target.split("/")[3]
        if chat not in self.said or chat in self.deleted:
            return web.json_response({"message": "no such chat"}, status=404)
        if got.method == "DELETE":
            if self.broken_deletion:
                return web.json_response({"message": "not now"}, status=500)
            self.deleted.append(chat)
            return web.Response(status=204)
        return await self.complete(request, chat, got.json)

    async def complete(self, request: web.BaseRequest, chat: str, asked: Any) -> web.StreamResponse:
        turns = self.said[chat]
        assert asked.get("parent", "") == (f"m{len(turns)}" if turns else "")
        turns.append(asked["prompt"])
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        pieces = [{"event": "piece", "text": f"{chat} "}, {"event": "piece", "text": "heard you"}]
        for piece in pieces:
            await response.write(b"data: " + json.dumps(piece).encode() + b"\n\n")
            if self.slow:
                await asyncio.sleep(30)
        done = {"event": "done", "message_id": f"m{len(turns)}"}
        await response.write(b"data: " + json.dumps(done).encode() + b"\n\ndata: [DONE]\n\n")
        return response


def running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: Site, ttl: str = "1h", **over: object
) -> Any:
    text = TEXT.replace("ttl: 1h", f"ttl: {ttl}")
    assert f"ttl: {ttl}" in text
    (tmp_path / "routes").mkdir(exist_ok=True)
    env = {"WEB_CHAT_REFRESH_TOKEN": REFRESH}
    routes = {
        "web-chat": text.replace("${env:WEB_CHAT_BASE_URL:-https://webchat.example.com}", "%URL%")
    }
    return staged(tmp_path, monkeypatch, routes, env=env, overrides=over, echo=site)


async def said(stage: Staged, words: str, **more: Any) -> str:
    status, text = await stage.ask("web-chat", words, **more)
    assert status == 200, text
    return str(json.loads(text.partition("\n\n")[2])["choices"][0]["message"]["content"])


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_conversation_has_a_chat_and_a_lone_request_one_that_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site()
    async with running(tmp_path, monkeypatch, site) as stage:
        assert await said(stage, "one", user="ann") == "c1 heard you"
        assert await said(stage, "two", user="ann") == "c1 heard you"
        assert await said(stage, "three", user="bob") == "c2 heard you"
        assert await said(stage, "four") == "c3 heard you"
        await until(lambda: site.deleted == ["c3"])
        assert site.said == {
            "c1": ["User: one", "two"], "c2": ["User: three"], "c3": ["User: four"],
        }  # fmt: skip
        assert site.tokens == 1


async def test_a_client_that_leaves_in_the_middle_leaves_no_chat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site()
    async with running(tmp_path, monkeypatch, site) as stage:
        site.slow = True
        body = {"model": "web-chat", "stream": True, "messages": [{"role": "user", "content": "x"}]}
        head = {"Authorization": f"Bearer {KEY}"}
        async with aiohttp.ClientSession() as leaving:
            answer = await leaving.post(stage.gateway.url + CHAT, json=body, headers=head)
            assert b"c1" in await answer.content.readany()
            answer.close()
        await until(lambda: site.deleted == ["c1"])


async def test_a_deletion_that_fails_is_seen_in_log_and_metrics_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site()
    async with running(tmp_path, monkeypatch, site) as stage:
        site.broken_deletion = True
        assert await said(stage, "one") == "c1 heard you"
        await until(lambda: b"value_cleaned" in stage.written.getvalue())
        _, page = await stage.call("GET", "/metrics")
    told = 'penstock_cleanups_total{result="failed",route="web-chat",value="chat"} 1.0'
    assert told in page


async def test_a_chat_that_the_site_lost_is_made_anew_and_an_expired_token_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site()
    async with running(tmp_path, monkeypatch, site) as stage:
        await said(stage, "one", user="ann")
        site.deleted.append("c1")
        site.tokens += 1  # the site forgets the token it gave
        assert await said(stage, "two", user="ann") == "c2 heard you"
        assert await said(stage, "three", user="ann") == "c2 heard you"
    assert site.said["c2"] == ["User: two", "three"]


async def test_the_chat_of_a_session_that_expired_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanups, "SWEEP", 0.05)
    site = Site()
    async with running(tmp_path, monkeypatch, site, ttl="400ms") as stage:
        await said(stage, "one", user="ann")
        assert site.deleted == []
        await until(lambda: site.deleted == ["c1"])
        assert await said(stage, "two", user="ann") == "c2 heard you"


async def test_the_chat_of_a_session_that_an_operator_deletes_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, admin = Site(), "sk-admin-Zq8Lw2Rt5Yv7"
    async with running(tmp_path, monkeypatch, site, **{"admin.key": admin}) as stage:
        await said(stage, "one", user="ann")
        await said(stage, "one", user="bob")
        head = {"Authorization": f"Bearer {admin}", "X-Penstock-Admin": "1"}
        asked = {"route": "web-chat", "session": "ann"}
        url = f"{stage.gateway.url}/admin/sessions/delete"
        async with stage.session.post(url, json=asked, headers=head) as answer:
            assert {"deleted": 1} == await answer.json()
        await until(lambda: site.deleted == ["c1"])
        assert await said(stage, "two", user="bob") == "c2 heard you"
        assert await said(stage, "two", user="ann") == "c3 heard you"


async def test_chats_of_lone_requests_under_way_are_deleted_when_the_gateway_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site()
    async with running(tmp_path, monkeypatch, site) as stage:
        await said(stage, "one")
    assert site.deleted == ["c1"]
