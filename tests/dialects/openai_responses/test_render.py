from __future__ import annotations

from typing import Any

import pytest

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
from engine.dialects import DIALECTS
from engine.dialects.openai_responses.parse import parse_value
from engine.dialects.openai_responses.render import (
    messages,
    render,
    resumable,
    tool_choice,
    tools,
)
from engine.dialects.profile import Profile
from engine.dialects.written import write
from engine.errors import RequestError

from .bodies import ANSWER, CODEX, FUNCTION, PATCH, SEARCH, SPACE, THOUGHT, call, result, said, text

HI = Message("user", [Text("hi")])


def made(*turns: Message, **fields: Any) -> dict[str, Any]:
    return render(ChatRequest("openai_chat", "m", [*turns], **fields), "up")


def items(*parts: Part, role: Any = "assistant") -> list[Any]:
    return messages([Message(role, [*parts])])


# ---- its own ----


def test_codex_goes_on_as_it_came_but_for_ids() -> None:
    body = render(parse_value(CODEX), "up")
    given = [dict(item) for item in CODEX["input"]]
    for item in given:
        if item["type"] != "reasoning":
            item.pop("id", None)
        if item["type"] == "function_call":
            item.pop("status", None)
    assert {**CODEX, "model": "up", "input": given} == body


def test_every_field_of_its_own_goes_on() -> None:
    given: dict[str, Any] = {
        "model": "m", "input": [said("user", text("a"))], "instructions": "i", "temperature": 1,
        "top_p": 0.5, "max_output_tokens": 5, "user": "u", "metadata": {"a": "b"}, "x_new": 1,
        "text": {"format": {"type": "text"}, "verbosity": "low"}, "truncation": "auto",
        "reasoning": {"effort": "low"}, "tools": [FUNCTION, PATCH, SPACE, SEARCH],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []},
        "previous_response_id": "r", "top_logprobs": 2, "stream_options": {"x": 1},
    }  # fmt: skip
    assert given == render(parse_value(given), "m")


def test_what_a_transform_changed_is_said_anew() -> None:
    request = parse_value({"model": "m", "input": "a", "reasoning": {"effort": "low"},
                           "text": {"format": {"type": "json_object"}}})  # fmt: skip
    request.think, request.out = Think(effort="high"), Output(format="text")
    body = render(request, "m")
    assert {"effort": "high"} == body["reasoning"]
    assert {"format": {"type": "text"}} == body["text"]


def test_row_46_what_the_upstream_does_not_hold_is_left_out() -> None:
    bare = {"type": "reasoning", "id": "rs_9", "summary": []}
    given = [said("user", text("a")), bare, {"type": "item_reference", "id": "msg_1"}, ANSWER]
    request = parse_value({"model": "m", "input": given})
    assert [said("user", text("a")), ANSWER] == render(request, "m")["input"]
    assert ["item_reference"] == request.dropped


# ---- of others ----


def test_system_messages_at_the_front_are_instructions() -> None:
    turns = [Message("system", [Text("a")]), Message("developer", [Text("b")]), HI,
             Message("system", [Text("c")])]  # fmt: skip
    body = made(*turns)
    assert "a\n\nb" == body["instructions"]
    assert ["user", "system"] == [item["role"] for item in body["input"]]


def test_nothing_is_stored_and_thinking_can_come_back() -> None:
    body = made(HI)
    assert (False, ["reasoning.encrypted_content"]) == (body["store"], body["include"])
    plain = render(ChatRequest("openai_chat", "m", [HI]), "m", Profile(reasoning_effort="drop"))
    assert "include" not in plain


def test_a_turn_of_the_assistant() -> None:
    thought = Reasoning("hm", ["hm"], encrypted="secret", id="rs_1", origin="openai_responses")
    assert [
        THOUGHT,
        said("assistant", {"type": "output_text", "annotations": [], "text": "a"}),
        said("assistant", {"type": "refusal", "refusal": "no"}),
        call("c"),
        {"type": "custom_tool_call", "call_id": "d", "name": "patch", "input": "x"},
    ] == items(
        thought, Text("a"), Refusal("no"), ToolCall("c", "read", '{"path": "a"}'),
        ToolCall("d", "patch", "x", "custom"),
    )  # fmt: skip


def test_thinking_of_others_stays_behind() -> None:
    assert [] == items(Reasoning("hm"), Reasoning("a", signature="s", origin="anthropic_messages"))
    assert [] == items(Reasoning("a", encrypted="s", origin="anthropic_messages"))


