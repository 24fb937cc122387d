from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chat import (
    ChatRequest,
    Media,
    Message,
    Opaque,
    Output,
    Part,
    Reasoning,
    Sampling,
    Text,
    Think,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from engine.dialects.anthropic_messages.parse import parse
from engine.errors import RequestError
from engine.wire import Headers, dumps
from tests.dialects.anthropic_messages.bodies import PNG, json_values

NAME = "anthropic_messages"
HI = {"role": "user", "content": "hi"}
LISTED: dict[str, object] = {"content": []}


def chat(headers: dict[str, str] | None = None, **fields: Any) -> ChatRequest:
    body = {"model": "m", "max_tokens": 9, "messages": [HI], **fields}
    return parse(dumps(body), Headers.of(headers or {}))


def parts(role: str, *blocks: object) -> list[Part]:
    (message,) = chat(messages=[{"role": role, "content": list(blocks)}]).messages
    assert (message.extras, message.dialect) == (LISTED, NAME)
    return message.parts


def refused(**fields: Any) -> tuple[str, str, str | None]:
    with pytest.raises(RequestError) as caught:
        chat(**fields)
    return caught.value.kind, caught.value.message, caught.value.param


def test_the_least_request() -> None:
    assert chat() == ChatRequest(
        dialect=NAME,
        model="m",
        messages=[Message("user", [Text("hi")])],
        out=Output(max_tokens=9),
        want_usage=True,
    )


def test_everything_at_the_top() -> None:
    request = chat(
        temperature=1, top_p=0.5, top_k=3, stop_sequences=["a"], stream=True,
        metadata={"user_id": "u"}, service_tier="auto", x_new=[1],
    )  # fmt: skip
    assert Sampling(temperature=1, top_p=0.5, top_k=3) == request.sampling
    assert (["a"], True, "u", {"user_id": "u"}) == (
        request.out.stop, request.stream, request.user, request.metadata,
    )  # fmt: skip
    assert {"service_tier": "auto", "x_new": [1]} == request.extras


def test_betas_come_from_the_header() -> None:
    assert ["a", "b"] == chat({"Anthropic-Beta": "a, b,"}).extras["betas"]
    assert "betas" not in chat().extras


def test_a_request_to_count_tokens_needs_no_limit() -> None:
    assert chat(max_tokens=None).out.max_tokens is None
    assert chat(max_tokens=0).out.max_tokens == 0


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("S", [Text("S")]),
        ([{"type": "text", "text": "S"}, {"type": "text", "text": "T"}], [Text("S"), Text("T")]),
    ],
)
def test_the_system_prompt_is_the_first_message(system: object, expected: list[Part]) -> None:
    first, second = chat(system=system).messages
    assert ("system", expected, "user") == (first.role, first.parts, second.role)


@pytest.mark.parametrize("nothing", [None, "", []])
def test_no_system_prompt_is_no_message(nothing: object) -> None:
    assert [Message("user", [Text("hi")])] == chat(system=nothing).messages


def test_row_36_the_billing_line_of_claude_code_concerns_only_this_api() -> None:
    line = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=1;"}
    system, _ = chat(system=[line, {"type": "text", "text": "S"}]).messages
    assert [Opaque(NAME, "billing_header", line), Text("S")] == system.parts
    assert system.text == "S"


def test_row_31_a_system_message_keeps_its_place() -> None:
    found = chat(messages=[HI, {"role": "system", "content": "mid"}]).messages
    assert [Message("user", [Text("hi")]), Message("system", [Text("mid")])] == found


def test_texts_keep_their_marks() -> None:
    mark = {"type": "ephemeral"}
    block = {"type": "text", "text": "a", "cache_control": mark}
    assert [Text("a", extras={"cache_control": mark})] == parts("user", block)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            {"type": "base64", "media_type": "image/png", "data": PNG},
            Media("image", mime="image/png", data=PNG),
        ),
        ({"type": "url", "url": "https://a"}, Media("image", url="https://a")),
        ({"type": "file", "file_id": "f"}, Media("image", file_id="f")),
        (
            {"type": "url", "url": "https://a", "x": 1},
            Media("image", url="https://a", extras={"source": {"x": 1}}),
        ),
    ],
)
def test_images(source: object, expected: Media) -> None:
    assert [expected] == parts("user", {"type": "image", "source": source})


