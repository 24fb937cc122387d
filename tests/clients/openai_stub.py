"""An upstream that speaks Chat Completions as OpenAI does, and refuses what OpenAI refuses.

The model says how it answers:

    talk        canonical text; with tools and a user's turn last: two parallel calls; after tool
                results: what they said; with a JSON schema: a person; with an image: what it is
    bytes       the same, a stream arriving byte by byte
    thinks      thoughts in tags before the text
    breaks      a stream that ends with an error event; cut: one that is cut
    forever     a stream without end
    error-NNN   status NNN, as OpenAI words it

and how it makes embeddings: `embed` in the form it is asked for, `embed-plain` always numbers,
`embed-packed` always base64, `embed-strict` numbers, and refuses to be asked for a form.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

UPSTREAM_KEY = "sk-openai-stub-2b9f6c01"
MODELS = (
    "talk", "bytes", "thinks", "breaks", "cut", "forever",
    "embed", "embed-plain", "embed-packed", "embed-strict",
    *(f"error-{status}" for status in (400, 401, 403, 404, 409, 422, 429, 500, 503)),
)  # fmt: skip
PIECES = ("Hello", ", ", "世界", "! ", "안녕", " ", "naïve", " ", "👩‍👩‍👧", " “so”", "… ", "ﬁn")
TEXT = "".join(PIECES)
PERSON = '{"name": "Žofia 王", "age": 34}'
CITIES = ("Paris", "Zürich")
_KNOWN = {
    "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
    "max_completion_tokens", "max_tokens", "messages", "metadata", "modalities", "model", "n",
    "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key",
    "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop",
    "store", "stream", "stream_options", "temperature", "tool_choice", "tools", "top_logprobs",
    "top_p", "user", "verbosity", "web_search_options",
}  # fmt: skip
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_PARTS = ("text", "image_url", "input_audio", "file", "refusal")
_ERRORS = {
    400: ("invalid_request_error", "invalid_value"),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    409: ("conflict", None),
    422: ("invalid_request_error", None),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    503: ("server_error", None),
}
Fields = dict[str, Any]


class Refused(Exception):
    """What OpenAI answers 400 to."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


def error_body(message: str, kind: str, param: str | None, code: str | None) -> Fields:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


# ---- what is refused ----


def check(body: Fields) -> None:
    unknown = sorted(set(body) - _KNOWN)
    if unknown:
        raise Refused(f"Unrecognized request argument supplied: {unknown[0]}", unknown[0])
    if body.get("stream_options") is not None and not body.get("stream"):
        raise Refused("'stream_options' is only allowed with 'stream'.", "stream_options")
    for name in ("tool_choice", "parallel_tool_calls"):
        if body.get(name) is not None and not body.get("tools"):
            raise Refused(f"'{name}' is only allowed when 'tools' are specified.", name)
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        raise Refused("'max_tokens' and 'max_completion_tokens' cannot both be set.", "max_tokens")
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise Refused("'top_logprobs' needs 'logprobs'.", "top_logprobs")
    temperature = body.get("temperature")
    if temperature is not None and not 0 <= temperature <= 2:
        raise Refused("'temperature' is not between 0 and 2.", "temperature")
    shape = body.get("response_format") or {}
    if shape.get("type") == "json_schema" and not {"name", "schema"} <= set(shape["json_schema"]):
        raise Refused("Missing required parameter.", "response_format.json_schema")
    _check_tools(body.get("tools") or [])
    _check_messages(body.get("messages"))


def _check_tools(tools: list[Fields]) -> None:
    for at, tool in enumerate(tools):
        if tool.get("type") != "function" or not tool.get("function", {}).get("name"):
            raise Refused(f"Invalid value: tools[{at}]", f"tools[{at}]")


def _check_messages(messages: object) -> None:
    if not isinstance(messages, list) or not messages:
        raise Refused("Invalid 'messages': empty array.", "messages", "empty_array")
    owed: list[str] = []  # calls that wait for their results
    for at, message in enumerate(messages):
        where, role = f"messages[{at}]", message.get("role")
        if role not in _ROLES:
            raise Refused(f"Invalid value: '{role}'.", f"{where}.role", "invalid_value")
        if role == "tool":
            if message.get("tool_call_id") not in owed:
                raise Refused(
                    "messages with role 'tool' must be a response to a preceding message with "
                    "'tool_calls'.", f"{where}.role",
                )  # fmt: skip
            owed.remove(message["tool_call_id"])
        elif owed:
            raise Refused(
                "An assistant message with 'tool_calls' must be followed by tool messages "
                f"responding to each 'tool_call_id': {owed}.", where,
            )  # fmt: skip
        _check_content(message, where)
        owed += [call["id"] for call in message.get("tool_calls") or ()]
    if owed:
        raise Refused(f"tool_call_ids without response: {owed}.", "messages")


