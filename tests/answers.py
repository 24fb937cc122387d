"""Answers of the gateway, whole and streamed, held against the SDKs' types and the published
schemas, whatever the client dialect. tests/specs.py has the Responses API.

The types of the SDKs let unknown fields pass; here only those may be there that are known to be
more than the types have (`check_extras`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from tests.grammar import (
    check_chat_stream,
    check_gemini_stream,
    check_messages_stream,
    check_ollama_stream,
    check_responses_stream,
)
from tests.specs import check_extras, check_response, published

Fields = dict[str, Any]


@cache
def _types() -> dict[str, Any]:
    # Not at the top: the SDKs take seconds to load.
    import ollama
    from anthropic.types import ErrorResponse, Message, MessageTokensCount, ModelInfo
    from google.genai.types import CountTokensResponse, GenerateContentResponse
    from google.genai.types import Model as GeminiModel
    from openai.types import CreateEmbeddingResponse
    from openai.types import Model as OpenAIModel
    from openai.types.chat import ChatCompletion, ChatCompletionChunk
    from openai.types.responses import InputTokenCountResponse
    from openai.types.shared import ErrorObject

    known = (Message, MessageTokensCount, ErrorResponse, ModelInfo, GenerateContentResponse,
             CountTokensResponse, CreateEmbeddingResponse, ChatCompletion, ChatCompletionChunk,
             InputTokenCountResponse, ErrorObject, ollama.ChatResponse, ollama.GenerateResponse,
             ollama.EmbedResponse, ollama.ListResponse, ollama.ShowResponse)  # fmt: skip
    named = {"OpenAIModel": OpenAIModel, "GeminiModel": GeminiModel}
    return {kind.__name__: kind for kind in known} | named


def _typed(name: str, value: Any) -> None:
    check_extras(_types()[name].model_validate_json(json.dumps(value)))


def judge(path: str, asked: Fields, status: int, data: bytes) -> bool:
    """Whether an answer is of a kind that is known here; AssertionError and the validators' own
    errors for one that is not as it should be. asked: the request's body."""
    found = next((check for start, check in _BY_PATH.items() if path.startswith(start)), None)
    if found is None:
        return False
    found(path, asked, status, data)
    return True


def _chat(path: str, asked: Fields, status: int, data: bytes) -> None:
    if status >= 400:
        check_openai_error(json.loads(data))
    elif asked.get("stream"):
        counts = (asked.get("stream_options") or {}).get("include_usage") is True
        for chunk in check_chat_stream(data, usage=counts):
            check_chunk(chunk)
    else:
        check_completion(json.loads(data))


def check_completion(value: Fields) -> None:
    _typed("ChatCompletion", value)
    for choice in value["choices"]:
        assert {"index", "message", "logprobs", "finish_reason"} <= set(choice)
        assert {"role", "content", "refusal"} <= set(choice["message"])
    published("openai.json", "CreateChatCompletionResponse", value)


def check_chunk(value: Fields) -> None:
    """A chunk, or the error that ends a stream."""
    if "error" in value:
        check_openai_error(value)
        return
    for choice in value["choices"]:
        assert {"index", "delta", "finish_reason"} <= set(choice)
    # The document forbids the `usage: null` that OpenAI itself sends, and knows no custom calls.
    told = {name: item for name, item in value.items() if (name, item) != ("usage", None)}
    told["choices"] = [{**choice, "delta": _functions(choice["delta"])}
                       for choice in value["choices"]]  # fmt: skip
    _typed("ChatCompletionChunk", told)
    published("openai.json", "CreateChatCompletionStreamResponse", told)


def _functions(delta: Fields) -> Fields:
    """A delta whose custom calls are functions: the types know no others in a stream."""
    if "tool_calls" not in delta:
        return delta
    return {**delta, "tool_calls": [_function(dict(call)) for call in delta["tool_calls"]]}


def _function(call: Fields) -> Fields:
    inner = call.pop("custom", None)
    if inner is None:
        return call
    named = {"arguments" if name == "input" else name: value for name, value in inner.items()}
    return {**call, "function": named, **({"type": "function"} if "type" in call else {})}


def check_openai_error(value: Fields) -> None:
    _typed("ErrorObject", value["error"])
    published("openai.json", "ErrorResponse", value)


