"""What was run beside a client's calls: kept, found, and put where the model made it."""

from __future__ import annotations

from typing import Any

import pytest

from engine.chat import ChatRequest, Media, Message, Part, Text, ToolCall, ToolResult
from engine.kept.beside import LARGEST, Beside
from engine.ports import StoreError
from engine.route.view import Asked
from engine.wire import Headers
from tests.kit import World

ASK = Message("user", [Text("go")])
MINE = ToolCall("t1", "own", '{"a":1}')
ONE, TWO = ToolCall("o1", "echo", "{}"), ToolCall("o2", "echo", '{"x":2}')
PICTURE = Media("image", "image/png", "iVBORw0KGgo=")
RAN = [
    ToolResult("o1", [Text("one")], False, "echo"),
    ToolResult("o2", [PICTURE], True, "echo"),
]
TURN: list[Part] = [Text("so"), ONE, MINE, TWO]


def asked(*more: Message, client: str = "c") -> Asked:
    chat = ChatRequest("openai_chat", "m", [ASK, *more])
    return Asked("id", lambda: chat, False, Headers(), client)


def back(call: ToolCall = MINE, *more: Message) -> tuple[Message, ...]:
    """What the client sends next."""
    turn = Message("assistant", [Text("so"), call], dialect="openai_chat")
    return turn, Message("tool", [ToolResult(call.id, [Text("mine")])]), *more


async def test_calls_and_results_stand_where_the_model_made_them() -> None:
    async with World() as world:
        beside = Beside(world.ports)
        assert await beside.keep(asked(), TURN, RAN)
        more = Message("user", [Text("and?")])
        found = await beside.restore(asked(*back(MINE, more)))
        results = [RAN[0], ToolResult("t1", [Text("mine")]), RAN[1]]
        assert [
            ASK, Message("assistant", TURN), Message("tool", list(results)), more,
        ] == found.messages  # fmt: skip


async def test_calls_behind_the_client_s_follow_it() -> None:
    async with World() as world:
        beside = Beside(world.ports)
        other = ToolCall("t2", "own", "{}")
        await beside.keep(asked(), [MINE, ONE, other, TWO], RAN)
        turn = Message("assistant", [MINE, other])
        found = await beside.restore(asked(turn))
        assert [MINE, ONE, other, TWO] == found.messages[1].parts


@pytest.mark.parametrize(
    "request_",
    [
        asked(*back(), client="d"),
        asked(*back(ToolCall("t1", "own", '{"a":2}'))),
        asked(*back(ToolCall("t9", "own", '{"a":1}'))),
        asked(Message("assistant", [Text("so")])),
    ],
    ids=["another client", "other arguments", "another call", "no call"],
)
async def test_what_is_not_the_same_stays_as_it_is(request_: Asked) -> None:
    async with World() as world:
        beside = Beside(world.ports)
        await beside.keep(asked(), TURN, RAN)
        assert request_.chat is await beside.restore(request_)


async def test_of_an_id_that_is_given_again_the_newest_answer_counts() -> None:
    async with World() as world:
        beside, request = Beside(world.ports), asked(*back())
        await beside.keep(asked(), TURN, RAN)
        await beside.forget(asked(), [Text("so")])
        assert request.chat is not await beside.restore(request)
        await beside.forget(asked(), [Text("so"), MINE])
        assert request.chat is await beside.restore(request)


async def test_what_is_too_large_is_not_kept() -> None:
    async with World() as world:
        beside = Beside(world.ports)
        large = [ToolResult("o1", [Text("x" * LARGEST)])]
        assert not await beside.keep(asked(), [ONE, MINE], large)
        assert not await beside.keep(asked(), [ONE], RAN[:1])


async def test_a_store_that_fails_leaves_the_conversation_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def down(*args: Any) -> Any:
        raise StoreError("down")

    async with World() as world:
        for verb in ("get", "put", "delete"):
            monkeypatch.setattr(world.ports.store, verb, down)
        beside = Beside(world.ports)
        assert not await beside.keep(asked(), TURN, RAN)
        request = asked(*back())
        await beside.forget(request, [MINE])
        assert request.chat is await beside.restore(request)
