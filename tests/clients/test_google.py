"""Google's SDK with every upstream, and every SDK with a Gemini upstream: a real gateway between
them, and stubs that refuse what the providers refuse."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
import pytest_asyncio
from google.genai import errors, types

from tests.faults.client import CLIENT_KEY

from . import openai_stub
from .anthropic_stub import SIGNATURE as CLAUDES
from .gemini_stub import SENTINEL, SIGNATURE
from .google import ROUTES, Google, ask_google, client, google
from .openai_stub import CITIES, PERSON, TEXT
from .pairs import Said, ask_anthropic, ask_openai

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession"),  # Google's own
]
PNG = "iVBORw0KGgo="
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "const": "x"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = types.FunctionDeclaration(
    name="weather",
    description="d",
    parameters=types.Schema(
        type=types.Type.OBJECT, properties={"city": types.Schema(type=types.Type.STRING)}
    ),
)
TOOLS = [types.Tool(function_declarations=[WEATHER])]
FOREIGN: dict[str, list[Any]] = {
    "openai": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}],
    "anthropic": [{"name": "weather", "input_schema": SCHEMA}],
}
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
EVERYWHERE = pytest.mark.parametrize("route", ROUTES)
BY_OTHERS = pytest.mark.parametrize("who", ["openai", "anthropic"])
OURS = pytest.mark.parametrize("route", ["gemini", "gemini_passed"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Google]:
    async with google(tmp_path_factory.mktemp("gateway")) as made:
        yield made


async def by_others(
    served: Google, who: str, model: str, stream: bool, content: Any = "hello", **fields: Any
) -> Said:
    """What the OpenAI or the Anthropic SDK is told."""
    turns = fields.pop("messages", [{"role": "user", "content": content}])
    ask = {"openai": ask_openai, "anthropic": ask_anthropic}[who]
    return await ask(served, model, stream, {"messages": turns, **fields})


# ---- Google's SDK ----


@EVERYWHERE
@STREAMS
@pytest.mark.parametrize("model", ["talk", "bytes"])
async def test_text_and_usage(served: Google, route: str, model: str, stream: bool) -> None:
    found = await ask_google(served, f"{route}.{model}", stream, "hello")
    assert (TEXT, "STOP", []) == (found.text, found.finish, found.calls)
    assert (19, 3, len(TEXT)) == found.usage[:3] or route.startswith("gemini")
    if route.startswith("gemini"):
        assert (19, 3, len(TEXT) - 2, 0) == found.usage


@EVERYWHERE
@STREAMS
async def test_thoughts(served: Google, route: str, stream: bool) -> None:
    asked = {"include_thoughts": True, "thinking_budget": 2000}
    name = f"{route}.thinks"
    found = await ask_google(served, name, stream, "hello", thinking_config=asked)
    assert (TEXT, "well, 好") == (found.text, found.thinking)
    hidden = await ask_google(served, name, stream, "hello")
    assert (TEXT, "") == (hidden.text, hidden.thinking)


@EVERYWHERE
@STREAMS
async def test_parallel_calls_and_their_results(served: Google, route: str, stream: bool) -> None:
    contents: list[Any] = [{"role": "user", "parts": [{"text": "hello"}]}]
    first = await ask_google(served, f"{route}.talk", stream, contents, tools=TOOLS)
    assert [("weather", {"city": city}) for city in CITIES] == [call[1:] for call in first.calls]
    assert first.finish == "STOP"
    answers = [
        types.Part(
            function_response=types.FunctionResponse(
                id=ident, name=name, response={"result": args["city"]}
            )
        )
        for ident, name, args in reversed(first.calls)
    ]
    contents += [first.turn, {"role": "user", "parts": answers}]
    then = await ask_google(served, f"{route}.talk", stream, contents, tools=TOOLS)
    assert sorted(CITIES) == sorted(then.text.split("; "))


@pytest.mark.parametrize("route", ["chat", "messages", "gemini"])
async def test_row_12_calls_without_ids_meet_their_results(served: Google, route: str) -> None:
    call = [{"function_call": {"name": "weather", "args": {"city": city}}} for city in CITIES]
    results = [
        {"function_response": {"name": "weather", "response": {"result": city}}} for city in CITIES
    ]
    contents = [
        {"role": "user", "parts": [{"text": "hello"}]},
        {"role": "model", "parts": call},
        {"role": "user", "parts": results},
    ]
    found = await ask_google(served, f"{route}.talk", False, contents, tools=TOOLS)
    assert list(CITIES) == found.text.split("; ")


@EVERYWHERE
async def test_pictures(served: Google, route: str) -> None:
    image = types.Part.from_bytes(data=b64decode(PNG), mime_type="image/png")
    found = await ask_google(served, f"{route}.talk", False, [image, "what is this?"])
    assert found.text.startswith("image/png of 8 bytes")


@EVERYWHERE
async def test_system_instructions(served: Google, route: str) -> None:
    await ask_google(served, f"{route}.talk", False, "hello", system_instruction="Be brief.")
    sent = served.sent(route)
    if route == "chat":
        assert {"role": "system", "content": "Be brief."} == sent["messages"][0]
    elif route == "messages":
        assert sent["system"] == "Be brief."
    else:
        assert [{"text": "Be brief."}] == sent["systemInstruction"]["parts"]


@EVERYWHERE
async def test_structured_answers(served: Google, route: str) -> None:
    form = {"type": "OBJECT", "properties": {"name": {"type": "STRING", "nullable": True}}}
    found = await ask_google(
        served, f"{route}.talk", False, "hello",
        response_mime_type="application/json", response_schema=form,
    )  # fmt: skip
    wanted = {"type": "object", "properties": {"name": {"type": ["string", "null"]}}}
    sent = served.sent(route)
    if route == "chat":
        assert (PERSON, wanted) == (
            found.text, sent["response_format"]["json_schema"]["schema"],
        )  # fmt: skip
    elif route == "messages":
        closed = {**wanted, "additionalProperties": False}  # the API takes no other
        assert closed == sent["output_config"]["format"]["schema"]
    else:
        assert sent["generationConfig"]["responseSchema"]["type"] == "OBJECT"


MODES: list[tuple[dict[str, Any], Any, Any]] = [
    ({"mode": "AUTO"}, "auto", {"type": "auto"}),
    ({"mode": "ANY"}, "required", {"type": "any"}),
    ({"mode": "NONE"}, "none", {"type": "none"}),
    (
        {"mode": "ANY", "allowed_function_names": ["weather"]},
        {"type": "function", "function": {"name": "weather"}},
        {"type": "tool", "name": "weather"},
    ),
]


@EVERYWHERE
@pytest.mark.parametrize(("mode", "chat", "messages"), MODES)
async def test_the_choice_of_tools(
    served: Google, route: str, mode: dict[str, Any], chat: Any, messages: Any
) -> None:
    config = {"function_calling_config": mode}
    await ask_google(served, f"{route}.talk", False, "hello", tools=TOOLS, tool_config=config)
    sent = served.sent(route)
    if route in ("chat", "messages"):
        assert (chat if route == "chat" else messages) == sent["tool_choice"]
    else:
        assert mode["mode"] == sent["toolConfig"]["functionCallingConfig"]["mode"]


async def test_a_thought_of_another_provider_comes_back_to_it(served: Google) -> None:
    """Thinking that Anthropic signed goes through Google's SDK and back, its signature whole."""
    asked = {"include_thoughts": True, "thinking_budget": 2000}
    contents: list[Any] = [{"role": "user", "parts": [{"text": "hello"}]}]
    first = await ask_google(
        served, "messages.thinks", True, contents, tools=TOOLS, thinking_config=asked
    )
    assert first.thinking == "well, 好"
    results = [
        {"function_response": {"id": ident, "name": name, "response": {"result": "x"}}}
        for ident, name, _ in first.calls
    ]
    contents += [first.turn, {"role": "user", "parts": results}]
    await ask_google(served, "messages.thinks", False, contents, tools=TOOLS, thinking_config=asked)
    blocks = served.sent("messages")["messages"][1]["content"]
    sealed = [block["signature"] for block in blocks if block["type"] == "thinking"]
    assert [CLAUDES] == [found for found in sealed if found]
    await ask_google(served, "chat.talk", False, contents, tools=TOOLS)  # and to nobody else
    assert "penstock" not in json.dumps(served.sent("chat"))


