"""Of a request that says everything, each field reaches every upstream, is named, or is a hint."""

from __future__ import annotations

import re
from typing import Any, get_type_hints

import ollama._types
import pytest
from anthropic.types import message_create_params
from google.genai import types as google
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params

from engine.dialects import DIALECTS
from engine.dialects.profile import Profile
from engine.dialects.written import write

from .crossing import parsed, sent
from .maximal import MAXIMAL, vanished

SHORT = {"openai_chat": "C", "openai_responses": "R", "anthropic_messages": "A", "gemini": "G",
         "ollama": "L"}  # fmt: skip
PAIRS = [(c, t) for c in sorted(DIALECTS) for t in sorted(DIALECTS) if c != t]

# What may vanish without a word, and on the way to whom. Hints; ids and states of what an API
# keeps; thoughts that their origin alone can read; words that only spell what is said already (the
# type of an image that its bytes show) or what the other side demands (closed objects). `model` and
# `stream` of Gemini stand in its path.
HINTS: dict[str, dict[str, str]] = {
    "openai_chat": {
        "messages.content.image_url.detail": "AGL",
        "messages.content.prompt_cache_breakpoint": "ARGL",
        "messages.name": "ARGL",
        "messages.reasoning_content": "ARG",
        "messages.tool_calls.type": "ARGL",
        "metadata": "ARGL",
        "model": "ARGL",
        "prediction": "ARGL",
        "prompt_cache_key": "ARGL",
        "prompt_cache_options": "ARGL",
        "prompt_cache_retention": "ARGL",
        "response_format.json_schema.description": "AGL",
        "response_format.json_schema.name": "AGL",
        "response_format.json_schema.schema.additionalProperties": "A",
        "response_format.json_schema.strict": "AGL",
        "safety_identifier": "ARGL",
        "seed": "AR",
        "service_tier": "ARGL",
        "store": "ARGL",
        "stream": "G",
        "stream_options": "ARGL",
        "tools.custom.format.type": "ARGL",
        "tools.function.parameters.additionalProperties": "A",
        "top_logprobs": "A",
        "user": "ARGL",
        "verbosity": "AGL",
    },
    "anthropic_messages": {
        "cache_control": "CRGL",
        "diagnostics": "CRGL",
        "messages.content.cache_control": "CRGL",
        "messages.content.citations": "CRGL",
        "messages.content.content.cache_control": "CRGL",
        "messages.content.content.source.media_type": "CRGL",
        "messages.content.content.type": "CRGL",
        "messages.content.signature": "CL",
        "messages.content.source.media_type": "CRGL",
        "messages[1].content[0]": "RG",
        "messages[1].content[1]": "CRGL",
        "metadata": "CRGL",
        "model": "CRGL",
        "output_config.effort": "L",
        "service_tier": "CRGL",
        "speed": "CRGL",
        "stream": "G",
        "system.cache_control": "CRGL",
        "thinking": "CGL",
        "thinking.budget_tokens": "CL",
        "thinking.display": "CRL",
        "thinking.type": "CRGL",
        "tools.cache_control": "CRGL",
        "tools.eager_input_streaming": "CRGL",
        "user_profile_id": "CRGL",
        "workspace_id": "CRGL",
    },
    "openai_responses": {
        "access_programs": "CAGL",
        "include[0]": "CGL",
        "include[2]": "CGL",
        "input.content.annotations": "CAGL",
        "input.content.detail": "CAGL",
        "input.content.logprobs": "CAGL",
        "input.content.prompt_cache_breakpoint": "CAGL",
        "input.encrypted_content": "CGL",
        "input.id": "CAGL",
        "input.output.detail": "AGL",
        "input.phase": "CAGL",
        "input.status": "CAGL",
        "input.summary.type": "CL",
        "input[2]": "AG",
        "metadata": "CAGL",
        "model": "CAGL",
        "prompt_cache_key": "CAGL",
        "prompt_cache_options": "CAGL",
        "prompt_cache_retention": "CAGL",
        "reasoning.context": "CAGL",
        "reasoning.generate_summary": "CAGL",
        "reasoning.summary": "CAGL",
        "safety_identifier": "CAGL",
        "service_tier": "CAGL",
        "store": "CAGL",
        "stream": "G",
        "stream_options": "CAGL",
        "text.format.description": "AGL",
        "text.format.name": "AGL",
        "text.format.schema.additionalProperties": "A",
        "text.format.strict": "AGL",
        "text.verbosity": "AGL",
        "tool_choice.tools.type": "CAGL",
        "tools.format.type": "CAGL",
        "tools.parameters.additionalProperties": "A",
        "top_logprobs": "A",
        "truncation": "CAGL",
        "user": "CAGL",
    },
    "gemini": {
        "contents.parts.functionResponse.name": "CAR",
        "contents.parts.functionResponse.parts.inlineData.mimeType": "CARL",
        "contents.parts.inlineData.displayName": "CARL",
        "contents.parts.inlineData.mimeType": "CARL",
        "contents.parts.mediaResolution": "CARL",
        "contents.parts.partMetadata": "CARL",
        "contents.parts.thoughtSignature": "CARL",
        "contents.role": "CARL",
        "contents[1].parts[0]": "AR",
        "generationConfig.logprobs": "A",
        "generationConfig.seed": "AR",
        "generationConfig.thinkingConfig.includeThoughts": "CAL",
        "labels": "CARL",
        "serviceTier": "CARL",
        "store": "CARL",
        "toolConfig.functionCallingConfig.streamFunctionCallArguments": "CAR",
    },
    "ollama": {
        "keep_alive": "CARG",
        "messages.thinking": "ARG",
        "messages.tool_calls.function.index": "CARG",
        "messages.tool_name": "CARG",
        "model": "CARG",
        "options.seed": "AR",
        "stream": "G",
        "tools.type": "CARG",
        "top_logprobs": "A",
    },
}  # fmt: skip


