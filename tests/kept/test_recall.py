"""Thinking kept and found again: for one client, one conversation, one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine.chat import ChatRequest, Message, Part, Reasoning, Text, Tool, ToolCall, ToolResult
from engine.events import ArgsDelta, Close, Open, ReasoningDelta, SignatureDelta, TextDelta
from engine.kept.recall import LARGEST, MOST, Keeper, Recall
from engine.ports import StoreError
from engine.route.view import Asked
from engine.wire import Headers
from tests.kit import Say, World, route_of
from tests.transforms.test_repair_reasoning import MESSAGES_DONE

CALL = ToolCall("t1", "look", '{"a":1}')
SIGNED = Reasoning("hm", signature="EqQB", origin="anthropic_messages")


def asked(
    *more: Message, client: str = "c", headers: dict[str, str] | None = None, **extras: object
) -> Asked:
    messages = [Message("user", [Text("go")]), *more]
    chat = ChatRequest("openai_chat", "m", messages, tools=[Tool("look")], extras=extras)
    return Asked("id", lambda: chat, False, Headers.of(headers or {}), client)


def turn(*parts: Part) -> Message:
    return Message("assistant", list(parts))


def test_the_keeper_folds_thinking_and_calls_and_no_text() -> None:
    keeper = Keeper()
    keeper.feed(
        [Open(0, Reasoning()), ReasoningDelta(0, "h"), Open(1, Text("")), TextDelta(1, "x")]
    )
    keeper.feed([ReasoningDelta(0, "m"), SignatureDelta(0, "EqQB"), Close(0)])
    keeper.feed([Open(2, ToolCall("t1", "look", "")), ArgsDelta(2, '{"a"'), ArgsDelta(2, ":1}")])
    keeper.feed([TextDelta(1, "y"), Close(1)])
    assert [Reasoning("hm", signature="EqQB"), CALL] == keeper.parts()


async def test_what_was_kept_is_found_under_the_calls_id() -> None:
    async with World() as world:
        recall = Recall(world.ports)
        await recall.keep(asked(), [Reasoning("hm"), CALL, ToolCall("t2", "look", "{}")], "o")
        found = await recall.find(asked(turn(ToolCall("t1", "look", '{ "a": 1 }'))))
        assert {"t1": "hm"} == found.texts
        found = await recall.find(asked(turn(ToolCall("t2", "look", ""))))
        assert {"t2": [Reasoning("hm", origin="o")]} == found.thoughts


OTHERS: dict[str, Callable[[], Asked]] = {
    "another client": lambda: asked(turn(CALL), client="d"),
    "another conversation": lambda: asked(turn(CALL), headers={"x-session-id": "s"}),
    "another cache key": lambda: asked(turn(CALL), prompt_cache_key="k"),
    "other arguments": lambda: asked(turn(ToolCall("t1", "look", '{"a":2}'))),
    "another tool": lambda: asked(turn(ToolCall("t1", "see", '{"a":1}'))),
    "thinking that came along": lambda: asked(turn(Reasoning("own"), CALL)),
    "a signature that came along": lambda: asked(turn(Reasoning(signature="x"), CALL)),
    "no call": lambda: asked(turn(Text("t1"))),
    "a result": lambda: asked(Message("tool", [ToolResult("t1")])),
}


@pytest.mark.parametrize("other", OTHERS)
async def test_nothing_is_found_for(other: str) -> None:
    async with World() as world:
        recall = Recall(world.ports)
        await recall.keep(asked(), [Reasoning("hm"), CALL], "o")
        assert {} == (await recall.find(OTHERS[other]())).thoughts


async def test_a_conversation_is_known_by_its_header_or_cache_key() -> None:
    async with World() as world:
        recall = Recall(world.ports)
        for place in ({"headers": {"x-session-id": "s"}}, {"prompt_cache_key": "k"}):
            named: Any = place
            await recall.keep(asked(**named), [Reasoning("hm"), CALL], "o")
            again = asked(turn(CALL), **named)
            again.chat.messages[0] = Message("user", [Text("shortened")])
            assert {"t1": "hm"} == (await recall.find(again)).texts


async def test_signed_thinking_goes_back_to_where_it_is_from() -> None:
    async with World() as world:
        recall = Recall(world.ports)
        for kept in (Reasoning("hm", signature="EqQB"), SIGNED):
            await recall.keep(asked(), [kept, CALL], "anthropic_messages")
            request = asked(turn(Text("so"), CALL))
            found = await recall.find(request)
            restored = found.restore(request.chat, "anthropic_messages")
            assert turn(SIGNED, Text("so"), CALL) == restored.messages[1]
            assert request.chat is found.restore(request.chat, "gemini")


async def test_what_was_forgotten_is_gone() -> None:
    async with World() as world:
        recall = Recall(world.ports)
        await recall.keep(asked(), [Reasoning("hm"), CALL], "o")
        await recall.forget(await recall.find(asked(turn(CALL))))
        assert {} == (await recall.find(asked(turn(CALL)))).thoughts


async def test_it_is_bounded_in_size_and_number() -> None:
    async with World() as world:
        recall = Recall(world.ports)
        await recall.keep(asked(), [Reasoning("x" * LARGEST), CALL], "o")
        assert {} == (await recall.find(asked(turn(CALL)))).thoughts
        for at in range(MOST + 1):
            await recall.keep(asked(), [Reasoning("hm"), ToolCall(f"t{at}", "look", "{}")], "o")
        first, last = ToolCall("t0", "look", "{}"), ToolCall(f"t{MOST}", "look", "{}")
        assert {f"t{MOST}": "hm"} == (await recall.find(asked(turn(first, last)))).texts


async def test_a_store_that_fails_is_counted_and_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*args: object) -> Any:
        raise StoreError("down")

    async with World() as world:
        recall = Recall(world.ports)
        await recall.keep(asked(), [Reasoning("hm"), CALL], "o")
        found = await recall.find(asked(turn(CALL)))
        for name in ("get", "put", "delete"):
            monkeypatch.setattr(world.ports.store, name, fail)
        await recall.keep(asked(), [Reasoning("hm"), CALL], "o")
        await recall.forget(found)
        assert {} == (await recall.find(asked(turn(CALL)))).thoughts
        assert 3 == len(world.notes.of("store_error"))


# ---- in an exchange ----

ROUTE = """
version: 1
extends: anthropic
base_url: https://a.example/v1
models: [m]
retry: { attempts: 1 }
"""
THOUGHT = Say(
    b'{"type":"message","id":"m","role":"assistant","stop_reason":"tool_use",'
    b'"content":[{"type":"thinking","thinking":"","signature":"EqQB"},'
    b'{"type":"tool_use","id":"t1","name":"look","input":{"a":1}}],'
    b'"usage":{"input_tokens":1,"output_tokens":1}}'
)
TOOLS = [{"type": "function", "function": {"name": "look"}}]
TURNS: list[dict[str, Any]] = [
    {"role": "user", "content": "go"},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}]},
    {"role": "tool", "tool_call_id": "t1", "content": "seen"},
]  # fmt: skip


async def test_a_chat_client_need_not_send_signed_thinking_back() -> None:
    route = route_of(ROUTE)
    async with World([THOUGHT, MESSAGES_DONE]) as world:
        await world.ask(route, "go", tools=TOOLS, reasoning_effort="high")
        await world.ask(route, TURNS, tools=TOOLS, reasoning_effort="high", stream=True)
        first, *_ = world.upstream.bodies[1]["messages"][1]["content"]
    assert {"type": "thinking", "thinking": "", "signature": "EqQB"} == first


async def test_what_the_upstream_refuses_to_have_back_is_forgotten() -> None:
    route = route_of(ROUTE)
    refused = Say(b'{"error":{"type":"invalid_request_error","message":"bad signature"}}', 400)
    async with World([THOUGHT, refused, MESSAGES_DONE]) as world:
        await world.ask(route, "go", tools=TOOLS)
        await world.ask(route, TURNS, tools=TOOLS)
        await world.ask(route, TURNS, tools=TOOLS, stream=True)
        kinds = [body["messages"][1]["content"][0]["type"] for body in world.upstream.bodies[1:]]
    assert ["thinking", "tool_use"] == kinds