@OURS
@STREAMS
async def test_row_27_signed_calls_come_back_signed(
    served: Google, route: str, stream: bool
) -> None:
    contents: list[Any] = [{"role": "user", "parts": [{"text": "hello"}]}]
    name = f"{route}.gemini-3-x"
    first = await ask_google(served, name, stream, contents, tools=TOOLS)
    assert b64decode(SIGNATURE) == first.signature  # type: ignore[comparison-overlap]
    results = [
        {"function_response": {"id": i, "name": n, "response": {"result": "x"}}}
        for i, n, _ in first.calls
    ]
    contents += [first.turn, {"role": "user", "parts": results}]
    then = await ask_google(served, name, stream, contents, tools=TOOLS)
    assert then.text == "x; x"
    calls = [p for p in served.sent(route)["contents"][1]["parts"] if "functionCall" in p]
    assert [SIGNATURE, None] == [part.get("thoughtSignature") for part in calls]


@EVERYWHERE
@STREAMS
async def test_a_stream_may_be_an_array(served: Google, route: str, stream: bool) -> None:
    """Without `alt=sse`, which is how the API is called by hand."""
    method = "streamGenerateContent" if stream else "generateContent"
    url = f"http://127.0.0.1:{served.port}/v1beta/models/{route}.talk:{method}?key={CLIENT_KEY}"
    body = {"contents": [{"parts": [{"text": "hello"}]}]}
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
        assert (200, "application/json") == (answer.status, answer.content_type)
        found = await answer.json()
    chunks = found if stream else [found]
    assert stream is (len(chunks) > 1)
    parts = [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]
    assert TEXT == "".join(part["text"] for part in parts)
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"
    assert chunks[-1]["usageMetadata"]["promptTokenCount"] > 0


