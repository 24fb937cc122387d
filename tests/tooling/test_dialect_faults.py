"""What goes wrong in a later round, between every client and every upstream: an error that the
client's SDK raises, no tool run twice, and none run for a client that left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from .clients import CLIENTS, Told, ask
from .stage import PLAIN, Stage, odd, stage, until
from .upstream import TONGUES, Heard, Say, calling

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession"),  # Google's own
]
PAIRS = [(who, model) for who in CLIENTS for model in TONGUES]
BOTH = pytest.mark.parametrize(("who", "model"), PAIRS)
MODELS = pytest.mark.parametrize("model", TONGUES)
WHO = pytest.mark.parametrize("who", CLIENTS)
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
ALLOWED = ["echo", "sleep", "fail", "long"]
ROUTE = """\
version: 1
models: [{ id: %NAME%, upstream: m }]
retry: { attempts: 2, backoff: { initial: 10ms, max: 10ms } }
timeouts: { connect: 1s, first_byte: 1s, idle: 1s }
tools: { mcp: [odd], %TOOLS% }
"""
KINDS = {"": "max_rounds: 3", "-brief": "max_rounds: 2, timeout: 1s, show: none"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Stage, Path]]:
    home = tmp_path_factory.mktemp("faults")
    routes = {
        f"{name}{end}": ROUTE.replace("%NAME%", f"{name}{end}").replace("%TOOLS%", tools)
        + tongue.ROUTE
        for name, tongue in TONGUES.items()
        for end, tools in KINDS.items()
    }
    server = {"command": odd(home), "allow": ALLOWED, "result": "2KiB"}
    async with stage(home, {"odd": server}, routes=routes) as on:
        await on.admin("GET", "tools")  # it runs
        yield on, home


@pytest.fixture
def on(made: tuple[Stage, Path]) -> Stage:
    made[0].upstream.reset()
    return made[0]


@pytest.fixture
def marks(made: tuple[Stage, Path]) -> Path:
    """Where the slow tool tells that it began, and that it was called off."""
    for name in ("begun", "cancelled"):
        (made[1] / name).unlink(missing_ok=True)
    return made[1]


def first(heard: Heard) -> Say | None:
    """A round that calls a tool; None once it was answered."""
    if heard.results:
        return None
    return Say("First. ", (("echo", '{"text": "one"}'),))


@BOTH
@STREAMS
async def test_a_later_round_that_is_cut_off_is_an_error(
    on: Stage, who: str, model: str, stream: bool
) -> None:
    on.upstream.script = lambda heard: first(heard) or Say("half an answer", cut=True)
    told = await ask(on, who, model, stream)
    assert told.error
    assert stream or told.status == 502
    spoken = stream or model == "plain"  # then it is not tried again
    assert (2 if spoken else 3) == len(on.upstream.asked)


@BOTH
@STREAMS
async def test_a_busy_later_round_is_tried_again(
    on: Stage, who: str, model: str, stream: bool
) -> None:
    busy = [Say(status=429)]
    on.upstream.script = lambda heard: (
        first(heard) or (busy.pop() if busy else Say(f"Then {heard.results}."))
    )
    told = await ask(on, who, model, stream)
    assert ("", "First. Then ['echo one'].") == (told.error, told.text)
    assert 3 == len(on.upstream.asked)


@BOTH
@STREAMS
async def test_a_later_round_that_stays_busy_is_an_error(
    on: Stage, who: str, model: str, stream: bool
) -> None:
    on.upstream.script = lambda heard: first(heard) or Say(status=429)
    told = await ask(on, who, model, stream)
    assert told.error
    assert stream or told.status == 429
    assert 3 == len(on.upstream.asked)


@STREAMS
async def test_a_later_round_that_stays_silent_is_an_error(on: Stage, stream: bool) -> None:
    on.upstream.script = lambda heard: first(heard) or Say(silent=True)
    found: list[Told] = await asyncio.gather(*(ask(on, who, model, stream) for who, model in PAIRS))
    assert all(told.error for told in found)
    assert stream or {504} == {told.status for told in found}


@BOTH
@STREAMS
async def test_leaving_in_a_later_round_ends_it(
    on: Stage, who: str, model: str, stream: bool
) -> None:
    on.upstream.script = lambda heard: first(heard) or Say("More and ", endless=True)
    asked = asyncio.create_task(ask(on, who, model, stream))
    await until(lambda: len(on.upstream.heard) == 2)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    await until(lambda: on.upstream.left)
    assert 2 == len(on.upstream.asked)


@WHO
@STREAMS
async def test_leaving_while_a_tool_runs_calls_it_off(
    on: Stage, marks: Path, who: str, stream: bool
) -> None:
    await _leaves(on, marks, who, "chat", stream)


@MODELS
async def test_leaving_while_a_tool_runs_asks_no_upstream_again(
    on: Stage, marks: Path, model: str
) -> None:
    await _leaves(on, marks, "chat", model, True)


async def _leaves(on: Stage, marks: Path, who: str, model: str, stream: bool) -> None:
    on.upstream.script = calling("sleep", "Wait. ", seconds=60)
    asked = asyncio.create_task(ask(on, who, model, stream))
    await until((marks / "begun").exists)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    await until((marks / "cancelled").exists)
    assert 1 == len(on.upstream.asked)


@BOTH
@STREAMS
async def test_after_the_last_round_the_model_has_to_answer(
    on: Stage, who: str, model: str, stream: bool
) -> None:
    def script(heard: Heard) -> Say:
        if not heard.may_call:
            return Say("Enough.")
        return Say(calls=(("echo", json.dumps({"text": str(len(heard.results))})),))

    on.upstream.script = script
    told = await ask(on, who, f"{model}-brief", stream)
    assert ("", [], "Enough.", "stop") == (told.error, on.upstream.refused, told.text, told.finish)
    assert ["echo 0", "echo 1"] == on.upstream.heard[-1].results
    if model != "plain":
        assert (30, 15) == told.usage


@MODELS
@STREAMS
async def test_a_model_that_never_stops_calling_is_an_error(
    on: Stage, model: str, stream: bool
) -> None:
    on.upstream.script = lambda heard: Say(calls=(("echo", '{"text": "x"}'),))
    told = await ask(on, "chat", f"{model}-brief", stream)
    if model == "plain":  # nothing is read as a call there any more
        assert "<tool_call>" in told.text
    else:
        assert (502, True) == (told.status, "still calls tools after 2 rounds" in told.error)
    assert 3 == len(on.upstream.asked)


@MODELS
async def test_what_a_tool_does_is_told_to_the_model(on: Stage, model: str) -> None:
    for name, arguments, wanted in (
        ("sleep", {"seconds": 60}, "Error: the tool did not answer within 1 s"),
        ("fail", {}, "Error: Error executing tool fail"),
        ("long", {}, f"[{1_000_000 - 2048} characters left out]"),
        ("die", {}, "Error: there is no tool `die` here"),
        ("web_search", {"query": "x"}, "Error: there is no tool `web_search` here"),
    ):
        on.upstream.script = calling(name, **arguments)
        told = await ask(on, "chat", f"{model}-brief" if name == "sleep" else model, True)
        if model == "plain" and name in ("die", "web_search"):  # only what is offered is a call
            assert f'"name": "{name}"' in told.text
            continue
        assert ("", []) == (told.error, on.upstream.refused)
        assert wanted in told.text
        assert "die" not in on.upstream.offered()


@MODELS
async def test_a_key_that_is_not_listed_is_offered_none(on: Stage, model: str) -> None:
    on.upstream.script = calling("echo", "No. ", text="x")
    told = await ask(on, "chat", model, True, key=PLAIN)
    assert ([], 1) == (on.upstream.offered(), len(on.upstream.asked))
    assert [("echo", {"text": "x"})] == [call[1:] for call in told.calls] or model == "plain"
