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
from engine.dialects.contract import Target
from engine.dialects.gemini.parse import parse
from engine.dialects.gemini.render import messages, render, tool_choice, tools
from engine.dialects.gemini.turns import SENTINEL
from engine.dialects.profile import Profile
from engine.errors import RequestError
from engine.wire import dumps

NAME = "gemini"
HI = Message("user", [Text("hi")])
SAID = {"role": "user", "parts": [{"text": "hi"}]}
PNG = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def ask(*turns: Message, model: str = "m", profile: Profile | None = None, **more: Any) -> Any:
    """The body for a request of another dialect, and what it dropped."""
    request = ChatRequest("openai_chat", "x", list(turns) or [HI], **more)
    body: Any = render(request, model, profile or Profile())
    return body, request.dropped


def contents(*turns: Message, model: str = "m") -> list[Any]:
    found: list[Any] = ask(*turns, model=model)[0]["contents"]
    return found


def user(*parts: Part) -> Message:
    return Message("user", list(parts))


def says(*parts: Part) -> Message:
    return Message("assistant", list(parts))


def result(call_id: str, text: str, **more: Any) -> Message:
    return Message("tool", [ToolResult(call_id, [Text(text)], **more)])


def call(call_id: str, name: str = "f", args: str = "{}") -> ToolCall:
    return ToolCall(call_id, name, args)


# ---- what came from this API goes back as it came ----


@pytest.mark.parametrize(
    "body",
    [
        {"contents": [SAID]},
        {
            "contents": [
                {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}},
                                           {"fileData": {"fileUri": "gs://a", "mimeType": "a/b"}},
                                           {"text": "?", "xNew": 1}]},
                {"role": "model", "parts": [
                    {"text": "hm", "thought": True},
                    {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "s"},
                    {"functionCall": {"id": "own", "name": "f", "args": {}}}]},
                {"role": "user", "parts": [
                    {"functionResponse": {"name": "f", "response": {"max": {"a": [1]}}}},
                    {"functionResponse": {"id": "own", "name": "f", "response": {"result": "x"},
                                          "willContinue": False}}]},
                {"role": "model", "parts": [{"text": "so", "thoughtSignature": "t"},
                                            {"executableCode": {"code": "1"}},
                                            {"text": "", "thoughtSignature": "u"}]},
            ],
            "systemInstruction": {"parts": [{"text": "S"}, {"text": "T"}]},
            "tools": [{"functionDeclarations": [
                {"name": "f", "description": "d", "parameters": {"type": "OBJECT"}},
                {"name": "g", "parametersJsonSchema": SCHEMA, "behavior": "BLOCKING"}]},
                {"googleSearch": {}}],
            "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"},
                           "retrievalConfig": {"languageCode": "de"}},
            "safetySettings": [{"category": "X"}],
            "cachedContent": "c",
            "generationConfig": {
                "temperature": 2, "topP": 0.5, "topK": 3, "seed": 7, "maxOutputTokens": 9,
                "stopSequences": ["a", "b", "c", "d", "e", "f"], "candidateCount": 2,
                "presencePenalty": 1, "frequencyPenalty": 1, "responseLogprobs": True,
                "logprobs": 2, "responseMimeType": "application/json",
                "responseSchema": {"type": "OBJECT"}, "mediaResolution": "LOW",
                "thinkingConfig": {"thinkingBudget": -1, "includeThoughts": False}},
        },
    ],
)  # fmt: skip
def test_what_came_from_this_api_goes_back_as_it_came(body: dict[str, Any]) -> None:
    request = parse(dumps(body), Target("m"))
    assert body == render(request, "gemini-2.5-pro")
    assert request.dropped == []


# ---- turns ----


def test_system_messages_at_the_front_are_the_instruction() -> None:
    body, _ = ask(Message("system", [Text("S")]), Message("developer", [Text("D")]), HI)
    assert {"parts": [{"text": "S"}, {"text": "D"}]} == body["systemInstruction"]
    assert [SAID] == body["contents"]


def test_row_31_a_later_system_message_keeps_its_place() -> None:
    late = Message("system", [Text("Late")])
    (first,) = contents(HI, late)
    assert [{"text": "hi"}, {"text": "<system>\nLate\n</system>"}] == first["parts"]
    body, _ = ask(HI, late, profile=Profile(later_system="lift"))
    assert {"parts": [{"text": "Late"}]} == body["systemInstruction"]


def test_row_44_turns_of_one_role_are_merged() -> None:
    found = contents(HI, user(Text("there")), says(Text("a")), says(Text("b")), HI)
    assert ["user", "model", "user"] == [turn["role"] for turn in found]
    assert [{"text": "hi"}, {"text": "there"}] == found[0]["parts"]


