"""What goes wrong while the engine runs tools: none of it takes the request with it by mistake."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openai import APIError, APIStatusError

from .stage import GRANTED, ROUTE, Stage, children, odd, stage, until
from .upstream import Heard, Say, calling

pytestmark = pytest.mark.timeout(120)
ASK: Any = [{"role": "user", "content": "Go."}]


async def said(on: Stage) -> str:
    answer = await on.openai().chat.completions.create(model="m", messages=ASK)
    return answer.choices[0].message.content or ""


async def test_a_tool_that_takes_too_long_is_called_off(tmp_path: Path) -> None:
    async with stage(tmp_path, {"odd": {"command": odd(tmp_path)}}, more=", timeout: 500ms") as on:
        on.upstream.script = calling("echo", text="up")
        await until_up(on)
        on.upstream.script = calling("sleep", seconds=60)
        assert "It says: Error: the tool did not answer within 0.5 s" == await said(on)
        await until((tmp_path / "cancelled").exists)
        on.upstream.script = calling("echo", text="still there")
        assert "It says: echo still there" == await said(on)
        assert "timeout" in {line["outcome"] for line in await on.lines("tool_call", 2)}


async def until_up(on: Stage) -> None:
    """The server has been started: its start does not count against a call's time."""
    servers = (await on.admin("GET", "tools"))["servers"]
    assert ["up"] * len(servers) == [server["state"] for server in servers]


async def test_a_server_that_is_killed_in_a_call_fails_the_call_and_is_started_again(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, {"odd": {"command": odd(tmp_path)}}) as on:
        on.upstream.script = calling("die")
        assert "It says: Error: the server odd of this tool went away" == await said(on)
        await on.lines("tools_up", 2)
        on.upstream.script = calling("echo", text="again")
        assert "It says: echo again" == await said(on)


async def test_a_server_that_dies_in_between_is_there_again_before_it_is_missed(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, {"odd": {"command": odd(tmp_path)}}) as on:
        await until_up(on)
        (pid,) = children(str(tmp_path))
        os.kill(pid, signal.SIGKILL)
        await on.lines("tools_up", 2)
        on.upstream.script = calling("echo", text="again")
        assert "It says: echo again" == await said(on)
        assert "tools_down" == (await on.lines("tools_down"))[0]["event"]


async def test_a_server_that_cannot_be_started_leaves_the_request_alone(tmp_path: Path) -> None:
    servers = {"none": {"command": ["/nonexistent/server"]}, "odd": {"command": odd(tmp_path)}}
    async with stage(tmp_path, servers) as on:
        on.upstream.script = calling("echo", text="hi")
        assert "It says: echo hi" == await said(on)
        states = {s["name"]: s for s in (await on.admin("GET", "tools"))["servers"]}
        assert ("down", "up") == (states["none"]["state"], states["odd"]["state"])
        assert "No such file or directory" == states["none"]["error"]


async def test_a_busy_upstream_in_the_second_round_is_asked_again(tmp_path: Path) -> None:
    busy = [429, 503]

    def script(heard: Heard) -> Say:
        if not heard.results:
            return Say("First. ", (("echo", '{"text": "hi"}'),))
        return Say(status=busy.pop()) if busy else Say("Then.")

    async with stage(tmp_path, {"odd": {"command": odd(tmp_path)}}) as on:
        on.upstream.script = script
        stream = await on.openai().chat.completions.create(model="m", messages=ASK, stream=True)
        chunks = [chunk async for chunk in stream]
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert "First. Then." == text
        assert 4 == len(on.upstream.asked)
        assert 1 == len(await on.lines("tool_call"))  # no tool is run twice


async def test_an_upstream_that_stays_busy_is_an_error_in_the_stream(tmp_path: Path) -> None:
    def script(heard: Heard) -> Say:
        return Say(status=429) if heard.results else Say("First.", (("echo", '{"text": "x"}'),))

    async with stage(tmp_path, {"odd": {"command": odd(tmp_path)}}) as on:
        on.upstream.script = script
        stream = await on.openai().chat.completions.create(model="m", messages=ASK, stream=True)
        with pytest.raises(APIError):
            async for _ in stream:
                pass
        with pytest.raises(APIStatusError) as caught:
            await said(on)
        assert 429 == caught.value.status_code