async def test_an_array_that_fails_ends_with_its_error(served: Google) -> None:
    body = {"contents": [{"parts": [{"text": "hello"}]}]}
    for route in ROUTES:
        path = f"/v1beta/models/{route}.breaks:streamGenerateContent"
        url = f"http://127.0.0.1:{served.port}{path}"
        headers = {"x-goog-api-key": CLIENT_KEY}
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json=body, headers=headers) as answer,
        ):
            *chunks, last = await answer.json()
        assert all("candidates" in chunk for chunk in chunks)
        assert last["error"]["status"] == "UNAVAILABLE"


@OURS
async def test_a_stream_that_comes_as_a_list_is_read_all_the_same(
    served: Google, route: str
) -> None:
    found = await ask_google(served, f"{route}.array", True, "hello")
    assert (TEXT, "STOP") == (found.text, found.finish)


# ---- ends and errors ----


@OURS
@STREAMS
@pytest.mark.parametrize(("model", "finish"), [("long", "MAX_TOKENS"), ("refuses", "SAFETY")])
async def test_ends(served: Google, route: str, stream: bool, model: str, finish: str) -> None:
    found = await ask_google(served, f"{route}.{model}", stream, "hello")
    assert (TEXT, finish) == (found.text, found.finish)


@BY_OTHERS
@STREAMS
@pytest.mark.parametrize(
    ("model", "text", "finish"),
    [("long", TEXT, "length"), ("refuses", TEXT, "refusal"), ("blocked", "", "refusal")],
)
async def test_ends_as_others_see_them(
    served: Google, who: str, stream: bool, model: str, text: str, finish: str
) -> None:
    found = await by_others(served, who, f"gemini.{model}", stream)
    assert (text, finish) == (found.text, found.finish)


