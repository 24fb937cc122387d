"""Fixtures through real sockets see what fixtures in memory see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engine.replay.play import Seen, complaints, visible
from engine.shell.loopback import through_sockets
from engine.shell.stub import Stub, stub_server
from engine.shell.testing import Silent
from tests.replaying import ASKS, HI, fixture, route, seen, sse

WORDS = route(
    """
    request: { path: "/talk/{{ req.prompt | urlpath }}", query: { a: b c }, json: {} }
    upstream: { cookies: route, proxy: "http://127.0.0.1:9" }
    retry: { attempts: 2, backoff: { initial: 1h } }
    stream:
      format: sse
      events:
        - { match: { kind: word }, text: $.word }
        - { match: { kind: bye }, finish: stop, usage: { input: $.in, output: $.out } }
    """
)
WORD = {"kind": "word", "word": "你好"}
GOOD = {"reply": {"body": sse(WORD, {"kind": "bye", "in": 3, "out": 1})}}


async def played(asked: Any) -> list[Seen]:
    return await through_sockets(WORDS, asked, Silent())


@pytest.mark.parametrize(
    "reply",
    [
        GOOD["reply"],
        {**GOOD["reply"], "cuts": [[9, 5], [20, 3_600_000]]},
        {"body": sse(WORD)},
        {"body": sse(WORD), "end": "reset"},
        {"body": "", "end": "reset"},
        {"status": 429, "headers": {"retry-after": "3"}, "body": "slow"},
        {"status": 204},
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_the_client_sees_the_same(reply: dict[str, Any], stream: bool) -> None:
    asks = {"model": "m", "messages": HI, "stream": stream}
    made = fixture({"reply": reply, "repeat": 2}, client={"json": asks})
    (real,), (memory,) = await played(made), await seen(WORDS, made)
    assert visible(real)[:5] == visible(memory)[:5]
    assert (real.error is None, real.calls) == (memory.error is None, memory.calls)
    assert real.shown == memory.shown or (real.shown and memory.shown)


async def test_the_stub_sees_the_origin_that_was_meant_and_nothing_of_the_detour() -> None:
    made = fixture(
        {
            "expect": {
                "url": "https://made.example/talk/H%20i",
                "query": {"a": "b c"},
                "absent": ["X-Meant-Origin"],
            },
            **GOOD,
        },
        client={"json": {**ASKS["json"], "messages": [{"role": "user", "content": "H i"}]}},
        expect={"text": "你好"},
    )
    assert complaints(made, await played(made)) == []


async def test_requests_come_one_after_the_other_and_cookies_stay() -> None:
    made = fixture(
        {"reply": {**GOOD["reply"], "headers": {"set-cookie": "a=1"}}},
        {"expect": {"headers": {"cookie": "a=1"}}, **GOOD},
        client={**ASKS, "times": 2},
        expect={"upstream_calls": 2},
    )
    assert complaints(made, await played(made)) == []


async def test_a_request_that_was_not_expected_is_told() -> None:
    made = fixture({"expect": {"method": "GET"}, **GOOD})
    found = complaints(made, await played(made))
    assert (
        "request 1 (POST https://made.example/talk/Hi): method should be 'GET', is 'POST'" in found
    )


async def test_an_answer_of_another_content_type_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiohttp.ClientResponse.content_type", "text/plain")
    (got,) = await played(fixture(GOOD))
    assert got.complaints == ["content type should be 'text/event-stream', is 'text/plain'"]


JOB = """
fixture: 1
route: jobs
exchanges:
  - { expect: { method: POST }, reply: { body: made } }
  - { expect: { method: GET }, repeat: 2, reply: { body: running } }
  - { expect: { method: GET }, reply: { body: done } }
"""


async def test_a_job_that_is_mocked_comes_to_its_end_and_the_next_one_too(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    said: list[str] = []
    async with stub_server(Stub([tmp_path])) as url, aiohttp.ClientSession() as session:
        for method in ("POST", *["GET"] * 4, "POST", "GET"):
            async with session.request(method, f"{url}/jobs/1") as answer:
                said.append(await answer.text())
    assert ["made", "running", "running", "done", "done", "made", "running"] == said
