"""Uploads over real sockets, to a stub of Open WebUI's API: files are posted, chats name their ids.

`POST /api/v1/files/` takes a form with `file` and answers `{"id": …}`; `POST /api/chat/completions`
is that of the OpenAI API with `files: [{type: file, id}]` (docs.openwebui.com, API endpoints).
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.security.stage import CHAT, KEY, Echo, Staged, staged
from tests.shell.gallery import PNG, gallery

ROUTE = """
version: 1
name: webui
extends: openai
base_url: %URL%/api
auth: { from: { env: WEBUI_KEYS, split: "," }, bearer: "{{ account.key }}" }
models: [llama]
media: { fetch: needed, internal: PLACE }
values:
  files:
    scope: account
    each: [image, file]
    request:
      path: /v1/files/
      headers: { Authorization: "Bearer {{ account.key }}" }
      multipart: { file: "{{ media.content }}" }
    extract: [{ json: $.id }]
    item: { type: file, id: "{{ found }}" }
    ttl: 24h
    refresh_for: stale
transforms:
  - drop_media: { kinds: [image, file] }
request:
  patch: [{ set: { files: "{{ values.files }}" } }]
errors:
  message: $.detail
  rules:
    - { status: 400, body: "/file/i", as: stale }
    - { status: 413, as: invalid_request }
retry: { attempts: 2, backoff: { initial: 1ms, jitter: none } }
"""
PLACED = """
version: 1
name: placed
dialect: openai_responses
base_url: %URL%/api
auth: { from: { env: WEBUI_KEYS, split: "," }, bearer: "{{ account.key }}" }
models: [artist]
values:
  files:
    scope: account
    each: [image, file]
    request:
      path: /v1/files/
      headers: { Authorization: "Bearer {{ account.key }}" }
      multipart: { file: "{{ media.content }}" }
    extract: [{ json: $.id }]
transforms:
  - uploaded_media: { found: "{{ values.files }}", kinds: [image, file] }
"""
PLAIN = """
version: 1
name: plain
base_url: %URL%
models: [plain]
request: { path: /says, json: { turns: "{{ req.messages | as_text_messages }}" } }
response: { events: [{ text: $.text, finish: stop }] }
"""
PDF = b"%PDF-1.7\n\x00\xff\r\n--penstock\r\n"


@dataclass
class WebUi(Echo):
    """Keeps files by key and id. refuses: the next upload's status; hangs: it never answers."""

    files: dict[str, tuple[str, str, bytes]] = field(default_factory=dict)
    uploads: list[str] = field(default_factory=list)
    chats: list[dict[str, Any]] = field(default_factory=list)
    refuses: int = 0
    hangs: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if request.path == "/api/v1/files/":
            return await self._keep(request, key)
        if request.path == "/says":
            return web.json_response({"text": "words"})
        if request.path == "/api/responses":
            self.chats.append(json.loads(await request.read()))
            text = {"type": "output_text", "text": "seen", "annotations": []}
            item = {"type": "message", "role": "assistant", "content": [text]}
            return web.json_response({"status": "completed", "output": [item]})
        assert request.path == "/api/chat/completions"
        asked = json.loads(await request.read())
        self.chats.append(asked)
        for each in asked["files"]:
            if self.files.get(each["id"], ("",))[0] != key:
                return web.json_response({"detail": "File not found"}, status=400)
        said = ", ".join(self.files[each["id"]][1] for each in asked["files"])
        choice = {"index": 0, "message": {"role": "assistant", "content": said}}
        return web.json_response({"choices": [{**choice, "finish_reason": "stop"}]})

    async def _keep(self, request: web.BaseRequest, key: str) -> web.StreamResponse:
        if self.hangs:
            self.uploads.append("hung")
            try:
                await asyncio.sleep(60)
            finally:
                self.gone.set()
        if self.refuses:
            status, self.refuses = self.refuses, 0
            return web.json_response({"detail": "no room for this"}, status=status)
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        ident = f"file-{len(self.files) + 1}"
        self.uploads.append(key)
        self.files[ident] = (key, file.content_type, file.file.read())
        return web.json_response({"id": ident, "filename": file.filename, "meta": {}})


@asynccontextmanager
async def stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: str = "k-one", place: str = "none.lan"
) -> AsyncIterator[tuple[Staged, WebUi]]:
    site = WebUi()
    routes = {"webui": ROUTE.replace("PLACE", place), "plain": PLAIN, "placed": PLACED}
    env = {"WEBUI_KEYS": keys}
    async with staged(tmp_path, monkeypatch, routes, env=env, echo=site) as on:
        yield on, site


