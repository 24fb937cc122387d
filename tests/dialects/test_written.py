"""Requests on their way to an upstream of another dialect, and their answers on the way back."""

from __future__ import annotations

from typing import Any

import pytest

from engine.chat import ToolCall
from engine.wire import dumps
from tests.kit import FakeSink, Say, World, route_of, sse

LONG = "mcp.server/look_up." + "x" * 60
CHAT = """
version: 1
extends: openai
base_url: https://a.example/v1
models: [{ id: m, upstream: up }]
"""
MESSAGES = CHAT.replace("openai", "anthropic")
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}


def named(*events: tuple[str, dict[str, Any]]) -> bytes:
    frames = [
        b"event: " + name.encode() + b"\ndata: " + dumps({"type": name, **value}) + b"\n\n"
        for name, value in events
    ]
    return b"".join(frames)


def called(name: str, *pieces: str) -> bytes:
    """A Messages stream that calls a tool."""
    block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
    deltas = [
        ("content_block_delta",
         {"index": 0, "delta": {"type": "input_json_delta", "partial_json": piece}})
        for piece in pieces
    ]  # fmt: skip
    return named(
        ("message_start", {"message": {"id": "msg_1", "role": "assistant", "content": [],
                                       "model": "up", "usage": {"input_tokens": 5}}}),
        ("content_block_start", {"index": 0, "content_block": block}),
        *deltas,
        ("content_block_stop", {"index": 0}),
        ("message_delta", {"delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}}),
        ("message_stop", {}),
    )  # fmt: skip


STREAM = {"content-type": "text/event-stream"}


async def ask(route: str, answer: bytes, **body: Any) -> tuple[FakeSink, dict[str, Any]]:
    async with World([Say(answer, headers=STREAM)]) as world:
        sink = await world.ask(route_of(route), stream=True, **body)
        return sink, world.upstream.bodies[0]


async def test_a_long_name_goes_cut_and_comes_back_whole() -> None:
    tools = [{"type": "function", "function": {"name": LONG, "parameters": PARAMETERS}}]
    history = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "functions.x:0|fc_1", "type": "function",
             "function": {"name": LONG, "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "functions.x:0|fc_1", "content": "seen"},
    ]  # fmt: skip
    choice = {"type": "function", "function": {"name": LONG}}
    _, sent = await ask(MESSAGES, called("x"), prompt=history, tools=tools, tool_choice=choice)
    name, call = sent["tools"][0]["name"], sent["messages"][1]["content"][0]
    assert len(name) <= 64
    assert {"type": "tool", "name": name} == sent["tool_choice"]
    assert (name, call["id"]) == (call["name"], sent["messages"][2]["content"][0]["tool_use_id"])
    sink, _ = await ask(MESSAGES, called(name, '{"city":"Rom"}'), tools=tools)
    assert [ToolCall("toolu_1", LONG, '{"city":"Rom"}')] == sink.reply.calls


async def test_a_custom_tool_is_called_with_free_text() -> None:
    tools = [{"type": "custom", "custom": {"name": "apply", "description": "Applies."}}]
    answer = called("apply", "", '{"input": "*** Be', 'gin\\n"}')
    sink, sent = await ask(MESSAGES, answer, tools=tools)
    assert "input" in sent["tools"][0]["input_schema"]["properties"]
    assert [ToolCall("toolu_1", "apply", "*** Begin\n", "custom")] == sink.reply.calls


async def test_an_answer_of_a_schema_by_a_tool_is_text() -> None:
    spec = {"name": "place", "schema": PARAMETERS, "strict": True}
    route = MESSAGES + "profile: { json_schema: tool }\n"
    sink, sent = await ask(
        route, called("place", '{"city":', '"Rom"}'),
        response_format={"type": "json_schema", "json_schema": spec},
    )  # fmt: skip
    assert {"type": "tool", "name": "place"} == sent["tool_choice"]
    assert ('{"city":"Rom"}', []) == (sink.text, sink.reply.calls)
    assert sink.finished is not None
    assert "stop" == sink.finished.reason


@pytest.mark.parametrize(
    "profile", ["", "profile: { same_dialect: adapt, tool_schemas: openai_strict }\n"]
)
async def test_schemas_of_foreign_tools_are_rewritten(profile: str) -> None:
    top = {"anyOf": [{"properties": {"a": {"type": "string"}}}]}
    tool = {"type": "function", "function": {"name": "look", "parameters": top}}
    _, sent = await ask(MESSAGES, called("look"), tools=[tool])
    assert "object" == sent["tools"][0]["input_schema"]["type"]
    assert "anyOf" not in sent["tools"][0]["input_schema"]
    done = sse({"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]})
    own = CHAT + profile
    _, sent = await ask(own, done, tools=[tool])
    assert tool == sent["tools"][0]  # its own clients' schemas stay, strict is for strict ones
    tool["function"]["strict"] = True  # type: ignore[index]
    _, sent = await ask(own, done, tools=[tool])
    assert bool(profile) == (tool != sent["tools"][0])


async def test_names_of_own_clients_change_only_where_the_profile_says_so() -> None:
    tool = {"type": "function", "function": {"name": LONG}}
    done = sse({"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]})
    _, sent = await ask(CHAT, done, tools=[tool])
    assert LONG == sent["tools"][0]["function"]["name"]
    _, sent = await ask(
        CHAT + "profile: { same_dialect: adapt, tools: { name_max: 20 } }\n", done, tools=[tool]
    )
    assert 20 == len(sent["tools"][0]["function"]["name"])


@pytest.mark.parametrize(
    ("model", "most"), [("gpt-4o", 4), ("GPT-4.1-mini", 4), ("gpt-5-mini", 0), ("other", None)]
)
def test_the_preset_knows_how_many_stops_a_model_takes(model: str, most: int | None) -> None:
    route = route_of(CHAT.replace("id: m, upstream: up", f"id: {model}"))
    offer = route.offer(model)
    assert offer is not None
    assert most == offer.profile.stop_max