def _messages(path: str, asked: Fields, status: int, data: bytes) -> None:
    if status >= 400:
        value = json.loads(data)
        _typed("ErrorResponse", value)
        assert value["type"] == "error"
    elif path.endswith("/count_tokens"):
        _typed("MessageTokensCount", json.loads(data))
    elif asked.get("stream"):
        check_messages_stream(data)
    else:
        check_message(json.loads(data))


def check_message(value: Fields) -> None:
    _typed("Message", value)
    assert {"stop_reason", "stop_sequence"} <= set(value)
    assert all(isinstance(block["signature"], str) for block in value["content"]
               if block["type"] == "thinking")  # fmt: skip


def _responses(path: str, asked: Fields, status: int, data: bytes) -> None:
    value: Any = None if asked.get("stream") and status < 400 else json.loads(data)
    if status >= 400:
        check_openai_error(value)
    elif path == "/v1/responses/input_tokens":
        _typed("InputTokenCountResponse", value)
    elif path.endswith("/input_items"):
        assert {"object", "data", "first_id", "last_id", "has_more"} == set(value)
        published("openai.json", "ResponseItemList", value)
    elif value is None:
        check_responses_stream(data)
    elif "deleted" not in value:
        check_response(value)


def _gemini(path: str, asked: Fields, status: int, data: bytes) -> None:
    if status >= 400:
        value = json.loads(data)
        told = value[0] if isinstance(value, list) else value
        assert {"code", "message", "status"} <= set(told["error"])
    elif path.endswith(":streamGenerateContent") and data.startswith(b"data"):
        check_gemini_stream(data)
    elif path.endswith(":generateContent"):
        check_content(json.loads(data))
    elif path.endswith(":countTokens"):
        _typed("CountTokensResponse", json.loads(data))
    elif ":" not in path:
        value = json.loads(data)
        for model in value.get("models", [value]):
            _typed("GeminiModel", model)


def check_content(value: Fields) -> None:
    """A whole answer of generateContent."""
    counts = dict(value["usageMetadata"])
    counts.pop("penstockEstimated", None)  # the SDK leaves unknown fields of an answer out
    _typed("GenerateContentResponse", {**value, "usageMetadata": counts})
    (candidate,) = value["candidates"]
    assert (0, "model") == (candidate["index"], candidate["content"]["role"])
    assert candidate["finishReason"]


def _ollama(path: str, asked: Fields, status: int, data: bytes) -> None:
    generates = path.endswith("/generate")
    if status >= 400:
        assert isinstance(json.loads(data)["error"], str)
        return
    if asked.get("stream") is False:
        data = data.rstrip(b"\n") + b"\n"
    for line in check_ollama_stream(data, generate=generates):
        if "error" not in line:
            _typed("GenerateResponse" if generates else "ChatResponse", line)


def _ollama_facts(path: str, asked: Fields, status: int, data: bytes) -> None:
    kinds = {
        "/api/tags": "ListResponse",
        "/api/show": "ShowResponse",
        "/api/embed": "EmbedResponse",
    }
    if status < 400:
        _typed(kinds[path], json.loads(data))
    else:
        assert isinstance(json.loads(data)["error"], str)


def _models(path: str, asked: Fields, status: int, data: bytes) -> None:
    """In the form of whose client asked: OpenAI's or Anthropic's."""
    if ":" in path:  # Google's clients may ask below /v1, too
        _gemini(path, asked, status, data)
        return
    value = json.loads(data)
    if status >= 400:
        assert isinstance(value["error"]["message"], str)
        return
    for model in value.get("data", [value]):
        _typed("ModelInfo" if model.get("type") == "model" else "OpenAIModel", model)


def _embeddings(path: str, asked: Fields, status: int, data: bytes) -> None:
    value = json.loads(data)
    if status >= 400:
        check_openai_error(value)
    elif asked.get("encoding_format") != "base64":
        _typed("CreateEmbeddingResponse", value)
        published("openai.json", "CreateEmbeddingResponse", value)


_BY_PATH: dict[str, Callable[[str, Fields, int, bytes], None]] = {
    "/v1/chat/completions": _chat,
    "/v1/messages": _messages,
    "/v1/responses": _responses,
    "/v1/embeddings": _embeddings,
    "/v1/models": _models,
    "/v1beta/models": _gemini,
    "/api/chat": _ollama,
    "/api/generate": _ollama,
    "/api/tags": _ollama_facts,
    "/api/show": _ollama_facts,
    "/api/embed": _ollama_facts,
}