def _check_content(message: Fields, where: str) -> None:
    content = message.get("content")
    if content is None and message["role"] != "assistant":
        raise Refused("Invalid value for 'content': got null.", f"{where}.content")
    if message["role"] == "assistant" and not content and not message.get("tool_calls"):
        raise Refused("An assistant message needs 'content' or 'tool_calls'.", where)
    for part in content if isinstance(content, list) else ():
        if part.get("type") not in _PARTS or part["type"] not in part:
            raise Refused(f"Invalid value: {part.get('type')}.", f"{where}.content")
        if part["type"] == "image_url" and message["role"] != "user":
            raise Refused("Image URLs are only allowed for role 'user'.", f"{where}.content")


# ---- what is answered ----


def _counts(text: str) -> Fields:
    return {
        "prompt_tokens": 19,
        "completion_tokens": len(text),
        "total_tokens": 19 + len(text),
        "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 0},
    }


def _logprob(token: str) -> Fields:
    raw = list(token.encode())
    best = {"token": token, "logprob": -0.25, "bytes": raw}
    return {**best, "top_logprobs": [best]}


def _image(part: Fields) -> str:
    url: str = part["image_url"]["url"]
    detail = part["image_url"].get("detail", "auto")
    if not url.startswith("data:"):
        return f"an image at {url}, {detail}"
    head, _, data = url.removeprefix("data:").partition(";base64,")
    return f"{head} of {len(base64.b64decode(data, validate=True))} bytes, {detail}"


def pieces_of(body: Fields) -> list[str]:
    """The text of an answer, in the pieces that a stream has."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        results = body["messages"]
        begun = max(at for at, message in enumerate(results) if message.get("tool_calls"))
        return ["; ".join(message["content"] for message in results[begun + 1 :])]
    if (body.get("response_format") or {}).get("type") == "json_schema":
        return [PERSON[at : at + 5] for at in range(0, len(PERSON), 5)]
    parts = last["content"] if isinstance(last["content"], list) else []
    images = [_image(part) for part in parts if part["type"] == "image_url"]
    if images:
        return ["; ".join(images)]
    if body["model"] == "thinks":
        return ["<thi", "nk>well, ", "好</th", "ink>", *PIECES]
    return list(PIECES)


def calls_of(body: Fields) -> list[Fields]:
    """Two calls of the first tool, if it is the model's turn to call one."""
    if not body.get("tools") or body["messages"][-1]["role"] != "user":
        return []
    name = body["tools"][0]["function"]["name"]
    cities = CITIES if body.get("parallel_tool_calls") is not False else CITIES[:1]
    return [
        {
            "id": f"call_{at}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps({"city": city}, ensure_ascii=False)},
        }
        for at, city in enumerate(cities)
    ]


def whole(body: Fields) -> Fields:
    pieces, calls = pieces_of(body), calls_of(body)
    text = "".join(pieces)
    message: Fields = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    if calls:
        message |= {"content": None, "tool_calls": calls}
    logprobs = {"content": [_logprob(piece) for piece in pieces], "refusal": None}
    return {
        "id": "chatcmpl-stub",
        "object": "chat.completion",
        "created": 1_750_000_000,
        "model": body["model"],
        "choices": [
            {
                "index": index,
                "message": message,
                "logprobs": logprobs if body.get("logprobs") else None,
                "finish_reason": "tool_calls" if calls else "stop",
            }
            for index in range(body.get("n") or 1)
        ],
        "usage": _counts(text),
        "service_tier": "default",
        "system_fingerprint": "fp_stub",
    }


def chunks(body: Fields) -> Iterator[Fields]:
    counts = bool((body.get("stream_options") or {}).get("include_usage"))
    head = {
        "id": "chatcmpl-stub",
        "object": "chat.completion.chunk",
        "created": 1_750_000_000,
        "model": body["model"],
        "service_tier": "default",
        "system_fingerprint": "fp_stub",
        **({"usage": None} if counts else {}),
    }
    pieces, calls = pieces_of(body), calls_of(body)
    deltas: list[tuple[Fields, Fields | None]] = [
        ({"role": "assistant", "content": None if calls else "", "refusal": None}, None)
    ]
    if calls:
        deltas += [({"tool_calls": [delta]}, None) for delta in _call_deltas(calls)]
    else:
        told = body.get("logprobs")
        deltas += [
            ({"content": piece}, {"content": [_logprob(piece)], "refusal": None} if told else None)
            for piece in pieces
        ]
    indices = range(body.get("n") or 1)
    for delta, logprobs in deltas:
        for index in indices:
            choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}
            yield {**head, "choices": [choice]}
    for index in indices:
        reason = "tool_calls" if calls else "stop"
        choice = {"index": index, "delta": {}, "logprobs": None, "finish_reason": reason}
        yield {**head, "choices": [choice]}
    if counts:
        yield {**head, "choices": [], "usage": _counts("".join(pieces))}


