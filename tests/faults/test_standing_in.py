"""A route stands in for another one: what it is told, what is counted, what its client gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from .client import CLIENT_KEY, Reply, call, wire
from .stage import Gateway, gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
HEADERS = {"Authorization": f"Bearer {CLIENT_KEY}", "Content-Type": "application/json"}
HI = [{"role": "user", "content": "Hi"}]
LATE = 2.2  # seconds; headers go within 2 s
CALL = {"name": "shell", "arguments": '{"input":"ls"}'}
COMMON = """\
version: 1
base_url: "URL"
auth: { bearer: k }
timeouts: { early_headers: 1s }
retry: { attempts: 1 }
"""
CHAT, RESPONSES = COMMON + "extends: openai\n", COMMON + "extends: openai-responses\n"
ROUTES = {
    "busy": CHAT + "fallback: [single, pictureless]\nmodels: [{ id: two, upstream: busy }]\n",
    "single": CHAT + "transforms: [think_tags]\nmodels: [talk]\n",
    "pictureless": CHAT
    + "transforms: [think_tags]\nprofile: { images: { base64: false, url: false } }\n"
    "models: [{ id: p, upstream: talk }]\n",
    "pictures": CHAT + "fallback: [pictureless, whole]\nmodels: [{ id: look, upstream: busy }]\n",
    "whole": CHAT + "models: [{ id: w, upstream: talk }]\n",
    "probed": CHAT + "breaker: { after: 1, probe: 200ms }\nfallback: [whole]\n"
    "models: [{ id: probed, upstream: busy }]\n",
    "narrow": CHAT + "limits: { concurrency: 1 }\nmodels: [{ id: n, upstream: slow }]\n",
    "before": CHAT + "fallback: [narrow]\nmodels: [{ id: many, upstream: busy }]\n",
    "stored": RESPONSES + "fallback: [caller]\nmodels: [{ id: late, upstream: late-busy },"
    " { id: s, upstream: busy }]\n",
    "caller": CHAT + "transforms: [think_tags]\nmodels: [call]\n",
    "merged": CHAT + "transforms: [think_tags]\nfallback: [onwards]\n"
    "models: [{ id: m, upstream: first-good }]\n",
    "onwards": RESPONSES + "models: [{ id: o, upstream: answer }]\n",
    "patient": CHAT + "fallback: [keeps]\nmodels: [{ id: wait, upstream: held-busy }]\n",
    "keeps": CHAT + "transforms: [think_tags]\nsession: { key: [req.user], history: server }\n"
    "models: [{ id: k, upstream: talk }]\n",
    "forgetful": CHAT + "session: { key: [req.user], history: server }\nfallback: [whole]\n"
    "models: [{ id: f, upstream: busy }]\n",
}


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [choice]}  # fmt: skip


def whole(message: dict[str, Any], finish: str) -> web.Response:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return web.json_response({"id": "x", "object": "chat.completion", "created": 1, "model": "m",
                              "choices": [choice]})  # fmt: skip


def streamed(*chunks: dict[str, Any]) -> web.Response:
    text = "".join(f"data: {json.dumps(each)}\n\n" for each in chunks)
    return web.Response(text=text + "data: [DONE]\n\n", content_type="text/event-stream")


@dataclass
class Behind:
    """The upstream. asked: what it was sent, the newest last. go: `held-busy` answers."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    once: set[str] = field(default_factory=set)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.asked.append(body)
        model, stream = body["model"], bool(body.get("stream"))
        if model == "late-busy":
            await asyncio.sleep(LATE)
        if model == "held-busy":
            await self.go.wait()
        if model == "slow":
            await asyncio.sleep(0.5)
        if "busy" in model or (model == "first-good" and model in self.once):
            return web.json_response({"error": {"message": "busy"}}, status=503)
        self.once.add(model)
        if model == "answer":
            return web.json_response(RESPONSE)
        if model == "call" and stream:
            called = {"index": 0, "id": "c1", "type": "function", "function": CALL}
            return streamed(chunk({"tool_calls": [called]}), chunk({}, "tool_calls"))
        if stream:
            return streamed(chunk({"content": "fine"}), chunk({}, "stop"))
        return whole({"content": "fine"}, "stop")


RESPONSE = {
    "id": "resp_up", "object": "response", "created_at": 1, "status": "completed", "model": "m",
    "output": [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "fine", "annotations": []}]}],
}  # fmt: skip


@dataclass
class Here:
    gate: Gateway
    behind: Behind

    async def ask(self, path: str = "/v1/chat/completions", **body: Any) -> Reply:
        data = json.dumps(body).encode()
        return await call(self.gate.port, "POST", path, HEADERS, data)

    async def lines(self, event: str, holds: Callable[[Any], bool]) -> list[Any]:
        """Lines of the log, once `holds` of them; a thread writes it."""
        async with asyncio.timeout(10):
            while True:
                read = map(json.loads, self.gate.log().splitlines())
                found = [line for line in read if line["event"] == event]
                if holds(found):
                    return found
                await asyncio.sleep(0.05)


@asynccontextmanager
async def standing(home: Path) -> AsyncIterator[Here]:
    behind = Behind()
    app = web.Application()
    app.router.add_post("/{tail:.*}", behind.answer)
    async with TestServer(app) as upstream:
        url = str(upstream.make_url("/v1"))
        routes = {name: text.replace("URL", url) for name, text in ROUTES.items()}
        async with gateway(home, routes) as gate:
            yield Here(gate, behind)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Here]:
    async with standing(tmp_path_factory.mktemp("gateway")) as made:
        yield made