def picture(data: bytes = PNG) -> dict[str, Any]:
    url = f"data:image/jpg;base64,{b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def document(data: bytes = PDF) -> dict[str, Any]:
    held = f"data:application/pdf;base64,{b64encode(data).decode()}"
    return {"type": "file", "file": {"filename": 'a "b".pdf', "file_data": held}}


async def said(on: Staged, *parts: dict[str, Any], model: str = "llama") -> tuple[int, Any, str]:
    """Status, body and headers."""
    turns = [{"role": "user", "content": [{"type": "text", "text": "What?"}, *parts]}]
    status, text = await on.ask(model, "", messages=turns)
    heads, _, body = text.partition("\n\n")
    return status, json.loads(body), heads


async def test_files_go_up_as_they_are_and_chats_name_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path, monkeypatch) as (on, site):
        status, body, heads = await said(on, picture(), document())
        answer = body["choices"][0]["message"]["content"]
        assert (200, "image/png, application/pdf") == (status, answer)
        assert [PNG, PDF] == [data for _, _, data in site.files.values()]
        (chat,) = site.chats
        files = [{"type": "file", "id": "file-1"}, {"type": "file", "id": "file-2"}]
        assert files == chat["files"]
        words = [part["text"] for part in chat["messages"][0]["content"]]
        assert ["What?", "[image]", "[file]"] == words
        assert "x-penstock-dropped" not in heads
        await said(on, picture(), document())
        assert (2, 2) == (len(site.uploads), len(site.chats))


async def test_a_file_that_the_service_forgot_goes_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path, monkeypatch) as (on, site):
        await said(on, picture())
        site.files["file-1"] = ("", "", b"")
        status, _, _ = await said(on, picture())
        assert (200, 2) == (status, len(site.uploads))
        assert ["file-1", "file-1", "file-2"] == [chat["files"][0]["id"] for chat in site.chats]


async def test_a_refused_file_is_the_clients_to_hear_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path, monkeypatch, keys="k-one,k-two") as (on, site):
        site.refuses = 413
        status, body, _ = await said(on, picture())
        assert (413, "no room for this") == (status, body["error"]["message"])
        assert [] == site.chats
        for code in (401, 503):  # of an account, of the service: the next attempt may do
            site.refuses = code
            status, _, _ = await said(on, picture(PNG + bytes([code % 256])))
            assert 200 == status


async def test_what_is_named_by_url_is_fetched_and_goes_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        gallery() as pictures,
        stage(tmp_path, monkeypatch, place=pictures.place) as (on, site),
    ):
        part = {"type": "image_url", "image_url": {"url": f"{pictures.url}/x"}}
        status, body, _ = await said(on, part)
        assert (200, "image/png") == (status, body["choices"][0]["message"]["content"])
        assert ([("k-one", "image/png", PNG)], ["/x"]) == ([*site.files.values()], pictures.asked)


async def test_a_client_that_leaves_ends_its_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path, monkeypatch) as (on, site):
        site.hangs = True
        turns = [{"role": "user", "content": [picture()]}]
        headers = {"Authorization": f"Bearer {KEY}"}
        body = {"model": "llama", "messages": turns}
        async with aiohttp.ClientSession() as leaving:
            asking = asyncio.create_task(
                leaving.post(on.gateway.url + CHAT, json=body, headers=headers).__aenter__()
            )
            async with asyncio.timeout(10):
                while not site.uploads:
                    await asyncio.sleep(0.01)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        async with asyncio.timeout(10):
            while on.gateway.server.chats.keyring.flights:
                await asyncio.sleep(0.01)
        site.hangs = False
        status, _, _ = await said(on, picture())
        assert (200, ["hung", "k-one"]) == (status, site.uploads)


async def test_a_route_of_texts_says_what_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path, monkeypatch) as (on, _):
        status, _, heads = await said(on, picture(), document(), model="plain")
        assert 200 == status
        assert "x-penstock-dropped: image, file" in heads


async def test_ids_stand_in_the_messages_where_the_files_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path, monkeypatch) as (on, site):
        for _ in range(2):
            status, _, heads = await said(on, picture(), document(), picture(), model="artist")
            assert 200 == status
            assert "x-penstock-dropped" not in heads
        assert 2 == len(site.uploads)
        for chat in site.chats:
            (turn,) = chat["input"]
            assert [None, "file-1", "file-2", "file-1"] == [
                part.get("file_id") for part in turn["content"]
            ]