def test_results_and_what_stands_beside_them() -> None:
    image = Media("image", mime="image/png", data="AAAA", detail="low")
    shown = {"type": "input_image", "detail": "low", "image_url": "data:image/png;base64,AAAA"}
    assert [result("c"), result("d", [text("a"), shown]), result("e", "Error: no"),
            {"type": "message", "role": "user", "content": "b"}] == items(
        ToolResult("c", [Text("done")]), ToolResult("d", [Text("a"), image]),
        ToolResult("e", [Text("no")], is_error=True), Text("b"), role="user",
    )  # fmt: skip


def test_the_result_of_a_custom_call_is_one_of_its_kind() -> None:
    turns = [Message("assistant", [ToolCall("c", "patch", "x", "custom")]),
             Message("tool", [ToolResult("c", [Text("ok")])])]  # fmt: skip
    found: Any = messages(turns)[1]
    assert "custom_tool_call_output" == found["type"]


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        (Media("image", url="https://a"), {"image_url": "https://a", "detail": "auto"}),
        (
            Media("file", mime="application/pdf", data="A", name="a.pdf"),
            {"filename": "a.pdf", "file_data": "data:application/pdf;base64,A"},
        ),
        (Media("file", url="https://a"), {"file_url": "https://a"}),
        (
            Media("audio", mime="audio/mp3", data="A"),
            {"input_audio": {"data": "A", "format": "mp3"}},
        ),
    ],
)
def test_media(media: Media, expected: dict[str, Any]) -> None:
    (item,) = items(media, role="user")
    assert [{"type": f"input_{media.kind}", **expected}] == item["content"]


@pytest.mark.parametrize("media", [Media("video", url="https://a"), Media("audio", url="https://a"),
                                   Media("image", file_id="f")])  # fmt: skip
def test_media_that_cannot_be_sent_are_refused(media: Media) -> None:
    with pytest.raises(RequestError) as caught:
        messages([Message("user", [media], dialect="openai_chat")])
    assert caught.value.kind == "unsupported"


def test_row_37_an_id_that_is_too_long_is_shortened_alike() -> None:
    long = "x" * 65
    turns = [Message("assistant", [ToolCall(long, "f", "")]), Message("tool", [ToolResult(long)])]
    first, second = written("openai_responses", ChatRequest("openai_chat", "m", turns))["input"]
    assert first["call_id"] == second["call_id"]
    assert len(first["call_id"]) <= 64
    assert first["arguments"] == "{}"


def test_limits_formats_and_thinking() -> None:
    body = made(
        HI, stream=True, sampling=Sampling(0.5, 0.9), think=Think("on", budget=9000),
        out=Output(3, format="schema", schema={}, strict=True, verbosity="low", logprobs=2),
        parallel=False,
        tools=[Tool("f", "d", {"type": "object"})], tool_choice=ToolChoice("required"),
    )  # fmt: skip
    form = {"type": "json_schema", "name": "answer", "schema": {}, "strict": True}
    assert {
        "model": "up", "store": False, "stream": True, "temperature": 0.5, "top_p": 0.9,
        "input": [{"type": "message", "role": "user", "content": "hi"}],
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "top_logprobs": 2, "max_output_tokens": 16, "parallel_tool_calls": False,
        "reasoning": {"effort": "high", "summary": "auto"}, "tool_choice": "required",
        "text": {"format": form, "verbosity": "low"},
        "tools": [{"type": "function", "name": "f", "description": "d", "strict": False,
                   "parameters": {"type": "object"}}],
    } == body  # fmt: skip
    limits = [made(HI, out=Output(most))["max_output_tokens"] for most in (-1, 0, 16, 17)]
    assert [-1, 0, 16, 17] == limits
    assert {"effort": "none"} == made(HI, think=Think("off"))["reasoning"]
    assert {"type": "json_object"} == made(HI, out=Output(format="json"))["text"]["format"]


def test_what_has_no_place_is_named() -> None:
    request = ChatRequest(
        "openai_chat", "m", [Message("assistant", [Opaque("other", "odd", {})])],
        sampling=Sampling(top_k=3, presence=1, frequency=1, logit_bias={"1": 1}),
        out=Output(stop=["x"]), extras={"x_new": 1},
    )  # fmt: skip
    render(request, "m")
    assert {"odd", "top_k", "presence_penalty", "frequency_penalty", "logit_bias", "stop",
            "x_new"} == set(request.dropped)  # fmt: skip
    with pytest.raises(RequestError):
        made(HI, out=Output(n=2))


