from __future__ import annotations

import pytest

from engine.chat import (
    Media,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from engine.errors import RequestError
from engine.route.converse import messages, tool_choice, tools

HI = Message("user", [Text("Hi")])
SAID = {"role": "user", "content": [{"text": "Hi"}]}


def user(*parts: Part) -> list[object]:
    (turn,) = messages([Message("user", list(parts))])
    assert isinstance(turn, dict)
    found = turn["content"]
    assert isinstance(found, list)
    return found


def test_system_messages_are_left_out_unless_there_is_nothing_else() -> None:
    system = Message("system", [Text("Be brief.")])
    assert messages([system, HI, Message("developer", [Text("Now.")])]) == [SAID]
    assert messages([system]) == [{"text": "Be brief."}]


def test_roles_take_turns_and_the_user_begins() -> None:
    talk = [Message("assistant", [Text("a")]), Message("assistant", [Text("b")]), HI, HI]
    opening, first, then = messages(talk)
    assert opening == {"role": "user", "content": [{"text": "(The conversation begins here.)"}]}
    assert first == {"role": "assistant", "content": [{"text": "a"}, {"text": "b"}]}
    assert then == {"role": "user", "content": [{"text": "Hi"}, {"text": "Hi"}]}


def test_results_stand_first_and_blank_texts_go() -> None:
    talk = [
        HI,
        Message("assistant", [Text(" "), ToolCall("c 1", "f", '{"a":1}'), ToolCall("d", "g", "")]),
        Message("user", [Text("and?")]),
        Message("tool", [ToolResult("c 1", [Text("r"), Text("")]), ToolResult("d", [], True)]),
        Message("user", [Text("")]),
    ]
    _, called, answered = messages(talk)
    assert called == {
        "role": "assistant",
        "content": [
            {"toolUse": {"toolUseId": "c_1_242cb3fe", "name": "f", "input": {"a": 1}}},
            {"toolUse": {"toolUseId": "d", "name": "g", "input": {}}},
        ],
    }
    nothing = [{"text": "(no output)"}]
    assert answered == {
        "role": "user",
        "content": [
            {"toolResult": {"toolUseId": "c_1_242cb3fe", "content": [{"text": "r"}]}},
            {"toolResult": {"toolUseId": "d", "content": nothing, "status": "error"}},
            {"text": "and?"},
        ],
    }


def test_arguments_are_always_an_object() -> None:
    calls: list[Part] = [ToolCall("a", "f", "[1]"), ToolCall("b", "f", "{"),
                         ToolCall("c", "f", "x", "custom")]  # fmt: skip
    _, turn = messages([HI, Message("assistant", calls)])
    assert isinstance(turn, dict)
    assert [block["toolUse"]["input"] for block in turn["content"]] == [
        {"arguments": [1]}, {"arguments": "{"}, {"input": "x"},
    ]  # fmt: skip


def test_thinking_goes_along_if_it_was_signed_there() -> None:
    parts: list[Part] = [
        Reasoning("t", signature="c2ln", origin="anthropic_messages"),
        Reasoning("u"),
        Reasoning("v", signature="penstock/gemini/abc"),
        Refusal("no"),
        Opaque("gemini", "x", {}),
    ]
    _, turn = messages([HI, Message("assistant", parts)])
    assert turn == {
        "role": "assistant",
        "content": [
            {"reasoningContent": {"reasoningText": {"text": "t", "signature": "c2ln"}}},
            {"text": "no"},
        ],
    }


def test_media() -> None:
    image = Media("image", mime="image/jpg", data="AAAA")
    paper = Media("file", mime="application/pdf", data="JVBE", name="a_b.pdf")
    assert user(image, paper) == [
        {"image": {"format": "jpeg", "source": {"bytes": "AAAA"}}},
        {"document": {"format": "pdf", "name": "a b pdf", "source": {"bytes": "JVBE"}}},
    ]


@pytest.mark.parametrize(
    "part",
    [
        Media("image", url="https://example.com/a.png"),
        Media("image", mime="image/tiff", data="AAAA"),
        Media("audio", mime="audio/wav", data="AAAA"),
    ],
)
def test_media_without_a_form_are_refused(part: Media) -> None:
    with pytest.raises(RequestError) as caught:
        user(part)
    assert caught.value.kind == "unsupported"


def test_tools_and_their_choice() -> None:
    given = [Tool("f", "does", {"type": "object"}), Tool("g"), Tool("h", kind="custom")]
    text = {"type": "string"}
    assert tools(given) == [
        {"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}},
                      "description": "does"}},
        {"toolSpec": {"name": "g",
                      "inputSchema": {"json": {"type": "object", "properties": {}}}}},
        {"toolSpec": {"name": "h", "inputSchema": {"json": {
            "type": "object", "properties": {"input": text}, "required": ["input"]}}}},
    ]  # fmt: skip
    choices = [ToolChoice("required"), ToolChoice("named", ["f"]), ToolChoice("none")]
    assert [tool_choice(choice) for choice in choices] == [
        {"any": {}}, {"tool": {"name": "f"}}, {"auto": {}},
    ]  # fmt: skip
