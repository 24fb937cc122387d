from __future__ import annotations

import dataclasses
from base64 import b64encode
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
from engine.dialects.anthropic_messages.parse import parse
from engine.dialects.anthropic_messages.render import messages, render, tool_choice, tools
from engine.dialects.profile import Profile
from engine.errors import RequestError
from engine.wire import Headers, dumps
from tests.dialects.anthropic_messages.bodies import PNG, requests

NAME = "anthropic_messages"
HI = Message("user", [Text("hi")])


def own(**fields: Any) -> ChatRequest:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    return parse(dumps({**body, **fields}), Headers())


def foreign(*turns: Message, **fields: Any) -> ChatRequest:
    return ChatRequest("openai_chat", "m", list(turns) or [HI], **fields)


def body(*turns: Message, profile: Profile = Profile(), **fields: Any) -> dict[str, Any]:  # noqa: B008
    found: dict[str, Any] = render(foreign(*turns, **fields), "up", profile)
    assert orjson.loads(dumps(found)) == found
    return found


def turns(*given: Message, **profile: Any) -> list[Any]:
    found: list[Any] = body(*given, profile=Profile(**profile))["messages"]
    return found


def kinds(content: Any) -> list[str]:
    return [] if isinstance(content, str) else [block["type"] for block in content]


def expected(given: dict[str, Any]) -> dict[str, Any]:
    """A body as it must come back.

    A choice goes with its tools, thinking by a budget with that of the turn whose calls were
    just answered.
    """
    out = dict(given)
    if not given.get("tools"):
        out.pop("tool_choice", None)
    said = [(turn["role"], kinds(turn["content"])) for turn in given["messages"]]
    called = ([], *(found for role, found in said if role == "assistant"))[-1]
    if (
        given.get("thinking", {}).get("type") == "enabled"
        and "tool_result" in said[-1][1]
        and "tool_use" in called
        and called[0] not in ("thinking", "redacted_thinking")
    ):
        del out["thinking"]
    return out


@given(requests)
@settings(max_examples=300, deadline=None)
def test_a_request_comes_back_as_it_was(given: dict[str, Any]) -> None:
    assert expected(given) == render(parse(dumps(given), Headers()), given["model"])


def test_only_the_model_changes() -> None:
    assert render(own(), "up") == {
        "model": "up", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}],
    }  # fmt: skip


def test_betas_are_no_part_of_the_body() -> None:
    raw = dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]})
    request = parse(raw, Headers.of({"anthropic-beta": "a"}))
    assert "betas" not in render(request, "up")


# ---- from another dialect: the top level ----


def test_the_least_request_of_another_dialect() -> None:
    assert body() == {
        "model": "up", "max_tokens": 8192, "messages": [{"role": "user", "content": "hi"}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "most", "expected"),
    [(None, None, 8192), (None, 64000, 64000), (500, 64000, 500), (99000, 64000, 64000),
     (500, None, 500), (0, 64000, 0)],
)  # fmt: skip
def test_row_43_the_limit_of_the_answer(asked: int | None, most: int | None, expected: int) -> None:
    found = body(out=Output(max_tokens=asked), profile=Profile(max_output=most))
    assert expected == found["max_tokens"]


def test_leading_system_messages_become_the_system_prompt() -> None:
    found = body(Message("system", [Text("A")]), Message("developer", [Text("B")]), HI)
    assert ("A\n\nB", [{"role": "user", "content": "hi"}]) == (found["system"], found["messages"])


def test_an_empty_system_prompt_is_left_out() -> None:
    assert "system" not in body(Message("system", [Text("")], dialect="openai_chat"), HI)


MID = [HI, Message("assistant", [Text("yo")]), Message("system", [Text("S")]),
       Message("user", [Text("go")])]  # fmt: skip
CONVERSED = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]


def test_row_31_a_later_system_message_becomes_a_users_turn_in_its_place() -> None:
    told = [{"type": "text", "text": "<system>\nS\n</system>"}, {"type": "text", "text": "go"}]
    assert [*CONVERSED, {"role": "user", "content": told}] == turns(*MID)


