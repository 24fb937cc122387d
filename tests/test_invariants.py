from __future__ import annotations

import pytest

from engine.chat import Text, ToolCall
from engine.events import Annotation, ArgsDelta, Close, Event, Finish, Open, TextDelta
from engine.invariants import Invariants

TEXT: list[Event] = [Open(0, Text("")), TextDelta(0, "a"), Close(0)]
CALL: list[Event] = [Open(1, ToolCall("c", "f", "")), ArgsDelta(1, "{}"), Close(1)]


def broken(events: list[Event], finish: Finish | None) -> dict[str, int]:
    order = Invariants()
    order.feed(events)
    order.finish(finish)
    return dict(order.broken)


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([], "stop"),
        (TEXT, "stop"),
        ([*TEXT, Annotation(1), *CALL], "tool_calls"),
        ([*TEXT, *CALL], "length"),
        ([Open(0, ToolCall("a", "f", "")), *CALL, Close(0)], "tool_calls"),
    ],
)
def test_answers_in_order_break_nothing(events: list[Event], reason: str) -> None:
    assert {} == broken(events, Finish(reason))


@pytest.mark.parametrize(
    ("events", "reason", "rule"),
    [
        ([TextDelta(0, "a")], "stop", "unopened"),
        ([*TEXT, TextDelta(0, "b")], "stop", "unopened"),
        ([*TEXT, Close(0)], "stop", "unopened"),
        ([*TEXT, *TEXT], "stop", "twice"),
        (CALL, "tool_calls", "gap"),
        ([Open(0, Text(""))], "stop", "left_open"),
        ([*TEXT, *CALL], "stop", "called"),
        (TEXT, "tool_calls", "called"),
    ],
)
def test_what_is_out_of_order_is_counted(events: list[Event], reason: str, rule: str) -> None:
    assert {rule: 1} == broken(events, Finish(reason))


def test_an_answer_that_failed_owes_no_end() -> None:
    assert {} == broken([Open(0, Text(""))], None)
