from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from engine.chat import (
    ChatRequest,
    Media,
    Message,
    Opaque,
    Output,
    Part,
    Reasoning,
    Refusal,
    Role,
    Sampling,
    Text,
    Think,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from engine.dialects.ollama.generate import parse as parse_generate
from engine.dialects.ollama.parse import parse
from engine.dialects.ollama.render import messages, render, tool_choice
from engine.dialects.profile import Profile
from engine.errors import RequestError
from engine.wire import dumps
from tests.dialects.ollama.bodies import PNG, bodies


def request(*parts: Part, role: Role = "user", **fields: Any) -> ChatRequest:
    found = [Message(role, list(parts) or [Text("hi")], dialect="openai_chat")]
    return ChatRequest(dialect="openai_chat", model="m", messages=found, **fields)


def said(*items: Message) -> list[Any]:
    return messages(list(items))


def test_the_least_request_says_whether_it_streams() -> None:
    body = render(request(), "up")
    turn = {"role": "user", "content": "hi"}
    assert body == {"model": "up", "messages": [turn], "stream": False}
    assert render(request(stream=True), "up")["stream"] is True


def test_sampling_and_limits_are_options() -> None:
    asked = request(
        sampling=Sampling(0.5, 0.9, 40, 1, 2, 7, {"1": 1}), out=Output(max_tokens=99, stop=["x"])
    )
    assert render(asked, "up")["options"] == {
        "temperature": 0.5, "top_p": 0.9, "top_k": 40, "presence_penalty": 1,
        "frequency_penalty": 2, "seed": 7, "num_predict": 99, "stop": ["x"],
    }  # fmt: skip
    assert asked.dropped == ["logit_bias"]


def test_formats_and_logprobs() -> None:
    schema = {"type": "object"}
    assert render(request(out=Output(format="schema", schema=schema)), "up")["format"] == schema
    assert render(request(out=Output(format="json")), "up")["format"] == "json"
    body = render(request(out=Output(logprobs=3)), "up")
    assert (body["logprobs"], body["top_logprobs"]) == (True, 3)


@pytest.mark.parametrize(
    ("think", "levels", "word"),
    [
        (Think(effort="high"), False, True),
        (Think(effort="xhigh"), True, "high"),
        (Think(effort="minimal"), True, "low"),
        (Think(budget=2048), True, True),
        (Think(effort="none"), True, False),
        (Think(mode="off"), False, False),
    ],
)
def test_thinking(think: Think, levels: bool, word: object) -> None:
    assert render(request(think=think), "up", Profile(think_levels=levels))["think"] == word


def test_thinking_that_the_profile_forbids_is_named() -> None:
    asked = request(think=Think(effort="high"))
    assert "think" not in render(asked, "up", Profile(thinking="none"))
    assert asked.dropped == ["reasoning_effort"]


def test_a_conversation_with_tools() -> None:
    turns = said(
        Message("developer", [Text("be brief")]),
        Message("user", [Text("a"), Text("b")]),
        Message(
            "assistant", [Reasoning("t"), Text("a"), Text("b"), ToolCall("x", "f", '{"a": 1}')]
        ),
        Message("tool", [ToolResult("x", [Text("r"), Media("image", data=PNG)])]),
        Message("user", [ToolResult("x", [Text("no")], is_error=True), Text("go on")]),
    )
    assert turns == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "a\nb"},
        {
            "role": "assistant", "thinking": "t", "content": "ab",
            "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "content": "r", "images": [PNG], "tool_name": "f"},
        {"role": "tool", "content": "Error: no", "tool_name": "f"},
        {"role": "user", "content": "go on"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (ToolCall("x", "f", ""), {}),
        (ToolCall("x", "f", "[1]"), {"arguments": [1]}),
        (ToolCall("x", "f", "{bro"), {"arguments": "{bro"}),
        (ToolCall("x", "f", "raw", "custom"), {"input": "raw"}),
    ],
)
def test_arguments_are_always_an_object(call: ToolCall, arguments: object) -> None:
    (turn,) = said(Message("assistant", [call]))
    assert turn["tool_calls"][0]["function"]["arguments"] == arguments


def test_tools_and_the_choice_of_one() -> None:
    tool = Tool("f", "d", {"type": "object"}, dialect="openai_chat", extras={"x": 1})
    asked = request(tools=[tool], tool_choice=ToolChoice("required"), parallel=False)
    assert render(asked, "up")["tools"] == [
        {"type": "function",
         "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    ]  # fmt: skip
    assert asked.dropped == ["tool_choice", "parallel_tool_calls"]
    none = request(tools=[tool], tool_choice=ToolChoice("none"))
    assert "tools" not in render(none, "up")
    assert none.dropped == []
    assert tool_choice(ToolChoice("auto")) == "auto"


def test_what_no_request_holds_is_refused_or_named() -> None:
    for asked in (
        request(Media("image", url="https://example.com/a.png")),
        request(Media("audio", data="AAAA", mime="audio/wav")),
        request(tools=[Tool("f", kind="custom")]),
        request(out=Output(n=2)),
    ):
        with pytest.raises(RequestError) as caught:
            render(asked, "up")
        assert caught.value.kind == "unsupported"
    asked = request(Opaque("anthropic_messages", "mcp", {}), Refusal("no"), role="assistant")
    asked.extras = {"num_ctx": 1, "think": True, "keep_alive": "5m"}
    body = render(asked, "up")
    assert body["messages"] == [{"role": "assistant", "content": "no"}]
    assert sorted(asked.dropped) == ["mcp", "num_ctx", "think"]


def test_a_prompt_goes_out_as_a_conversation() -> None:
    asked = parse_generate(dumps({"model": "m", "prompt": "hi", "keep_alive": "5m"}))
    turn = {"role": "user", "content": "hi"}
    assert render(asked, "up") == {
        "model": "up", "messages": [turn], "stream": True, "keep_alive": "5m",
    }  # fmt: skip


@given(bodies)
@settings(max_examples=60)
def test_a_request_of_this_dialect_goes_back_as_it_came(body: dict[str, Any]) -> None:
    asked = parse(dumps(body))
    again = parse(dumps(render(asked, "m")))
    asked.dropped = again.dropped
    assert again == asked


@given(bodies)
@settings(max_examples=40)
def test_unknown_fields_survive_at_their_level(body: dict[str, Any]) -> None:
    made = render(parse(dumps(body)), "m")
    for name, value in body.items():
        if name.startswith("x_"):
            assert made[name] == value
    turns: Any = made["messages"]
    for sent, got in zip(body["messages"], turns, strict=True):
        assert {n: v for n, v in sent.items() if n.startswith("x_")}.items() <= got.items()
