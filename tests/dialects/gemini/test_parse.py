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
from engine.dialects.contract import Target
from engine.dialects.gemini.parse import parse, wants_thoughts
from engine.dialects.gemini.signatures import carried
from engine.errors import RequestError
from engine.wire import dumps
from tests.dialects.openai_chat.bodies import json_values

NAME = "gemini"
HI = {"role": "user", "parts": [{"text": "hi"}]}
HERE = Target("m", False)
PNG = "iVBORw0KGgo="


def chat(**fields: Any) -> ChatRequest:
    return parse(dumps({"contents": [HI], **fields}), HERE)


def config(**fields: Any) -> ChatRequest:
    return chat(generationConfig=fields)


def parts(role: str | None, *given: object) -> list[Part]:
    content: dict[str, object] = {"parts": list(given)}
    if role is not None:
        content["role"] = role
    (message,) = chat(contents=[content]).messages
    assert (message.extras, message.dialect) == ({}, NAME)
    return message.parts


def refused(**fields: Any) -> tuple[str, str, str | None]:
    with pytest.raises(RequestError) as caught:
        chat(**fields)
    return caught.value.kind, caught.value.message, caught.value.param


def test_the_least_request() -> None:
    assert chat() == ChatRequest(
        dialect=NAME, model="m", messages=[Message("user", [Text("hi")])], want_usage=True
    )


def test_the_path_names_model_and_stream() -> None:
    found = parse(dumps({"contents": [HI], "model": "models/other"}), Target("m", True))
    assert ("m", True, {}) == (found.model, found.stream, found.extras)
    named = parse(dumps({"contents": [HI], "model": "models/other"}))
    assert ("other", False) == (named.model, named.stream)
    with pytest.raises(RequestError, match="model: it stands in the path"):
        parse(dumps({"contents": [HI]}))


def test_a_body_of_count_tokens_may_hold_a_request() -> None:
    inner = {"model": "models/m", "contents": [HI], "systemInstruction": {"parts": [{"text": "S"}]}}
    found = parse(dumps({"generateContentRequest": inner}), HERE)
    assert ["S", "hi"] == [message.text for message in found.messages]


@pytest.mark.parametrize(
    "given", ["S", {"parts": [{"text": "S"}]}, {"role": "user", "parts": [{"text": "S"}]}]
)
@pytest.mark.parametrize("name", ["systemInstruction", "system_instruction"])
def test_the_system_instruction_is_the_first_message(name: str, given: object) -> None:
    first, second = chat(**{name: given}).messages
    assert ("system", [Text("S")], "user") == (first.role, first.parts, second.role)


@pytest.mark.parametrize("nothing", [None, {}, {"parts": []}])
def test_no_system_instruction_is_no_message(nothing: object) -> None:
    assert len(chat(systemInstruction=nothing).messages) == 1


def test_everything_of_the_generation_config() -> None:
    found = config(
        temperature=1, topP=0.5, topK=40.0, seed=7, presencePenalty=0.1, frequencyPenalty=0.2,
        maxOutputTokens=9, stopSequences=["a"], candidateCount=2, responseLogprobs=True, logprobs=3,
    )  # fmt: skip
    assert Sampling(1, 0.5, 40, 0.1, 0.2, 7) == found.sampling
    assert Output(9, ["a"], n=2, logprobs=3) == found.out
    assert {} == found.extras


def test_names_in_snake_case_are_the_same() -> None:
    camel = {
        "generationConfig": {
            "topP": 0.5, "maxOutputTokens": 9, "thinkingConfig": {"thinkingBudget": 5},
            "responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"},
        },
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
        "safetySettings": [],
        "contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}},
                                {"functionCall": {"name": "f"}, "thoughtSignature": "s"},
                                {"functionResponse": {"name": "f", "response": {"max_temp": 1}}}]}],
    }  # fmt: skip
    snake = {
        "generation_config": {
            "top_p": 0.5, "max_output_tokens": 9, "thinking_config": {"thinking_budget": 5},
            "response_mime_type": "application/json", "response_schema": {"type": "OBJECT"},
        },
        "tool_config": {
            "function_calling_config": {"mode": "ANY", "allowed_function_names": ["f"]}
        },
        "tools": [{"function_declarations": [{"name": "f"}]}],
        "safety_settings": [],
        "contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": PNG}},
                                {"function_call": {"name": "f"}, "thought_signature": "s"},
                                {"function_response": {"name": "f",
                                                       "response": {"max_temp": 1}}}]}],
    }  # fmt: skip
    one, two = parse(dumps(camel), HERE), parse(dumps(snake), HERE)
    assert one.messages == two.messages
    assert (one.tools, one.sampling, one.think) == (two.tools, two.sampling, two.think)
    assert (one.out.schema, ["f"]) == (two.out.schema, two.tool_choice.names)  # type: ignore[union-attr]
    assert set(one.extras) == set(two.extras)