async def test_an_upstream_that_is_cut_off_midway_is_an_error(tmp_path: Path) -> None:
    def script(heard: Heard) -> Say:
        if heard.results:
            return Say("half an ans", cut=True)
        return Say("First. ", (("echo", '{"text": "x"}'),))

    async with stage(tmp_path, {"odd": {"command": odd(tmp_path)}}) as on:
        on.upstream.script = script
        stream = await on.openai().chat.completions.create(model="m", messages=ASK, stream=True)
        with pytest.raises(APIError):
            async for _ in stream:
                pass


async def test_a_client_that_leaves_calls_its_tools_off(tmp_path: Path) -> None:
    async with stage(tmp_path, {"odd": {"command": odd(tmp_path)}}) as on:
        await until_up(on)
        on.upstream.script = calling("sleep", seconds=60)
        body = {"model": "m", "messages": ASK, "stream": True}
        async with aiohttp.ClientSession() as session:
            asked = asyncio.create_task(
                session.post(
                    f"{on.gateway.url}/v1/chat/completions",
                    data=json.dumps(body),
                    headers={"Authorization": f"Bearer {GRANTED}"},
                )
            )
            await until((tmp_path / "begun").exists)
            asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        await until((tmp_path / "cancelled").exists)
        assert "gone" == (await on.lines("request"))[0]["outcome"]
        assert 1 == len(children(str(tmp_path)))  # the server stays, for the next request
    assert [] == children(str(tmp_path))


async def test_the_time_of_the_whole_request_ends_its_tools(tmp_path: Path) -> None:
    route = ROUTE.replace("%SERVERS%", "odd").replace("%MORE%", "") + "timeouts: { total: 2s }\n"
    async with stage(tmp_path, {"odd": {"command": odd(tmp_path)}}, routes={"m": route}) as on:
        await until_up(on)
        on.upstream.script = calling("sleep", seconds=60)
        with pytest.raises(APIStatusError) as caught:
            await said(on)
        assert 504 == caught.value.status_code
        await until((tmp_path / "cancelled").exists)
        assert 1 == len(on.upstream.asked)


async def test_without_being_switched_on_nothing_runs(tmp_path: Path) -> None:
    async with stage(tmp_path, {"odd": {"command": odd(tmp_path)}}, tools="") as on:
        on.upstream.script = lambda heard: Say("fine")
        assert "fine" == await said(on)
        assert "tools" not in on.upstream.asked[0]
        assert [] == children(str(tmp_path))


async def test_nor_on_a_route_that_names_no_server(tmp_path: Path) -> None:
    route = "version: 1\ndialect: openai_chat\nbase_url: %URL%/v1\nmodels: [m]\n"
    async with stage(tmp_path, {"odd": {"command": odd(tmp_path)}}, routes={"m": route}) as on:
        on.upstream.script = lambda heard: Say("fine")
        assert "fine" == await said(on)
        assert "tools" not in on.upstream.asked[0]
        assert [] == children(str(tmp_path))


async def test_another_route_does_not_run_the_tools_again(tmp_path: Path) -> None:
    def script(heard: Heard) -> Say:
        return Say(status=401) if heard.results else Say(calls=(("echo", '{"text": "x"}'),))

    first = (
        "version: 1\ndialect: openai_chat\nbase_url: %URL%/v1\nmodels: [m]\nfallback: [second]\n"
        "tools: { mcp: odd, show: none }\n"
    )
    second = "version: 1\ndialect: openai_chat\nbase_url: %URL%/v1\nmodels: [other]\n"
    routes = {"m": first, "second": second}
    async with stage(tmp_path, {"odd": {"command": odd(tmp_path)}}, routes=routes) as on:
        on.upstream.script = script
        with pytest.raises(APIStatusError):
            await said(on)
        assert ["m", "m"] == [body["model"] for body in on.upstream.asked]
        on.upstream.script = lambda h: (
            Say("fine") if h.body["model"] == "other" else Say(status=401)
        )
        assert "fine" == await said(on)
        assert "tools" not in on.upstream.asked[-1]  # what the first route offered is its own
