"""Names and arguments of tools. The loop around them: tests/tooling/."""

from __future__ import annotations

import pytest

from engine.chat import Media, Part, Text, ToolResult
from engine.dialects import DIALECTS
from engine.exchange.tooling import named, read_arguments, sayable
from engine.ports import ServerTool


def tool(server: str, name: str) -> ServerTool:
    return ServerTool(server, name, "", {})


def test_a_tool_keeps_its_name_where_nobody_else_has_it() -> None:
    assert {"a": tool("s", "a"), "b": tool("t", "b")} == named(
        ["c"], [tool("s", "a"), tool("t", "b")]
    )


def test_the_clients_tool_keeps_its_name() -> None:
    assert {"s__a": tool("s", "a")} == named(["a"], [tool("s", "a")])


def test_two_servers_tools_of_one_name_both_bear_their_servers() -> None:
    found = named([], [tool("s", "a"), tool("t", "a")])
    assert {"s__a": tool("s", "a"), "t__a": tool("t", "a")} == found


def test_a_name_that_is_taken_all_the_same_is_numbered() -> None:
    found = named(["a", "s__a", "s__a_2"], [tool("s", "a")])
    assert {"s__a_3": tool("s", "a")} == found


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("", {}), (" ", {}), ('{"a": 1}', {"a": 1}), ("[1]", None), ('"x"', None), ("{", None)],
)
def test_arguments_are_an_object(text: str, wanted: object) -> None:
    assert wanted == read_arguments(text)


AUDIO = Media("audio", mime="audio/wav", data="AAAA")
PICTURE = Media("image", mime="image/png", data="iVBORw0KGgo=")


@pytest.mark.parametrize(
    ("dialect", "wanted"),
    [
        ("anthropic_messages", Text("[audio left out]")),
        ("ollama", Text("[audio left out]")),
        ("gemini", AUDIO),
        ("openai_chat", AUDIO),
    ],
)
def test_media_that_the_upstream_cannot_be_told_are_told_in_words(
    dialect: str, wanted: Part
) -> None:
    result = ToolResult("c", [Text("So."), AUDIO])
    assert ToolResult("c", [Text("So."), wanted]) == sayable(result, DIALECTS[dialect])


@pytest.mark.parametrize("dialect", [*DIALECTS, None])
def test_what_can_be_told_stays(dialect: str | None) -> None:
    result = ToolResult("c", [Text("So."), PICTURE])
    assert result == sayable(result, DIALECTS[dialect] if dialect else None)
