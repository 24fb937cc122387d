"""One request of each dialect that says everything its API documents, and what becomes of it.

`vanished` takes the request apart, field by field: what can be left out or changed without any
effect on the upstream's body or on what is named as dropped, has vanished.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from engine.dialects import DIALECTS, Target
from engine.dialects.profile import Profile
from engine.dialects.written import write
from engine.errors import RequestError
from engine.wire import Headers, dumps

PNG, PDF, WAV = "iVBORw0KGgo=", "JVBERi0=", "UklGRg=="
TEXT = "d29yZHM="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
          "additionalProperties": False}  # fmt: skip
MARK = {"mode": "explicit", "ttl": "30m"}

CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "developer", "content": "Be brief.", "name": "op"},
        {"role": "system", "content": [{"type": "text", "text": "In French."}]},
        {"role": "user", "name": "bob", "content": [
            {"type": "text", "text": "look", "prompt_cache_breakpoint": MARK},
            {"type": "image_url", "prompt_cache_breakpoint": MARK,
             "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}},
            {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}",
                                      "filename": "x.pdf"}},
            {"type": "x_part", "x": 1},
        ]},
        {"role": "assistant", "content": "let me see", "name": "al", "refusal": "not that",
         "audio": {"id": "audio_1"}, "reasoning_content": "hm", "x_turn": 1, "tool_calls": [
            {"id": "a", "type": "function",
             "function": {"name": "look", "arguments": '{"city":"Rome"}'}},
            {"id": "b", "type": "custom", "custom": {"name": "apply", "input": "patch"}},
        ]},
        {"role": "tool", "tool_call_id": "a", "content": "sunny"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "done"}]},
        {"role": "user", "content": "and then?"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "look", "description": "looks",
                                          "parameters": SCHEMA, "strict": True, "x_tool": 1}},
        {"type": "custom", "custom": {"name": "apply", "description": "applies", "format": {
            "type": "grammar", "grammar": {"syntax": "lark", "definition": "start: WORD"}}}},
        {"type": "function", "function": {"name": "spare"}},
    ],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
        {"type": "function", "function": {"name": "look"}},
        {"type": "custom", "custom": {"name": "apply"}}]}},
    "parallel_tool_calls": False,
    "modalities": ["text", "audio"],
    "frequency_penalty": 0.1,
    "presence_penalty": 0.2,
    "logit_bias": {"1": 2},
    "logprobs": True,
    "top_logprobs": 3,
    "max_completion_tokens": 900,
    "metadata": {"a": "b"},
    "moderation": {"model": "omni"},
    "n": 2,
    "prediction": {"type": "content", "content": "x"},
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
    "reasoning_effort": "high",
    "response_format": {"type": "json_schema", "json_schema": {
        "name": "answer_1", "description": "the answer", "schema": SCHEMA, "strict": True}},
    "safety_identifier": "s",
    "seed": 7,
    "service_tier": "flex",
    "stop": ["END"],
    "store": True,
    "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "temperature": 0.3,
    "top_p": 0.4,
    "user": "u",
    "verbosity": "low",
    "web_search_options": {"search_context_size": "low"},
    "x_new": 1,
}  # fmt: skip

EPHEMERAL = {"type": "ephemeral", "ttl": "1h"}
MESSAGES: dict[str, Any] = {
    "model": "m",
    "max_tokens": 900,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": EPHEMERAL},
               {"type": "text", "text": "In French."}],
    "messages": [
        {"role": "user", "x_turn": 1, "content": [
            {"type": "text", "text": "look", "cache_control": EPHEMERAL},
            {"type": "image", "cache_control": EPHEMERAL, "transformations": {"resize": 1},
             "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            {"type": "image", "source": {"type": "url", "url": "https://a.example/x.png"}},
            {"type": "document", "title": "x.pdf", "context": "from afar",
             "citations": {"enabled": True}, "cache_control": EPHEMERAL,
             "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
            {"type": "document", "title": "notes",
             "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
            {"type": "search_result", "title": "found", "source": "https://b.example",
             "citations": {"enabled": True}, "content": [{"type": "text", "text": "a finding"}]},
            {"type": "x_block", "x": 1},
        ]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "EqQB"},
            {"type": "redacted_thinking", "data": "EmwK"},
            {"type": "text", "text": "let me see", "citations": [
                {"type": "char_location", "cited_text": "words", "document_index": 0,
                 "document_title": "notes", "start_char_index": 0, "end_char_index": 5}]},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
            {"type": "tool_use", "id": "a", "name": "look", "input": {"city": "Rome"},
             "cache_control": EPHEMERAL, "caller": {"type": "direct"}, "toolset_name": "t"},
            {"type": "tool_use", "id": "b", "name": "look", "input": {}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": [
                {"type": "text", "text": "sunny", "cache_control": EPHEMERAL},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png",
                                             "data": PNG}},
                {"type": "tool_reference", "tool_name": "look"}]},
            {"type": "tool_result", "tool_use_id": "b", "content": "no way", "is_error": True,
             "cache_control": EPHEMERAL, "toolset_name": "t"},
            {"type": "text", "text": "and then?"},
        ]},
        {"role": "system", "content": "Now in German."},
        {"role": "user", "content": "go on"},
    ],
    "tools": [
        {"name": "look", "description": "looks", "input_schema": SCHEMA, "strict": True,
         "type": "custom", "cache_control": EPHEMERAL, "defer_loading": True,
         "allowed_callers": ["direct"], "eager_input_streaming": True,
         "input_examples": [{"city": "Rome"}]},
        {"type": "web_search_20260209", "name": "web_search", "max_uses": 3},
    ],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "cache_control": EPHEMERAL,
    "container": "c",
    "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
    "diagnostics": {"previous_message_id": "msg_1"},
    "inference_geo": "eu",
    "mcp_servers": [{"type": "url", "url": "https://m.example", "name": "m"}],
    "metadata": {"user_id": "u", "x": 1},
    "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": SCHEMA}},
    "service_tier": "auto",
    "speed": "fast",
    "stop_sequences": ["END"],
    "stream": True,
    "temperature": 0.3,
    "thinking": {"type": "adaptive", "display": "summarized"},
    "top_k": 4,
    "top_p": 0.4,
    "user_profile_id": "p",
    "workspace_id": "w",
    "x_new": 1,
}  # fmt: skip

RESPONSES: dict[str, Any] = {
    "model": "m",
    "instructions": "Be brief.",
    "input": [
        {"type": "message", "role": "developer", "content": "In French."},
        {"type": "message", "role": "user", "id": "msg_0", "status": "completed", "content": [
            {"type": "input_text", "text": "look", "prompt_cache_breakpoint": MARK},
            {"type": "input_image", "detail": "low", "prompt_cache_breakpoint": MARK,
             "image_url": f"data:image/png;base64,{PNG}"},
            {"type": "input_image", "detail": "auto", "image_url": "https://a.example/x.png"},
            {"type": "input_file", "filename": "x.pdf", "detail": "high",
             "file_data": f"data:application/pdf;base64,{PDF}", "prompt_cache_breakpoint": MARK},
            {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
            {"type": "x_part", "x": 1},
        ]},
        {"type": "reasoning", "id": "rs_1", "status": "completed", "encrypted_content": "gAAA",
         "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
         "phase": "commentary", "content": [
            {"type": "output_text", "text": "let me see", "annotations": [
                {"type": "url_citation", "url": "https://b.example", "title": "b",
                 "start_index": 0, "end_index": 3}], "logprobs": []},
            {"type": "refusal", "refusal": "not that"}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed",
         "action": {"type": "search", "query": "x"}},
        {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "look", "async": True,
         "caller": {"type": "direct"}, "arguments": '{"city":"Rome"}', "status": "completed"},
        {"type": "function_call", "call_id": "d", "name": "add", "namespace": "sums",
         "arguments": "{}"},
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "b", "name": "apply",
         "input": "patch"},
        {"type": "function_call_output", "id": "fco_1", "call_id": "a", "status": "completed",
         "output": "sunny"},
        {"type": "function_call_output", "call_id": "d", "output": [
            {"type": "input_text", "text": "two"},
            {"type": "input_image", "detail": "auto",
             "image_url": f"data:image/png;base64,{PNG}"}]},
        {"type": "custom_tool_call_output", "call_id": "b", "output": "done"},
        {"type": "compaction", "id": "cmp_1", "encrypted_content": "gBBB"},
        {"role": "user", "content": "and then?"},
    ],
    "tools": [
        {"type": "function", "name": "look", "description": "looks", "parameters": SCHEMA,
         "strict": True, "async": True, "allowed_callers": ["direct"], "defer_loading": True,
         "output_schema": {"type": "object"}},
        {"type": "custom", "name": "apply", "description": "applies",
         "format": {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}},
        {"type": "namespace", "name": "sums", "description": "arithmetic", "tools": [
            {"type": "function", "name": "add", "parameters": SCHEMA, "strict": False}]},
        {"type": "web_search", "search_context_size": "low"},
        {"type": "mcp", "server_label": "m", "server_url": "https://m.example"},
    ],
    "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [
        {"type": "function", "name": "look"}, {"type": "custom", "name": "apply"}]},
    "access_programs": {"x": 1},
    "background": True,
    "context_management": [{"type": "compaction", "compact_threshold": 1000}],
    "conversation": "conv_1",
    "include": ["reasoning.encrypted_content", "message.output_text.logprobs",
                "web_search_call.results"],
    "max_output_tokens": 900,
    "max_tool_calls": 4,
    "metadata": {"a": "b"},
    "moderation": {"model": "omni"},
    "parallel_tool_calls": False,
    "previous_response_id": "resp_1",
    "prompt": {"id": "pmpt_1", "variables": {"a": "b"}},
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
    "reasoning": {"effort": "high", "summary": "auto", "generate_summary": "auto",
                  "context": "all_turns", "mode": "pro"},
    "safety_identifier": "s",
    "service_tier": "flex",
    "store": True,
    "stream": True,
    "stream_options": {"include_obfuscation": False},
    "temperature": 0.3,
    "text": {"verbosity": "low", "format": {
        "type": "json_schema", "name": "answer_1", "description": "the answer",
        "schema": SCHEMA, "strict": True}},
    "top_logprobs": 3,
    "top_p": 0.4,
    "truncation": "auto",
    "user": "u",
    "x_new": 1,
}  # fmt: skip

GEMINI: dict[str, Any] = {
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "contents": [
        {"role": "user", "x_turn": 1, "parts": [
            {"text": "look", "partMetadata": {"a": 1}},
            {"inlineData": {"mimeType": "image/png", "data": PNG, "displayName": "x"},
             "mediaResolution": {"level": "LOW"}},
            {"inlineData": {"mimeType": "application/pdf", "data": PDF}},
            {"inlineData": {"mimeType": "audio/wav", "data": WAV}},
            {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"},
             "videoMetadata": {"fps": 2}},
            {"fileData": {"mimeType": "image/png", "fileUri": "https://a.example/x.png"}},
            {"xPart": {"x": 1}},
        ]},
        {"role": "model", "parts": [
            {"text": "hm", "thought": True},
            {"text": "let me see", "thoughtSignature": "AbC="},
            {"executableCode": {"language": "PYTHON", "code": "1"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
            {"functionCall": {"id": "a", "name": "look", "args": {"city": "Rome"}},
             "thoughtSignature": "CbA="},
        ]},
        {"role": "user", "parts": [
            {"functionResponse": {"id": "a", "name": "look", "response": {"sky": "blue"},
                                  "willContinue": False, "scheduling": "SILENT", "parts": [
                {"inlineData": {"mimeType": "image/png", "data": PNG}}]}},
            {"text": "and then?"},
        ]},
    ],
    "tools": [
        {"functionDeclarations": [
            {"name": "look", "description": "looks", "parametersJsonSchema": SCHEMA,
             "responseJsonSchema": {"type": "object"}, "behavior": "BLOCKING"},
            {"name": "add", "parameters": {"type": "OBJECT", "properties": {
                "a": {"type": "STRING", "nullable": True}}}, "response": {"type": "OBJECT"}}]},
        {"googleSearch": {"timeRangeFilter": {}}},
        {"codeExecution": {}},
    ],
    "toolConfig": {
        "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look", "add"],
                                  "streamFunctionCallArguments": True},
        "retrievalConfig": {"languageCode": "fr"},
        "includeServerSideToolInvocations": True,
    },
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    "cachedContent": "cachedContents/1",
    "labels": {"a": "b"},
    "serviceTier": "flex",
    "store": True,
    "modelArmorConfig": {"promptTemplateName": "x"},
    "generationConfig": {
        "stopSequences": ["END"],
        "candidateCount": 2,
        "maxOutputTokens": 900,
        "temperature": 0.3,
        "topP": 0.4,
        "topK": 4,
        "seed": 7,
        "presencePenalty": 0.2,
        "frequencyPenalty": 0.1,
        "responseLogprobs": True,
        "logprobs": 3,
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
        "responseModalities": ["TEXT", "IMAGE"],
        "speechConfig": {"languageCode": "fr"},
        "imageConfig": {"aspectRatio": "1:1"},
        "audioTimestamp": True,
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
        "routingConfig": {"autoMode": {}},
        "modelSelectionConfig": {"featureSelectionPreference": "BALANCED"},
        "enableEnhancedCivicAnswers": True,
        "audioTranscriptionConfig": {"x": 1},
        "generationOutputConfig": {"x": 1},
        "continuationToken": "t",
        "automaticContinuation": True,
        "thinkingConfig": {"includeThoughts": True, "thinkingLevel": "HIGH"},
    },
    "xNew": 1,
}  # fmt: skip

OLLAMA: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "look", "images": [PNG], "x_turn": 1},
        {"role": "assistant", "content": "let me see", "thinking": "hm", "tool_calls": [
            {"id": "a", "function": {"name": "look", "arguments": {"city": "Rome"}, "index": 0}}]},
        {"role": "tool", "tool_name": "look", "tool_call_id": "a", "content": "sunny"},
        {"role": "user", "content": "and then?"},
    ],
    "tools": [{"type": "function", "function": {
        "name": "look", "description": "looks", "parameters": SCHEMA, "x_tool": 1}}],
    "format": SCHEMA,
    "keep_alive": "5m",
    "logprobs": True,
    "top_logprobs": 3,
    "stream": False,
    "think": "high",
    "options": {
        "numa": True, "num_ctx": 4096, "num_batch": 8, "num_gpu": 1, "main_gpu": 1,
        "low_vram": True, "f16_kv": True, "logits_all": True, "vocab_only": True,
        "use_mmap": True, "use_mlock": True, "embedding_only": True, "num_thread": 4,
        "num_keep": 5, "seed": 7, "num_predict": 900, "top_k": 4, "top_p": 0.4, "min_p": 0.1,
        "tfs_z": 0.5, "typical_p": 0.6, "repeat_last_n": 8, "temperature": 0.3,
        "repeat_penalty": 1.2, "presence_penalty": 0.2, "frequency_penalty": 0.1,
        "mirostat": 1, "mirostat_tau": 0.8, "mirostat_eta": 0.6, "penalize_newline": True,
        "stop": ["END"],
    },
    "x_new": 1,
}  # fmt: skip


def _asked(*parts: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": list(parts)}]}


# What would be named alike stands in requests of its own.
MORE: dict[str, tuple[dict[str, Any], ...]] = {
    "openai_chat": (
        {**_asked({"type": "file", "file": {"file_id": "file-1"}}),
         "audio": {"voice": "alloy", "format": "wav"}},
        {"model": "m", "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "so",
             "function_call": {"name": "look", "arguments": "{}"}},
            {"role": "function", "name": "look", "content": "sunny"}],
         "functions": [{"name": "look", "description": "looks", "parameters": SCHEMA}],
         "function_call": {"name": "look"}, "max_tokens": 5, "stop": "END",
         "response_format": {"type": "json_object"}},
    ),
    "anthropic_messages": (
        {**_asked({"type": "image", "source": {"type": "file", "file_id": "file_1"}}),
         "max_tokens": 5, "thinking": {"type": "enabled", "budget_tokens": 2000,
                                       "display": "omitted"},
         "tools": [{"name": "look", "input_schema": SCHEMA}],
         "tool_choice": {"type": "tool", "name": "look"}},
    ),
    "openai_responses": (
        {"model": "m", "text": {"format": {"type": "json_object"}}, "input": [
            {"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]},
        {"model": "m", "image": {"detail": "low"}, "input": "hi"},
        {"model": "m", "tools": [{"type": "function", "name": "look", "parameters": SCHEMA}],
         "tool_choice": {"type": "function", "name": "look"}, "input": [
            {"role": "user", "content": [
                {"type": "input_file", "file_url": "https://a.example/x.pdf"}]}]},
    ),
    "gemini": (
        {"contents": [{"parts": [{"fileData": {"mimeType": "text/plain",
                                               "fileUri": "gs://bucket/x"}}]}],
         "generationConfig": {"thinkingConfig": {"thinkingBudget": 2000},
                              "responseMimeType": "text/x.enum",
                              "responseSchema": {"type": "STRING", "enum": ["a"]}}},
    ),
    "ollama": ({"model": "m", "messages": [{"role": "user", "content": "hi"}],
                "format": "json", "think": True},),
}  # fmt: skip
MAXIMAL = {
    "openai_chat": CHAT, "anthropic_messages": MESSAGES, "openai_responses": RESPONSES,
    "gemini": GEMINI, "ollama": OLLAMA,
}  # fmt: skip

Place = tuple[str | int, ...]
Outcome = tuple[bytes, tuple[str, ...]]
TELLING = Profile(on_unsupported="warn")


def outcome(client: str, body: dict[str, Any], target: str) -> Outcome | None:
    """The upstream's body and the names of what is dropped; None: the client's request is wrong."""
    kind = DIALECTS[client]
    try:
        request = kind.parse(dumps(body), Headers.of({}), Target(model="m", stream=True))
    except RequestError as error:
        if error.kind != "bad_request":
            raise
        return None
    told = write(DIALECTS[target], request, "up", TELLING).body
    return dumps(told), tuple(request.dropped)


def vanished(client: str, target: str) -> list[str]:
    """Fields of the client's requests that neither reach the target nor are named."""
    found = [place for body in (MAXIMAL[client], *MORE[client])
             for place in _vanished(client, target, body)]  # fmt: skip
    return list(dict.fromkeys(found))


