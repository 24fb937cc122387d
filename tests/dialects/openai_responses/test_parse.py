from __future__ import annotations

from typing import Any

import pytest

from engine.chat import (
    Media,
    Message,
    Opaque,
    Output,
    Part,
    Reasoning,
    Refusal,
    Text,
    Think,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from engine.dialects.openai_responses.parse import asks, parse, parse_value
from engine.errors import RequestError
from engine.wire import Headers, dumps

from .bodies import ANSWER, CODEX, PATCHED, SEARCH, THOUGHT, call, result, said, text

NAME = "openai_responses"


def read(**fields: Any) -> Any:
    return parse_value({"model": "m", "input": "hi", **fields})


def parts(*items: Any) -> list[Part]:
    return [part for message in read(input=[*items]).messages for part in message.parts]


def refused(**fields: Any) -> str:
    with pytest.raises(RequestError) as caught:
        read(**fields)
    assert caught.value.kind == "bad_request"
    return str(caught.value.param)


def test_a_string_is_the_users_turn() -> None:
    request = parse(dumps({"model": "m", "input": "hi", "stream": True}), Headers())
    assert [Message("user", [Text("hi")])] == request.messages
    assert (NAME, "m", True, True) == (
        request.dialect, request.model, request.stream, request.want_usage,
    )  # fmt: skip


def test_instructions_are_a_system_message() -> None:
    first, _ = read(instructions="be brief").messages
    assert ("system", "be brief") == (first.role, first.text)


def test_codex_is_understood() -> None:
    request = parse_value(CODEX)
    roles = [message.role for message in request.messages]
    assert ["developer", "developer", "user", "user", "assistant", "tool"] == roles
    kinds = [type(part) for part in request.messages[4].parts]
    assert [Reasoning, Text, Refusal, ToolCall, ToolCall, ToolCall] == kinds
    assert ["c1", "c2", "c9"] == [p.call_id for p in request.messages[5].parts]  # type: ignore[union-attr]
    assert asks(request, "reasoning.encrypted_content")
    assert ["read", "patch", "agents__spawn", "agents__wait", "web_search"] == [
        tool.name for tool in request.tools
    ]
    assert {"a": "b"} == request.extras["client_metadata"]


# ---- items ----


def test_messages_may_leave_their_type_out() -> None:
    (message,) = read(input=[{"role": "user", "content": "a"}]).messages
    assert Message("user", [Text("a")]) == message


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (text("a"), Text("a")),
        (
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
            Media("image", mime="image/png", data="AAAA", detail="low"),
        ),
        ({"type": "input_image", "image_url": "https://a"}, Media("image", url="https://a")),
        ({"type": "input_image", "file_id": "f"}, Media("image", file_id="f")),
        (
            {
                "type": "input_file",
                "filename": "a.pdf",
                "file_data": "data:application/pdf;base64,A",
            },
            Media("file", mime="application/pdf", data="A", name="a.pdf"),
        ),
        ({"type": "input_file", "file_url": "https://a"}, Media("file", url="https://a")),
        (
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
            Media("audio", mime="audio/wav", data="AA"),
        ),
        ({"type": "new", "x": 1}, Opaque(NAME, "new", {"type": "new", "x": 1})),
    ],
)
def test_parts(part: dict[str, Any], expected: Part) -> None:
    assert [expected] == parts(said("user", part))


def test_an_answer_keeps_what_its_item_says() -> None:
    first, second = parts(ANSWER)
    assert isinstance(first, Text)
    assert {"phase": "commentary", "status": "completed", "content": []} == first.extras["item"]
    assert Refusal("no") == second


def test_thinking() -> None:
    assert [
        Reasoning("hm", ["hm"], encrypted="secret", id="rs_1", origin=NAME)
    ] == parts(THOUGHT)  # fmt: skip
    raw = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "a"}]}
    (part,) = parts(raw)
    assert isinstance(part, Reasoning)
    assert ("a", [], None) == (part.text, part.summary, part.encrypted)


def test_calls_and_their_results() -> None:
    assert [ToolCall("c", "read", '{"path": "a"}', extras={"status": "completed"})] == parts(
        call("c", status="completed")
    )
    assert [ToolCall("c9", "patch", "*** x", "custom")] == parts(PATCHED)
    assert [ToolResult("c", [Text("done")])] == parts(result("c"))
    assert [ToolResult("c", [Text("a")], extras={"output": []})] == parts(result("c", [text("a")]))