def test_one_thing_is_a_list_of_one() -> None:
    """As Google's own examples for curl have it."""
    alone = {
        "system_instruction": {"parts": {"text": "You are a cat"}},
        "contents": {"parts": {"text": "Hello"}},
        "tools": {"function_declarations": {"name": "f"}},
    }
    listed = {
        "systemInstruction": {"parts": [{"text": "You are a cat"}]},
        "contents": [{"parts": [{"text": "Hello"}]}],
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
    }
    assert parse(dumps(listed), HERE) == parse(dumps(alone), HERE)


@pytest.mark.parametrize(
    ("given", "think"),
    [
        ({"thinkingBudget": 0}, Think("off")),
        ({"thinkingBudget": -1}, Think("adaptive")),
        ({"thinkingBudget": 2048, "includeThoughts": True}, Think("on", None, 2048, True)),
        ({"thinkingLevel": "HIGH"}, Think(effort="high")),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, Think()),
        ({"includeThoughts": True}, Think(show=True)),
        ({"includeThoughts": False}, Think(show=False)),
    ],
)
def test_thinking(given: dict[str, object], think: Think) -> None:
    found = config(thinkingConfig=given)
    assert think == found.think
    assert {"generationConfig.thinkingConfig": given} == found.extras
    assert wants_thoughts(found) is bool(given.get("includeThoughts"))


def test_only_clients_of_this_api_have_to_ask_for_thoughts() -> None:
    assert not wants_thoughts(chat())
    assert wants_thoughts(ChatRequest("openai_chat", "m", []))


@pytest.mark.parametrize(
    ("given", "form", "schema"),
    [
        ({"responseMimeType": "text/plain"}, None, None),
        ({"responseMimeType": "application/json"}, "json", None),
        (
            {"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"}},
            "schema", {"type": "object"},
        ),
        (
            {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}},
            "schema", {"type": "object"},
        ),
    ],
)  # fmt: skip
def test_formats(given: dict[str, object], form: str | None, schema: object) -> None:
    found = config(**given)
    assert (form, schema) == (found.out.format, found.out.schema)
    assert ({"generationConfig.format": given} if form else {}) == found.extras


def test_what_the_model_has_no_place_for_keeps_its_name() -> None:
    found = chat(
        safetySettings=[1], cachedContent="c", xNew=[1],
        generationConfig={"mediaResolution": "LOW", "responseMimeType": "text/x.enum"},
    )  # fmt: skip
    assert {
        "safetySettings": [1], "cachedContent": "c", "xNew": [1],
        "generationConfig.mediaResolution": "LOW",
        "generationConfig.responseMimeType": "text/x.enum",
    } == found.extras  # fmt: skip


# ---- tools ----


def test_functions_and_hosted_tools() -> None:
    given = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    found = chat(tools=[
        {"functionDeclarations": [
            {"name": "f", "description": "d", "parameters": given},
            {"name": "g", "parametersJsonSchema": schema, "behavior": "BLOCKING"},
            {"name": "h"},
        ]},
        {"googleSearch": {}, "urlContext": {}},
        {},
    ]).tools  # fmt: skip
    assert [
        Tool("f", "d", schema, extras={"parameters": given}),
        Tool("g", None, schema, extras={"behavior": "BLOCKING"}),
        Tool("h"),
        Tool("googleSearch", kind="hosted", raw={"googleSearch": {}}),
        Tool("urlContext", kind="hosted", raw={"urlContext": {}}),
    ] == found
    assert {NAME} == {tool.dialect for tool in found}


@pytest.mark.parametrize(
    ("given", "choice", "tools"),
    [
        ({"mode": "AUTO"}, "auto", ["f", "g"]),
        ({}, "auto", ["f", "g"]),
        ({"mode": "VALIDATED"}, "auto", ["f", "g"]),
        ({"mode": "none"}, "none", ["f", "g"]),
        ({"mode": "ANY"}, "required", ["f", "g"]),
        ({"mode": "ANY", "allowedFunctionNames": ["f"]}, "named", ["f", "g"]),
        ({"mode": "ANY", "allowedFunctionNames": ["f", "x"]}, "required", ["f", "g"]),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["f"]}, "auto", ["f", "g"]),
    ],
)
def test_the_choice_of_tools(given: dict[str, Any], choice: str, tools: list[str]) -> None:
    functions = [{"name": "f"}, {"name": "g"}]
    found = chat(
        tools=[{"functionDeclarations": functions}], toolConfig={"functionCallingConfig": given}
    )
    names = given.get("allowedFunctionNames", [])
    assert ToolChoice(choice, names, given) == found.tool_choice  # type: ignore[arg-type]
    assert tools == [tool.name for tool in found.tools]