# What a client of each family sees of a status.
SHOWN = {
    400: (400, 400, 400), 401: (502, 502, 502), 403: (502, 502, 502), 404: (404, 404, 404),
    429: (429, 429, 429), 500: (502, 502, 502), 503: (503, 503, 529),
}  # fmt: skip


@EVERYWHERE
@STREAMS
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
async def test_failures(served: Google, route: str, status: int, stream: bool) -> None:
    with pytest.raises(errors.APIError) as caught:
        await ask_google(served, f"{route}.error-{status}", stream, "hello")
    assert SHOWN[status][0] == caught.value.code
    if status not in (401, 403):
        assert f"This is a {status}." in str(caught.value)
    if status == 429:
        (info,) = caught.value.details["error"]["details"]
        assert info["retryDelay"] == "40s"


@BY_OTHERS
@STREAMS
@pytest.mark.parametrize("status", SHOWN)
async def test_failures_as_others_see_them(
    served: Google, who: str, status: int, stream: bool
) -> None:
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as caught:
        await by_others(served, who, f"gemini.error-{status}", stream)
    error: Any = caught.value
    assert SHOWN[status][1 if who == "openai" else 2] == error.status_code
    if status == 429:
        assert error.response.headers["retry-after"] == "40"


@EVERYWHERE
@pytest.mark.parametrize("model", ["breaks", "cut"])
async def test_f1_and_f7_a_stream_that_fails_ends_with_an_error(
    served: Google, route: str, model: str
) -> None:
    with pytest.raises(errors.APIError):
        await ask_google(served, f"{route}.{model}", True, "hello")


@OURS
async def test_row_18_a_stream_without_its_finish_was_cut_off(served: Google, route: str) -> None:
    with pytest.raises(errors.APIError, match="ended before it was whole"):
        await ask_google(served, f"{route}.ends", True, "hello")


@BY_OTHERS
@pytest.mark.parametrize("model", ["breaks", "cut", "ends"])
async def test_a_failing_stream_as_others_see_it(served: Google, who: str, model: str) -> None:
    with pytest.raises((openai.APIError, anthropic.APIError)):
        await by_others(served, who, f"gemini.{model}", True)


# ---- the small endpoints ----


async def test_models_are_listed(served: Google) -> None:
    listed = [model.name async for model in await served.google.models.list()]
    assert {"models/chat.talk", "models/gemini.talk"} <= set(listed)
    one = await served.google.models.get(model="messages.talk")
    assert ("models/messages.talk", "messages.talk") == (one.name, one.display_name)
    with pytest.raises(errors.ClientError) as caught:
        await served.google.models.get(model="no-such-model")
    assert caught.value.code == 404


async def test_tokens_are_counted_by_an_estimate(served: Google) -> None:
    found = await served.google.models.count_tokens(model="chat.talk", contents="word " * 1000)
    assert 1000 < found.total_tokens < 3000
    assert found.sdk_http_response.headers["x-penstock-token-count"] == "estimate"
    with pytest.raises(errors.ClientError):
        await served.google.models.count_tokens(model="no-such-model", contents="hello")


async def test_unknown_models_and_wrong_keys(served: Google) -> None:
    with pytest.raises(errors.ClientError) as caught:
        await ask_google(served, "no-such-model", False, "hello")
    assert (404, "NOT_FOUND") == (caught.value.code, caught.value.status)
    async with client(f"http://127.0.0.1:{served.port}", "wrong").aio as other:
        with pytest.raises(errors.ClientError) as caught:
            await other.models.generate_content(model="chat.talk", contents="hello")
    assert (401, "UNAUTHENTICATED") == (caught.value.code, caught.value.status)


@pytest.mark.parametrize("version", ["v1", "v1beta"])
@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"x-goog-api-key": CLIENT_KEY}, {}),
        ({"Authorization": f"Bearer {CLIENT_KEY}"}, {}),
        ({}, {"key": CLIENT_KEY}),
    ],
)
async def test_the_key_may_come_in_three_ways(
    served: Google, version: str, headers: dict[str, str], query: dict[str, str]
) -> None:
    url = f"http://127.0.0.1:{served.port}/{version}/models/chat.talk:generateContent"
    body = {"contents": [{"parts": [{"text": "hello"}]}]}
    async with aiohttp.ClientSession() as session:
        async with session.post(url, json=body, headers=headers, params=query) as answer:
            assert answer.status == 200
        async with session.post(url, json=body) as answer:
            assert (401, "UNAUTHENTICATED") == (
                answer.status, (await answer.json())["error"]["status"],
            )  # fmt: skip


