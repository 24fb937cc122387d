from __future__ import annotations

from typing import Any

import pytest

from engine.chat import Media, Message, Text, ToolCall, ToolResult
from engine.dialects import DIALECTS
from engine.dialects.answered import in_place
from engine.wire import dumps
from tests.dialects.crossing import sent

USER = Message("user", [Text("q")])
CALLS = Message("assistant", [ToolCall("a", "look", "{}"), ToolCall("b", "look", "{}")])
A, B = ToolResult("a", [Text("ra")]), ToolResult("b", [Text("rb")])
NOTE = Message("user", [Text("note")])


def tool(*results: ToolResult) -> Message:
    return Message("tool", list(results))


@pytest.mark.parametrize(
    "later",
    [
        [tool(A, B), NOTE],
        [tool(A), tool(B), NOTE],
        [Message("user", [A, B, Text("note")])],
        [tool(A, B), Message("assistant", [Text("done")])],
        [tool(A), NOTE],
        [NOTE],
    ],
)
def test_results_in_their_place_stay_as_they_are(later: list[Message]) -> None:
    given = [USER, CALLS, *later]
    assert given is in_place(given)


@pytest.mark.parametrize(
    "later",
    [
        [NOTE, tool(A, B)],
        [NOTE, tool(B), tool(A)],
        [tool(A), NOTE, tool(B)],
        [Message("user", [B, Text("note")]), tool(A)],
        [Message("user", [A, Text("note")]), Message("user", [B])],
    ],
)
def test_results_go_right_behind_their_calls(later: list[Message]) -> None:
    assert [USER, CALLS, tool(A, B), NOTE] == in_place([USER, CALLS, *later])


def test_results_come_in_the_order_of_their_calls() -> None:
    assert [USER, CALLS, tool(A, B)] == in_place([USER, CALLS, tool(B, A)])
    assert [USER, CALLS, tool(A, B)] == in_place([USER, CALLS, tool(B), tool(A)])


def test_an_id_that_is_used_again_is_of_the_latest_call() -> None:
    again = ToolResult("a", [Text("2")])
    given = [USER, CALLS, tool(B, A), CALLS, tool(again)]
    assert [USER, CALLS, tool(A, B), CALLS, tool(again)] == in_place(given)


def test_a_result_without_a_call_is_told_in_words() -> None:
    picture = Media("image", mime="image/png", data="AAAA")
    lost, seen = ToolResult("z", [Text("rz")]), ToolResult("y", [picture])
    given = [USER, CALLS, NOTE, tool(B, lost), tool(A, seen)]
    words = Message("user", [Text("<tool_result>\nrz\n</tool_result>")])
    shown = Message("user", [Text("<tool_result>\n"), picture, Text("\n</tool_result>")])
    assert [USER, CALLS, tool(A, B), NOTE, words, shown] == in_place(given)


@pytest.mark.parametrize("upstream", sorted(DIALECTS.keys() - {"openai_responses"}))
def test_the_result_of_a_call_that_nobody_else_knows(upstream: str) -> None:
    action = {"type": "exec", "command": ["ls"]}
    items = [
        {"role": "user", "content": "q"},
        {"type": "local_shell_call", "call_id": "b", "status": "completed", "action": action},
        {"type": "function_call_output", "call_id": "b", "output": "files"},
    ]
    body = sent("openai_responses", {"input": items}, upstream)
    told = body.get("messages", body.get("contents"))
    assert told is not None
    assert {"user"} == {turn["role"] for turn in told}
    assert "<tool_result>\\nfiles\\n</tool_result>" in dumps(told).decode()


def test_an_upstream_without_ids_gets_the_results_of_one_function_in_order() -> None:
    def call(ident: str) -> dict[str, Any]:
        function = {"name": "look", "arguments": "{}"}
        return {"id": ident, "type": "function", "function": function}

    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [call("a"), call("b")]},
        {"role": "tool", "tool_call_id": "b", "content": "rb"},
        {"role": "tool", "tool_call_id": "a", "content": "ra"},
    ]
    body = sent("openai_chat", {"messages": messages}, "ollama")
    assert ["ra", "rb"] == [turn["content"] for turn in body["messages"][2:]]
