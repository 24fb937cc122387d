"""What clients of the other dialects make of an answer; see client.py.

An error is told in words that all share: `message`, and where the dialect has one `type`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .client import ClientDialect, Seen, payloads


def _problems(error: object) -> list[str]:
    message = error.get("message") if isinstance(error, dict) else None
    return [] if isinstance(message, str) and message else [f"the error says nothing: {error!r}"]


def _frames(data: bytes, seen: Seen) -> Iterator[tuple[str, Any]]:
    """Decoded frames up to an error, which must be the last."""
    for event, payload in payloads(data, seen):
        if seen.error is not None or seen.terminated:
            seen.wrong.append(f"after the end: {payload[:80]!r}")
        try:
            yield event, json.loads(payload)
        except ValueError:
            seen.wrong.append(f"a frame that is not JSON: {payload[:80]!r}")
    if seen.error is not None:
        seen.terminated = True
        if seen.finishes:
            seen.wrong.append("an error and a finish")


def _whole(read: Callable[[Any, Seen], None]) -> Callable[[bytes], Seen]:
    """A reader of one document."""

    def found(data: bytes) -> Seen:
        seen = Seen(terminated=True)
        try:
            read(json.loads(data), seen)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            seen.wrong.append(f"not of the dialect: {error!r} in {data[:100]!r}")
        return seen

    return found


def _own_error(value: Any, seen: Seen) -> None:
    seen.error = dict(value["error"])


# ---- Messages ----

_STOPS = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length"}


def _messages_stream(data: bytes) -> Seen:
    seen = Seen()
    for event, frame in _frames(data, seen):
        if event != frame["type"]:
            seen.wrong.append(f"the event {event!r} is a {frame['type']}")
        if event == "error":
            seen.error = frame["error"]
        elif event == "message_stop":
            seen.terminated = True
        elif event == "message_delta":
            seen.finishes.append(_STOPS[frame["delta"]["stop_reason"]])
        elif event == "content_block_delta":
            seen.said.append(frame["delta"].get("text", ""))
            seen.called += frame["delta"].get("partial_json", "")
    return seen


def _message(value: Any, seen: Seen) -> None:
    seen.finishes.append(_STOPS[value["stop_reason"]])
    for block in value["content"]:
        seen.said.append(block.get("text", ""))


def _messages_error(value: Any, seen: Seen) -> None:
    if value["type"] != "error" or not value["request_id"]:
        seen.wrong.append(f"not an error: {value}")
    _own_error(value, seen)


# ---- Responses ----


def _responses_stream(data: bytes) -> Seen:
    seen, numbers = Seen(), list[int]()
    for event, frame in _frames(data, seen):
        numbers.append(frame["sequence_number"])
        if event != frame["type"]:
            seen.wrong.append(f"the event {event!r} is a {frame['type']}")
        if event == "error":
            seen.wrong.append("an error that the SDK does not raise")
        elif event == "response.failed":
            if frame["response"]["status"] != "failed":
                seen.wrong.append(f"status {frame['response']['status']}")
            seen.error = frame["response"]["error"]
        elif event == "response.completed":
            seen.terminated = True
            calls = [i for i in frame["response"]["output"] if i["type"] == "function_call"]
            seen.finishes.append("tool_calls" if calls else "stop")
        elif event == "response.output_text.delta":
            seen.said.append(frame["delta"])
        elif event == "response.function_call_arguments.delta":
            seen.called += frame["delta"]
    if numbers != list(range(len(numbers))):
        seen.wrong.append(f"sequence numbers {numbers}")
    return seen


def _response(value: Any, seen: Seen) -> None:
    seen.finishes.append({"completed": "stop"}[value["status"]])
    for item in value["output"]:
        seen.said += [part["text"] for part in item.get("content", ())]


# ---- Gemini ----


def _gemini_error(value: Any, seen: Seen) -> None:
    error = value["error"]
    if not isinstance(error["code"], int):
        seen.wrong.append(f"the error's code is {error['code']!r}")
    seen.error = {"message": error["message"], "type": error["status"]}


def _candidate(value: Any, seen: Seen) -> None:
    (candidate,) = value["candidates"]
    for part in candidate.get("content", {}).get("parts", ()):
        seen.said.append(part.get("text", ""))
    if "finishReason" in candidate:
        seen.finishes.append({"STOP": "stop"}[candidate["finishReason"]])


def _gemini_stream(data: bytes) -> Seen:
    seen = Seen()
    for _, frame in _frames(data, seen):
        (_gemini_error if "error" in frame else _candidate)(frame, seen)
    seen.terminated = seen.terminated or bool(seen.finishes)  # the stream just ends
    return seen


# ---- Ollama ----


def _ollama_stream(data: bytes) -> Seen:
    seen = Seen()
    for line in data.split(b"\n")[:-1]:
        if seen.terminated:
            seen.wrong.append(f"after the end: {line[:80]!r}")
        value = json.loads(line)
        (_ollama_error if "error" in value else _line)(value, seen)
    return seen


def _line(value: Any, seen: Seen) -> None:
    seen.said.append(value["message"]["content"])
    if value["done"]:
        seen.finishes.append(value["done_reason"])
        seen.terminated = True


def _ollama_error(value: Any, seen: Seen) -> None:
    seen.error = {"message": value["error"]}
    seen.terminated = True


# ---- the table ----


def _turns(model: str, prompt: str, stream: bool) -> dict[str, Any]:
    turns = [{"role": "user", "content": prompt}]
    return {"model": model, "stream": stream, "messages": turns}


def _gemini_path(model: str, stream: bool) -> str:
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/v1beta/models/{model}:{verb}"


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


_OPENAI: Mapping[int, str] = {
    400: "invalid_request_error", 404: "invalid_request_error", 413: "invalid_request_error",
    429: "rate_limit_error", 502: "server_error", 503: "server_error", 504: "timeout",
}  # fmt: skip

OTHERS: dict[str, ClientDialect] = {
    "anthropic_messages": ClientDialect(
        path="/v1/messages",
        body=lambda model, prompt, stream: {**_turns(model, prompt, stream), "max_tokens": 900},
        key=lambda key: {"x-api-key": key},
        read_stream=_messages_stream,
        read_whole=_whole(_message),
        read_error=_whole(_messages_error),
        problems=_problems,
        failures={400: "invalid_request_error", 404: "not_found_error", 413: "request_too_large",
                  429: "rate_limit_error", 502: "api_error", 503: "overloaded_error",
                  504: "timeout_error"},
        stream_type="text/event-stream",
        statuses={503: 529},
    ),
    "openai_responses": ClientDialect(
        path="/v1/responses",
        body=lambda model, prompt, stream: {"model": model, "input": prompt, "stream": stream},
        key=_bearer,
        read_stream=_responses_stream,
        read_whole=_whole(_response),
        read_error=_whole(_own_error),
        problems=_problems,
        failures=_OPENAI,
        stream_type="text/event-stream",
    ),
    "gemini": ClientDialect(
        path="",
        at=_gemini_path,
        body=lambda model, prompt, stream: {"contents": [{"parts": [{"text": prompt}]}]},
        key=lambda key: {"x-goog-api-key": key},
        read_stream=_gemini_stream,
        read_whole=_whole(_candidate),
        read_error=_whole(_gemini_error),
        problems=_problems,
        failures={400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 413: "INVALID_ARGUMENT",
                  429: "RESOURCE_EXHAUSTED", 502: "UNAVAILABLE", 503: "UNAVAILABLE",
                  504: "DEADLINE_EXCEEDED"},
        stream_type="text/event-stream",
        pieces=False,
    ),
    "ollama": ClientDialect(
        path="/api/chat",
        body=_turns,
        key=_bearer,
        read_stream=_ollama_stream,
        read_whole=_whole(_line),
        read_error=_whole(_ollama_error),
        problems=_problems,
        failures={},
        stream_type="application/x-ndjson",
        pieces=False,
    ),
}  # fmt: skip

# Faults in which the form of the error, or of the end, is the client's dialect's own.
TELLING = frozenset({
    "cut_by_reset", "clean_end_without_finish", "finish_without_terminator",
    "terminator_without_finish", "error_object_with_200", "error_first", "rate_limit_first",
    "error_midway", "cut_inside_arguments", "finish_twice", "content_after_the_finish", "silent",
    "stall_midway", "invalid_utf8", "lone_surrogate", "empty_body",
    "page_with_200", "status_401_echoes_the_key", "status_500", "status_529", "status_413",
    "status_404", "rate_limited_for_long", "error_midway_echoes_the_key",
})  # fmt: skip
KINDS_TOLD = ("translated", "plain")