async def test_fields_that_were_left_out_are_named(served: Google) -> None:
    safety = [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}]
    made = await served.google.models.generate_content(
        model="chat.talk", contents="hello",
        config={"top_k": 3, "safety_settings": safety, "media_resolution": "MEDIA_RESOLUTION_LOW"},
    )  # fmt: skip
    names = made.sdk_http_response.headers["x-penstock-dropped"]
    assert names == "safetySettings, generationConfig.mediaResolution, top_k"
    with pytest.raises(errors.ClientError, match="cachedContent"):
        await ask_google(served, "chat.talk", False, "hello", cached_content="cachedContents/x")


# ---- other SDKs with a Gemini upstream ----


@BY_OTHERS
@STREAMS
@pytest.mark.parametrize("model", ["talk", "bytes", "array"])
async def test_text_and_usage_for_others(
    served: Google, who: str, model: str, stream: bool
) -> None:
    found = await by_others(served, who, f"gemini.{model}", stream)
    assert (TEXT, "stop") == (found.text, found.finish)
    assert (19, 3, len(TEXT) - 2, 0) == found.usage
    assert served.gemini.paths[-1].endswith("?alt=sse" if stream else ":generateContent")


THINKS: dict[str, dict[str, Any]] = {
    "openai": {"reasoning_effort": "low"},
    "anthropic": {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
}


@BY_OTHERS
@STREAMS
async def test_thoughts_for_others(served: Google, who: str, stream: bool) -> None:
    found = await by_others(served, who, "gemini.thinks", stream, **THINKS[who])
    assert (TEXT, "well, 好") == (found.text, found.thinking)
    config = served.sent("gemini")["generationConfig"]["thinkingConfig"]
    assert {"thinkingBudget": 500 if who == "anthropic" else 1024, "includeThoughts": True} == (
        config
    )


@BY_OTHERS
@STREAMS
@pytest.mark.parametrize("model", ["talk", "gemini-3-x"])
async def test_row_25_and_27_calls_and_results_of_others(
    served: Google, who: str, stream: bool, model: str
) -> None:
    turns: list[Any] = [{"role": "user", "content": "hello"}]
    name, tools = f"gemini.{model}", FOREIGN[who]
    first = await signed(served, who, name, stream, turns, tools)
    assert [("weather", {"city": city}) for city in CITIES] == [call[1:] for call in first.calls]
    assert first.finish == "tool"
    told = [(ident, args["city"]) for ident, _, args in reversed(first.calls)]
    if who == "openai":
        after = [{"role": "tool", "tool_call_id": i, "content": text} for i, text in told]
    else:
        blocks = [{"type": "tool_result", "tool_use_id": i, "content": text} for i, text in told]
        after = [{"role": "user", "content": blocks}]
    then = await signed(served, who, name, stream, [*turns, first.turn, *after], tools)
    assert list(CITIES) == then.text.split("; ")
    calls = [p for p in served.sent("gemini")["contents"][1]["parts"] if "functionCall" in p]
    wanted = [SIGNATURE, None] if model == "gemini-3-x" else [None, None]
    assert wanted == [part.get("thoughtSignature") for part in calls]


async def signed(
    served: Google, who: str, name: str, stream: bool, turns: list[Any], tools: list[Any]
) -> Said:
    """The answer, its turn as a client keeps it that gives back what it does not know."""
    if who == "anthropic":
        return await by_others(served, who, name, stream, messages=turns, tools=tools)
    create: Any = served.openai.chat.completions.create
    found = await by_others(served, who, name, stream, messages=turns, tools=tools)
    if not stream:
        answer = await create(model=name, messages=turns, tools=tools)
        found.turn = answer.choices[0].message.to_dict()
        found.calls = [
            (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in found.turn.get("tool_calls", ())
        ]
        return found
    calls: dict[int, dict[str, Any]] = {}
    async for chunk in await create(model=name, messages=turns, tools=tools, stream=True):
        for call in chunk.choices[0].delta.tool_calls or ():
            raw = call.to_dict()
            kept = calls.setdefault(raw.pop("index"), raw)
            if kept is not raw:
                kept["function"]["arguments"] += raw["function"]["arguments"]
    found.turn = {"role": "assistant", "content": found.text, "tool_calls": list(calls.values())}
    found.calls = [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in calls.values()
    ]
    return found


async def test_row_27_a_client_that_loses_signatures_is_served(served: Google) -> None:
    function = {"name": "weather", "arguments": '{"city":"Paris"}'}
    turns: list[Any] = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": None,
         "tool_calls": [{"id": "c", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c", "content": "sunny"},
    ]  # fmt: skip
    tools = FOREIGN["openai"]
    found = await by_others(
        served, "openai", "gemini.gemini-3-x", False, messages=turns, tools=tools
    )
    assert found.text == "sunny"
    call = served.sent("gemini")["contents"][1]["parts"][0]
    assert SENTINEL == call["thoughtSignature"]


async def test_row_29_a_signature_of_google_does_not_go_to_anthropic(served: Google) -> None:
    turns: list[Any] = [{"role": "user", "content": "hello"}]
    tools = FOREIGN["anthropic"]
    first = await by_others(
        served, "anthropic", "gemini.gemini-3-x", True, messages=turns, tools=tools
    )
    sealed = [block for block in first.turn["content"] if block["type"] == "thinking"]
    assert [""] == [block["thinking"] for block in sealed]
    results = [{"type": "tool_result", "tool_use_id": i, "content": "x"} for i, *_ in first.calls]
    turns += [first.turn, {"role": "user", "content": results}]
    found = await by_others(
        served, "anthropic", "messages.talk", False, messages=turns, tools=tools
    )
    assert found.text == "x; x"
    assert "thinking" not in json.dumps(served.sent("messages"))


@BY_OTHERS
async def test_pictures_of_others(served: Google, who: str) -> None:
    source = {"type": "base64", "media_type": "image/jpeg", "data": PNG}
    part: Any = {
        "openai": {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PNG}"}},
        "anthropic": {"type": "image", "source": source},
    }[who]
    words = {"type": "text", "text": "?"}
    found = await by_others(served, who, "gemini.talk", False, content=[part, words])
    assert found.text == "image/png of 8 bytes"


@BY_OTHERS
async def test_row_40_a_picture_by_its_url_is_refused(served: Google, who: str) -> None:
    url = "https://example.com/a.png"
    part: Any = {
        "openai": {"type": "image_url", "image_url": {"url": url}},
        "anthropic": {"type": "image", "source": {"type": "url", "url": url}},
    }[who]
    with pytest.raises((openai.BadRequestError, anthropic.BadRequestError), match="by URL"):
        await by_others(served, who, "gemini.talk", False, content=[part])


async def test_structured_answers_for_others(served: Google) -> None:
    form = {"type": "object", "properties": {}, "additionalProperties": False}
    asked = {"type": "json_schema", "json_schema": {"name": "person", "schema": form}}
    await by_others(served, "openai", "gemini.talk", False, response_format=asked)
    config = served.sent("gemini")["generationConfig"]
    assert {"responseMimeType": "application/json", "responseJsonSchema": form} == config


async def test_f16_arguments_that_are_no_object_are_an_error(
    served: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = {"name": "weather", "arguments": '{"city": '}
    call = {"id": "call_0", "type": "function", "function": function}
    monkeypatch.setattr(openai_stub, "calls_of", lambda body: [call])
    for stream in (False, True):
        with pytest.raises(errors.ServerError, match="no JSON object"):
            await ask_google(served, "chat.talk", stream, "hello", tools=TOOLS)
