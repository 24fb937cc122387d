"""Every client dialect with every upstream dialect: the official SDKs, a real gateway, and stubs
that refuse what OpenAI and Anthropic refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest
import pytest_asyncio

from . import openai_stub
from .anthropic_stub import SIGNATURE
from .openai_stub import CITIES, PERSON, TEXT
from .pairs import CLIENTS, ROUTES, Said, World, ask_anthropic, ask_openai, world

pytestmark = pytest.mark.asyncio(loop_scope="module")
PNG = "iVBORw0KGgo="
DATA = f"data:image/png;base64,{PNG}"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS: dict[str, list[Any]] = {
    "openai": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}],
    "anthropic": [{"name": "weather", "input_schema": SCHEMA}],
}
ASK = {"openai": ask_openai, "anthropic": ask_anthropic}
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
EVERYWHERE = pytest.mark.parametrize("route", ROUTES)
BY_BOTH = pytest.mark.parametrize("client", CLIENTS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("gateway")) as made:
        yield made


async def ask(
    served: World, client: str, model: str, stream: bool, content: Any = "hello", **fields: Any
) -> Said:
    turns = fields.pop("messages", [{"role": "user", "content": content}])
    return await ASK[client](served, model, stream, {"messages": turns, **fields})


@BY_BOTH
@EVERYWHERE
@STREAMS
@pytest.mark.parametrize("model", ["talk", "bytes"])
async def test_text_and_usage(
    served: World, client: str, route: str, model: str, stream: bool
) -> None:
    found = await ask(served, client, f"{route}.{model}", stream)
    assert (TEXT, "stop", []) == (found.text, found.finish, found.calls)
    assert (19, 3, len(TEXT), 2) == found.usage


@BY_BOTH
@pytest.mark.parametrize("route", ["chat", "messages", "messages_passed"])
@STREAMS
async def test_thinking(served: World, client: str, route: str, stream: bool) -> None:
    found = await ask(served, client, f"{route}.thinks", stream)
    assert (TEXT, "well, 好") == (found.text, found.thinking)
    if client == "anthropic":
        assert found.signature == ("" if route == "chat" else SIGNATURE)


# ---- tools ----


def results(client: str, calls: list[Any], say: Any = str) -> list[dict[str, Any]]:
    """The turns that answer some calls, last call first."""
    told = [(ident, say(args["city"])) for ident, _, args in reversed(calls)]
    if client == "openai":
        return [{"role": "tool", "tool_call_id": i, "content": text} for i, text in told]
    blocks = [{"type": "tool_result", "tool_use_id": i, "content": text} for i, text in told]
    return [{"role": "user", "content": blocks}]


@BY_BOTH
@EVERYWHERE
@STREAMS
@pytest.mark.parametrize("model", ["talk", "thinks"])
async def test_parallel_calls_and_their_results(
    served: World, client: str, route: str, stream: bool, model: str
) -> None:
    turns: list[Any] = [{"role": "user", "content": "hello"}]
    name, tools = f"{route}.{model}", TOOLS[client]
    first = await ask(served, client, name, stream, messages=turns, tools=tools)
    assert [("weather", {"city": city}) for city in CITIES] == [call[1:] for call in first.calls]
    assert first.finish == "tool"
    assert len({ident for ident, *_ in first.calls}) == 2
    turns += [first.turn, *results(client, first.calls)]
    then = await ask(served, client, name, stream, messages=turns, tools=tools)
    assert sorted(CITIES) == sorted(then.text.split("; "))
    assert then.finish == "stop"


@BY_BOTH
@EVERYWHERE
async def test_one_call_at_a_time(served: World, client: str, route: str) -> None:
    single: Any = {
        "openai": {"parallel_tool_calls": False},
        "anthropic": {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    }[client]
    found = await ask(served, client, f"{route}.talk", False, tools=TOOLS[client], **single)
    assert 1 == len(found.calls)


CHOICES: list[tuple[Any, Any, Any, Any]] = [
    ("auto", {"type": "auto"}, "auto", {"type": "auto"}),
    ("required", {"type": "any"}, "required", {"type": "any"}),
    ("none", {"type": "none"}, "none", {"type": "none"}),
    (
        {"type": "function", "function": {"name": "weather"}},
        {"type": "tool", "name": "weather"},
        {"type": "function", "function": {"name": "weather"}},
        {"type": "tool", "name": "weather"},
    ),
]


@BY_BOTH
@EVERYWHERE
@pytest.mark.parametrize("choice", CHOICES)
async def test_the_choice_of_tools(
    served: World, client: str, route: str, choice: tuple[Any, Any, Any, Any]
) -> None:
    asked = choice[CLIENTS.index(client)]
    await ask(served, client, f"{route}.talk", False, tools=TOOLS[client], tool_choice=asked)
    assert choice[2 if route.startswith("chat") else 3] == served.sent(route)["tool_choice"]


@EVERYWHERE
async def test_row_23_images_and_failures_in_results(served: World, route: str) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    used = [{"type": "tool_use", "id": f"t{at}", "name": "weather", "input": {}} for at in (0, 1)]
    answered = [
        {"type": "tool_result", "tool_use_id": "t0", "content": [
            {"type": "text", "text": "seen"}, image]},
        {"type": "tool_result", "tool_use_id": "t1", "content": "no luck", "is_error": True},
        {"type": "text", "text": "and?"},
    ]  # fmt: skip
    turns = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": used},
        {"role": "user", "content": answered},
    ]
    tools = TOOLS["anthropic"]
    await ask(served, "anthropic", f"{route}.talk", False, messages=turns, tools=tools)
    sent = served.sent(route)["messages"]
    if route.startswith("messages"):
        assert sent == turns
        return
    assert sent[2:] == [
        {"role": "tool", "tool_call_id": "t0", "content": "seen\n[image attached]"},
        {"role": "tool", "tool_call_id": "t1", "content": "Error: no luck"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": DATA}},
                                     {"type": "text", "text": "and?"}]},
    ]  # fmt: skip


async def test_f16_arguments_that_are_no_object_are_an_error_where_one_is_due(
    served: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = {"name": "weather", "arguments": '{"city": '}
    call = {"id": "call_0", "type": "function", "function": function}
    monkeypatch.setattr(openai_stub, "calls_of", lambda body: [call])
    with pytest.raises(anthropic.APIStatusError, match="no JSON object") as caught:
        await ask(served, "anthropic", "chat.talk", False, tools=TOOLS["anthropic"])
    assert caught.value.status_code == 502
    hello: Any = [{"role": "user", "content": "hello"}]
    made = await served.openai.chat.completions.create(
        model="chat.talk", messages=hello, tools=TOOLS["openai"]
    )
    (found,) = made.to_dict()["choices"][0]["message"]["tool_calls"]  # type: ignore[index]
    assert function == found["function"]


# ---- what goes up ----


@BY_BOTH
@EVERYWHERE
@pytest.mark.parametrize("url", [DATA, "https://example.com/a.png"])
async def test_images(served: World, client: str, route: str, url: str) -> None:
    source = {"type": "url", "url": url}
    if url == DATA:
        source = {"type": "base64", "media_type": "image/png", "data": PNG}
    part: Any = {
        "openai": {"type": "image_url", "image_url": {"url": url}},
        "anthropic": {"type": "image", "source": source},
    }[client]
    words = {"type": "text", "text": "what is this?"}
    found = await ask(served, client, f"{route}.talk", False, content=[part, words])
    assert ("image/png of 8 bytes" if url == DATA else url) in found.text


@BY_BOTH
@EVERYWHERE
async def test_system_prompts(served: World, client: str, route: str) -> None:
    turns = [{"role": "user", "content": "hello"}, {"role": "system", "content": "Late"}]
    fields: dict[str, Any] = {"system": [{"type": "text", "text": "First"}]}
    if client == "openai":
        turns.insert(0, {"role": "system", "content": "First"})
        fields = {}
    await ask(served, client, f"{route}.talk", False, messages=turns, **fields)
    sent = served.sent(route)
    if route.startswith("chat"):
        assert ["First", "hello", "Late"] == [turn["content"] for turn in sent["messages"]]
        return
    late = sent["messages"][-1]["content"]
    if client == "anthropic":
        assert (fields["system"], "Late") == (sent["system"], late)
    else:
        marked = {"type": "text", "text": "<system>\nLate\n</system>"}
        assert ("First", [{"type": "text", "text": "hello"}, marked]) == (sent["system"], late)


@BY_BOTH
@EVERYWHERE
async def test_effort(served: World, client: str, route: str) -> None:
    asked: Any = {
        "openai": {"reasoning_effort": "high"},
        "anthropic": {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
    }[client]
    await ask(served, client, f"{route}.talk", False, **asked)
    sent = served.sent(route)
    if route.startswith("chat"):
        assert sent["reasoning_effort"] == "high"
    else:
        assert ({"type": "adaptive"}, {"effort": "high"}) == (
            sent["thinking"], sent["output_config"],
        )  # fmt: skip


FORM = {"type": "object", "properties": {}, "additionalProperties": False}


@EVERYWHERE
async def test_structured_answers(served: World, route: str) -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "person", "schema": FORM}}
    found = await ask(served, "openai", f"{route}.talk", False, response_format=asked)
    form = {"type": "json_schema", "schema": FORM}
    if route.startswith("chat"):
        assert found.text == PERSON
    else:
        assert {"format": form} == served.sent(route)["output_config"]
    await ask(served, "anthropic", f"{route}.talk", False, output_config={"format": form})
    sent = served.sent(route)
    if route.startswith("chat"):
        assert FORM == sent["response_format"]["json_schema"]["schema"]
    else:
        assert {"format": form} == sent["output_config"]


async def test_the_limit_of_an_answer(served: World) -> None:
    await ask(served, "openai", "messages.talk", False)
    assert served.sent("messages")["max_tokens"] == 8192
    await ask(served, "openai", "messages.talk", False, max_completion_tokens=77)
    assert served.sent("messages")["max_tokens"] == 77
    await ask(served, "anthropic", "chat.talk", False, max_tokens=77)
    assert served.sent("chat")["max_tokens"] == 77


@pytest.mark.parametrize("route", ["messages", "messages_passed"])
async def test_betas_go_along_and_the_version_is_the_routes(served: World, route: str) -> None:
    beta = "context-management-2025-06-27"
    await ask(
        served, "anthropic", f"{route}.talk", False,
        extra_headers={"anthropic-beta": beta},
        extra_body={"context_management": {"edits": []}},
    )  # fmt: skip
    assert (beta, {"edits": []}) == (
        served.messages.betas[-1], served.sent(route)["context_management"],
    )  # fmt: skip
    assert {"2023-06-01"} == set(served.messages.versions)


CLAUDE_CODE: dict[str, Any] = {
    "max_tokens": 32000,
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli;"},
        {"type": "text", "text": "You are a tool.", "cache_control": {"type": "ephemeral"}},
    ],
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "high"},
    "metadata": {"user_id": '{"device_id":"d","session_id":"s"}'},
    "tools": [{"name": "Bash", "description": "runs", "input_schema": SCHEMA}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}},
            ],
        },
        {"role": "system", "content": "Be brief."},
    ],
    "extra_body": {
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    },
    "extra_headers": {
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "claude-code-20250219,context-management-2025-06-27",
        "X-Claude-Code-Session-Id": "s",
        "x-app": "cli",
    },
    "extra_query": {"beta": "true"},
}


@EVERYWHERE
async def test_a_turn_of_claude_code(served: World, route: str) -> None:
    found = await ask(served, "anthropic", f"{route}.talk", True, **CLAUDE_CODE)
    sent = served.sent(route)
    assert TEXT == found.text
    if route.startswith("messages"):
        assert ["Bash", "Bash"] == [name for _, name, _ in found.calls]
        given = {**CLAUDE_CODE, **CLAUDE_CODE["extra_body"], "model": "talk", "stream": True}
        left = ("extra_body", "extra_headers", "extra_query")
        assert {name: value for name, value in given.items() if name not in left} == sent
        return
    assert sent["messages"] == [
        {"role": "system", "content": "You are a tool."},
        {"role": "user", "content": "hello"},
        {"role": "system", "content": "Be brief."},
    ]
    assert (32000, "high") == (sent["max_tokens"], sent["reasoning_effort"])
    assert "metadata" not in sent


# ---- what has no place ----


async def test_fields_that_were_left_out_are_named(served: World) -> None:
    hello: Any = [{"role": "user", "content": "hello"}]
    made = await served.openai.chat.completions.with_raw_response.create(
        model="messages.talk", messages=hello, temperature=0, presence_penalty=1, seed=5,
        extra_body={"x new:\n": 1},
    )  # fmt: skip
    assert "x_new__, presence_penalty, temperature" == made.headers["x-penstock-dropped"]
    answer = await served.anthropic.messages.with_raw_response.create(
        model="chat.talk", max_tokens=9, messages=hello,
        extra_body={"context_management": {}, "top_k": 3, "service_tier": "auto"},
    )  # fmt: skip
    assert "context_management, top_k" == answer.headers["x-penstock-dropped"]
    passed = await served.anthropic.messages.with_raw_response.create(
        model="messages_passed.talk", max_tokens=9, messages=hello
    )
    assert "x-penstock-dropped" not in passed.headers


async def test_fields_that_were_left_out_are_named_at_the_head_of_a_stream(served: World) -> None:
    hello: Any = [{"role": "user", "content": "hello"}]
    made = await served.openai.chat.completions.with_raw_response.create(
        model="messages.talk", messages=hello, stream=True, temperature=0
    )
    assert made.headers["x-penstock-dropped"] == "temperature"
    async for _ in made.parse():
        pass


async def test_what_cannot_be_said_is_refused(served: World) -> None:
    with pytest.raises(openai.BadRequestError, match="one answer at a time") as caught:
        await ask(served, "openai", "messages.talk", False, n=2)
    assert ("unsupported_parameter", "n") == (caught.value.code, caught.value.param)
    search = {"type": "web_search_20260318", "name": "web_search"}
    with pytest.raises(anthropic.BadRequestError, match="web_search_20260318"):
        await ask(served, "anthropic", "chat.talk", False, tools=[search])


# ---- ends and errors ----


@BY_BOTH
@pytest.mark.parametrize("route", ["messages", "messages_passed"])
@STREAMS
@pytest.mark.parametrize(
    ("model", "finish"), [("long", "length"), ("refuses", "refusal"), ("stops", "stop")]
)
async def test_ends(
    served: World, client: str, route: str, stream: bool, model: str, finish: str
) -> None:
    words: dict[str, Any] = {"stop": ["END"]} if client == "openai" else {"stop_sequences": ["END"]}
    found = await ask(served, client, f"{route}.{model}", stream, **words)
    if client == "anthropic" and model == "stops":
        finish = "stop_sequence"
    assert (TEXT, finish) == (found.text, found.finish)


# What each client sees of a status: OpenAI's status and code, Anthropic's status and type.
SHOWN: dict[int, tuple[int, str | None, int, str]] = {
    400: (400, None, 400, "invalid_request_error"),
    401: (502, "upstream_credential", 502, "api_error"),
    403: (502, "upstream_credential", 502, "api_error"),
    404: (404, "model_not_found", 404, "not_found_error"),
    413: (413, "request_too_large", 413, "request_too_large"),
    429: (429, "rate_limit_exceeded", 429, "rate_limit_error"),
    500: (502, "bad_gateway", 502, "api_error"),
    503: (503, "overloaded", 529, "overloaded_error"),
    529: (503, "overloaded", 529, "overloaded_error"),
}


@BY_BOTH
@STREAMS
@pytest.mark.parametrize(
    ("route", "status"),
    [(route, status) for route in ROUTES for status in SHOWN
     if status not in ((413, 529) if route.startswith("chat") else (503,))],
)  # fmt: skip
async def test_failures(served: World, client: str, route: str, status: int, stream: bool) -> None:
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as caught:
        await ask(served, client, f"{route}.error-{status}", stream)
    error: Any = caught.value
    expected, code, other, kind = SHOWN[status]
    assert (expected if client == "openai" else other) == error.status_code
    if status not in (401, 403):
        assert f"This is a {status}." in error.message
    if status == 429:
        assert error.response.headers["retry-after"] == "40"
    if client == "anthropic":
        assert ("error", kind) == (error.body["type"], error.body["error"]["type"])
        assert error.response.headers["request-id"] == error.body["request_id"]
    elif status != 400:
        assert code == error.code


@BY_BOTH
@EVERYWHERE
@pytest.mark.parametrize("model", ["breaks", "cut"])
async def test_f1_and_f7_a_stream_that_fails_ends_with_an_error(
    served: World, client: str, route: str, model: str
) -> None:
    with pytest.raises((openai.APIError, anthropic.APIError)) as caught:
        await ask(served, client, f"{route}.{model}", True)
    if model == "breaks":
        assert "The server had an error." in str(caught.value) or "Overloaded" in str(caught.value)


# ---- the small endpoints ----


@BY_BOTH
async def test_unknown_models_and_wrong_keys(served: World, client: str) -> None:
    missing: Any = {"openai": openai.NotFoundError, "anthropic": anthropic.NotFoundError}
    with pytest.raises(missing[client]):
        await ask(served, client, "no-such-model", False)
    made: Any = getattr(served, client).with_options(api_key="wrong")
    refused: Any = {
        "openai": openai.AuthenticationError,
        "anthropic": anthropic.AuthenticationError,
    }
    with pytest.raises(refused[client]):
        await made.models.list()


async def test_models_in_the_shape_of_the_client(served: World) -> None:
    listed = [model.id async for model in served.anthropic.models.list(limit=1000)]
    assert listed == [model.id async for model in served.openai.models.list()]
    assert "chat.talk" in listed
    one = await served.anthropic.models.retrieve("messages.talk")
    assert ("messages.talk", "model") == (one.id, one.type)
    with pytest.raises(anthropic.NotFoundError):
        await served.anthropic.models.retrieve("no-such-model")


async def test_tokens_are_counted_by_an_estimate(served: World) -> None:
    hello: Any = [{"role": "user", "content": "word " * 1000}]
    made = await served.anthropic.messages.with_raw_response.count_tokens(
        model="chat.talk", messages=hello, tools=TOOLS["anthropic"]
    )
    assert made.headers["x-penstock-token-count"] == "estimate"
    assert 1000 < (await made.parse()).input_tokens < 3000
    with pytest.raises(anthropic.NotFoundError):
        await served.anthropic.messages.count_tokens(model="no-such-model", messages=hello)
