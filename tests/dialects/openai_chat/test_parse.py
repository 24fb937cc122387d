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
    Refusal,
    Sampling,
    Text,
    Think,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from engine.dialects.foreign import legacy_tools
from engine.dialects.openai_chat.parse import parse
from engine.errors import RequestError
from engine.wire import Headers, dumps
from tests.dialects.openai_chat.bodies import json_values

HI = {"role": "user", "content": "hi"}


def chat(**fields: Any) -> ChatRequest:
    return parse(dumps({"model": "m", "messages": [HI], **fields}), Headers())


def parts(*messages: dict[str, Any]) -> list[list[Part]]:
    return [message.parts for message in chat(messages=list(messages)).messages]


def content(*items: dict[str, Any]) -> list[Part]:
    return parts({"role": "user", "content": list(items)})[0]


def test_the_smallest_request() -> None:
    assert chat() == ChatRequest("openai_chat", "m", [Message("user", [Text("hi")])])


def test_every_field_of_the_model_is_read() -> None:
    found = chat(
        stream=True, stream_options={"include_usage": True}, temperature=0, top_p=0.5, top_k=3,
        presence_penalty=1, frequency_penalty=-1, seed=7, logit_bias={"5": 1},
        max_completion_tokens=9, stop=["a"], n=2, logprobs=True, top_logprobs=4,
        reasoning_effort="high", parallel_tool_calls=False, user="u", metadata={"k": "v"},
    )  # fmt: skip
    assert found == ChatRequest(
        dialect="openai_chat",
        model="m",
        messages=[Message("user", [Text("hi")])],
        parallel=False,
        sampling=Sampling(0, 0.5, 3, 1, -1, 7, {"5": 1}),
        think=Think(effort="high"),
        out=Output(max_tokens=9, stop=["a"], n=2, logprobs=4),
        stream=True,
        want_usage=True,
        user="u",
        metadata={"k": "v"},
    )


def test_unknown_fields_stay_at_their_level() -> None:
    found = chat(
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "a", "mark": 1}], "cache": 2}
        ],
        tools=[{"type": "function", "function": {"name": "f", "deep": 3}, "flat": 4}],
        thinking={"type": "enabled"},
    )
    assert found.extras == {"thinking": {"type": "enabled"}}
    assert found.messages[0].extras == {"cache": 2, "content": []}
    assert [Text("a", extras={"mark": 1})] == found.messages[0].parts
    assert found.tools[0].extras == {"flat": 4, "function": {"deep": 3}}


def test_null_equals_absence() -> None:
    nothing = dict.fromkeys(
        ["stream", "stream_options", "temperature", "stop", "n", "tools", "tool_choice", "user",
         "max_tokens", "response_format", "logprobs", "reasoning_effort", "metadata"]
    )  # fmt: skip
    assert chat() == chat(**nothing)


def test_effort_none_switches_thinking_off() -> None:
    assert Think("off", "none") == chat(reasoning_effort="none").think