async def test_who_cannot_be_told_the_request_does_not_hide_the_failure(here: Here) -> None:
    """Neither route that is left gives two answers; that is not what the client did wrong."""
    reply = await here.ask(model="two", messages=HI, n=2)
    assert (503, "busy") == (reply.status, json.loads(reply.body)["error"]["message"])
    lines = await here.lines("request", lambda found: len(found) > 0)
    assert (503, "overloaded") == (lines[-1]["status"], lines[-1]["outcome"])


async def test_who_cannot_be_told_the_request_leaves_it_to_the_next(here: Here) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    said = [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, picture]}]
    reply = await here.ask(model="look", messages=said)
    assert (200, "whole") == (reply.status, reply.headers["x-penstock-route"])


async def test_a_stand_ins_answer_does_not_say_that_the_first_route_is_back(here: Here) -> None:
    seen = len(here.behind.asked)
    for _ in range(2):
        reply = await here.ask(model="probed", messages=HI, stream=True)
        assert b"fine" in reply.body
        await asyncio.sleep(0.25)  # then it is looked at again
    await here.ask(model="probed", messages=HI, stream=True)
    await here.ask(model="probed", messages=HI, stream=True)
    models = [body["model"] for body in here.behind.asked[seen:]]
    assert ["busy", "talk"] * 3 + ["talk"] == models
    lines = await here.lines("breaker", lambda found: len(found) > 0)
    assert [True] == [line["open"] for line in lines]


async def test_a_stand_in_takes_no_more_requests_than_it_may(here: Here) -> None:
    replies = await asyncio.gather(*(here.ask(model="many", messages=HI) for _ in range(3)))
    assert [200, 503, 503] == sorted(reply.status for reply in replies)
    assert 200 == (await here.ask(model="n", messages=HI)).status  # all places were given back
    assert 200 == (await here.ask(model="many", messages=HI)).status


async def test_after_the_headers_the_answer_is_still_about_the_request(here: Here) -> None:
    tools = [{"type": "custom", "name": "shell", "description": "runs"}]
    asked: dict[str, Any] = {"input": "x", "stream": True, "tools": tools, "instructions": "be"}
    reply = await here.ask("/v1/responses", model="late", **asked)
    frames = [line[6:] for line in reply.body.split(b"\n") if line.startswith(b"data: {")]
    last = json.loads(frames[-1])["response"]
    assert ("be", tools) == (last["instructions"], last["tools"])
    kept = await call(here.gate.port, "GET", f"/v1/responses/{last['id']}", HEADERS)
    assert (200, last["output"]) == (kept.status, json.loads(kept.body)["output"])


async def test_after_the_headers_a_stand_in_remembers_what_it_answered(here: Here) -> None:
    turns = []
    for number in range(3):
        here.behind.go.clear()
        said = [{"role": "user", "content": f"turn {number}"}]
        body = {"model": "wait", "messages": said, "user": "ann", "stream": True}
        async with wire(here.gate.port) as line:
            await line.ask("POST", "/v1/chat/completions", HEADERS, json.dumps(body).encode())
            head = await line.head()
            assert (200, "patient") == (head.status, head.headers["x-penstock-route"])
            here.behind.go.set()
            assert b"fine" in b"".join([piece async for piece in line.rest(head)])
        turns.append([each["content"] for each in here.behind.asked[-1]["messages"]])
    assert [["turn 0"], ["turn 0", "fine", "turn 1"]] == turns[:2]
    assert ["turn 0", "fine", "turn 1", "fine", "turn 2"] == turns[2]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_session_of_the_first_route_goes_on_though_another_answers(
    here: Here, stream: bool
) -> None:
    """Its turns are told to the stand-in, which passes bytes through, and its answer is one."""
    for number in range(3):
        said = [{"role": "user", "content": f"turn {number}"}]
        reply = await here.ask(model="f", messages=said, user=f"bob {stream}", stream=stream)
        assert (200, "whole") == (reply.status, reply.headers["x-penstock-route"])
    told = [each["content"] for each in here.behind.asked[-1]["messages"]]
    assert ["turn 0", "fine", "turn 1", "fine", "turn 2"] == told


async def test_what_only_the_first_upstream_has_is_not_asked_of_another(here: Here) -> None:
    """Without the turns before it would be answered, and wrongly."""
    seen = len(here.behind.asked)
    reply = await here.ask("/v1/responses", model="s", input="and?", previous_response_id="resp_u")
    assert (503, ["busy"]) == (reply.status, [b["model"] for b in here.behind.asked[seen:]])


async def test_what_is_kept_here_goes_along(here: Here) -> None:
    first = json.loads((await here.ask("/v1/responses", model="m", input="one")).body)
    asked = {"model": "m", "input": "two", "previous_response_id": first["id"]}
    reply = await here.ask("/v1/responses", **asked)
    assert (200, "onwards") == (reply.status, reply.headers["x-penstock-route"])
    sent = here.behind.asked[-1]
    assert "previous_response_id" not in sent
    assert ["one", "fine", "two"] == [_text(item) for item in sent["input"]]


def _text(item: Any) -> str:
    content = item["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