def _call_deltas(calls: list[Fields]) -> Iterator[Fields]:
    """Each call's name, then its arguments in pieces of three characters."""
    for index, call in enumerate(calls):
        yield {"index": index, **call, "function": {**call["function"], "arguments": ""}}
        arguments = call["function"]["arguments"]
        for at in range(0, len(arguments), 3):
            yield {"index": index, "function": {"arguments": arguments[at : at + 3]}}


# ---- embeddings ----

VECTORS = {"a": [0.5, -1.25, 3.0], "béé": [1.0, 0.0, 0.015625]}


def embedded(body: Fields) -> Fields:
    """The vectors of some texts. Raises Refused."""
    form, model = body.get("encoding_format"), body["model"]
    if model == "embed-strict" and form is not None:
        raise Refused("Unrecognized request argument: encoding_format", "encoding_format")
    packed = model == "embed-packed" or (model == "embed" and form == "base64")
    given = body["input"] if isinstance(body["input"], list) else [body["input"]]
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": at, "embedding": _vector(text, packed)}
            for at, text in enumerate(given)
        ],
        "model": model,
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }


def _vector(text: str, packed: bool) -> object:
    found = VECTORS[text]
    return base64.b64encode(struct.pack(f"<{len(found)}f", *found)).decode() if packed else found


# ---- the server ----


@dataclass(slots=True)
class Stub:
    """requests: the bodies that came, refused ones too. open_streams: those not ended yet."""

    url: str = ""
    requests: list[Fields] = field(default_factory=list)
    open_streams: int = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {UPSTREAM_KEY}":
            kind, code = _ERRORS[401]
            return web.json_response(
                error_body("Incorrect API key provided.", kind, None, code), status=401
            )
        if request.method == "GET":
            return self._models(request.path)
        body: Fields = json.loads(await request.content.read())
        self.requests.append(body)
        try:
            if request.path.endswith("/embeddings") and body["model"].startswith("embed"):
                return _json(embedded(body))
            check(body) if request.path.endswith("/completions") else None
        except Refused as refused:
            known = error_body(str(refused), "invalid_request_error", refused.param, refused.code)
            return web.json_response(known, status=400)
        model: str = body.get("model", "")
        if model.startswith("error-"):
            return _fail(int(model.removeprefix("error-")))
        if model not in MODELS:
            return _fail(404)
        return await self._stream(request, body) if body.get("stream") else _json(whole(body))

    def _models(self, path: str) -> web.Response:
        listed = [
            {"id": name, "object": "model", "created": 1_750_000_000, "owned_by": "stub"}
            for name in MODELS
        ]
        if path == "/v1/models":
            return _json({"object": "list", "data": listed})
        found = [item for item in listed if path == f"/v1/models/{item['id']}"]
        return _json(found[0]) if found else _fail(404)

    async def _stream(self, request: web.BaseRequest, body: Fields) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        self.open_streams += 1
        try:
            await self._say(request, response, body)
        finally:
            self.open_streams -= 1
        return response

    async def _say(
        self, request: web.BaseRequest, response: web.StreamResponse, body: Fields
    ) -> None:
        model = body["model"]
        for said, chunk in enumerate(chunks(body), 1):
            data = f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()
            for piece in _bytes(data) if model == "bytes" else (data,):
                await response.write(piece)
            if said == 6 and model == "breaks":
                kind, code = _ERRORS[500]
                broken = error_body("The server had an error.", kind, None, code)
                await response.write(f"data: {json.dumps(broken)}\n\n".encode())
                return
            if said == 6 and model == "cut":
                await asyncio.sleep(0.03)
                assert request.transport is not None
                request.transport.abort()
                return
            while said == 6 and model == "forever":
                await asyncio.sleep(0.02)
                await response.write(data)
        await response.write(b"data: [DONE]\n\n")


def _bytes(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def _json(value: object, status: int = 200) -> web.Response:
    return web.json_response(value, status=status, dumps=_dumps)


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _fail(status: int) -> web.Response:
    kind, code = _ERRORS[status]
    response = _json(error_body(f"This is a {status}.", kind, None, code), status)
    if status == 429:
        response.headers["Retry-After"] = "40"
        response.headers["x-ratelimit-remaining-requests"] = "0"
    return response


@asynccontextmanager
async def openai_stub() -> AsyncIterator[Stub]:
    stub = Stub()
    server = web.Server(stub.handle, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield stub
    finally:
        await runner.cleanup()