@pytest.mark.parametrize(
    ("form", "read"),
    [
        ({"type": "text"}, ("text", None, None, None)),
        ({"type": "json_object"}, ("json", None, None, None)),
        (
            {"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "strict": True}},
            ("schema", {}, "a", True),
        ),
        ({"type": "grammar"}, (None, None, None, None)),
    ],
)
def test_response_formats(form: dict[str, Any], read: tuple[Any, ...]) -> None:
    out = chat(response_format=form).out
    assert read == (out.format, out.schema, out.schema_name, out.strict)


# ---- messages ----


def test_content_in_all_its_kinds() -> None:
    assert content(
        {"type": "text", "text": ""},
        {"type": "image_url", "image_url": {"url": "https://a/b.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": "https://a/c.png"},
        {"type": "video_url", "video_url": {"url": "https://a/v.mp4"}},
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JV", "filename": "a"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "refusal", "refusal": "no"},
        {"type": "hologram", "depth": 3},
    ) == [
        Text(""),
        Media("image", url="https://a/b.png", detail="low"),
        Media("image", mime="image/png", data="AAAA"),
        Media("image", url="https://a/c.png"),
        Media("video", url="https://a/v.mp4"),
        Media("audio", mime="audio/wav", data="UklG"),
        Media("file", mime="application/pdf", data="JV", name="a"),
        Media("file", file_id="file-1"),
        Refusal("no"),
        Opaque("openai_chat", "hologram", {"type": "hologram", "depth": 3}),
    ]


def test_unknown_fields_of_a_picture_stay_where_they_are() -> None:
    (found,) = content({"type": "image_url", "image_url": {"url": "https://a", "max": 3}, "x": 1})
    assert Media("image", url="https://a", extras={"x": 1, "image_url": {"max": 3}}) == found


def test_an_assistant_turn() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    custom = {"id": "d", "type": "custom", "custom": {"name": "g", "input": "free"}, "x": 1}
    assert parts(
        {
            "role": "assistant",
            "reasoning_content": "hm",
            "content": "text",
            "refusal": "no",
            "tool_calls": [call, custom],
        }
    )[0] == [
        Reasoning("hm"),
        Text("text"),
        Refusal("no"),
        ToolCall("c", "f", '{"a":1}'),
        ToolCall("d", "g", "free", "custom", {"x": 1}),
    ]


def test_a_call_may_leave_its_type_and_its_arguments_out() -> None:
    call = {"id": "c", "function": {"name": "f"}}
    assert [ToolCall("c", "f", "")] == parts({"role": "assistant", "tool_calls": [call]})[0]


@pytest.mark.parametrize(
    ("fields", "part", "left"),
    [
        ({"reasoning": "a"}, Reasoning("a", extras={"field": "reasoning"}), {}),
        ({"reasoning_content": "a", "reasoning": "b"}, Reasoning("a"), {"reasoning": "b"}),
        (
            {"reasoning_content": "", "reasoning": "b"},
            Reasoning("b", extras={"field": "reasoning"}),
            {"reasoning_content": ""},
        ),
    ],
)
def test_row_16_reasoning_is_read_from_either_field(
    fields: dict[str, Any], part: Part, left: dict[str, Any]
) -> None:
    (message,) = chat(messages=[{"role": "assistant", "content": "x", **fields}]).messages
    assert [part, Text("x")] == message.parts
    assert left == message.extras


def test_row_44_an_assistant_without_content_has_no_text() -> None:
    assert parts({"role": "assistant", "content": None}, {"role": "assistant"}) == [[], []]


def test_a_tool_message() -> None:
    assert [ToolResult("c", [Text("42")])] == (
        parts({"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "42"}]})[0]
    )


def test_legacy_function_calls_get_ids_that_match() -> None:
    found = chat(
        messages=[
            HI,
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
        ],
        functions=[{"name": "f", "description": "d"}],
        function_call="auto",
    )
    assert [
        Message("assistant", [ToolCall("call_1", "f", "{}")]),
        Message("tool", [ToolResult("call_1", [Text("1")], name="f")], name="f"),
    ] == found.messages[1:]
    assert [Tool("f", "d")] == found.tools
    assert ToolChoice("auto") == found.tool_choice
    assert legacy_tools(found)
    assert not legacy_tools(chat())


# ---- tools ----


def test_tools_of_every_kind() -> None:
    hosted = {"type": "web_search", "filters": {}}
    found = chat(
        tools=[
            {
                "type": "function",
                "function": {
                    "name": "f",
                    "description": "d",
                    "parameters": {"a": 1},
                    "strict": True,
                },
            },
            {"type": "custom", "custom": {"name": "g", "format": {"type": "text"}}},
            hosted,
        ]
    ).tools
    assert found == [
        Tool("f", "d", {"a": 1}, strict=True),
        Tool("g", kind="custom", extras={"custom": {"format": {"type": "text"}}}),
        Tool("web_search", kind="hosted", raw=hosted),
    ]


@pytest.mark.parametrize(
    ("raw", "choice"),
    [
        ("required", ToolChoice("required")),
        ("sometimes", ToolChoice("other", raw="sometimes")),
        (
            {"type": "function", "function": {"name": "f"}},
            ToolChoice("named", ["f"], {"type": "function", "function": {"name": "f"}}),
        ),
        ({"type": "allowed_tools"}, ToolChoice("other", raw={"type": "allowed_tools"})),
    ],
)
def test_tool_choices(raw: object, choice: ToolChoice) -> None:
    assert choice == chat(tool_choice=raw).tool_choice


# ---- what is wrong with a request ----


def refused(body: bytes) -> tuple[str, str, str | None]:
    with pytest.raises(RequestError) as caught:
        parse(body, Headers())
    return caught.value.kind, caught.value.message, caught.value.param


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the request body is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"[1]", "the request body: expected an object, got a list"),
        (b"null", "the request body: expected an object, got null"),
        (b'"a"', "the request body: expected an object, got a string"),
    ],
)
def test_a_body_that_is_no_object_is_refused(body: bytes, message: str) -> None:
    assert ("bad_request", message, None) == refused(body)


def test_a_body_of_brackets_is_refused() -> None:
    kind, message, _ = refused(b"[" * 100_000)
    assert kind == "bad_request"
    assert message.startswith("the request body is not JSON")


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("fields", "where", "message"),
    [
        ({"model": None}, "model", "expected a string, got nothing"),
        ({"model": 5}, "model", "expected a string, got an integer"),
        ({"model": ""}, "model", "must not be empty"),
        ({"messages": None}, "messages", "expected a list, got nothing"),
        ({"messages": {}}, "messages", "expected a list, got an object"),
        ({"messages": []}, "messages", "must not be empty"),
        ({"messages": ["hi"]}, "messages[0]", "expected an object, got a string"),
        ({"stream": "yes"}, "stream", "expected true or false, got a string"),
        ({"stream": 1}, "stream", "expected true or false, got an integer"),
        ({"stream_options": []}, "stream_options", "expected an object, got a list"),
        (
            {"stream_options": {"include_usage": "x"}},
            "stream_options.include_usage",
            "expected true or false, got a string",
        ),
        ({"temperature": "hot"}, "temperature", "expected a number, got a string"),
        ({"temperature": True}, "temperature", "expected a number, got true or false"),
        ({"seed": 1.5}, "seed", "expected an integer, got a number"),
        ({"max_tokens": "5"}, "max_tokens", "expected an integer, got a string"),
        ({"n": 0}, "n", "must be at least 1"),
        ({"n": True}, "n", "expected an integer, got true or false"),
        ({"stop": 5}, "stop", "expected a list, got an integer"),
        ({"stop": ["a", 5]}, "stop[1]", "expected a string, got an integer"),
        ({"user": 5}, "user", "expected a string, got an integer"),
        ({"metadata": "x"}, "metadata", "expected an object, got a string"),
        ({"logprobs": 3}, "logprobs", "expected true or false, got an integer"),
        ({"response_format": "json"}, "response_format", "expected an object, got a string"),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema",
            "expected an object, got null",
        ),
        ({"tools": {}}, "tools", "expected a list, got an object"),
        ({"tools": [1]}, "tools[0]", "expected an object, got an integer"),
        ({"tools": [{}]}, "tools[0].type", "expected a string, got nothing"),
        (
            {"tools": [{"type": "function"}]},
            "tools[0].function",
            "expected an object, got null",
        ),
        (
            {"tools": [{"type": "function", "function": {}}]},
            "tools[0].function.name",
            "expected a string, got nothing",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
            "tools[0].function.parameters",
            "expected an object, got a list",
        ),
        ({"functions": [{}]}, "functions[0].name", "expected a string, got nothing"),
        (
            {"response_format": {"type": {}}},
            "response_format.type",
            "expected a string, got an object",
        ),
        ({"tool_choice": 3}, "tool_choice", "expected an object, got an integer"),
        (
            {"tool_choice": {"type": "function"}},
            "tool_choice.function",
            "expected an object, got null",
        ),
    ],
)
def test_wrong_fields_are_refused_by_name(fields: dict[str, Any], where: str, message: str) -> None:
    body = dumps({"model": "m", "messages": [HI], **fields})
    assert ("bad_request", f"{where}: {message}", where) == refused(body)