def test_an_image_from_a_place_nobody_knows_is_opaque() -> None:
    raw = {"type": "image", "source": {"type": "moon"}}
    assert [Opaque(NAME, "image", raw)] == parts("user", raw)


def test_documents() -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0"}
    raw = {"type": "document", "source": source, "title": "T", "context": "c"}
    media = Media("file", mime="application/pdf", data="JVBERi0", name="T", extras={"context": "c"})
    assert [media] == parts("user", raw)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain",
                                            "data": "D"}, "title": "T", "context": "old"},
            "T\nold\nD",
        ),
        (
            {"type": "document", "source": {"type": "content",
                                            "content": [{"type": "text", "text": "D"}]}},
            "D",
        ),
        (
            {"type": "search_result", "source": "https://a", "title": "T",
             "content": [{"type": "text", "text": "D"}]},
            "T\nhttps://a\nD",
        ),
    ],
)  # fmt: skip
def test_documents_of_text_are_text_to_others(raw: dict[str, Any], text: str) -> None:
    assert [Text(text, extras={"block": raw})] == parts("user", raw)


def test_row_14_and_45_thinking_is_kept_whole() -> None:
    assert parts(
        "assistant",
        {"type": "thinking", "thinking": "", "signature": "s"},
        {"type": "thinking", "thinking": "t"},
        {"type": "redacted_thinking", "data": "d"},
    ) == [
        Reasoning("", signature="s", origin=NAME),
        Reasoning("t", origin=NAME),
        Reasoning(encrypted="d", origin=NAME),
    ]


def test_calls_and_their_results() -> None:
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1.5, "y": "é"}}
    assert [ToolCall("a", "f", '{"x":1.5,"y":"é"}')] == parts("assistant", call)
    blocks = [
        {"type": "tool_result", "tool_use_id": "a", "content": "r", "is_error": True},
        {"type": "tool_result", "tool_use_id": "b"},
        {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "t"}]},
    ]
    request = chat(messages=[{"role": "user", "content": blocks}])
    assert [
        ToolResult("a", [Text("r")], is_error=True),
        ToolResult("b"),
        ToolResult("c", [Text("t")], extras={"content": []}),
    ] == request.messages[0].parts
    assert request.messages[0].role == "tool"


def test_results_beside_text_are_the_users_turn() -> None:
    result = {"type": "tool_result", "tool_use_id": "a", "content": "r"}
    blocks = [result, {"type": "text", "text": "t"}]
    (message,) = chat(messages=[{"role": "user", "content": blocks}]).messages
    assert message.role == "user"


@pytest.mark.parametrize("kind", ["server_tool_use", "web_search_tool_result", "x_new"])
def test_row_53_blocks_of_the_providers_tools_are_opaque(kind: str) -> None:
    raw = {"type": kind, "id": "a", "name": "web_search", "input": {"q": 1}}
    assert [Opaque(NAME, kind, raw)] == parts("assistant", raw)


def test_tools() -> None:
    mark = {"type": "ephemeral"}
    hosted = {"type": "web_search_20260318", "name": "web_search"}
    found = chat(
        tools=[
            {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True,
             "cache_control": mark},
            {"type": "custom", "name": "g", "input_schema": {}},
            hosted,
        ]
    ).tools  # fmt: skip
    assert found == [
        Tool("f", "d", {"type": "object"}, strict=True, extras={"cache_control": mark}),
        Tool("g", schema={}, extras={"type": "custom"}),
        Tool("web_search_20260318", kind="hosted", raw=hosted),
    ]
    assert {NAME} == {tool.dialect for tool in found}


@pytest.mark.parametrize(
    ("raw", "mode", "names", "parallel"),
    [
        ({"type": "auto"}, "auto", [], None),
        ({"type": "any", "disable_parallel_tool_use": True}, "required", [], False),
        ({"type": "tool", "name": "f", "disable_parallel_tool_use": False}, "named", ["f"], True),
        ({"type": "none"}, "none", [], None),
        ({"type": "new"}, "other", [], None),
    ],
)
def test_tool_choice(raw: dict[str, Any], mode: Any, names: list[str], parallel: object) -> None:
    request = chat(tool_choice=raw)
    assert (ToolChoice(mode, names, raw), parallel) == (request.tool_choice, request.parallel)


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, Think("on", None, 2000)),
        ({"thinking": {"type": "disabled"}}, Think("off")),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, Think("adaptive", show=False)),
        ({"thinking": {"type": "between_tools"}}, Think("adaptive")),
        ({"thinking": {"type": "new"}}, Think()),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
            Think("adaptive", "high"),
        ),
    ],
)
def test_thinking(fields: dict[str, Any], think: Think) -> None:
    request = chat(**fields)
    assert (think, fields) == (request.think, request.extras)


