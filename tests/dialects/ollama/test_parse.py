from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.chat import (
    ChatRequest,
    Media,
    Message,
    Output,
    Reasoning,
    Sampling,
    Text,
    Think,
    Tool,
    ToolCall,
    ToolResult,
)
from engine.dialects.ollama.parse import image_type, parse
from engine.errors import RequestError
from engine.wire import dumps
from tests.dialects.ollama.bodies import JPEG, PNG
from tests.dialects.openai_chat.bodies import json_values

NAME = "ollama"
HI = {"role": "user", "content": "hi"}


def chat(**fields: Any) -> ChatRequest:
    return parse(dumps({"model": "m", "messages": [HI], **fields}))


def turns(*messages: dict[str, Any]) -> list[Message]:
    return chat(messages=list(messages)).messages


def refused(**fields: Any) -> tuple[str, str, str | None]:
    with pytest.raises(RequestError) as caught:
        chat(**fields)
    return caught.value.kind, caught.value.message, caught.value.param


def test_the_least_request_streams() -> None:
    assert chat() == ChatRequest(
        dialect=NAME,
        model="m",
        messages=[Message("user", [Text("hi")])],
        stream=True,
        want_usage=True,
    )
    assert chat(stream=False).stream is False


def test_options_are_limits_and_sampling_and_what_is_left_stays() -> None:
    known = {
        "temperature": 0.5, "top_p": 0.9, "top_k": 40, "seed": 7, "presence_penalty": 1,
        "frequency_penalty": 2, "num_predict": 99, "stop": ["x"],
    }  # fmt: skip
    found = chat(options={**known, "num_ctx": 32768})
    assert found.sampling == Sampling(0.5, 0.9, 40, 1, 2, 7)
    assert found.out == Output(max_tokens=99, stop=["x"])
    assert found.extras == {"options": {"num_ctx": 32768}}
    assert chat(options=known).extras == {}


def test_no_limit_at_all_is_none() -> None:
    found = chat(options={"num_predict": -1, "stop": "x"})
    assert (found.out.max_tokens, found.out.stop) == (None, ["x"])
    assert found.extras == {"options": {"num_predict": -1}}


@pytest.mark.parametrize(
    ("value", "think"),
    [
        (True, Think(mode="on")),
        (False, Think(mode="off")),
        ("high", Think(mode="on", effort="high")),
        (None, Think()),
    ],
)
def test_thinking(value: object, think: Think) -> None:
    assert chat(think=value).think == think


def test_formats() -> None:
    assert chat(format="json").out.format == "json"
    schema = {"type": "object"}
    found = chat(format=schema)
    assert (found.out.format, found.out.schema) == ("schema", schema)
    assert (chat(format="").out, chat(format="").extras) == (Output(), {})


def test_logprobs() -> None:
    assert chat(logprobs=True, top_logprobs=3).out.logprobs == 3
    assert chat(logprobs=True).out.logprobs == 0
    assert chat(top_logprobs=3).out.logprobs is None


def test_images_have_no_prefix_and_their_type_is_read_off_them() -> None:
    (message,) = turns({**HI, "images": [PNG, JPEG]})
    assert message.parts == [
        Text("hi"),
        Media("image", mime="image/png", data=PNG),
        Media("image", mime="image/jpeg", data=JPEG),
    ]
    kinds = ["R0lGODlhAQ==", "UklGRhIAAABXRUJQ", "Qk1GAAAA", "AAAA"]
    found = [image_type(data) for data in kinds]
    assert found == ["image/gif", "image/webp", "image/bmp", "image/png"]


def test_tools() -> None:
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}, "x": 1}
    (tool,) = chat(tools=[{"type": "function", "function": function}]).tools
    extras: dict[str, object] = {"function": {"x": 1}}
    assert tool == Tool("f", "d", {"type": "object"}, extras=extras)


def call(name: str, **more: object) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": {"a": 1}}, **more}


def test_calls_get_an_id_by_their_place_and_results_the_call_of_their_name() -> None:
    asked = {"role": "assistant", "content": "", "tool_calls": [call("f"), call("g"), call("f")]}
    told = [{"role": "tool", "content": name, "tool_name": name} for name in ("g", "f", "f")]
    _, first, *rest = turns(HI, asked, *told)
    assert first.parts == [ToolCall(f"call_{at}", name, '{"a":1}') for at, name in enumerate("fgf")]
    results = [message.parts for message in rest]
    assert results == [
        [ToolResult("call_1", [Text("g")], name="g")],
        [ToolResult("call_0", [Text("f")], name="f")],
        [ToolResult("call_2", [Text("f")], name="f")],
    ]


def test_given_ids_are_kept() -> None:
    asked = {"role": "assistant", "tool_calls": [call("f", id="a"), call("f", id="b")]}
    _, first, told = turns(HI, asked, {"role": "tool", "content": "x", "tool_call_id": "b"})
    assert [part.id for part in first.parts if isinstance(part, ToolCall)] == ["a", "b"]
    assert told.parts == [ToolResult("b", [Text("x")], name="f")]


def test_results_without_a_name_or_a_call() -> None:
    asked = {"role": "assistant", "tool_calls": [call("f")]}
    *_, one, two = turns(HI, asked, *[{"role": "tool", "content": "x"}] * 2)
    assert one.parts == [ToolResult("call_0", [Text("x")], name="f")]
    assert two.parts == [ToolResult("call_1", [Text("x")])]


def test_thinking_of_earlier_turns() -> None:
    (_, message) = turns(HI, {"role": "assistant", "content": "a", "thinking": "t"})
    assert message.parts == [Reasoning("t"), Text("a")]


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"messages": {}}, "messages"),
        ({"messages": ["a"]}, "messages[0]"),
        ({"messages": [{"role": "bot"}]}, "messages[0].role"),
        ({"messages": [{**HI, "content": []}]}, "messages[0].content"),
        ({"messages": [{**HI, "images": [1]}]}, "messages[0].images[0]"),
        ({"messages": [{**HI, "images": ["x"]}]}, "messages[0].images[0]"),
        ({"messages": [{**HI, "images": ["data:image/png;base64,AA"]}]}, "messages[0].images[0]"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
            "messages[0].tool_calls[0].function.name",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {
                "name": "f", "arguments": "{}"}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"tools": [{"type": "mcp"}]}, "tools[0].type"),
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"format": "xml"}, "format"),
        ({"think": 3}, "think"),
        ({"stream": "yes"}, "stream"),
        ({"model": ""}, "model"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(fields: dict[str, Any], where: str) -> None:
    kind, _, param = refused(**fields)
    assert (kind, param) == ("bad_request", where)


@given(
    st.dictionaries(
        st.sampled_from(["model", "messages", "tools", "options", "format", "think", "stream"]),
        json_values,
    )
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_any_json_is_read_or_refused(body: dict[str, Any]) -> None:
    with suppress(RequestError):
        parse(dumps(body))