def _vanished(client: str, target: str, whole: dict[str, Any]) -> Iterator[str]:
    full = outcome(client, whole, target)
    assert full is not None

    def look(value: Any, place: Place) -> Iterator[str]:
        holds, same = isinstance(value, dict | list), False
        for change in (_without,) if holds else (_without, _other):
            found = outcome(client, _changed(whole, place, change), target)
            if found is None:
                continue  # the field must be there, or is of a type that others are not
            if found == full:
                same = True
                continue  # the other change may show that it was said already
            if found[0] == full[0]:
                return  # all of it is named
            same = False
            break
        if same:
            yield _path(place)
        elif holds:
            yield from _each(value, place, look)

    return _each(whole, (), look)


def _each(value: Any, place: Place, look: Callable[[Any, Place], Iterator[str]]) -> Iterator[str]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield from look(inner, (*place, key))


def _changed(body: dict[str, Any], place: Place, change: Callable[[Any, Any], None]) -> Any:
    body = copy.deepcopy(body)
    holder: Any = body
    for key in place[:-1]:
        holder = holder[key]
    change(holder, place[-1])
    return body


def _without(holder: Any, key: Any) -> None:
    del holder[key]


def _other(holder: Any, key: Any) -> None:
    value = holder[key]
    if isinstance(value, bool):
        holder[key] = not value
    elif isinstance(value, int | float):
        holder[key] = value + 1
    elif isinstance(value, str):
        holder[key] = value + "x"


def _path(place: Place) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place).lstrip(".")