def test_tools_of_others() -> None:
    assert [
        {"type": "function", "name": "f", "strict": False,
         "parameters": {"type": "object", "properties": {}}},
        {"type": "custom", "name": "p"},
    ] == tools([Tool("f"), Tool("p", kind="custom")])  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ToolChoice("auto"), "auto"),
        (ToolChoice("named", ["f"]), {"type": "function", "name": "f"}),
        (
            ToolChoice("named", ["f"], {"type": "custom", "custom": {"name": "f"}}),
            {"type": "custom", "name": "f"},
        ),
        (
            ToolChoice("other", raw={"type": "allowed_tools", "allowed_tools": {
                "mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}}),
            {"type": "allowed_tools", "mode": "required",
             "tools": [{"type": "function", "name": "f"}]},
        ),
        (ToolChoice("other", raw={"type": "odd"}), "auto"),
    ],
)  # fmt: skip
def test_choices_of_others(choice: ToolChoice, expected: object) -> None:
    assert expected == tool_choice(choice)


# ---- its clients elsewhere ----


def written(name: str, request: ChatRequest) -> Any:
    return write(DIALECTS[name], request, "up", Profile()).body


def test_codex_is_sent_to_a_chat_upstream() -> None:
    request = parse_value(CODEX)
    body: Any = written("openai_chat", request)
    assert ["tools.web_search", "client_metadata"] == request.dropped
    names = [tool["function"]["name"] for tool in body["tools"]]
    assert ["read", "patch", "agents__spawn", "agents__wait"] == names
    patch = body["tools"][1]["function"]
    assert {"input": {"type": "string"}} == patch["parameters"]["properties"]
    assert "start: x" in patch["description"]
    roles = [message["role"] for message in body["messages"]]
    assert ["developer", "developer", "user", "user", "assistant", *["tool"] * 3, "user"] == roles
    calls = body["messages"][4]["tool_calls"]
    assert ["read", "agents__spawn", "patch"] == [c["function"]["name"] for c in calls]
    assert '{"input":"*** x"}' == calls[2]["function"]["arguments"]
    assert "hm" == body["messages"][4]["reasoning_content"]


def test_codex_is_sent_to_a_messages_upstream() -> None:
    request = parse_value(CODEX)
    body: Any = written("anthropic_messages", request)
    names = [tool["name"] for tool in body["tools"]]
    assert ["read", "patch", "agents__spawn", "agents__wait"] == names
    assert ["user", "assistant", "user"] == [message["role"] for message in body["messages"]]
    assert {"input": "*** x"} == body["messages"][1]["content"][-1]["input"]


@pytest.mark.parametrize("name", ["openai_chat", "anthropic_messages"])
def test_what_nobody_could_do_is_refused(name: str) -> None:
    for fields in (
        {"tool_choice": {"type": "web_search"}},
        {"conversation": "c"},
        {"background": True},
        {"prompt": {"id": "p"}},
        {"previous_response_id": "r"},
    ):
        request = parse_value({**CODEX, **fields})
        with pytest.raises(RequestError) as caught:
            written(name, request)
        assert (("unsupported", next(iter(fields)))) == (caught.value.kind, caught.value.param)
    written(name, parse_value({**CODEX, "background": False}))


def test_thoughts_alone_are_no_turn_elsewhere() -> None:
    request = parse_value({"model": "m", "input": [said("user", text("a")), THOUGHT]})
    body: Any = written("openai_chat", request)
    assert 1 == len(body["messages"])


def test_a_choice_among_some_tools_leaves_these() -> None:
    allowed = {"type": "allowed_tools", "mode": "required",
               "tools": [{"type": "function", "name": "read"}]}  # fmt: skip
    request = parse_value({**CODEX, "tool_choice": allowed})
    body: Any = written("openai_chat", request)
    assert (["read"], "required") == (
        [tool["function"]["name"] for tool in body["tools"]], body["tool_choice"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("include", "wanted"),
    [
        ({}, ["reasoning.encrypted_content"]),
        ({"include": ["x"]}, ["x", "reasoning.encrypted_content"]),
        ({"include": ["reasoning.encrypted_content"]}, ["reasoning.encrypted_content"]),
    ],
)
def test_an_answer_that_goes_back_brings_its_thinking(include: Any, wanted: object) -> None:
    asked = parse_value({"model": "m", "input": "hi", **include})
    assert wanted == render(resumable(asked), "m")["include"]


def test_models_that_do_not_think_are_not_asked_for_it() -> None:
    asked = parse_value({"model": "m", "input": "hi"})
    assert asked is resumable(asked, Profile(reasoning_effort="drop"))
    foreign = ChatRequest("openai_chat", "m", [HI])
    assert foreign is resumable(foreign)
