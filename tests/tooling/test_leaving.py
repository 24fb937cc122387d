"""Clients that go away while the engine runs tools for them, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.faults.client import Wire, wire

from .stage import GRANTED, ROUTE, Stage, odd, stage, until
from .upstream import Heard, Say, calling

pytestmark = pytest.mark.timeout(120)
ASK: Any = [{"role": "user", "content": "Go."}]
BOTH = (("wait", '{"name": "go"}'), ("sleep", '{"seconds": 60}'))
ALONE = """\
auth: { from: { inline: { key: one } }, bearer: "{{ account.key }}" }
limits: { per_account: { concurrency: 1 } }
"""


def both(heard: Heard) -> Say:
    """Calls one tool that answers when it is told to, and one that takes long."""
    return Say("Then.") if heard.results else Say("First. ", BOTH)


async def begin(on: Stage, line: Wire, stream: bool = True) -> None:
    body = json.dumps({"model": "m", "messages": ASK, "stream": stream}).encode()
    headers = {"Authorization": f"Bearer {GRANTED}", "Content-Type": "application/json"}
    await line.ask("POST", "/v1/chat/completions", headers, body)


async def quiet(on: Stage) -> None:
    """The request is logged as what it was, and nothing as an error."""
    (line,) = await on.lines("request")
    assert ("gone", 499, None) == (line["outcome"], line["status"], line.get("error"))
    lines = map(json.loads, on.written.getvalue().decode().splitlines())
    assert [] == [line for line in lines if line["level"] == "error"]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_breaks_off_ends_its_tools_and_leaves_its_account_to_others(
    tmp_path: Path, stream: bool
) -> None:
    route = ROUTE.replace("%SERVERS%", "odd").replace("%MORE%", "") + ALONE
    async with stage(tmp_path, {"odd": {"command": odd(tmp_path)}}, routes={"m": route}) as on:
        on.upstream.script = both
        async with wire(int(on.gateway.url.rpartition(":")[2])) as line:
            await begin(on, line, stream)
            await until((tmp_path / "begun").exists)
            raw: socket.socket = line.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            line.writer.close()
            await until((tmp_path / "cancelled").exists)
        await quiet(on)
        (tmp_path / "go").touch()
        on.upstream.script = calling("echo", text="next")
        answer = await on.openai().chat.completions.create(model="m", messages=ASK)
        assert "It says: echo next" == answer.choices[0].message.content
        assert 3 == len(on.upstream.asked)  # one for who left
        assert [] == [line for line in await on.lines("tool_call") if line["tool"] != "echo"]


@asynccontextmanager
async def filling(on: list[Stage]) -> AsyncIterator[str]:
    """An upstream that talks until the gateway has something that its client does not take.

    Then it calls both tools. Gives its address.
    """

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while not unread(on[0]):
            before = written(on[0])
            await response.write(frame({"content": "x" * 16384}))
            while written(on[0]) == before:
                await asyncio.sleep(0)
        calls = [
            {"index": at, "id": f"c{at}", "function": {"name": name, "arguments": arguments}}
            for at, (name, arguments) in enumerate(BOTH)
        ]
        await response.write(frame({"tool_calls": calls}) + frame({}, "tool_calls"))
        await response.write(b"data: [DONE]\n\n")
        return response

    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def frame(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: %b\n\n" % json.dumps({"id": "c", "choices": [choice]}).encode()


def client_of(on: Stage) -> Any:
    (opened,) = on.gateway.server.chats.under_way
    return opened.sink.client.request


def written(on: Stage) -> int:
    """Bytes of the answer that were written so far."""
    return int(client_of(on).writer.output_size)


def unread(on: Stage) -> int:
    """Bytes of them that no buffer of the system has taken."""
    return int(client_of(on).transport.get_write_buffer_size())


async def test_a_client_whose_going_shows_as_it_is_told_of_a_tool_has_gone(tmp_path: Path) -> None:
    """It has hung up and reads no more: as long as it is owed bytes, nobody says that it left."""
    here: list[Stage] = []
    async with filling(here) as url:
        route = ROUTE.replace("%SERVERS%", "odd").replace("%MORE%", "").replace("%URL%", url)
        async with stage(tmp_path, {"odd": {"command": odd(tmp_path)}}, routes={"m": route}) as on:
            here.append(on)
            async with wire(int(on.gateway.url.rpartition(":")[2])) as line:
                raw: socket.socket = line.writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                line.reader._transport.pause_reading()  # type: ignore[attr-defined] # no public way
                await begin(on, line)
                await until((tmp_path / "begun").exists)
                line.writer.write_eof()
                await until(lambda: client_of(on).transport.is_closing())
                assert unread(on)
                (tmp_path / "go").touch()
                await until((tmp_path / "cancelled").exists)
                await quiet(on)