ROLES = "system, developer, user, assistant, tool, function"


@pytest.mark.parametrize(
    ("item", "where", "message"),
    [
        ({"content": "a"}, "role", f"expected one of {ROLES}, got null"),
        ({"role": "boss"}, "role", f"expected one of {ROLES}, got 'boss'"),
        ({"role": ["user"]}, "role", f"expected one of {ROLES}, got a list"),
        ({"role": "user"}, "content", "expected a string or a list of parts, got nothing"),
        (
            {"role": "user", "content": None},
            "content",
            "expected a string or a list of parts, got nothing",
        ),
        (
            {"role": "user", "content": 5},
            "content",
            "expected a string or a list of parts, got an integer",
        ),
        (
            {"role": "assistant", "content": {}},
            "content",
            "expected a string or a list of parts, got an object",
        ),
        ({"role": "user", "content": ["a"]}, "content[0]", "expected an object, got a string"),
        (
            {"role": "user", "content": [{"text": "a"}]},
            "content[0].type",
            "expected a string, got nothing",
        ),
        (
            {"role": "user", "content": [{"type": "text"}]},
            "content[0].text",
            "expected a string, got nothing",
        ),
        (
            {"role": "user", "content": [{"type": "text", "text": None}]},
            "content[0].text",
            "expected a string, got nothing",
        ),
        (
            {"role": "user", "content": [{"type": "image_url"}]},
            "content[0].image_url",
            "expected an object, got null",
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {}}]},
            "content[0].image_url.url",
            "expected a string, got nothing",
        ),
        (
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": 1}}]},
            "content[0].input_audio.data",
            "expected a string, got an integer",
        ),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_id": 1}}]},
            "content[0].file.file_id",
            "expected a string, got an integer",
        ),
        ({"role": "user", "content": "a", "name": 1}, "name", "expected a string, got an integer"),
        ({"role": "tool", "content": "a"}, "tool_call_id", "expected a string, got nothing"),
        (
            {"role": "assistant", "refusal": 1},
            "refusal",
            "expected a string, got an integer",
        ),
        (
            {"role": "assistant", "tool_calls": {}},
            "tool_calls",
            "expected a list, got an object",
        ),
        (
            {"role": "assistant", "tool_calls": [{**CALL, "id": None}]},
            "tool_calls[0].id",
            "expected a string, got nothing",
        ),
        (
            {"role": "assistant", "tool_calls": [{**CALL, "type": "magic"}]},
            "tool_calls[0].type",
            "expected function or custom, got 'magic'",
        ),
        (
            {
                "role": "assistant",
                "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}],
            },
            "tool_calls[0].function.arguments",
            "expected a string, got an object",
        ),
        (
            {"role": "assistant", "function_call": {"arguments": "{}"}},
            "function_call.name",
            "expected a string, got nothing",
        ),
    ],
)
def test_wrong_messages_are_refused_by_place(
    item: dict[str, Any], where: str, message: str
) -> None:
    body = dumps({"model": "m", "messages": [HI, item]})
    place = f"messages[1].{where}"
    assert ("bad_request", f"{place}: {message}", place) == refused(body)


@given(
    st.dictionaries(
        st.sampled_from(
            ["model", "messages", "tools", "tool_choice", "stop", "n", "stream", "logprobs",
             "response_format", "functions", "function_call", "stream_options", "top_logprobs"]
        ),
        json_values,
    )
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_no_object_does_worse_than_being_refused(fields: dict[str, Any]) -> None:
    with suppress(RequestError):
        parse(dumps({"model": "m", "messages": [HI], **fields}), Headers())


@given(json_values, st.sampled_from(["system", "user", "assistant", "tool", "function"]))
@settings(max_examples=300, deadline=None)
def test_no_message_does_worse_than_being_refused(value: Any, role: str) -> None:
    fields = value if isinstance(value, dict) else {"content": value, "tool_calls": value}
    with suppress(RequestError):
        chat(messages=[{"role": role, **fields}])
