"""Names and ids that an upstream refuses, changed and changed back."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chat import (
    ChatRequest,
    Message,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from engine.dialects.names import Limits, Rule, fit_names
from engine.dialects.profile import ToolProfile
from engine.events import ArgsDelta, Open

LONG = "a.tool/with.a.name." + "x" * 60
MISTRAL = Rule(re.compile("[a-zA-Z0-9]{9}"), 9)


def test_what_fits_stays() -> None:
    assert ("look_up-2", "", "y" * 64) == tuple(
        map(Limits().names.fit, ("look_up-2", "", "y" * 64))
    )


def test_what_does_not_fit_is_cut_and_gets_its_hash() -> None:
    fitted = Limits().names.fit(LONG)
    assert re.fullmatch(r"a_tool_with_a_name_x+_[0-9a-f]{8}", fitted)
    assert 64 == len(fitted)
    assert fitted == Limits().names.fit(LONG)
    assert fitted != Limits().names.fit(LONG + "x")


@given(st.text(min_size=1, max_size=90))
def test_every_name_fits_in_the_end(text: str) -> None:
    rule = Limits().names
    fitted = rule.fit(text)
    assert rule.fits(fitted)
    assert fitted == rule.fit(fitted)


@given(st.text(min_size=1, max_size=60))
def test_ids_of_nine_letters_and_digits(text: str) -> None:
    assert MISTRAL.fits(MISTRAL.fit(text))


def test_a_rule_without_limits_lets_everything_through() -> None:
    assert LONG == Rule().fit(LONG)


def test_a_profile_lies_over_the_limits_of_the_dialect() -> None:
    takes = ToolProfile(id_pattern=MISTRAL.pattern, id_max=9)
    own = Limits().over(takes, foreign=False)
    assert (LONG, 9) == (own.names.fit(LONG), len(own.ids.fit("call_1")))
    foreign = Limits().over(takes, foreign=True)
    assert (64, 9) == (len(foreign.names.fit(LONG)), len(foreign.ids.fit("call_1")))


def talk(**fields: Any) -> ChatRequest:
    messages = [
        Message("user", [Text("go")]),
        Message("assistant", [ToolCall("functions.look:0", LONG, "{}"), ToolCall("2", "b", "{}")]),
        Message("tool", [ToolResult("functions.look:0", [Text("seen")], name=LONG)]),
    ]
    return ChatRequest("other", "m", messages, **fields)


def test_one_name_is_the_same_in_definition_choice_history_and_result() -> None:
    request = talk(tools=[Tool(LONG), Tool("b")], tool_choice=ToolChoice("named", [LONG], {"a": 1}))
    found, back = fit_names(request, Limits())
    name, ident = Limits().names.fit(LONG), Limits().ids.fit("functions.look:0")
    assert [name, "b"] == [tool.name for tool in found.tools]
    assert ToolChoice("named", [name]) == found.tool_choice
    assert [ToolCall(ident, name, "{}"), ToolCall("2", "b", "{}")] == found.messages[1].parts
    assert [ToolResult(ident, [Text("seen")], name=name)] == found.messages[2].parts
    assert back is not None
    assert [Open(0, ToolCall("x", LONG, ""))] == back(Open(0, ToolCall("x", name, "")))
    for event in (Open(0, ToolCall("x", "b", "")), ArgsDelta(0, name), Open(0, Text(name))):
        assert [event] == back(event)


def test_where_everything_fits_nothing_is_copied() -> None:
    request = ChatRequest("other", "m", [Message("user", [Text("go")])], tools=[Tool("b")])
    found, back = fit_names(request, Limits())
    assert found is request
    assert back is None


def test_where_only_ids_change_the_answer_is_left_alone() -> None:
    request = ChatRequest("other", "m", [Message("tool", [ToolResult("a:b", [Text("x")])])])
    found, back = fit_names(request, Limits())
    assert back is None
    assert found.messages != request.messages


@pytest.mark.parametrize("kind", ["hosted"])
def test_names_of_hosted_tools_are_words_of_their_dialect(kind: Any) -> None:
    request = ChatRequest("other", "m", [], tools=[Tool("web.search", kind=kind)])
    assert request == fit_names(request, Limits())[0]