def test_a_call_of_a_namespace_has_a_name_of_its_own() -> None:
    (found,) = parts(call("c", "spawn", namespace="agents"))
    assert ToolCall(
        "c", "agents__spawn", '{"path": "a"}', extras={"namespace": "agents"}
    ) == found  # fmt: skip


def test_neighbours_of_one_turn_are_one_message() -> None:
    turns = read(input=[
        said("user", text("a")), THOUGHT, call("a"), ANSWER, call("b"), result("a"), result("b"),
        ANSWER, ANSWER, said("user", text("b")),
    ]).messages  # fmt: skip
    assert [1, 5, 2, 2, 2, 1] == [len(turn.parts) for turn in turns]


def test_what_nobody_knows_is_kept() -> None:
    item = {"type": "item_reference", "id": "msg_1"}
    assert [Opaque(NAME, "item_reference", item)] == parts(item)
    assert [Opaque(NAME, "item_reference", {"id": "x"})] == parts({"id": "x"})
    item = {"type": "local_shell_call_output", "id": "x", "output": ""}
    assert [Opaque(NAME, "local_shell_call_output", item)] == parts(item)


# ---- the rest of the body ----


def test_formats_and_limits() -> None:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    request = read(
        text={"format": form, "verbosity": "low"}, max_output_tokens=9, top_logprobs=3,
        include=["message.output_text.logprobs"],
    )  # fmt: skip
    assert Output(
        max_tokens=9, format="schema", schema={"type": "object"}, schema_name="n", strict=True,
        logprobs=3, verbosity="low",
    ) == request.out  # fmt: skip
    assert read(text={"format": {"type": "json_object"}}).out.format == "json"
    assert read(top_logprobs=3).out.logprobs is None


def test_thinking_that_is_asked_for() -> None:
    shown = read(reasoning={"effort": "high", "summary": "auto"}).think
    assert Think(effort="high", show=True) == shown
    assert Think(mode="off", effort="none") == read(reasoning={"effort": "none"}).think
    assert Think(show=True) == read(reasoning={"summary": "auto"}).think
    assert not Think(show=True).asked
    assert "pro" == read(reasoning={"mode": "pro"}).extras["reasoning.mode"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("auto", ToolChoice("auto")),
        ("required", ToolChoice("required")),
        ("new", ToolChoice("other", raw="new")),
        ({"type": "function", "name": "f"}, ToolChoice("named", ["f"])),
        ({"type": "custom", "name": "f"}, ToolChoice("named", ["f"])),
        ({"type": "function", "name": "f", "namespace": "n"}, ToolChoice("named", ["n__f"])),
        ({"type": "web_search"}, ToolChoice("other")),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
            ToolChoice("other", ["f"]),
        ),
    ],
)
def test_the_choice_of_tools(given: Any, expected: ToolChoice) -> None:
    found = read(tool_choice=given).tool_choice
    assert (expected.mode, expected.names) == (found.mode, found.names)


def test_the_providers_tools_are_as_they_came() -> None:
    (tool,) = read(tools=[SEARCH]).tools
    assert Tool("web_search", kind="hosted", raw=SEARCH, dialect=NAME) == tool


def test_null_is_as_good_as_nothing() -> None:
    request = read(previous_response_id=None, reasoning=None, tools=None, user=None)
    assert {"input": "hi"} == request.extras


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": 1}, "input"),
        ({"input": [1]}, "input[0]"),
        ({"input": [{"role": "robot", "content": ""}]}, "input[0].role"),
        ({"input": [{"role": 1, "content": ""}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [said("user", {"text": "a"})]}, "input[0].content[0].type"),
        ({"input": [said("user", {"type": "input_image"})]}, "input[0].content[0].image_url"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [result("c", 1)]}, "input[0].output"),
        ({"input": [{"type": "reasoning", "summary": [{}]}]}, "input[0].summary[0].text"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "namespace", "name": "n"}]}, "tools[0].tools"),
        ({"tools": [{"name": "n"}]}, "tools[0].type"),
        ({"tool_choice": {}}, "tool_choice.type"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"text": 1}, "text"),
        ({"text": {"format": {"type": "json_schema", "name": 1}}}, "text.format.name"),
        ({"text": {"format": {"type": []}}}, "text.format.type"),
        ({"reasoning": "high"}, "reasoning"),
        ({"previous_response_id": 1}, "previous_response_id"),
        ({"model": ""}, "model"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    assert param == refused(**fields)


def test_a_continuation_needs_no_input() -> None:
    assert [] == parse_value({"model": "m", "previous_response_id": "resp_1"}).messages