def test_row_31_the_profile_says_what_becomes_of_later_system_messages() -> None:
    kept = [*CONVERSED, {"role": "system", "content": "S"}, {"role": "user", "content": "go"}]
    assert kept == turns(*MID, later_system="keep")
    lifted = body(*MID, profile=Profile(later_system="lift"))
    assert ("S", [*CONVERSED, {"role": "user", "content": "go"}]) == (
        lifted["system"], lifted["messages"],
    )  # fmt: skip


def test_row_32_sampling_goes_as_far_as_the_profile_says() -> None:
    sampling = Sampling(temperature=1.5, top_p=0.5, top_k=3)
    found = body(sampling=sampling)
    assert (1, 0.5, 3) == (found["temperature"], found["top_p"], found["top_k"])
    request = foreign(sampling=sampling)
    one = render(request, "up", Profile(sampling="one"))
    assert (1, ["top_p"]) == (one["temperature"], request.dropped)
    request = foreign(sampling=sampling)
    none = render(request, "up", Profile(sampling="none"))
    assert {"temperature", "top_p", "top_k"}.isdisjoint(none)
    assert ["temperature", "top_p", "top_k"] == request.dropped


def test_what_has_no_place_here_is_named() -> None:
    request = foreign(
        sampling=Sampling(presence=1, frequency=0, seed=5, logit_bias={"1": 1}),
        out=Output(logprobs=0, stop=["a", "\n"]),
        extras={"x_new": 1, "store": True, "max_tokens": 5, "safety_identifier": "u"},
        user="u",
    )
    found = render(request, "up")
    assert ["x_new", "presence_penalty", "logit_bias", "logprobs", "stop"] == request.dropped
    assert {"model", "max_tokens", "messages", "stop_sequences"} == set(found)
    assert ["a"] == found["stop_sequences"]


def test_the_profile_may_forward_fields_of_another_dialect() -> None:
    found = body(extras={"x_new": 1}, profile=Profile(forward_extras=["x_new"]))
    assert found["x_new"] == 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"out": Output(n=2)}, "n"),
        ({"extras": {"audio": {"voice": "x"}}}, "audio"),
        ({"extras": {"modalities": ["text", "audio"]}}, "modalities"),
        ({"tools": [Tool("web_search", kind="hosted", dialect="openai_chat")]}, "tools"),
    ],
)
def test_what_would_change_the_meaning_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        body(**fields)
    assert ("unsupported", param) == (caught.value.kind, caught.value.param)


def test_the_format_of_the_answer() -> None:
    schema = {"type": "object"}
    found = body(out=Output(format="schema", schema=schema, schema_name="a", strict=True))
    assert {"format": {"type": "json_schema", "schema": schema}} == found["output_config"]
    request = foreign(Message("system", [Text("S")]), HI, out=Output(format="json"))
    assert "S\n\nAnswer with one JSON value and nothing else." == render(request, "up")["system"]
    assert ["response_format"] == request.dropped


# ---- thinking ----

ADAPTIVE = {"type": "adaptive"}


@pytest.mark.parametrize(
    ("think", "expected"),
    [
        (Think(), {}),
        (Think(effort="high"), {"thinking": ADAPTIVE, "output_config": {"effort": "high"}}),
        (Think(effort="minimal"), {"thinking": ADAPTIVE, "output_config": {"effort": "low"}}),
        (Think("off", "none"), {"thinking": {"type": "disabled"}}),
        (Think("on", None, 8000), {"thinking": ADAPTIVE, "output_config": {"effort": "medium"}}),
        (Think("adaptive"), {"thinking": ADAPTIVE}),
    ],
)
def test_thinking_by_effort(think: Think, expected: dict[str, Any]) -> None:
    found = body(think=think)
    assert expected == {k: v for k, v in found.items() if k in ("thinking", "output_config")}