def test_the_first_turn_is_the_users() -> None:
    found = contents(says(Text("a")), HI)
    assert ["user", "model", "user"] == [turn["role"] for turn in found]


def test_row_34_empty_texts_and_turns_go() -> None:
    assert [SAID] == contents(user(Text("")), HI, says(Text(""), Refusal("")))


def test_row_25_all_results_of_a_step_are_in_one_content_with_their_names() -> None:
    calls = says(call("a", "f"), call("b", "g"))
    found = contents(HI, calls, result("b", "two"), result("a", '{"n": 1}'), HI)
    assert ["user", "model", "user", "user"] == [turn["role"] for turn in found]
    assert [
        {"functionResponse": {"id": "a", "name": "f", "response": {"n": 1}}},
        {"functionResponse": {"id": "b", "name": "g", "response": {"result": "two"}}},
    ] == found[2]["parts"]
    assert SAID == found[3]


def test_row_25_results_and_words_in_one_message_are_taken_apart() -> None:
    mixed = user(Text("and?"), ToolResult("a", [Text("x")]), ToolResult("b", [Text("y")]))
    found = contents(HI, says(call("a"), call("b")), mixed)
    assert ["x", "y"] == [
        part["functionResponse"]["response"]["result"] for part in found[2]["parts"]
    ]
    assert [{"text": "and?"}] == found[3]["parts"]


def test_results_that_come_after_words_still_make_one_content() -> None:
    found = contents(
        HI, says(call("a"), call("b")), user(ToolResult("a", [Text("x")]), Text("w")),
        result("b", "y"),
    )  # fmt: skip
    assert [2, 1] == [len(turn["parts"]) for turn in found[2:]]


def test_row_23_pictures_of_results_follow_them() -> None:
    image = Media("image", "image/png", PNG)
    told = Message("tool", [ToolResult("a", [Text("seen"), image])])
    found = contents(HI, says(call("a")), told)
    assert {"result": "seen\n[image attached]"} == (
        found[2]["parts"][0]["functionResponse"]["response"]
    )
    assert [{"inlineData": {"mimeType": "image/png", "data": PNG}}] == found[3]["parts"]


@pytest.mark.parametrize(
    ("text", "failed", "response"),
    [
        ("ok", None, {"result": "ok"}),
        ("", None, {"result": ""}),
        ("[1]", None, {"result": "[1]"}),
        ('{"a":1}', None, {"a": 1}),
        ("{broken", None, {"result": "{broken"}),
        ("no luck", True, {"error": "no luck"}),
    ],
)
def test_a_response_is_an_object(text: str, failed: bool | None, response: Any) -> None:
    found = contents(HI, says(call("a")), result("a", text, is_error=failed))
    assert response == found[2]["parts"][0]["functionResponse"]["response"]


def test_a_result_of_no_known_call_has_a_name_all_the_same() -> None:
    found = contents(HI, result("a", "x", name="f"), result("b", "y"))
    assert ["f", "b"] == [part["functionResponse"]["name"] for part in found[1]["parts"]]


@pytest.mark.parametrize(
    ("args", "sent"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        ("[1]", {"arguments": [1]}),
        ("{broken", {"arguments": "{broken"}),
    ],
)
def test_arguments_are_an_object(args: str, sent: object) -> None:
    (_, found) = contents(HI, says(call("a", "f", args)))
    assert {"functionCall": {"id": "a", "name": "f", "args": sent}} == found["parts"][0]
    custom = says(ToolCall("a", "f", "free", "custom"))
    assert {"input": "free"} == contents(HI, custom)[1]["parts"][0]["functionCall"]["args"]


# ---- thoughts and signatures ----


def test_row_27_a_signature_goes_back_on_its_call() -> None:
    sealed = Reasoning(signature="s", origin=NAME)
    (_, found) = contents(HI, says(sealed, call("a"), call("b")), model="gemini-3-pro")
    assert ["s", None] == [part.get("thoughtSignature") for part in found["parts"]]


@pytest.mark.parametrize(
    ("model", "placed"),
    [("gemini-3-pro", True), ("models/gemini-3.5-flash", True), ("gemini-2.5-pro", False),
     ("other", False)],
)  # fmt: skip
def test_row_27_what_was_lost_is_made_up_for_where_it_is_demanded(model: str, placed: bool) -> None:
    foreign = Reasoning("hm", signature="EqQB", origin="anthropic_messages")
    found = contents(
        HI, says(foreign, Text("a"), call("a"), call("b")), result("a", "x"), result("b", "y"),
        says(call("c")), model=model,
    )  # fmt: skip
    signed = [[part.get("thoughtSignature") for part in turn["parts"]] for turn in found]
    wanted = SENTINEL if placed else None
    assert [[None], [None, wanted, None], [None, None], [wanted]] == signed


