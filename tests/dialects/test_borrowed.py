"""Clients of Chat that mark what Claude's prompt cache shall keep, as OpenRouter and LiteLLM do."""

from __future__ import annotations

from typing import Any

import pytest

from engine.dialects.profile import Profile, ToolProfile

from .crossing import sent

C, A = "openai_chat", "anthropic_messages"
MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
PNG = "data:image/png;base64,iVBORw0KGgo="


def text(words: str, mark: object = None) -> dict[str, Any]:
    return {"type": "text", "text": words} | ({"cache_control": mark} if mark else {})


def user(*content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": [*content], **fields}


def asked(*turns: dict[str, Any], profile: Profile | None = None, **fields: Any) -> dict[str, Any]:
    body = {"messages": [*turns], **fields}
    held: list[Any] = []
    made: dict[str, Any] = sent(C, body, A, profile or Profile(), request=held)
    made["dropped"] = held[0].dropped
    return made


def test_marks_of_parts_reach_messages() -> None:
    image = {"type": "image_url", "image_url": {"url": PNG}, "cache_control": HOUR}
    body = asked(user(text("a", MARK), image, text("b")))
    one, two, three = body["messages"][0]["content"]
    assert (MARK, HOUR) == (one["cache_control"], two["cache_control"])
    assert {"type": "text", "text": "b"} == three
    assert [] == body["dropped"]


def test_marks_of_system_texts_keep_them_apart() -> None:
    system = {"role": "system", "content": [text("a"), text(""), text("long", HOUR), text("b")]}
    body = asked(system, user(text("hi")))
    assert [text("a"), text("long", HOUR), text("b")] == body["system"]
    assert [] == body["dropped"]


def test_a_single_marked_system_text_is_a_block() -> None:
    body = asked({"role": "system", "content": [text("a", MARK)]}, user(text("hi")))
    assert [text("a", MARK)] == body["system"]


def test_a_system_message_of_later_keeps_its_mark() -> None:
    later = {"role": "system", "content": [text("now"), text("b", MARK)]}
    body = asked(user(text("hi")), later)
    (turn,) = body["messages"]
    assert [text("hi"), text("<system>\nnow\n\nb\n</system>", MARK)] == turn["content"]


@pytest.mark.parametrize("role", ["system", "user"])
def test_the_mark_of_a_message_stands_on_its_last_block(role: str) -> None:
    marked = {"role": role, "content": "a", "cache_control": MARK}
    body = asked(marked, user(text("b")))
    first = body["system"] if role == "system" else body["messages"][0]["content"]
    assert text("a", MARK) == first[0]
    listed = asked(user(text("a"), text("b", HOUR), cache_control=MARK))
    assert [text("a"), text("b", HOUR)] == listed["messages"][0]["content"]


def test_marks_of_tools_calls_and_results_reach_messages() -> None:
    call = {"id": "c1", "type": "function", "cache_control": MARK,
            "function": {"name": "look", "arguments": "{}"}}  # fmt: skip
    beside = {"type": "function", "cache_control": MARK,
              "function": {"name": "look", "parameters": {"type": "object"}}}  # fmt: skip
    inside = {"type": "function", "function": {"name": "see", "cache_control": HOUR}}
    body = asked(
        user(text("a")),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [text("", None), text("x", HOUR)]},
        tools=[beside, inside],
    )
    made, result = body["messages"][1]["content"][0], body["messages"][2]["content"][0]
    assert ("tool_use", MARK) == (made["type"], made["cache_control"])
    assert {"type": "tool_result", "tool_use_id": "c1", "content": "x",
            "cache_control": HOUR} == result  # fmt: skip
    assert [MARK, HOUR] == [tool["cache_control"] for tool in body["tools"]]
    assert [] == body["dropped"]


def test_results_of_marked_turns_follow_the_order_of_the_calls() -> None:
    def call(ident: str) -> dict[str, Any]:
        return {"id": ident, "type": "function", "function": {"name": "look", "arguments": "{}"}}

    def result(ident: str) -> dict[str, Any]:
        return {"role": "tool", "tool_call_id": ident, "content": "x", "cache_control": MARK}

    called = {"role": "assistant", "tool_calls": [call("a"), call("b")], "cache_control": MARK}
    body = asked(user(text("q", MARK)), called, result("b"), result("a"))
    assert [("a", MARK), ("b", MARK)] == [
        (found["tool_use_id"], found["cache_control"]) for found in body["messages"][2]["content"]
    ]


def test_custom_tools_that_go_as_functions_keep_their_marks() -> None:
    tool = {"type": "custom", "custom": {"name": "apply"}, "cache_control": MARK}
    call = {"id": "c1", "type": "custom", "custom": {"name": "apply", "input": "x"},
            "cache_control": HOUR}  # fmt: skip
    body = asked(
        user(text("a")),
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
        tools=[tool],
        profile=Profile(tools=ToolProfile(custom=False)),
    )
    assert MARK == body["tools"][0]["cache_control"]
    assert HOUR == body["messages"][1]["content"][0]["cache_control"]


def test_the_mark_of_an_empty_text_moves_to_the_block_before() -> None:
    body = asked(user(text("a"), text(" ", MARK)), user(text("b")))
    assert text("a", MARK) == body["messages"][0]["content"][0]


def test_a_mark_that_has_no_place_is_named() -> None:
    empty = {"role": "assistant", "content": "", "cache_control": MARK}
    body = asked(user(text("", MARK), text("a")), empty, user(text("b")))
    assert ["text.cache_control", "messages.cache_control"] == body["dropped"]
    assert b"cache_control" not in repr(body["messages"]).encode()


def test_the_mark_of_a_whole_request_reaches_messages() -> None:
    body = asked(user(text("a")), cache_control=MARK)
    assert (MARK, []) == (body["cache_control"], body["dropped"])


@pytest.mark.parametrize("target", ["openai_responses", "gemini", "ollama"])
def test_apis_without_such_marks_have_them_named(target: str) -> None:
    tool = {"type": "function", "function": {"name": "see", "cache_control": MARK}}
    body = {"messages": [user(text("a", MARK), cache_control=MARK)], "tools": [tool],
            "cache_control": MARK}  # fmt: skip
    held: list[Any] = []
    made = sent(C, body, target, request=held)
    named = ["messages.cache_control", "text.cache_control", "tools.cache_control", "cache_control"]
    assert named == held[0].dropped
    assert "cache_control" not in repr(made)


def test_clients_of_messages_hint_only() -> None:
    held: list[Any] = []
    body = {"messages": [user(text("a", MARK))], "cache_control": MARK}
    sent(A, body, C, request=held)
    assert [] == held[0].dropped


def test_chat_upstreams_get_marks_as_they_came() -> None:
    body = {"messages": [user(text("a", MARK))]}
    assert body["messages"] == sent(C, body, C)["messages"]