@pytest.mark.parametrize(
    ("think", "asked", "budget", "most"),
    [
        (Think(effort="low"), 8192, 1024, 8192),
        (Think(effort="high"), 64000, 24576, 64000),
        (Think(effort="high"), 8192, 4096, 8192),
        (Think("on", None, 5000), 8192, 5000, 8192),
        (Think("on", None, 10), 8192, 1024, 8192),
        (Think(effort="low"), 100, 1024, 2048),
    ],
)
def test_row_42_thinking_by_budget_leaves_room_for_the_answer(
    think: Think, asked: int, budget: int, most: int
) -> None:
    found = body(think=think, out=Output(max_tokens=asked), profile=Profile(thinking="budget"))
    assert {"type": "enabled", "budget_tokens": budget} == found["thinking"]
    assert most == found["max_tokens"]


def test_the_profile_may_leave_thinking_out() -> None:
    request = foreign(think=Think(effort="high"))
    assert "thinking" not in render(request, "up", Profile(thinking="none"))
    assert ["reasoning_effort"] == request.dropped


def test_row_42_a_forced_call_goes_before_thinking() -> None:
    request = foreign(
        think=Think(effort="high"), tools=[Tool("f")], tool_choice=ToolChoice("required")
    )
    assert "thinking" not in render(request, "up")
    assert ["reasoning_effort"] == request.dropped
    auto = body(think=Think(effort="high"), tools=[Tool("f")], tool_choice=ToolChoice("auto"))
    assert ADAPTIVE == auto["thinking"]


def test_beside_thinking_there_is_no_sampling() -> None:
    request = foreign(think=Think(effort="high"), sampling=Sampling(temperature=0.5))
    assert "temperature" not in render(request, "up")
    assert ["temperature"] == request.dropped


def test_what_a_transform_changed_of_our_own_thinking_holds() -> None:
    config = {"effort": "high", "format": {"type": "json_schema", "schema": {}}}
    request = own(thinking={"type": "adaptive", "display": "omitted"}, output_config=config)
    changed = dataclasses.replace(request, think=Think("adaptive", "low"))
    found = render(changed, "up")
    assert ADAPTIVE == found["thinking"]
    assert {**config, "effort": "low"} == found["output_config"]


def test_the_profile_turns_our_own_budget_into_an_effort() -> None:
    request = own(thinking={"type": "enabled", "budget_tokens": 20000})
    found = render(request, "up", Profile(thinking="adaptive"))
    assert (ADAPTIVE, {"effort": "high"}) == (found["thinking"], found["output_config"])


# ---- tools ----


def test_tools_of_another_dialect() -> None:
    schema = {"type": "object", "properties": {"a": {}}}
    given = [
        Tool("f", "d", schema, strict=True, extras={"x": 1}, dialect="openai_chat"),
        Tool("g"),
        Tool("h", schema={"properties": {"a": {}}}),
    ]
    assert tools(given) == [
        {"name": "f", "description": "d", "input_schema": schema, "strict": True},
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
        {"name": "h", "input_schema": schema},
    ]


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice("auto", raw="auto"), None, {"type": "auto"}),
        (ToolChoice("required"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice("none"), False, {"type": "none"}),
        (
            ToolChoice("named", ["f"], {"type": "function", "function": {"name": "f"}}),
            None,
            {"type": "tool", "name": "f"},
        ),
        (ToolChoice("other", raw={"type": "allowed_tools"}), None, {"type": "auto"}),
    ],
)
def test_tool_choice_of_another_dialect(
    choice: ToolChoice | None, parallel: bool | None, expected: object
) -> None:
    found = body(tools=[Tool("f")], tool_choice=choice, parallel=parallel)
    assert expected == found.get("tool_choice")


def test_a_choice_that_cannot_be_said_is_named() -> None:
    request = foreign(tools=[Tool("f")], tool_choice=ToolChoice("other", raw={}))
    render(request, "up")
    assert ["tool_choice"] == request.dropped


def test_a_choice_of_our_own_stays_unless_it_was_changed() -> None:
    raw = {"type": "any", "disable_parallel_tool_use": True, "x": 1}
    assert tool_choice(ToolChoice("required", raw=raw)) == raw
    assert tool_choice(ToolChoice("auto", raw=raw)) == {"type": "auto"}
    request = own(tools=[{"name": "f", "input_schema": {}}], tool_choice=raw)
    more = dataclasses.replace(request, parallel=True)
    assert {"type": "any", "x": 1} == render(more, "up")["tool_choice"]


