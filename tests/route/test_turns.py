"""What is old and what is new in a conversation."""

from __future__ import annotations

import pytest

from engine.chat import Message, Text, ToolCall, ToolResult
from engine.route.turns import newest, older

SYSTEM = Message("system", [Text("s")])
ASKED = Message("user", [Text("u1")])
CALLS = Message("assistant", [ToolCall("c", "f", "{}")])
RESULT = Message("user", [ToolResult("c", [Text("r")])])
SAID = Message("assistant", [Text("a1")])
AGAIN = Message("user", [Text("u2")])
ALL = [SYSTEM, ASKED, CALLS, RESULT, SAID, AGAIN]


@pytest.mark.parametrize(
    ("turns", "old", "new"),
    [
        (0, ALL[1:], []),
        (1, ALL[1:5], [AGAIN]),
        (2, [], ALL[1:]),
        (9, [], ALL[1:]),
    ],
)
def test_a_turn_is_a_question_with_all_that_answers_it(
    turns: int, old: list[Message], new: list[Message]
) -> None:
    assert (old, new) == (older(ALL, turns), newest(ALL, turns))


def test_without_a_number_the_newest_turn_is_meant() -> None:
    assert [AGAIN] == newest(ALL)
