from __future__ import annotations

import dataclasses
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from engine.chat import (
    ChatRequest,
    Media,
    Message,
    Opaque,
    Output,
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
from engine.dialects.openai_chat.parse import parse_value
from engine.dialects.openai_chat.render import messages, render, tool_choice, tools
from engine.dialects.profile import Profile
from engine.errors import RequestError
from tests.dialects.openai_chat.bodies import requests


def expected(body: dict[str, Any]) -> dict[str, Any]:
    """A body as it must come back: usage asked for in streams, null content where it is absent."""
    out: dict[str, Any] = {**body, "messages": [expected_message(m) for m in body["messages"]]}
    if body.get("stream"):
        out["stream_options"] = {**body.get("stream_options", {}), "include_usage": True}
    else:
        out.pop("stream_options", None)
    return out


def expected_message(message: dict[str, Any]) -> dict[str, Any]:
    if message["role"] == "assistant":
        return {"content": None, **message}
    return message


@given(requests)
@settings(max_examples=300, deadline=None)
def test_a_request_comes_back_as_it_was(body: dict[str, Any]) -> None:
    before = orjson.dumps(body)
    assert expected(body) == render(parse_value(body), body["model"])
    assert before == orjson.dumps(body), "the input was changed"


def chat(body: dict[str, Any]) -> ChatRequest:
    return parse_value({"model": "m", "messages": [{"role": "user", "content": "hi"}], **body})


def foreign(*items: Message, **fields: Any) -> ChatRequest:
    found = list(items) or [Message("user", [Text("hi")])]
    return ChatRequest(dialect="anthropic_messages", model="m", messages=found, **fields)


def test_the_model_is_the_one_that_was_given() -> None:
    assert render(chat({}), "other")["model"] == "other"


def test_the_output_limit_goes_under_the_name_that_the_client_used() -> None:
    assert render(chat({"max_tokens": 5}), "m")["max_tokens"] == 5
    assert render(chat({"max_completion_tokens": 5}), "m")["max_completion_tokens"] == 5


def test_the_output_limit_goes_under_the_name_that_the_profile_demands() -> None:
    body = render(chat({"max_tokens": 5}), "m", Profile(max_tokens_field="max_completion_tokens"))
    assert body["max_completion_tokens"] == 5
    assert "max_tokens" not in body


def test_the_output_limit_of_a_foreign_client_is_max_tokens() -> None:
    assert render(foreign(out=Output(max_tokens=7)), "m")["max_tokens"] == 7


def test_of_two_output_limits_the_current_one_is_sent() -> None:
    body = render(chat({"max_tokens": 5, "max_completion_tokens": 6}), "m")
    assert (body.get("max_tokens"), body["max_completion_tokens"]) == (None, 6)


def test_what_a_transform_changed_wins_over_the_clients_spelling() -> None:
    request = chat({"max_tokens": 5, "stop": "a", "response_format": {"type": "json_object"}})
    request = dataclasses.replace(request, out=Output(max_tokens=9, stop=["b"]))
    body = render(request, "m")
    assert (body["max_tokens"], body["stop"], "response_format" in body) == (9, ["b"], False)


def test_a_limit_that_a_transform_took_away_is_not_sent() -> None:
    body = render(dataclasses.replace(chat({"max_tokens": 5, "stop": "a"}), out=Output()), "m")
    assert set() == {"max_tokens", "max_completion_tokens", "stop"} & set(body)


@pytest.mark.parametrize("usage", [True, False])
def test_usage_is_asked_for_in_streams_unless_the_profile_forbids(usage: bool) -> None:
    body = render(chat({"stream": True}), "m", Profile(usage_in_stream=usage))
    assert ({"include_usage": True} if usage else None) == body.get("stream_options")


def test_a_stream_asked_for_by_the_engine_is_asked_for() -> None:
    request = dataclasses.replace(chat({"stream": False}), stream=True)
    assert True is render(request, "m")["stream"]


def test_tool_choice_without_tools_is_not_sent() -> None:
    body = render(chat({"tools": [], "tool_choice": "auto", "parallel_tool_calls": False}), "m")
    assert set() == {"tools", "tool_choice", "parallel_tool_calls"} & set(body)


def test_legacy_functions_become_tools() -> None:
    body = render(
        chat({"functions": [{"name": "f", "parameters": {}}], "function_call": {"name": "f"}}), "m"
    )
    function = {"type": "function", "function": {"name": "f", "parameters": {}}}
    assert [function] == body["tools"]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert set() == {"functions", "function_call"} & set(body)


def test_fields_of_another_dialect_are_named_and_not_sent() -> None:
    request = foreign(
        sampling=Sampling(top_k=3), extras={"context_management": {"edits": []}, "store": True}
    )
    body = render(request, "m")
    assert request.dropped == ["context_management", "top_k"]
    assert set() == {"context_management", "top_k", "store"} & set(body)


def test_rendering_again_does_not_name_a_dropped_field_twice() -> None:
    request = foreign(extras={"context_management": 1})
    render(request, "m")
    render(request, "m")
    assert request.dropped == ["context_management"]


def test_the_profile_may_forward_fields_of_another_dialect() -> None:
    request = foreign(sampling=Sampling(top_k=3), extras={"thinking": 1})
    body = render(request, "m", Profile(forward_extras=["thinking", "top_k"]))
    assert (body["thinking"], body["top_k"], request.dropped) == (1, 3, [])


@pytest.mark.parametrize(
    ("think", "effort"),
    [
        (Think(effort="max"), "max"),
        (Think(mode="off"), "none"),
        (Think(mode="on"), "medium"),
        (Think(mode="adaptive"), None),
        (Think(show=True), None),
        (Think(budget=1024), "low"),
        (Think(budget=1025), "medium"),
        (Think(budget=24576), "high"),
        (Think(budget=30000), "xhigh"),
    ],
)
def test_a_thinking_budget_becomes_an_effort(think: Think, effort: str | None) -> None:
    assert effort == render(foreign(think=think), "m").get("reasoning_effort")


def test_a_foreign_schema_becomes_a_response_format() -> None:
    out = Output(format="schema", schema={"type": "object"}, strict=True)
    spec = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    body = render(foreign(out=out), "m")
    assert {"type": "json_schema", "json_schema": spec} == body["response_format"]


def test_foreign_output_options_are_said_in_this_dialect() -> None:
    body = render(foreign(out=Output(format="json", n=2, logprobs=3, stop=["x"])), "m")
    assert (
        body["response_format"], body["n"], body["logprobs"], body["top_logprobs"], body["stop"],
    ) == ({"type": "json_object"}, 2, True, 3, ["x"])  # fmt: skip


# ---- messages ----


def test_row_24_tool_results_come_before_the_text_of_the_same_turn() -> None:
    turn = Message("user", [ToolResult("a", [Text("1")]), ToolResult("b", []), Text("go on")])
    assert messages([turn]) == [
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": ""},
        {"role": "user", "content": "go on"},
    ]


def test_row_23_pictures_of_tool_results_follow_after_all_results() -> None:
    picture = Media("image", mime="image/png", data="AAAA")
    turns = [
        Message("tool", [ToolResult("a", [Text("look"), picture])]),
        Message("tool", [ToolResult("b", [picture])]),
    ]
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    found = messages(turns)
    assert found == [
        {"role": "tool", "tool_call_id": "a", "content": "look\n[image attached]"},
        {"role": "tool", "tool_call_id": "b", "content": "[image attached]"},
        {"role": "user", "content": [image, image]},
    ]
    assert [*found, {"role": "assistant", "content": "ok"}] == messages(
        [*turns, Message("assistant", [Text("ok")])]
    )


def test_a_failed_tool_result_says_so() -> None:
    turn = Message("user", [ToolResult("a", [Text("no file")], is_error=True)])
    assert messages([turn]) == [{"role": "tool", "tool_call_id": "a", "content": "Error: no file"}]


def test_an_assistant_turn_of_several_texts_is_one_string() -> None:
    turn = Message("assistant", [Text("a"), ToolCall("c", "f", ""), Text("b")])
    assert messages([turn]) == [
        {
            "role": "assistant",
            "content": "ab",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        }
    ]


@pytest.mark.parametrize(
    ("form", "wanted"), [("null", {"content": None}), ("empty", {"content": ""}), ("omit", {})]
)
def test_missing_content_takes_the_form_of_the_profile(form: Any, wanted: dict[str, Any]) -> None:
    turn = Message("assistant", [ToolCall("c", "f", "{}")])
    (found,) = messages([turn], Profile(null_content=form))
    assert isinstance(found, dict)
    assert wanted == {name: value for name, value in found.items() if name == "content"}


def test_the_developer_role_can_become_system() -> None:
    turn = Message("developer", [Text("be brief")])
    assert messages([turn]) == [{"role": "developer", "content": "be brief"}]
    renamed = messages([turn], Profile(developer_role="system"))
    assert renamed == [{"role": "system", "content": "be brief"}]


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("as_sent", {"reasoning_content": "hm"}),
        ("reasoning", {"reasoning": "hm"}),
        ("none", {}),
    ],
)
def test_earlier_reasoning_goes_into_the_field_of_the_profile(
    field: Any, wanted: dict[str, str]
) -> None:
    turn = Message("assistant", [Reasoning("hm", signature="s"), Reasoning(""), Text("a")])
    found = messages([turn], Profile(reasoning_field=field))
    assert [{"role": "assistant", "content": "a", **wanted}] == found