def test_row_41_no_tools_no_choice() -> None:
    found = body(tool_choice=ToolChoice("auto"), parallel=False)
    assert {"tools", "tool_choice"}.isdisjoint(found)


def test_row_41_calls_in_the_history_need_their_tools() -> None:
    found = body(HI, Message("assistant", [ToolCall("a", "f", "{}")]),
                 Message("tool", [ToolResult("a", [Text("r")])]))  # fmt: skip
    stub = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
    assert ([stub], {"type": "none"}) == (found["tools"], found["tool_choice"])


# ---- turns ----

CALLS: list[Part] = [ToolCall("a", "f", '{"x": 1}'), ToolCall("b", "g", "")]


def called(*, ids: tuple[str, str] = ("a", "b")) -> dict[str, Any]:
    one = {"type": "tool_use", "id": ids[0], "name": "f", "input": {"x": 1}}
    two = {"type": "tool_use", "id": ids[1], "name": "g", "input": {}}
    return {"role": "assistant", "content": [one, two]}


def answered(call_id: str, content: object) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content}


def test_row_24_results_come_first_in_the_order_of_the_calls() -> None:
    found = turns(
        HI,
        Message("assistant", CALLS),
        Message("tool", [ToolResult("b", [Text("rb")])]),
        Message("tool", [ToolResult("a", [Text("ra")])]),
        Message("user", [Text("next")]),
    )
    told = [answered("a", "ra"), answered("b", "rb"), {"type": "text", "text": "next"}]
    assert [called(), {"role": "user", "content": told}] == found[1:]


def test_row_9_arguments_are_an_object_whatever_the_model_said() -> None:
    args = ["", "  ", "{}", '{"a":1}', "[1]", "{broken", '"text"']
    calls: list[Part] = [ToolCall(f"c{at}", "f", text) for at, text in enumerate(args)]
    (_, turn) = turns(HI, Message("assistant", calls))
    assert [item["input"] for item in turn["content"]] == [
        {}, {}, {}, {"a": 1}, {"arguments": [1]}, {"arguments": "{broken"}, {"arguments": "text"},
    ]  # fmt: skip


def test_what_a_custom_tool_was_given_goes_into_an_object() -> None:
    (_, turn) = turns(HI, Message("assistant", [ToolCall("a", "patch", "*** x", "custom")]))
    assert turn["content"][0]["input"] == {"input": "*** x"}


def test_row_37_ids_get_the_letters_this_api_takes() -> None:
    one, two = "functions.x:0", "call_abc|fc_1"
    found = turns(
        HI,
        Message("assistant", [ToolCall(one, "f", '{"x":1}'), ToolCall(two, "g", "{}")]),
        Message("tool", [ToolResult(one, [Text("r")])]),
        Message("tool", [ToolResult(two, [Text("s")])]),
    )
    ids = ("functions_x_0_448624f5", "call_abc_fc_1_6c4823f0")
    assert called(ids=ids) == found[1]
    assert ids == tuple(item["tool_use_id"] for item in found[2]["content"])


def test_row_44_adjacent_turns_of_one_role_become_one() -> None:
    found = turns(HI, Message("user", [Text("you")]), Message("assistant", [Text("a")]),
                  Message("assistant", [Text("b")]))  # fmt: skip
    assert found == [
        {"role": "user", "content": [{"type": "text", "text": "hi"},
                                     {"type": "text", "text": "you"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "a"},
                                          {"type": "text", "text": "b"}]},
    ]  # fmt: skip


def test_row_34_blank_texts_go_and_turns_of_nothing_with_them() -> None:
    found = turns(
        HI,
        Message("assistant", [Text(""), Text(" \n")]),
        Message("user", [Text(""), Text("you")]),
        Message("assistant", [Text("end \n")]),
    )
    assert [[{"type": "text", "text": "hi"}, {"type": "text", "text": "you"}], "end"] == [
        turn["content"] for turn in found
    ]


@pytest.mark.parametrize("first", [[Message("assistant", [Text("a")])],
                                   [Message("system", [Text("S")])]])  # fmt: skip
