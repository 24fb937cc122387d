"""Answers of a given schema, asked for by a tool or in words."""

from __future__ import annotations

from typing import Any

import pytest

from engine.chat import ChatRequest, Message, Output, Text, Think, Tool, ToolCall, ToolChoice
from engine.dialects.profile import PROFILE, Profile
from engine.dialects.schema_answer import asked_otherwise
from engine.events import ArgsDelta, Close, Event, Open, TextDelta

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
BY_TOOL = Profile(json_schema="tool")


def asked(**fields: Any) -> ChatRequest:
    messages = [Message("system", [Text("be brief")]), Message("user", [Text("where?")])]
    out = Output(format="schema", schema=SCHEMA, schema_name="place", strict=True)
    return ChatRequest("openai_chat", "m", messages, out=out, **fields)


def test_where_the_dialect_has_a_field_nothing_changes() -> None:
    request = asked()
    assert (request, None) == asked_otherwise(request, PROFILE)
    plain = ChatRequest("openai_chat", "m", [])
    assert (plain, None) == asked_otherwise(plain, BY_TOOL)


def test_a_tool_that_must_be_called_takes_the_answer() -> None:
    found, said = asked_otherwise(asked(), BY_TOOL)
    assert [("place", SCHEMA)] == [(tool.name, tool.schema) for tool in found.tools]
    assert (ToolChoice("named", ["place"]), None) == (found.tool_choice, found.out.format)
    assert said is not None
    events: list[Event] = [Open(0, ToolCall("1", "place", "")), ArgsDelta(0, '{"city":'),
                           ArgsDelta(0, ""), ArgsDelta(0, '"Rom"}'), Close(0)]  # fmt: skip
    told = [new for event in events for new in said(event)]
    assert [Open(0, Text("")), TextDelta(0, '{"city":'), TextDelta(0, '"Rom"}'), Close(0)] == told
    other = Open(1, ToolCall("2", "else", ""))
    assert [other] == said(other)


@pytest.mark.parametrize(
    ("profile", "fields"),
    [
        (Profile(json_schema="prompt"), {}),
        (BY_TOOL, {"tools": [Tool("look")]}),
        (BY_TOOL, {"think": Think(effort="high")}),
    ],
)
def test_in_words_after_the_system_texts(profile: Profile, fields: dict[str, Any]) -> None:
    request = asked(**fields)
    found, said = asked_otherwise(request, profile)
    assert said is None
    assert ["system", "system", "user"] == [message.role for message in found.messages]
    assert found.messages[1].text.endswith(
        '{"type":"object","properties":{"city":{"type":"string"}}}'
    )
    assert (None, ["response_format"]) == (found.out.format, found.dropped)
    assert request.tools == found.tools
