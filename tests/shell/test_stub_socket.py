"""Recorded conversations over websockets, played to whoever calls."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engine.shell.stub import Stub, stub_server
from engine.wire import dumps

GREETING = {"json": {"kind": "hello"}}


def recorded(folder: Path, name: str, *frames: dict[str, Any], **reply: Any) -> None:
    spec = {
        "fixture": 1,
        "route": "made",
        "exchanges": [
            {
                "expect": {"url": "wss://made.example/talk"},
                "reply": {"frames": list(frames), **reply},
            }
        ],
    }
    (folder / f"{name}.yaml").write_bytes(dumps(spec))


async def talk(folder: Path, *said: str | bytes, headers: Any = None) -> list[Any]:
    """What a caller hears who says these, one after each message but the first."""
    heard: list[Any] = []
    words = list(said)
    async with (
        stub_server(Stub([folder])) as url,
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{url}/talk", headers=headers) as socket,
        asyncio.timeout(20),
    ):
        while True:
            message = await socket.receive()
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                heard.append(message.data)
            else:
                return [*heard, socket.close_code]
            if words:
                word = words.pop(0)
                await (socket.send_str(word) if isinstance(word, str) else socket.send_bytes(word))


@pytest.mark.parametrize("word", ["one", "two"])
async def test_what_is_said_decides_among_recordings_that_begin_alike(
    tmp_path: Path, word: str
) -> None:
    for name in ("one", "two"):
        recorded(tmp_path, name, GREETING, {"expect": {"ask": name}}, {"text": f"this is {name}"})
    heard = await talk(tmp_path, f'{{"ask": "{word}"}}')
    assert heard == ['{"kind":"hello"}', f"this is {word}", 1000]


async def test_what_fits_no_recording_closes_the_socket(tmp_path: Path) -> None:
    recorded(tmp_path, "one", GREETING, {"expect": {"ask": "one"}}, {"text": "yes"})
    assert await talk(tmp_path, "three") == ['{"kind":"hello"}', 1008]


async def test_binary_messages_and_close_codes_are_played(tmp_path: Path) -> None:
    recorded(
        tmp_path, "one", {"base64": "gQA="}, {"expect": "/a/"}, {"close": 4401, "reason": "who"}
    )
    assert await talk(tmp_path, b"cat") == [b"\x81\0", 4401]


async def test_a_recording_that_breaks_off_does(tmp_path: Path) -> None:
    recorded(tmp_path, "one", GREETING, end="reset")
    assert await talk(tmp_path) == ['{"kind":"hello"}', 1006]


async def test_messages_come_at_their_time(tmp_path: Path) -> None:
    recorded(tmp_path, "one", {"text": "a"}, {"text": "b", "at": 150})
    begun = asyncio.get_running_loop().time()
    assert await talk(tmp_path) == ["a", "b", 1000]
    assert asyncio.get_running_loop().time() - begun >= 0.15


async def test_headers_of_the_upgrade_are_those_recorded(tmp_path: Path) -> None:
    recorded(tmp_path, "one", GREETING, headers={"x-served-by": "stub"})
    async with (
        stub_server(Stub([tmp_path])) as url,
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{url}/talk") as socket,
    ):
        assert socket._response.headers["X-Served-By"] == "stub"
