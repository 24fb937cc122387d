"""An upstream that speaks Gemini as Google does, and refuses what Google refuses.

The model says how it answers:

    talk        canonical text; with tools and a user's turn last: text and two parallel calls;
                after results: what they said
    bytes       the same, a stream arriving byte by byte; array: a stream that comes as one list
    thinks      thoughts before the text, if they were asked for
    gemini-3-x  thoughts, and signed calls, whose signatures it wants back
    long        ended by the limit; refuses: for safety; blocked: the prompt is refused
    breaks      a stream that ends with an error; cut: one that is cut; ends: one that just ends
    forever     a stream without end
    error-NNN   status NNN, as Google words it
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from .endless import counted, without_end
from .openai_stub import CITIES, PIECES

UPSTREAM_KEY = "AIza-stub-4c27b1e9"
MODELS = (
    "talk", "bytes", "array", "thinks", "gemini-3-x", "long", "refuses", "blocked", "breaks", "cut",
    "ends", "forever", *(f"error-{status}" for status in (400, 401, 403, 404, 429, 500, 503)),
)  # fmt: skip
THOUGHT, SIGNATURE = ("well, ", "好"), "c2lnbmVkIGJ5IEdvb2dsZQ=="
SENTINEL = "skip_thought_signature_validator"
_KNOWN = {"contents", "systemInstruction", "tools", "toolConfig", "safetySettings",
          "generationConfig", "cachedContent", "labels", "serviceTier", "store"}  # fmt: skip
_CONFIG = {
    "temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "stopSequences", "seed",
    "presencePenalty", "frequencyPenalty", "responseMimeType", "responseSchema",
    "responseJsonSchema", "thinkingConfig", "responseLogprobs", "logprobs", "mediaResolution",
    "responseModalities",
}  # fmt: skip
_PARTS = {"text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode",
          "codeExecutionResult"}  # fmt: skip
_BESIDE = {"thought", "thoughtSignature", "videoMetadata"}
_NOT_OPENAPI = {"$schema", "additionalProperties", "const", "$ref", "exclusiveMinimum",
                "patternProperties"}  # fmt: skip
_STARTS = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8", "application/pdf": b"%PDF"}
_STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
}  # fmt: skip
Fields = dict[str, Any]


class Refused(Exception):
    """What Google answers 400 to."""


def wants(good: object, message: str) -> None:
    if not good:
        raise Refused(message)


def error_body(status: int, message: str, *details: Fields) -> Fields:
    error = {"code": status, "message": message, "status": _STATUSES[status]}
    return {"error": {**error, "details": list(details)} if details else error}


def camel(value: Any) -> Any:
    """Names in camelCase, as protobuf reads them; what is no message stays as it is."""
    if isinstance(value, list):
        return [camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = {re.sub("_([a-z])", lambda m: m[1].upper(), name): item for name, item in value.items()}
    free = {"args", "response", "parameters", "parametersJsonSchema", "responseJsonSchema"}
    return {name: item if name in free else camel(item) for name, item in named.items()}


# ---- what is refused ----


def check(body: Fields, model: str) -> None:
    _known(body, _KNOWN, "")
    config = body.get("generationConfig", {})
    _known(config, _CONFIG, "generation_config.")
    wants(len(config.get("stopSequences", [])) <= 5, "stop_sequences: at most 5")
    if "responseSchema" in config or "responseJsonSchema" in config:
        wants(config.get("responseMimeType") == "application/json", "response schema without JSON")
    thinking = config.get("thinkingConfig", {})
    _known(thinking, {"thinkingBudget", "thinkingLevel", "includeThoughts"}, "thinking_config.")
    wants(not {"thinkingBudget", "thinkingLevel"} <= set(thinking), "only one of budget and level")
    wants("thinkingLevel" not in thinking or model.startswith("gemini-3"), "no thinking level here")
    _check_tools(body)
    if "systemInstruction" in body:
        _check_parts(body["systemInstruction"], "system_instruction")
    _check_contents(body.get("contents"), signed=model.startswith("gemini-3"))


def _known(value: Fields, names: set[str], where: str) -> None:
    unknown = sorted(set(value) - names)
    message = f'Invalid JSON payload received. Unknown name "{where}{unknown[:1]}"'
    wants(not unknown, message)


def _check_tools(body: Fields) -> None:
    names: list[str] = []
    for tool in body.get("tools", []):
        for declared in tool.get("functionDeclarations", []):
            known = {"name", "description", "parameters", "parametersJsonSchema"}
            _known(declared, known, "function_declarations.")
            name = re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}", declared["name"])
            wants(name, "function_declarations.name: Invalid function name")
            wants(not {"parameters", "parametersJsonSchema"} <= set(declared), "two schemas")
            odd = [word for word in _NOT_OPENAPI if f'"{word}":' in json.dumps(
                declared.get("parameters"))]  # fmt: skip
            wants(not odd, f"Unknown name {odd} at parameters: Cannot find field.")
            names.append(declared["name"])
    config = body.get("toolConfig", {}).get("functionCallingConfig")
    if config is not None:
        wants(names, "Function calling config is set without function_declarations.")
        wants(config["mode"] in ("AUTO", "ANY", "NONE", "VALIDATED"), "mode: unknown")
        allowed = config.get("allowedFunctionNames", [])
        wants(not allowed or config["mode"] == "ANY", "allowed_function_names only with ANY")
        wants(set(allowed) <= set(names), "allowed_function_names: not declared")


def _check_contents(contents: object, *, signed: bool) -> None:
    wants(isinstance(contents, list) and contents, "contents is not specified")
    assert isinstance(contents, list)
    wants(contents[0].get("role", "user") == "user", "the first content must be the user's")
    owed: list[str] = []
    for at, content in enumerate(contents):
        where = f"contents[{at}]"
        _known(content, {"role", "parts"}, where)
        role = content.get("role", "user")
        wants(role in ("user", "model"), "Please use a valid role: user, model.")
        parts = _check_parts(content, where)
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        message = (
            "Please ensure that the number of function response parts is equal to the number of "
            "function call parts of the function call turn."
        )
        wants(sorted(result["name"] for result in results) == sorted(owed), message)
        calls = [part for part in parts if "functionCall" in part]
        wants(not calls or role == "model", "a call of the user")
        owed = [part["functionCall"]["name"] for part in calls]
        if signed and calls:
            found = calls[0].get("thoughtSignature")
            wants(found in (SIGNATURE, SENTINEL), "Function call is missing a thought_signature")
    wants(not owed, "a function call turn comes immediately before its responses")


def _check_parts(content: Fields, where: str) -> list[Fields]:
    parts: list[Fields] = content.get("parts", [])
    wants(parts, f"{where}.parts must not be empty")
    for part in parts:
        _known(part, _PARTS | _BESIDE, f"{where}.parts.")
        wants(len(_PARTS & set(part)) == 1, f"{where}.parts.data: exactly one field")
        sealed = part.get("thoughtSignature")
        wants(sealed in (None, SIGNATURE, SENTINEL), "Thought signature is not valid")
        if "text" in part:
            wants(part["text"] or sealed, f"{where}: text must not be empty")
        if "inlineData" in part:
            inner = part["inlineData"]
            data = base64.b64decode(inner["data"], validate=True)
            start = _STARTS.get(inner["mimeType"], b"?")
            wants(data.startswith(start), "Provided image is not valid.")
        if "functionCall" in part:
            _known(part["functionCall"], {"id", "name", "args"}, "function_call.")
            wants(isinstance(part["functionCall"]["args"], dict), "args: not an object")
        if "functionResponse" in part:
            _known(part["functionResponse"], {"id", "name", "response", "parts"}, "response.")
            wants(part["functionResponse"].get("name"), "function_response.name: cannot be empty.")
            wants(isinstance(part["functionResponse"]["response"], dict), "response: no object")
    return parts


# ---- what is answered ----


def counts(text: str, thoughts: int) -> Fields:
    said = {"promptTokenCount": 15, "toolUsePromptTokenCount": 4, "cachedContentTokenCount": 3,
            "candidatesTokenCount": len(text) - 2, "totalTokenCount": 19 + len(text)}  # fmt: skip
    return {**said, "thoughtsTokenCount": 2} if thoughts else said


def parts_of(body: Fields, model: str) -> list[Fields]:
    """The parts of an answer, text not yet in pieces."""
    last = body["contents"][-1]["parts"]
    results = [part["functionResponse"] for part in last if "functionResponse" in part]
    if results:
        return [{"text": "; ".join(map(_told, results))}]
    media = [_described(part) for part in last if "inlineData" in part or "fileData" in part]
    if media:
        return [{"text": "; ".join(media)}]
    out: list[Fields] = []
    thinking = body.get("generationConfig", {}).get("thinkingConfig", {})
    if model in ("thinks", "gemini-3-x") and thinking.get("includeThoughts"):
        out += [{"text": piece, "thought": True} for piece in THOUGHT]
    out += [{"text": piece} for piece in PIECES]
    calls = _calls(body)
    if calls and model == "gemini-3-x":
        calls[0]["thoughtSignature"] = SIGNATURE
    elif model == "gemini-3-x":
        out.append({"text": "", "thoughtSignature": SIGNATURE})
    return out + calls


def _told(result: Fields) -> str:
    response = result["response"]
    failed = "failed: " if "error" in response else ""
    said: str = failed + str(
        response.get("result", response.get("error", json.dumps(response, ensure_ascii=False)))
    )
    return said


def _described(part: Fields) -> str:
    if "fileData" in part:
        return str(part["fileData"]["fileUri"])
    inner = part["inlineData"]
    return f"{inner['mimeType']} of {len(base64.b64decode(inner['data']))} bytes"


def _calls(body: Fields) -> list[Fields]:
    declared = [function for tool in body.get("tools", ())
                for function in tool.get("functionDeclarations", ())]  # fmt: skip
    mode = body.get("toolConfig", {}).get("functionCallingConfig", {}).get("mode")
    if not declared or mode == "NONE":
        return []
    name = declared[0]["name"]
    return [{"functionCall": {"name": name, "args": {"city": city}}} for city in CITIES]


def chunks(body: Fields, model: str) -> Iterator[Fields]:
    head = {"modelVersion": model, "responseId": "stub"}
    if model == "blocked":
        yield {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
               "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5}, **head}  # fmt: skip
        return
    parts = parts_of(body, model)
    thoughts = sum(part.get("thought", False) for part in parts)
    text = "".join(part.get("text", "") for part in parts if not part.get("thought"))
    reason = {"long": "MAX_TOKENS", "refuses": "SAFETY"}.get(model, "STOP")
    for at, part in enumerate(parts):
        candidate: Fields = {"content": {"parts": [part], "role": "model"}, "index": 0}
        told = counts(text, thoughts)
        if at == len(parts) - 1:
            candidate["finishReason"] = reason
        else:
            told = {**told, "candidatesTokenCount": at}
        yield {"candidates": [candidate], "usageMetadata": told, **head}


def whole(body: Fields, model: str) -> Fields:
    found = list(chunks(body, model))
    if len(found) == 1:
        return found[0]
    parts = [part for chunk in found for part in chunk["candidates"][0]["content"]["parts"]]
    last = found[-1]
    last["candidates"][0]["content"]["parts"] = parts
    return last


# ---- the server ----


@dataclass(slots=True)
class Stub:
    """requests: the bodies that came, refused ones too; paths: with their queries."""

    url: str = ""
    requests: list[Fields] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    open_streams: int = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("x-goog-api-key") != UPSTREAM_KEY:
            info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "API_KEY_INVALID"}  # fmt: skip
            message = "API key not valid. Please pass a valid API key."
            return _json(error_body(400, message, info), 400)
        found = re.fullmatch(r"/v1beta/models/([^/:]+):(\w+)", request.path)
        assert found is not None
        model, method = found.groups()
        self.paths.append(str(request.rel_url))
        body: Fields = camel(json.loads(await request.content.read()))
        self.requests.append(body)
        streams = method == "streamGenerateContent"
        try:
            check(body, model)
        except Refused as refused:
            return _refused(error_body(400, str(refused)), 400, streams)
        if model.startswith("error-"):
            return _fail(int(model.removeprefix("error-")), streams)
        if model not in MODELS:
            return _fail(404, streams)
        if not streams:
            return _json(whole(body, model))
        sse = request.query.get("alt") == "sse" and model != "array"
        if not sse:
            return _json([*chunks(body, model)])
        return await counted(self, self._stream(request, body, model))

    async def _stream(
        self, request: web.BaseRequest, body: Fields, model: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for at, chunk in enumerate(chunks(body, model)):
            data = _frame(chunk)
            for piece in (
                [data[at : at + 1] for at in range(len(data))] if model == "bytes" else (data,)
            ):
                await response.write(piece)
            if at == 4 and model == "breaks":
                await response.write(_frame(error_body(503, "The model is overloaded.")))
                return response
            if at == 4 and model == "forever":
                await without_end(response, data)
            if at == 4 and model == "ends":
                return response
            if at == 4 and model == "cut":
                await asyncio.sleep(0.03)
                assert request.transport is not None
                request.transport.abort()
                return response
        return response


def _frame(value: Fields) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=False)}\r\n\r\n".encode()


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(value, ensure_ascii=False, indent=1).encode(),
        status=status,
        content_type="application/json",
    )


def _refused(body: Fields, status: int, streams: bool) -> web.Response:
    """The refusal of a stream is a list of one."""
    return _json([body] if streams else body, status)


def _fail(status: int, streams: bool) -> web.Response:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "40s"}
    details = [info] if status == 429 else []
    return _refused(error_body(status, f"This is a {status}.", *details), status, streams)


@asynccontextmanager
async def gemini_stub() -> AsyncIterator[Stub]:
    stub = Stub()
    server = web.Server(stub.handle, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield stub
    finally:
        await runner.cleanup()
