"""Claude Code, unmodified, against the gateway, over upstreams of every dialect; and, as the
control, straight at the upstream of its own.

It sends a stream that it cannot read again, without a word: so each test counts what came to the
upstream.
"""

from __future__ import annotations

import asyncio
import json
import signal
import struct
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.client import CLIENT_KEY

from .claude import Claude
from .programs import Machine
from .speech import Fields, Say
from .upstream import UPSTREAM_KEY
from .world import World, world

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
ROUTES = ("chat", "responses", "messages", "messages_passed", "gemini", "ollama")
EVERYWHERE = pytest.mark.parametrize("route", ["direct", *ROUTES])
HELLO = "Héllo, 世界 👩‍👩‍👧"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("gateway"), ROUTES) as made:
        yield made


@pytest.fixture
def claude(served: World, tmp_path: Path, route: str) -> Claude:
    served.upstream.reset()
    machine = Machine(tmp_path)
    machine.work.mkdir()
    if route == "direct":
        return Claude(served.upstream.url, UPSTREAM_KEY, machine)
    return Claude(served.url, CLIENT_KEY, machine)


def model(route: str) -> str:
    return f"{route}-m"


def sent(served: World) -> str:
    """The last request, after a look that none was refused."""
    assert [] == served.upstream.refused
    return json.dumps(served.upstream.requests[-1], ensure_ascii=False)


def shell(results: list[str], body: Fields) -> Say:
    """Two commands, one after the other, then what came of them."""
    if not results:
        command = "printf 'made by a tool 世界' > made.txt && echo first-$((40+2))"
        call = ("Bash", {"command": command, "description": "Make it"})
        return Say(calls=(call,), thinking="I need a file.")
    if len(results) == 1:
        call = ("Bash", {"command": "cat made.txt", "description": "Look"})
        return Say("One more.", calls=(call,))
    return Say(HELLO)


@EVERYWHERE
async def test_commands_are_run_and_change_the_disk(
    served: World, claude: Claude, route: str
) -> None:
    served.upstream.script = shell
    answer = await claude.run(model(route), "make a file")
    assert HELLO == answer.text
    assert "made by a tool 世界" == (claude.machine.work / "made.txt").read_text()
    told = sent(served)
    assert "first-42" in told
    assert "made by a tool 世界" in told.replace("made by a tool 世界' >", "")
    assert 3 == len(served.upstream.requests)
    fresh = 150 if route == "ollama" else 90  # Ollama tells nothing of a cache
    assert (fresh, 150 - fresh, 21) == answer.usage


@EVERYWHERE
async def test_the_title_of_a_session_is_asked_for(
    served: World, claude: Claude, route: str
) -> None:
    titled = Say(json.dumps({"title": "Files and folders"}))
    served.upstream.script = lambda results, body: Say(HELLO) if body.get("tools") else titled
    claude.titles = True
    answer = await claude.run(model(route), "please tell me about files and folders")
    assert HELLO == answer.text
    assert [] == served.upstream.refused
    asked = [body for body in served.upstream.requests if not body.get("tools")]
    assert (1, 2) == (len(asked), len(served.upstream.requests))
    assert '"additionalProperties"' in json.dumps(asked[0])  # its schema, however it is carried


def _png(side: int) -> bytes:
    """A red square."""
    rows = (b"\0" + b"\xff\0\0" * side) * side
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


@EVERYWHERE
async def test_an_image_that_a_tool_read_comes_to_the_upstream(
    served: World, claude: Claude, route: str
) -> None:
    image = _png(24)
    (claude.machine.work / "a.png").write_bytes(image)
    call = ("Read", {"file_path": str(claude.machine.work / "a.png")})
    served.upstream.script = lambda results, body: Say(HELLO) if results else Say(calls=(call,))
    answer = await claude.run(model(route), "what is in a.png?")
    assert HELLO == answer.text
    assert b64encode(image).decode() in sent(served)
    assert 2 == len(served.upstream.requests)


@EVERYWHERE
async def test_a_session_goes_on(served: World, claude: Claude, route: str) -> None:
    served.upstream.script = lambda results, body: Say("first answer", thinking="hm")
    first = await claude.run(model(route), "first question")
    served.upstream.script = lambda results, body: Say("second answer")
    second = await claude.run(model(route), "second question", "--resume", first.session)
    assert "second answer" == second.text
    told = sent(served)
    assert told.index("first question") < told.index("first answer") < told.index("second question")
    assert 2 == len(served.upstream.requests)


SHOWN = {
    400: (400, "API Error: 400 This is a 400."),
    401: (502, "API Error: 502 upstream credential rejected"),  # the user's own key is right
    404: (404, "There's an issue with the selected model"),
    429: (429, "This is a 429."),
    500: (502, "API Error: 502 This is a 500."),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("status", SHOWN)
async def test_errors_reach_the_user(
    served: World, claude: Claude, route: str, status: int
) -> None:
    served.upstream.status = status
    answer = await claude.run(model(route), "hello")
    code, words = SHOWN[status]
    assert words in answer.text
    assert (True, code) == (answer.told["is_error"], answer.told["api_error_status"])
    tries = 2 if status == 404 else 1  # then it asks for a plain answer, see the control
    assert tries == len(served.upstream.requests)


@pytest.mark.parametrize("route", ["direct"])
@pytest.mark.parametrize(("status", "tries"), [(400, 1), (404, 2), (429, 1), (500, 1)])
async def test_it_tries_as_often_without_the_gateway(
    served: World, claude: Claude, route: str, status: int, tries: int
) -> None:
    served.upstream.status = status
    answer = await claude.run(model(route), "hello")
    assert (True, status) == (answer.told["is_error"], answer.told["api_error_status"])
    assert tries == len(served.upstream.requests)


@pytest.mark.parametrize("route", ["direct", "chat", "responses", "messages", "messages_passed"])
async def test_a_conversation_that_is_too_long_is_known_as_such(
    served: World, claude: Claude, route: str
) -> None:
    served.upstream.status, served.upstream.code = 400, "context_length_exceeded"
    answer = await claude.run(model(route), "hello")
    assert "Prompt is too long" in answer.text
    assert "prompt_too_long" == answer.told["terminal_reason"]
    assert 1 == len(served.upstream.requests)


@pytest.mark.parametrize("route", ["chat"])
async def test_a_wrong_key_is_named(served: World, claude: Claude, route: str) -> None:
    claude.key = "wrong"
    answer = await claude.run(model(route), "hello")
    assert 401 == answer.told["api_error_status"]
    assert [] == served.upstream.requests


@EVERYWHERE
async def test_an_interrupt_closes_the_upstream(served: World, claude: Claude, route: str) -> None:
    served.upstream.script = lambda results, body: Say(HELLO, hangs=True)
    started = await claude.start(model(route), "hello")
    await asyncio.wait_for(served.upstream.asked.wait(), 60)
    started.signal(signal.SIGINT)
    await asyncio.wait_for(served.upstream.closed.wait(), 20)
    await started.end()
    assert 1 == len(served.upstream.requests)