def test_the_first_turn_is_the_users(first: list[Message]) -> None:
    assert {"role": "user", "content": "(The conversation begins here.)"} == turns(*first)[0]


def test_a_refusal_is_text_again() -> None:
    assert turns(HI, Message("assistant", [Refusal("no")]))[1]["content"] == [
        {"type": "text", "text": "no"}
    ]


def test_parts_of_other_dialects_are_named_and_left_out() -> None:
    request = foreign(Message("user", [Opaque("openai_chat", "x_part", {}), Text("hi")]))
    assert [{"role": "user", "content": "hi"}] == render(request, "up")["messages"]
    assert ["x_part"] == request.dropped


def test_extras_of_other_dialects_stay_behind() -> None:
    mark: dict[str, object] = {"x": 1}
    message = Message(
        "user", [Text("hi", extras=mark), ToolResult("a", [Text("r", extras=mark)], extras=mark)],
        "bob", mark, dialect="openai_chat",
    )  # fmt: skip
    call = Message("assistant", [ToolCall("a", "f", "{}", extras=mark)], dialect="openai_chat")
    found = turns(HI, call, message)[2]["content"]
    assert [answered("a", "r"), {"type": "text", "text": "hi"}] == found


def test_a_failed_result_and_one_that_says_nothing() -> None:
    results: list[Part] = [ToolResult("a", [Text("r")], is_error=True), ToolResult("b", [Text("")])]
    found = turns(HI, Message("assistant", CALLS), Message("tool", results))[2]["content"]
    assert [{**answered("a", "r"), "is_error": True},
            {"type": "tool_result", "tool_use_id": "b"}] == found  # fmt: skip


# ---- thinking in the history ----


def thoughts(*parts: Part, **profile: Any) -> list[Any]:
    found = turns(HI, Message("assistant", [*parts, Text("a")]), **profile)[1]["content"]
    return found if isinstance(found, list) else [{"type": "text", "text": found}]


SAID = {"type": "text", "text": "a"}


def test_row_29_thinking_that_this_api_did_not_sign_is_left_out() -> None:
    strange = Reasoning("t", signature="s", origin="gemini")
    secret = Reasoning(encrypted="e", origin="openai_responses")
    assert [SAID] == thoughts(Reasoning("t"), strange, secret)


def test_our_own_thinking_goes_back_as_it_was() -> None:
    assert thoughts(
        Reasoning("", signature="s", origin=NAME), Reasoning(encrypted="", origin=NAME)
    ) == [
        {"type": "thinking", "thinking": "", "signature": "s"},
        {"type": "redacted_thinking", "data": ""},
        SAID,
    ]


def test_upstreams_that_ignore_signatures_get_thinking_without_one() -> None:
    found = thoughts(Reasoning("t"), Reasoning(""), unsigned_thinking="send")
    assert [{"type": "thinking", "thinking": "t", "signature": ""}, SAID] == found


def test_row_13_unsigned_thinking_of_our_own_clients_is_left_out_too() -> None:
    request = own(
        messages=[{"role": "user", "content": "hi"},
                  {"role": "assistant", "content": [
                      {"type": "thinking", "thinking": "t", "signature": ""}, SAID]}]
    )  # fmt: skip
    assert render(request, "up")["messages"][1] == {"role": "assistant", "content": [SAID]}  # type: ignore[index]


# ---- media ----


def media(part: Media) -> Any:
    return turns(Message("user", [part]))[0]["content"][0]


def coded(data: bytes) -> str:
    return b64encode(data).decode()


WEBP = coded(b"RIFF\x10\x00\x00\x00WEBPVP8 ")
WAVE = coded(b"RIFF\x10\x00\x00\x00WAVEfmt ")