def test_what_else_a_tool_config_says_is_kept() -> None:
    found = chat(toolConfig={"retrievalConfig": {"languageCode": "de"}})
    assert {"toolConfig": {"retrievalConfig": {"languageCode": "de"}}} == found.extras
    assert found.tool_choice is None


# ---- parts ----


@pytest.mark.parametrize(
    ("role", "known"), [(None, "user"), ("user", "user"), ("model", "assistant")]
)
def test_roles(role: str | None, known: str) -> None:
    content = {"role": role, "parts": [{"text": "a"}]}
    assert known == chat(contents=[content]).messages[0].role


@pytest.mark.parametrize(
    ("given", "media"),
    [
        ({"inlineData": {"mimeType": "image/png", "data": PNG}},
         Media("image", "image/png", PNG)),
        ({"inlineData": {"mimeType": "audio/wav", "data": "A-_="}},
         Media("audio", "audio/wav", "A+/=")),
        ({"inlineData": {"mimeType": "application/pdf", "data": "J", "displayName": "a.pdf"}},
         Media("file", "application/pdf", "J", name="a.pdf")),
        ({"fileData": {"mimeType": "video/mp4", "fileUri": "https://youtu.be/x"},
          "videoMetadata": {"fps": 1}},
         Media("video", "video/mp4", url="https://youtu.be/x",
               extras={"videoMetadata": {"fps": 1}})),
        ({"fileData": {"fileUri": "gs://a/b", "xNew": 1}},
         Media("file", file_id="gs://a/b", extras={"fileData": {"xNew": 1}})),
        ({"fileData": {"mimeType": "image/png",
                       "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/a"}},
         Media("image", "image/png",
               file_id="https://generativelanguage.googleapis.com/v1beta/files/a")),
    ],
)  # fmt: skip
def test_media(given: object, media: Media) -> None:
    assert [media] == parts("user", given)


@pytest.mark.parametrize("raw", [{"executableCode": {"code": "x"}}, {"xPart": 1}])
def test_other_parts_stay_as_they_are(raw: dict[str, Any]) -> None:
    assert [Opaque(NAME, next(iter(raw)), raw)] == parts("model", raw)


def test_thoughts_and_signatures() -> None:
    found = parts(
        "model",
        {"text": "hm", "thought": True},
        {"text": "so", "thought": True, "thoughtSignature": "s0"},
        {"text": "a", "thoughtSignature": "s1"},
        {"text": "", "thoughtSignature": "s2"},
        {"functionCall": {"name": "f", "id": "i"}, "thoughtSignature": "s3"},
    )
    assert [
        Reasoning("hm", origin=NAME),
        Reasoning("so", signature="s0", origin=NAME),
        Reasoning(signature="s1", origin=NAME),
        Text("a"),
        Reasoning(signature="s2", origin=NAME, extras={"text": ""}),
        Reasoning(signature="s3", origin=NAME),
        ToolCall("i", "f", "{}"),
    ] == found


def test_a_foreign_signature_goes_back_to_whom_it_belongs() -> None:
    sent = carried(Reasoning(signature="EqQB", origin="anthropic_messages"))
    found = parts("model", {"text": "hm", "thought": True, "thoughtSignature": sent})
    assert [Reasoning("hm", signature="EqQB", origin="anthropic_messages")] == found
    on_call = {"functionCall": {"name": "f", "id": "i"}, "thoughtSignature": sent}
    thoughts = [{"text": "h", "thought": True}, {"text": "m", "thought": True}]
    assert [*found, ToolCall("i", "f", "{}")] == parts("model", *thoughts, on_call)


# ---- calls and results ----


def called(*names: str, ids: tuple[str, ...] = ()) -> dict[str, Any]:
    calls = [{"name": name, "args": {"n": at}} for at, name in enumerate(names)]
    for call, ident in zip(calls, ids, strict=False):
        call["id"] = ident
    return {"role": "model", "parts": [{"functionCall": call} for call in calls]}


def answered(*names: str, ids: tuple[str, ...] = ()) -> dict[str, Any]:
    results: list[dict[str, Any]] = [{"name": name, "response": {"result": name}} for name in names]
    for result, ident in zip(results, ids, strict=False):
        result["id"] = ident
    return {"role": "user", "parts": [{"functionResponse": result} for result in results]}


def ids(*contents: object) -> tuple[list[str], list[str]]:
    """The ids of all calls and of all results."""
    found = [part for message in chat(contents=[HI, *contents]).messages for part in message.parts]
    return (
        [part.id for part in found if isinstance(part, ToolCall)],
        [part.call_id for part in found if isinstance(part, ToolResult)],
    )


def test_row_12_calls_and_results_meet_by_name_and_order() -> None:
    calls, results = ids(called("f", "g", "f"), answered("g", "f", "f"))
    assert ["call_0", "call_1", "call_2"] == calls
    assert ["call_1", "call_0", "call_2"] == results


