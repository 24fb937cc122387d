"""Chat request body -> ChatRequest.

Nothing is lost: a field the model has no place for stays in the `extras` of its own level, options
among them under `options`. `extras` also keep `think` and `format` as the client wrote them. Calls
have no ids here: they get one by their place in the conversation, so that a turn sent again has
the same, and a result belongs to the first call of its name that has none yet.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Literal

from engine.chat import (
    ChatRequest,
    Extras,
    Media,
    Message,
    Output,
    Part,
    Reasoning,
    Role,
    Sampling,
    Text,
    Think,
    Tool,
    ToolCall,
    ToolResult,
)
from engine.dialects.reading import (
    NAMES,
    body_fields,
    fields,
    mismatch,
    model_of,
    need,
    read_body,
    take,
    words,
    wrong,
)
from engine.wire import dumps

NAME = "ollama"
# Top-level extras that repeat what the model says already.
SPELLINGS = frozenset({"think", "format"})
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_ROLES: dict[object, Role] = {
    "system": "system", "user": "user", "assistant": "assistant", "tool": "tool",
}  # fmt: skip


def parse(body: bytes) -> ChatRequest:
    """Raises RequestError(bad_request) that names the field, as `messages[2].images[0]`."""
    rest = body_fields(read_body(body))
    request = ChatRequest(dialect=NAME, model=model_of(rest), messages=_messages(rest))
    request.tools = _tools(rest)
    return settings(request, rest)


def settings(request: ChatRequest, rest: Extras) -> ChatRequest:
    """Fills in what chat and generate requests share, out of the fields that are left."""
    stream = take(rest, "stream", bool)
    request.stream = stream is not False
    request.want_usage = True
    options = take(rest, "options", dict) or {}
    left = dict(options)
    request.sampling, request.out = _sampling(left), _output(left, rest)
    request.think = _think(rest)
    if left:
        rest["options"] = left
    request.extras = rest
    return request


def _sampling(options: Extras) -> Sampling:
    where = "options."
    return Sampling(
        temperature=take(options, "temperature", float, where),
        top_p=take(options, "top_p", float, where),
        top_k=take(options, "top_k", int, where),
        presence=take(options, "presence_penalty", float, where),
        frequency=take(options, "frequency_penalty", float, where),
        seed=take(options, "seed", int, where),
    )


def _output(options: Extras, rest: Extras) -> Output:
    most = take(options, "num_predict", int, "options.")
    if most is not None and most < 0:  # as many as the model likes
        options["num_predict"], most = most, None
    form, schema = read_format(rest.get("format"))
    if rest.get("format") in (None, ""):
        rest.pop("format", None)
    return Output(
        max_tokens=most,
        stop=_stops(options),
        format=form,
        schema=schema,
        logprobs=_logprobs(rest),
    )


def _stops(options: Extras) -> list[str]:
    single = options.get("stop")
    if isinstance(single, str):
        del options["stop"]
        return [single]
    return words(options, "stop")


def _logprobs(rest: Extras) -> int | None:
    asked, most = take(rest, "logprobs", bool), take(rest, "top_logprobs", int)
    return (most or 0) if asked else None


def read_format(form: object) -> tuple[Literal["json", "schema"] | None, object]:
    """format and schema; raises RequestError for what is neither `json` nor a schema."""
    if form in (None, ""):
        return None, None
    if form == "json":
        return "json", None
    if isinstance(form, dict):
        return "schema", form
    raise mismatch("format", "'json' or a JSON Schema", NAMES[type(form)])


def _think(rest: Extras) -> Think:
    think = read_think(rest.get("think"))
    if rest.get("think") is None:
        rest.pop("think", None)
    return think


def read_think(value: object) -> Think:
    """What `think` says: nothing, true or false, or how much."""
    if value is None:
        return Think()
    if isinstance(value, bool):
        return Think(mode="on" if value else "off")
    if isinstance(value, str):
        return Think(mode="on", effort=value)
    raise mismatch("think", "true, false or a level", NAMES[type(value)])


def _tools(rest: Extras) -> list[Tool]:
    return [_tool(raw, f"tools[{at}]") for at, raw in enumerate(take(rest, "tools", list) or [])]


def _tool(raw: object, where: str) -> Tool:
    rest = fields(raw, where)
    kind = take(rest, "type", str, where + ".")
    if kind not in (None, "function"):
        raise mismatch(f"{where}.type", "'function'", f"'{kind[:40]}'")
    where += ".function"
    inner = fields(rest.pop("function", None), where)
    where += "."
    tool = Tool(
        name=need(inner, "name", str, where),
        description=take(inner, "description", str, where),
        schema=take(inner, "parameters", dict, where),
        dialect=NAME,
    )
    tool.extras = {**rest, "function": inner} if inner else rest
    return tool


# ---- messages ----


def _messages(rest: Extras) -> list[Message]:
    """None at all: the model is to be loaded or unloaded, see idle.py."""
    calls, items = _Calls(), take(rest, "messages", list) or []
    return [_message(raw, f"messages[{at}]", calls) for at, raw in enumerate(items)]


class _Calls:
    """The calls of a conversation so far, for those that have no ids."""

    def __init__(self) -> None:
        self.count = 0
        self.open: list[ToolCall] = []

    def begin(self, given: str | None, name: str, args: str, extras: Extras) -> ToolCall:
        call = ToolCall(given or f"call_{self.count}", name, args, extras=extras)
        self.count += 1
        self.open.append(call)
        return call

    def answered(self, given: str | None, name: str | None) -> tuple[str, str | None]:
        """Id and name of the call that a result is for."""
        found = next((call for call in self.open if given == call.id), None)
        if found is None and given is None:
            named = (call for call in self.open if name in (None, call.name))
            found = next(named, None)
        if found is not None:
            self.open.remove(found)
            return found.id, found.name
        self.count += 1
        return given or f"call_{self.count - 1}", name


def _message(raw: object, where: str, calls: _Calls) -> Message:
    rest = fields(raw, where)
    where += "."
    given = rest.pop("role", None)
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        got = f"'{given[:40]}'" if isinstance(given, str) else NAMES[type(given)]
        raise mismatch(where + "role", f"one of {', '.join(map(str, _ROLES))}", got)
    said = _said(rest, where)
    if role == "tool":
        name = take(rest, "tool_name", str, where)
        ident, found = calls.answered(take({**rest}, "tool_call_id", str, where), name)
        return Message(role, [ToolResult(ident, said, name=name or found)], None, rest, NAME)
    parts: list[Part] = []
    thought = take(rest, "thinking", str, where)
    if thought:
        parts.append(Reasoning(thought))
    parts += said
    for at, call in enumerate(take(rest, "tool_calls", list, where) or []):
        parts.append(_call(call, f"{where}tool_calls[{at}]", calls))
    return Message(role, parts, None, rest, NAME)


def _said(rest: Extras, where: str) -> list[Part]:
    """Text and images of a message."""
    text = take(rest, "content", str, where)
    parts: list[Part] = [Text(text)] if text else []
    return parts + images(rest, where)


def images(rest: Extras, where: str) -> list[Part]:
    """The pictures of a message: base64, their type read off their first bytes."""
    found: list[Part] = []
    for at, data in enumerate(take(rest, "images", list, where) or []):
        place = f"{where}images[{at}]"
        if not isinstance(data, str):
            raise wrong(place, str, data)
        if not _BASE64.fullmatch(data) or len(data.rstrip("=")) % 4 == 1:
            raise mismatch(place, "base64 without a prefix", "other text")
        found.append(Media("image", mime=image_type(data), data=data))
    return found


_STARTS = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)


def image_type(data: str) -> str:
    """What the first bytes of an image in base64 show; PNG where they show nothing."""
    head = b64decode(data[:16] + "=" * (-len(data[:16]) % 4))
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return next((mime for start, mime in _STARTS if head.startswith(start)), "image/png")


def _call(raw: object, where: str, calls: _Calls) -> ToolCall:
    rest = fields(raw, where)
    inner = fields(rest.pop("function", None), where + ".function")
    where += "."
    name = need(inner, "name", str, where + "function.")
    args = dumps(take(inner, "arguments", dict, where + "function.") or {}).decode()
    given = take({**rest}, "id", str, where)  # stays in extras, which tells that it was given
    return calls.begin(given, name, args, {**rest, "function": inner} if inner else rest)
