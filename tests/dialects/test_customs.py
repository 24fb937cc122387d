"""Custom tools as functions, and calls of them as free text again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chat import ChatRequest, Message, Text, Tool, ToolCall, ToolChoice
from engine.dialects.customs import Unwrapper, as_functions
from engine.events import ArgsDelta, Close, Event, Open, TextDelta

PATCH = Tool(
    "apply",
    "Applies a patch.",
    kind="custom",
    extras={"custom": {"format": {"type": "grammar",
                                  "grammar": {"syntax": "lark", "definition": "start: X"}}}},
    dialect="openai_chat",
)  # fmt: skip
CALL = ToolCall("1", "apply", "*** Begin\n", "custom")


def asked() -> ChatRequest:
    messages = [Message("user", [Text("go")]), Message("assistant", [CALL])]
    choice = ToolChoice("named", ["apply"], {"type": "custom"})
    return ChatRequest("openai_chat", "m", messages, tools=[PATCH], tool_choice=choice)


def test_a_custom_tool_becomes_a_function_with_its_grammar_in_words() -> None:
    found, _ = as_functions(asked())
    (tool,) = found.tools
    assert ("function", "apply", {}) == (tool.kind, tool.name, tool.extras)
    assert {"input"} == set(tool.schema["properties"])  # type: ignore[index]
    assert tool.description is not None
    assert tool.description.startswith("Applies a patch.\n\n")
    assert tool.description.endswith("grammar (lark):\nstart: X")
    assert ToolChoice("named", ["apply"]) == found.tool_choice


def test_calls_of_the_history_are_wrapped_too() -> None:
    found, _ = as_functions(asked())
    assert [ToolCall("1", "apply", '{"input":"*** Begin\\n"}')] == found.messages[1].parts
    bare = ChatRequest("openai_chat", "m", [Message("assistant", [CALL])])
    again, back = as_functions(bare)
    assert found.messages[1:] == again.messages
    assert back is None


def test_without_custom_tools_nothing_is_copied() -> None:
    request = ChatRequest("x", "m", [Message("user", [Text("go")])], tools=[Tool("b")])
    assert request is as_functions(request)[0]


def test_calls_come_back_as_free_text_and_others_as_they_were() -> None:
    _, back = as_functions(asked())
    assert back is not None
    given_: list[Event] = [
        Open(0, ToolCall("a", "apply", "")), Open(1, ToolCall("b", "look", "")),
        ArgsDelta(0, '{"inp'), ArgsDelta(1, '{"x'), ArgsDelta(0, 'ut": "a\\'), ArgsDelta(0, 'nb'),
        ArgsDelta(1, '":1}'), ArgsDelta(0, '"}'), Close(0), Close(1), Open(2, Text("")),
        TextDelta(2, "done"),
    ]  # fmt: skip
    found = [event for one in given_ for event in back(one)]
    assert [
        Open(0, ToolCall("a", "apply", "", "custom")), Open(1, ToolCall("b", "look", "")),
        ArgsDelta(1, '{"x'), ArgsDelta(0, "a"), ArgsDelta(0, "\nb"), ArgsDelta(1, '":1}'),
        Close(0), Close(1), Open(2, Text("")), TextDelta(2, "done"),
    ] == found  # fmt: skip


def test_a_call_that_opens_with_its_arguments() -> None:
    _, back = as_functions(asked())
    assert back is not None
    events = back(Open(0, ToolCall("a", "apply", '{"input":"x"}')))
    assert [Open(0, ToolCall("a", "apply", "", "custom")), ArgsDelta(0, "x")] == events


TEXTS = st.text(st.characters(codec="utf-16", exclude_categories=()), max_size=40)


@given(TEXTS, st.booleans(), st.data())
def test_any_text_survives_however_its_json_is_cut(
    text: str, ascii_only: bool, data: st.DataObject
) -> None:
    whole = json.dumps({"input": text}, ensure_ascii=ascii_only)
    unwrapper, out, at = Unwrapper(), "", 0
    while at < len(whole):
        step = data.draw(st.integers(1, 7))
        out += unwrapper.feed(whole[at : at + step])
        at += step
    assert text == out + unwrapper.finish()


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ("not json", "not json"),
        ('{"other": 1}', '{"other": 1}'),
        ('{"x": 1, "input": "late"}', "late"),
        ("{}", ""),
        ('{"input": 5}', '{"input": 5}'),
        ("x" * 80, "x" * 80),
        ('{"input": "a", "more": 1}', "a"),
    ],
)
def test_what_is_no_such_object_is_given_as_it_is(given_: str, told: str) -> None:
    unwrapper = Unwrapper()
    assert told == unwrapper.feed(given_) + unwrapper.feed("") + unwrapper.finish()