def test_row_12_ids_stay_the_same_when_the_conversation_grows() -> None:
    step = (called("f"), answered("f"))
    assert ids(*step)[0] == ids(*step, called("f"), answered("f"))[0][:1]
    assert (["call_0", "call_1"], ["call_0", "call_1"]) == ids(*step, *step)


def test_ids_that_were_sent_are_used() -> None:
    calls = called("f", "f", ids=("a", "b"))
    assert (["a", "b"], ["b", "a"]) == ids(calls, answered("f", "f", ids=("b", "a")))
    assert (["a", "b"], ["a", "b"]) == ids(calls, answered("f", "f"))
    assert (["call_1", "call_2"], []) == ids(called("f", "f", ids=("call_1",)))


def test_results_are_messages_of_their_own_role() -> None:
    found = chat(contents=[HI, called("f"), answered("f")]).messages[2]
    (result,) = found.parts
    assert ("tool", [Text("f")], "f") == (found.role, result.parts, result.name)  # type: ignore[union-attr]
    mixed = {"parts": [*answered("f")["parts"], {"text": "and?"}]}
    assert chat(contents=[HI, called("f"), mixed]).messages[2].role == "user"


@pytest.mark.parametrize(
    ("response", "text", "failed"),
    [
        ({"result": "ok"}, "ok", None),
        ({"output": {"a": 1}}, '{"a":1}', None),
        ({"error": "no"}, "no", True),
        ({"a": 1, "b": "é"}, '{"a":1,"b":"é"}', None),
        ({}, "", None),
    ],
)
def test_responses(response: dict[str, Any], text: str, failed: bool | None) -> None:
    given = {"functionResponse": {"name": "f", "id": "i", "response": response}}
    (result,) = parts("user", given)
    assert isinstance(result, ToolResult)
    assert (text, failed) == ("".join(part.text for part in result.parts), result.is_error)  # type: ignore[union-attr]
    assert {"response": response} == result.extras


def test_a_response_may_hold_pictures() -> None:
    inner = {"inlineData": {"mimeType": "image/png", "data": PNG}}
    given = {"name": "f", "response": {"result": "a"}, "parts": [inner], "willContinue": False}
    (result,) = parts("user", {"functionResponse": given})
    assert isinstance(result, ToolResult)
    assert [Text("a"), Media("image", "image/png", PNG)] == result.parts
    assert {"willContinue": False} == result.extras["functionResponse"]


# ---- what is refused ----


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"contents": None}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": ["a"]}, "contents[0]"),
        ({"contents": [{"role": "system", "parts": []}]}, "contents[0].role"),
        ({"contents": [{"parts": "a"}]}, "contents[0].parts"),
        ({"contents": [{"parts": ["a"]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"text": 1}]}]}, "contents[0].parts[0].text"),
        ({"contents": [{"parts": [{"inlineData": {"data": "a"}}]}]},
         "contents[0].parts[0].inlineData.mimeType"),
        ({"contents": [{"parts": [{"functionCall": {}}]}]},
         "contents[0].parts[0].functionCall.name"),
        ({"contents": [{"parts": [{"functionResponse": {"name": "f", "response": "x"}}]}]},
         "contents[0].parts[0].functionResponse.response"),
        ({"generationConfig": []}, None),
        ({"generationConfig": {"topK": 1.5}}, "generationConfig.topK"),
        ({"generationConfig": {"temperature": "1"}}, "generationConfig.temperature"),
        ({"tools": "a"}, "tools"),
        ({"tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
        ({"toolConfig": {"functionCallingConfig": {"mode": "SOME"}}},
         "toolConfig.functionCallingConfig.mode"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str | None) -> None:
    if fields.get("generationConfig") == []:  # as empty as absent
        assert chat(**fields) == chat()
        return
    kind, message, found = refused(**fields)
    assert ("bad_request", param) == (kind, found)
    assert param is not None
    assert param in message


odd_parts = st.dictionaries(
    st.sampled_from(
        ["text", "thought", "thoughtSignature", "inlineData", "fileData", "functionCall",
         "functionResponse", "x"]
    ),
    json_values | st.just({"name": "f"}),
    max_size=3,
)  # fmt: skip
odd_turns = st.builds(lambda parts: {"parts": parts}, st.lists(odd_parts, max_size=3))


@given(
    st.dictionaries(
        st.sampled_from(["contents", "tools", "toolConfig", "generationConfig", "model", "x"]),
        json_values | st.lists(odd_turns, max_size=3),
    )
)
@settings(max_examples=300, deadline=None)
def test_anything_is_read_or_refused(body: dict[str, Any]) -> None:
    with suppress(RequestError):
        parse(dumps(body), HERE)