@pytest.mark.parametrize(
    ("mime", "data", "expected"),
    [
        ("image/png", PNG, "image/png"),
        ("image/jpeg", PNG, "image/png"),
        (None, "/9j/4AAQ", "image/jpeg"),
        ("image/jpg", "AAAA", "image/jpeg"),
        ("image/x", "R0lGODlh", "image/gif"),
        ("image/png", WEBP, "image/webp"),
        ("image/png", WAVE, "image/png"),
        ("image/png", "UklGR!", "image/png"),
    ],
)
def test_row_40_images_go_with_the_type_they_have(
    mime: str | None, data: str, expected: str
) -> None:
    source = {"type": "base64", "media_type": expected, "data": data}
    assert {"type": "image", "source": source} == media(Media("image", mime=mime, data=data))


def test_media_by_their_address() -> None:
    url = {"type": "url", "url": "https://a"}
    assert {"type": "image", "source": url} == media(Media("image", url="https://a"))
    found = media(Media("file", url="https://a", name="T"))
    assert {"type": "document", "source": url, "title": "T"} == found


def test_files() -> None:
    pdf = coded(b"%PDF-1.7 x")
    source = {"type": "base64", "media_type": "application/pdf", "data": pdf}
    assert {"type": "document", "source": source} == media(Media("file", data=pdf))
    text = media(Media("file", mime="text/csv", data=coded("é,1".encode()), name="a.csv"))
    source = {"type": "text", "media_type": "text/plain", "data": "é,1"}
    assert {"type": "document", "source": source, "title": "a.csv"} == text


@pytest.mark.parametrize(
    "part",
    [
        Media("audio", data="AAAA"),
        Media("video", url="https://a"),
        Media("image", mime="image/svg+xml", data="AAAA"),
        Media("image", url="data:text/plain,hi"),
        Media("file", mime="application/zip", data="AAAA"),
        Media("file", data="AAAA"),
    ],
)
def test_media_this_api_does_not_take_are_refused(part: Media) -> None:
    with pytest.raises(RequestError) as caught:
        media(part)
    assert caught.value.kind == "unsupported"


def test_a_text_file_that_is_no_text_is_the_clients_fault() -> None:
    with pytest.raises(RequestError) as caught:
        media(Media("file", mime="text/plain", data="/w=="))
    assert caught.value.kind == "bad_request"


def test_row_23_images_stay_inside_their_result() -> None:
    result = ToolResult("a", [Text("r"), Media("image", mime="image/png", data=PNG)])
    found = turns(HI, Message("assistant", CALLS[:1]), Message("tool", [result]))[2]["content"]
    image = {"type": "image",
             "source": {"type": "base64", "media_type": "image/png", "data": PNG}}  # fmt: skip
    assert [answered("a", [{"type": "text", "text": "r"}, image])] == found


# ---- for templates ----


def test_templates_get_the_turns_without_the_system_prompt() -> None:
    system = Message("system", [Text("S")])
    assert messages([system, HI]) == [{"role": "user", "content": "hi"}]
    assert messages([system]) == [{"type": "text", "text": "S"}]


def test_a_loop_whose_thinking_is_lost_goes_on_without() -> None:
    call = ToolCall("1", "look", "{}")
    result = Message("tool", [ToolResult("1", [Text("seen")])])
    signed = Reasoning("hm", signature="EqQB", origin=NAME)
    elsewhere = Reasoning("hm", signature="EqQB", origin="gemini")
    budget = Profile(thinking="budget")
    for thought, thinks in ((signed, True), (elsewhere, False)):
        turn = Message("assistant", [thought, call])
        request = foreign(HI, turn, result, think=Think(effort="low"), tools=[Tool("look")])
        sent = render(request, "up", budget)
        assert thinks == ("thinking" in sent)
        assert ([] if thinks else ["reasoning_effort"]) == request.dropped
        adaptive = foreign(HI, turn, result, think=Think(effort="low"), tools=[Tool("look")])
        assert "thinking" in render(adaptive, "up")


def test_thinking_signed_elsewhere_is_not_sent() -> None:
    tagged = {"type": "thinking", "thinking": "hm", "signature": "penstock/gemini/AbC="}
    turn = {"role": "assistant", "content": [tagged, {"type": "text", "text": "so"}]}
    request = own(messages=[{"role": "user", "content": "hi"}, turn])
    sent: Any = render(request, "up")
    assert [{"type": "text", "text": "so"}] == sent["messages"][1]["content"]
