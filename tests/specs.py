"""Answers of the Responses API held against what is published of it.

Always: the official SDK's types, which it never applies itself, and the keys that Open Responses
requires. Where the published documents are at hand (folder PENSTOCK_SPECS, or `shared/specs` beside
the working tree) they are held against these, too; they are not part of the project.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from pydantic import BaseModel

ROOT = Path(__file__).parents[1]
# `required` of ResponseResource in Open Responses.
_KEYS = """\
    id object created_at completed_at status incomplete_details model previous_response_id
    instructions output error tools tool_choice truncation parallel_tool_calls text top_p
    presence_penalty frequency_penalty top_logprobs temperature reasoning usage max_output_tokens
    max_tool_calls store background service_tier metadata safety_identifier
    prompt_cache_key"""
RESPONSE_KEYS = frozenset(_KEYS.split())
# Items and tools that Open Responses knows.
_KNOWN = ("message", "function_call", "function_call_output", "reasoning")
# Codes that Codex acts on and the SDK's type does not list.
_MORE_CODES = ("context_length_exceeded", "insufficient_quota")


@cache
def _document(name: str) -> dict[str, Any] | None:
    places = [Path(os.environ.get("PENSTOCK_SPECS", "/nowhere"))]
    places += [above / "shared/specs" for above in ROOT.parents]
    found = next((place / name for place in places if (place / name).is_file()), None)
    return None if found is None else _readable(json.loads(found.read_text()))


def _readable(value: Any) -> Any:
    """The document for a plain validator: alternatives need not exclude each other."""
    if isinstance(value, list):
        return [_readable(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {k: _readable(v) for k, v in value.items() if k not in ("discriminator", "oneOf")}
    if "oneOf" in value:
        made["anyOf"] = _readable(value["oneOf"])
    if value.get("nullable") is True and isinstance(value.get("type"), str):
        made["type"] = [value["type"], "null"]
        if isinstance(value.get("enum"), list):
            made["enum"] = [*value["enum"], None]
    return made


@cache
def _validator(document: str, name: str) -> Any:
    found = _document(document)
    if found is None or name not in found["components"]["schemas"]:
        return None
    schema = {"$ref": f"#/components/schemas/{name}", "components": found["components"]}
    return jsonschema.Draft202012Validator(schema)


@cache
def _type(name: str) -> Any:
    # Not at the top: the SDK takes a second to load, and most tests do without it.
    from openai.types import responses
    from pydantic import TypeAdapter

    return TypeAdapter(getattr(responses, name))


def _sdk(name: str, value: Any) -> None:
    check_extras(_type(name).validate_json(json.dumps(value)))


# Fields of answers that the SDKs' types do not have: reasoning as Chat upstreams tell it,
# signatures as Google's OpenAI endpoint does, counts newer than the type, the mark of estimates,
# what rules note beside an answer, and what Open Responses wants of a response.
_MORE = frozenset(
    {"cache_write_tokens", "extra_content", "frequency_penalty", "penstock_estimated",
     "presence_penalty", "reasoning_content", "store", "ChatCompletion.annotations",
     "ChatCompletionChunk.annotations", "ChoiceDelta.annotations",
     "ChatCompletionMessage.images", "ChoiceDelta.images",
     "Logprob.bytes", "LogprobTopLogprob.bytes", "ResponseFunctionCallArgumentsDoneEvent.name"}
)  # fmt: skip


def check_extras(value: Any) -> None:
    """A value of an SDK's type has no fields, at any depth, but those of its types and `_MORE`."""
    strange = [name for name in _extras(value) if not {name, name.partition(".")[2]} & _MORE]
    assert not strange, f"the types do not have {strange}"


def _extras(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _extras(item)
    elif isinstance(value, BaseModel):
        yield from (f"{type(value).__name__}.{name}" for name in value.model_extra or {})
        for name in value.model_fields_set & set(type(value).model_fields):
            yield from _extras(getattr(value, name))


def published(document: str, name: str, value: Any) -> None:
    """A value held against a schema of a document, if that is at hand."""
    validator = _validator(document, name)
    if validator is not None:
        validator.validate(value)


def check_response(value: dict[str, Any]) -> None:
    """A response object, whole or within an event."""
    missing = RESPONSE_KEYS - set(value)
    assert not missing, f"keys are missing: {sorted(missing)}"
    for item in value["output"]:
        check_item(item)
    error = value["error"]
    told = error and {**error, "code": "server_error"} if _codex(error) else error
    _sdk("Response", {**value, "error": told})
    known = [item for item in value["output"] if item["type"] in _KNOWN]
    tools = [tool for tool in value["tools"] if tool["type"] == "function"]
    choice = value["tool_choice"] if isinstance(value["tool_choice"], str) else "auto"
    plain = {**value, "output": known, "tools": tools, "tool_choice": choice}
    if (value["text"] or {}).get("format", {}).get("type") == "json_schema":
        plain["text"] = {"format": {"type": "text"}}  # the document wants a schema that is null
    published("openresponses.json", "ResponseResource", plain)


def _codex(error: Any) -> bool:
    return bool(error) and error["code"] in _MORE_CODES


def check_item(item: dict[str, Any]) -> None:
    _sdk("ResponseOutputItem", item)
    if item["type"] in _KNOWN:
        published("openresponses.json", "ItemField", item)
    if item["type"] == "message":
        assert all(set(part) >= {"annotations", "logprobs"} for part in item["content"]
                   if part["type"] == "output_text")  # fmt: skip
    if item["type"] == "function_call":
        assert {"id", "call_id", "name", "arguments", "status"} <= set(item)
        assert None not in item.values(), "a key of a call that is null"


# Names of our events' schemas in Open Responses, where they are not made of the type.
_NAMES = {
    "response.reasoning_summary_text.delta": "ResponseReasoningSummaryDeltaStreamingEvent",
    "response.reasoning_summary_text.done": "ResponseReasoningSummaryDoneStreamingEvent",
}


def check_event(value: dict[str, Any]) -> None:
    """An event of a stream."""
    if "response" in value:
        check_response(value["response"])
        if _codex(value["response"]["error"]):
            return
    _sdk("ResponseStreamEvent", value)
    kind = value["type"]
    made = "".join(word.capitalize() for word in kind.replace(".", "_").split("_"))
    item = value.get("item")
    if "response" not in value and (item is None or item["type"] in _KNOWN):
        name = _NAMES.get(kind, f"{made}StreamingEvent")
        published("openresponses.json", name, value)