def test_row_29_foreign_thoughts_stay_behind() -> None:
    thoughts: list[Part] = [Reasoning("plain"), Reasoning("x", signature="s", origin="a")]
    (_, found) = contents(HI, says(*thoughts, Text("a")))
    assert [{"text": "a"}] == found["parts"]


def test_own_thoughts_go_along() -> None:
    (_, found) = contents(HI, says(Reasoning("hm", signature="s", origin=NAME), Text("a")))
    assert [{"text": "hm", "thought": True, "thoughtSignature": "s"}, {"text": "a"}] == (
        found["parts"]
    )


# ---- media ----


@pytest.mark.parametrize(
    ("media", "part"),
    [
        (Media("image", "image/jpeg", PNG), {"inlineData": {"mimeType": "image/png", "data": PNG}}),
        (Media("image", "image/jpg", "AA"), {"inlineData": {"mimeType": "image/jpeg",
                                                            "data": "AA"}}),
        (Media("audio", "audio/wav", "AA"), {"inlineData": {"mimeType": "audio/wav",
                                                            "data": "AA"}}),
        (Media("file", "application/pdf", "JVBERi0x", name="a.pdf"),
         {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0x"}}),
        (Media("file", "text/plain", url="gs://a/b"),
         {"fileData": {"mimeType": "text/plain", "fileUri": "gs://a/b"}}),
        (Media("video", url="https://www.youtube.com/watch?v=x"),
         {"fileData": {"fileUri": "https://www.youtube.com/watch?v=x"}}),
    ],
)  # fmt: skip
def test_row_40_media(media: Media, part: dict[str, Any]) -> None:
    (found,) = contents(user(media))
    assert [part] == found["parts"]


@pytest.mark.parametrize(
    "media",
    [
        Media("image", url="https://example.com/a.png"),
        Media("file", file_id="file-1"),
        Media("file", data="AA"),
    ],
)
def test_what_cannot_be_fetched_is_refused(media: Media) -> None:
    turn = Message("user", [media], dialect="openai_chat")
    with pytest.raises(RequestError) as caught:
        contents(turn)
    assert caught.value.kind == "unsupported"


def test_what_only_another_api_knows_is_named() -> None:
    _, dropped = ask(user(Text("a"), Opaque("openai_chat", "x_part", {})))
    assert ["x_part"] == dropped


# ---- generationConfig ----


def test_sampling_and_limits() -> None:
    sampling = Sampling(1.5, 0.5, 3, 0.1, 0.2, 7, {"a": 1})
    out = Output(9, ["a", "", "b", "c", "d", "e", "f"], n=2, logprobs=0)
    body, dropped = ask(sampling=sampling, out=out)
    assert {
        "temperature": 1.5, "topP": 0.5, "topK": 3, "presencePenalty": 0.1,
        "frequencyPenalty": 0.2, "seed": 7, "maxOutputTokens": 9, "candidateCount": 2,
        "stopSequences": ["a", "b", "c", "d", "e"], "responseLogprobs": True,
    } == body["generationConfig"]  # fmt: skip
    assert ["logit_bias", "stop"] == dropped


def test_row_43_the_limit_is_what_the_model_can_do() -> None:
    body, _ = ask(out=Output(9999), profile=Profile(max_output=100))
    assert {"maxOutputTokens": 100} == body["generationConfig"]
    assert "generationConfig" not in ask(profile=Profile(max_output=100))[0]


def test_formats() -> None:
    kind = {"responseMimeType": "application/json"}
    assert kind == ask(out=Output(format="json"))[0]["generationConfig"]
    form = Output(format="schema", schema=SCHEMA, schema_name="x", strict=True)
    assert {**kind, "responseJsonSchema": SCHEMA} == ask(out=form)[0]["generationConfig"]
    assert "generationConfig" not in ask(out=Output(format="text"))[0]


OLD, NEW = "gemini-2.5-flash", "gemini-3-flash"


@pytest.mark.parametrize(
    ("think", "model", "config"),
    [
        (Think(effort="none"), OLD, {"thinkingBudget": 0}),
        (Think("off"), "gemini-2.5-pro", {"thinkingBudget": 128}),
        (Think("off"), NEW, {"thinkingLevel": "MINIMAL"}),
        (Think("off"), "gemini-3-pro", {"thinkingLevel": "LOW"}),
        (Think(effort="minimal"), OLD, {"thinkingBudget": 512}),
        (Think(effort="low"), OLD, {"thinkingBudget": 1024}),
        (Think(effort="medium"), NEW, {"thinkingLevel": "MEDIUM"}),
        (Think(effort="high"), OLD, {"thinkingBudget": 24576}),
        (Think(effort="high"), NEW, {"thinkingLevel": "HIGH"}),
        (Think(effort="max"), NEW, {"thinkingLevel": "XHIGH"}),
        (Think(effort="x_new"), OLD, {"thinkingBudget": 8192}),
        (Think("on", budget=2000), OLD, {"thinkingBudget": 2000}),
        (Think("on", budget=2000), NEW, {"thinkingLevel": "MEDIUM"}),
        (Think("on", budget=500), NEW, {"thinkingLevel": "MINIMAL"}),
        (Think("on", budget=99999), NEW, {"thinkingLevel": "XHIGH"}),
        (Think("adaptive"), OLD, {"thinkingBudget": -1}),
        (Think("adaptive"), NEW, {}),
    ],
)
def test_thinking(think: Think, model: str, config: dict[str, Any]) -> None:
    body, _ = ask(think=think, model=model)
    off = think.mode == "off" or think.effort == "none"
    wanted = config if off else {**config, "includeThoughts": True}
    assert wanted == body["generationConfig"]["thinkingConfig"]


def test_row_42_a_budget_leaves_room_for_an_answer() -> None:
    body, _ = ask(think=Think(effort="high"), out=Output(1000), model=OLD)
    assert body["generationConfig"]["thinkingConfig"]["thinkingBudget"] == 500


def test_thinking_as_the_profile_says() -> None:
    body, dropped = ask(think=Think(effort="low"), profile=Profile(thinking="none"))
    assert ("generationConfig" in body, ["reasoning_effort"]) == (False, dropped)
    body, _ = ask(think=Think(effort="low"), model=NEW, profile=Profile(thinking="budget"))
    assert body["generationConfig"]["thinkingConfig"]["thinkingBudget"] == 1024


# ---- tools ----


def test_functions_are_one_entry() -> None:
    strict = Tool("g", None, SCHEMA, strict=True)
    assert tools([Tool("f", "d", SCHEMA), strict, Tool("h", schema={})]) == [
        {"functionDeclarations": [
            {"name": "f", "description": "d", "parametersJsonSchema": SCHEMA},
            {"name": "g", "parametersJsonSchema": SCHEMA},
            {"name": "h"},
        ]}
    ]  # fmt: skip
    assert tools([]) == []


@pytest.mark.parametrize(
    "tool",
    [
        Tool("apply", kind="custom"),
        Tool("web_search", kind="hosted", raw={}, dialect="anthropic_messages"),
    ],
)
def test_tools_that_nobody_would_run_are_refused(tool: Tool) -> None:
    with pytest.raises(RequestError, match=f"`{tool.name}`"):
        tools([tool])


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (ToolChoice("auto"), {"mode": "AUTO"}),
        (ToolChoice("none"), {"mode": "NONE"}),
        (ToolChoice("required"), {"mode": "ANY"}),
        (ToolChoice("named", ["f"], {"type": "function"}),
         {"mode": "ANY", "allowedFunctionNames": ["f"]}),
    ],
)  # fmt: skip
def test_the_choice_of_tools(choice: ToolChoice, config: dict[str, Any]) -> None:
    assert config == tool_choice(choice)
    body, _ = ask(tools=[Tool("f")], tool_choice=choice)
    assert {"functionCallingConfig": config} == body["toolConfig"]


def test_row_41_a_choice_without_tools_goes() -> None:
    body, _ = ask(tool_choice=ToolChoice("required"))
    assert {"contents"} == set(body)


def test_what_cannot_be_said_of_tools_is_named() -> None:
    body, dropped = ask(tools=[Tool("f")], tool_choice=ToolChoice("other"), parallel=False)
    assert "toolConfig" not in body
    assert ["parallel_tool_calls", "tool_choice"] == dropped


def test_fields_of_other_dialects_are_named() -> None:
    _, dropped = ask(extras={"x_new": 1, "store": True})
    assert ["x_new"] == dropped


def test_row_39_schemas_go_where_the_profile_says() -> None:
    body, _ = ask(tools=[Tool("f", schema=SCHEMA)], profile=Profile(tool_schemas="gemini"))
    assert [{"functionDeclarations": [{"name": "f", "parameters": SCHEMA}]}] == body["tools"]


# ---- for templates ----


def test_messages_of_a_template() -> None:
    assert [SAID] == messages([Message("system", [Text("S")]), HI])
    assert [{"text": "S"}] == messages([Message("system", [Text("S")])])