@pytest.mark.parametrize(("client", "target"), PAIRS)
def test_nothing_vanishes_unnamed(client: str, target: str) -> None:
    found = {_allowed(path, HINTS[client]) for path in vanished(client, target)}
    due = {path for path, targets in HINTS[client].items() if SHORT[target] in targets}
    assert due == found


def _allowed(path: str, hints: dict[str, str]) -> str:
    """The path as the table has it: with its numbers where that one part is meant."""
    return path if path in hints else re.sub(r"\[\d+\]", "", path)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


# Fields of the SDKs' request types that are no fields of the body, or only the legacy form of one
# (both forms together are refused).
NOT_SAID = {
    "openai_chat": {"function_call", "functions", "max_tokens", "audio"},
    "openai_responses": {"image"},
    "gemini": {"automaticFunctionCalling", "httpOptions", "shouldReturnHttpResponse",
               "responseSchema"},
}  # fmt: skip


def _of_google() -> set[str]:
    names = {_camel(name) for name in google.GenerateContentConfig.model_fields}
    return names | {"contents"}


DOCUMENTED: dict[str, set[str]] = {
    "openai_chat": set(get_type_hints(completion_create_params.CompletionCreateParamsBase)),
    "openai_responses": set(get_type_hints(response_create_params.ResponseCreateParamsBase)),
    "anthropic_messages": set(get_type_hints(message_create_params.MessageCreateParamsBase)),
    "gemini": _of_google(),
    "ollama": set(ollama._types.ChatRequest.model_fields) | set(ollama._types.Options.model_fields),
}


@pytest.mark.parametrize("client", sorted(DIALECTS))
def test_the_request_says_everything_that_its_sdk_can(client: str) -> None:
    body = MAXIMAL[client]
    said = {*body, *body.get("generationConfig", {}), *body.get("options", {})}
    assert set() == DOCUMENTED[client] - said - NOT_SAID.get(client, set())


# ---- options, choices and thinking ----


def test_options_are_named_one_by_one_and_sent_where_the_profile_says() -> None:
    body = {"options": {"min_p": 0.1, "num_ctx": 4096}}
    request = parsed("ollama", body)
    profile = Profile(forward_extras=["min_p"])
    assert 0.1 == write(DIALECTS["openai_chat"], request, "up", profile).body["min_p"]
    assert ["options.num_ctx"] == request.dropped


def test_tools_that_may_not_be_called_are_named() -> None:
    functions = [{"name": "f"}, {"name": "g"}, {"name": "h"}]
    choice = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}}
    body = {"tools": [{"functionDeclarations": functions}], "toolConfig": choice}
    held: list[Any] = []
    made = sent("gemini", body, "openai_chat", request=held)
    assert (["f", "g"], "required") == (
        [tool["function"]["name"] for tool in made["tools"]], made["tool_choice"]
    )  # fmt: skip
    assert ["tools.h"] == held[0].dropped
    same = sent("gemini", body, "gemini")
    assert (body["tools"], choice) == (same["tools"], same["toolConfig"])


@pytest.mark.parametrize("target", ["openai_chat", "openai_responses"])
def test_a_choice_that_nobody_else_knows_is_named(target: str) -> None:
    tool = {"name": "f", "input_schema": {"type": "object"}}
    body = {"tools": [tool], "tool_choice": {"type": "x_new"}}
    held: list[Any] = []
    assert "auto" == sent("anthropic_messages", body, target, request=held)["tool_choice"]
    assert ["tool_choice"] == held[0].dropped


SHOW: dict[str, Any] = {
    "openai_responses": {"reasoning": {"effort": "high", "summary": "auto"}},
    "gemini": {"generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH",
                                                       "includeThoughts": True}}},
    "anthropic_messages": {"thinking": {"type": "adaptive", "display": "summarized"},
                           "output_config": {"effort": "high"}},
}  # fmt: skip


@pytest.mark.parametrize("client", sorted(SHOW))
def test_thinking_that_a_client_wants_to_see_is_shown(client: str) -> None:
    if client != "anthropic_messages":
        thinking = {"type": "adaptive", "display": "summarized"}
        assert thinking == sent(client, SHOW[client], "anthropic_messages")["thinking"]
    if client != "openai_responses":
        reasoning = {"effort": "high", "summary": "auto"}
        assert reasoning == sent(client, SHOW[client], "openai_responses")["reasoning"]
    config = sent(client, SHOW[client], "gemini")["generationConfig"]["thinkingConfig"]
    assert config["includeThoughts"] is True


def test_thinking_that_a_client_does_not_want_to_see_is_not_asked_for() -> None:
    body = {"thinking": {"type": "adaptive", "display": "omitted"}}
    assert sent("anthropic_messages", body, "openai_responses").get("reasoning") is None
    config = sent("anthropic_messages", body, "gemini")["generationConfig"]["thinkingConfig"]
    assert "includeThoughts" not in config


def test_what_a_schema_is_for_goes_along() -> None:
    schema = {"type": "object"}
    inner = {"name": "x", "description": "the answer", "schema": schema}
    made = sent("openai_chat", {"response_format": {"type": "json_schema", "json_schema": inner}},
                "openai_responses")  # fmt: skip
    assert "the answer" == made["text"]["format"]["description"]
    back = sent("openai_responses", {"text": {"format": {"type": "json_schema", **inner}}},
                "openai_chat")  # fmt: skip
    assert "the answer" == back["response_format"]["json_schema"]["description"]