def test_the_format_of_the_answer() -> None:
    config = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    out = chat(output_config=config).out
    assert ("schema", {"type": "object"}) == (out.format, out.schema)


BAD = "bad_request"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": ""}, (BAD, "model: must not be empty", "model")),
        ({"model": 1}, (BAD, "model: expected a string, got an integer", "model")),
        ({"messages": []}, (BAD, "messages: must not be empty", "messages")),
        ({"max_tokens": "9"}, (BAD, "max_tokens: expected an integer, got a string", "max_tokens")),
        ({"max_tokens": -1}, (BAD, "max_tokens: must not be negative", "max_tokens")),
        (
            {"thinking": {"type": []}},
            (BAD, "thinking.type: expected a string, got a list", "thinking.type"),
        ),
        ({"thinking": "on"}, (BAD, "thinking: expected an object, got a string", "thinking")),
        (
            {"stop_sequences": ["a", 1]},
            (BAD, "stop_sequences[1]: expected a string, got an integer", "stop_sequences[1]"),
        ),
        (
            {"tools": [{"description": "d"}]},
            (BAD, "tools[0].name: expected a string, got nothing", "tools[0].name"),
        ),
        (
            {"tools": [{"type": 1}]},
            (BAD, "tools[0].type: expected a string, got an integer", "tools[0].type"),
        ),
        (
            {"tool_choice": {"type": "tool"}},
            (BAD, "tool_choice.name: expected a string, got nothing", "tool_choice.name"),
        ),
        (
            {"system": 1},
            (BAD, "system: expected a string or a list of blocks, got an integer", "system"),
        ),
        (
            {"messages": [{"role": "tool", "content": "x"}]},
            (
                BAD,
                "messages[0].role: expected one of user, assistant, system, got 'tool'",
                "messages[0].role",
            ),
        ),
        (
            {"messages": [{"role": "user"}]},
            (
                BAD,
                "messages[0].content: expected a string or a list of blocks, got nothing",
                "messages[0].content",
            ),
        ),
        (
            {"messages": [HI, {"role": "user", "content": [{"type": "text"}]}]},
            (
                BAD,
                "messages[1].content[0].text: expected a string, got nothing",
                "messages[1].content[0].text",
            ),
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": 5}]}]},
            (
                BAD,
                "messages[0].content[0].source: expected an object, got an integer",
                "messages[0].content[0].source",
            ),
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f"}]}
                ]
            },
            (
                BAD,
                "messages[0].content[0].input: expected an object, got nothing",
                "messages[0].content[0].input",
            ),
        ),
    ],
)
def test_what_is_wrong_is_refused_by_place(
    fields: dict[str, Any], error: tuple[str, str, str]
) -> None:
    assert error == refused(**fields)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"a"', b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="the request body"):
        parse(body, Headers())


TOP = ["model", "messages", "system", "tools", "tool_choice", "stop_sequences", "thinking",
       "stream", "output_config", "metadata", "max_tokens", "temperature"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(TOP), json_values))
@settings(max_examples=300, deadline=None)
def test_no_object_does_worse_than_being_refused(fields: dict[str, Any]) -> None:
    with suppress(RequestError):
        chat(**fields)


KINDS = ["text", "image", "document", "search_result", "thinking", "redacted_thinking",
         "tool_use", "tool_result", "x"]  # fmt: skip


@given(json_values, st.sampled_from(KINDS), st.sampled_from(["user", "assistant", "system"]))
@settings(max_examples=400, deadline=None)
def test_no_block_does_worse_than_being_refused(value: Any, kind: str, role: str) -> None:
    fields = value if isinstance(value, dict) else {"text": value, "source": value}
    with suppress(RequestError):
        chat(messages=[{"role": role, "content": [{"type": kind, **fields}]}])