def test_several_texts_may_be_joined() -> None:
    turn = Message("user", [Text("a"), Text("b")], extras={"content": None})
    image = Message("user", [Text("a"), Media("image", url="https://x")])
    joined = Profile(join_text=" ")
    assert messages([turn], joined) == [{"role": "user", "content": "a b"}]
    assert messages([image], joined) == messages([image])


def test_foreign_opaque_parts_are_dropped_and_named() -> None:
    request = foreign(
        Message("user", [Text("a"), Opaque("anthropic_messages", "search_result", {})])
    )
    assert render(request, "m")["messages"] == [{"role": "user", "content": "a"}]
    assert request.dropped == ["search_result"]


def test_a_refusal_of_another_dialect_is_a_refusal() -> None:
    turn = Message("assistant", [Refusal("no")])
    assert messages([turn]) == [{"role": "assistant", "content": None, "refusal": "no"}]


@pytest.mark.parametrize(
    ("media", "message"),
    [
        (Media("image", file_id="f"), "image by file id cannot be sent to this upstream"),
        (Media("video", file_id="f"), "video by file id cannot be sent to this upstream"),
        (Media("audio", url="https://x"), "audio by URL cannot be sent to this upstream"),
        (Media("file", url="https://x"), "a file by URL cannot be sent to this upstream"),
    ],
)
def test_media_that_cannot_be_said_are_refused(media: Media, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        messages([Message("user", [media])])
    assert ("unsupported", message) == (caught.value.kind, caught.value.message)


# ---- tools ----


def test_a_foreign_tool_has_the_shape_of_this_dialect() -> None:
    tool = Tool("f", "does", {"type": "object"}, raw={"name": "f", "input_schema": {}})
    assert tools([tool]) == [
        {
            "type": "function",
            "function": {"name": "f", "description": "does", "parameters": {"type": "object"}},
        }
    ]


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (ToolChoice("required"), "required"),
        (ToolChoice("named", ["f"]), {"type": "function", "function": {"name": "f"}}),
        (
            ToolChoice("named", ["g"], {"type": "custom", "custom": {"name": "f"}}),
            {"type": "custom", "custom": {"name": "g"}},
        ),
        (ToolChoice("other", raw="some_word"), "some_word"),
        (ToolChoice("other", raw={"type": "tool_group", "groups": []}), "auto"),
        (ToolChoice("named"), "auto"),
    ],
)
def test_tool_choices(choice: ToolChoice, wanted: object) -> None:
    assert wanted == tool_choice(choice)


def test_the_profile_leaves_the_effort_out_for_models_that_do_not_reason() -> None:
    request = foreign(think=Think(effort="high"))
    assert render(request, "m")["reasoning_effort"] == "high"
    assert "reasoning_effort" not in render(request, "m", Profile(reasoning_effort="drop"))


def test_row_31_later_system_messages_go_where_the_profile_says() -> None:
    given = [Message("user", [Text("hi")]), Message("system", [Text("S")])]
    user = {"role": "user", "content": "hi"}
    system = {"role": "system", "content": "S"}
    assert messages(given) == [user, system]
    assert messages(given, Profile(later_system="lift")) == [system, user]
    told = {"role": "user", "content": "<system>\nS\n</system>"}
    assert messages(given, Profile(later_system="user")) == [user, told]


def test_extras_and_hosted_tools_of_another_dialect_stay_behind() -> None:
    text = Text("hi", extras={"cache_control": {}})
    message = Message("user", [text], extras={"content": []}, dialect="anthropic_messages")
    assert messages([message]) == [{"role": "user", "content": "hi"}]
    hosted = Tool("web_search_2026", kind="hosted", raw={}, dialect="anthropic_messages")
    with pytest.raises(RequestError, match="web_search_2026"):
        tools([hosted])
