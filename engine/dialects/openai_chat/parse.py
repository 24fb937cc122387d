"""Chat Completions request body -> ChatRequest.

Nothing is lost: a field the model has no place for stays in the `extras` of its own level
(request, message, part, tool). `extras` also keep a known field in the client's own spelling where
several mean the same, so that `render` can say it in the same way (`SPELLINGS`): an explicit
default, `max_tokens`, a single `stop`, the legacy `functions`, and `content: []` for a message
whose content was a list. An explicit null of a known field equals its absence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

from engine.chat import (
    ChatRequest,
    Extras,
    Media,
    Message,
    Opaque,
    Output,
    Part,
    Reasoning,
    Refusal,
    Role,
    Sampling,
    Text,
    Think,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from engine.dialects.filetypes import split_data
from engine.dialects.pictures import modalities
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
)
from engine.errors import RequestError
from engine.wire import Headers

from .images import take_images
from .sealed import GOOGLE, beside

# Top-level extras that only repeat what the model says already: other dialects leave them out
# without a word.
SPELLINGS = frozenset(
    {"stream", "n", "logprobs", "top_logprobs", "max_tokens", "stop", "response_format",
     "stream_options", "functions", "function_call"}
)  # fmt: skip

_DEFAULTS: dict[str, object] = {"stream": False, "n": 1, "logprobs": False}
_SAMPLING: dict[str, tuple[str, type]] = {
    "temperature": ("temperature", float),
    "top_p": ("top_p", float),
    "top_k": ("top_k", int),
    "presence_penalty": ("presence", float),
    "frequency_penalty": ("frequency", float),
    "seed": ("seed", int),
    "logit_bias": ("logit_bias", dict),
}
_TOOLING = frozenset({"tools", "tool_choice", "functions", "function_call"})
# What an answer may be told to be, but for its length.
_SHAPING = frozenset(
    {"n", "stop", "logprobs", "top_logprobs", "verbosity", "response_format", "modalities"}
)


def parse(body: bytes, headers: Headers) -> ChatRequest:
    """Raises RequestError(bad_request) that names the field, as `messages[2].content`."""
    return parse_value(read_body(body))


def parse_value(value: object) -> ChatRequest:
    """`parse` for a body that is decoded already. The value is not changed."""
    rest = body_fields(value)
    said = {name: default for name, default in _DEFAULTS.items() if rest.get(name) == default}
    request = ChatRequest(
        dialect="openai_chat",
        model=model_of(rest),
        messages=_messages(rest),
        parallel=take(rest, "parallel_tool_calls", bool),
        sampling=_sampling(rest),
        stream=bool(take(rest, "stream", bool)),
        want_usage=_want_usage(rest),
        user=take(rest, "user", str),
        metadata=take(rest, "metadata", dict),
        think=_think(rest),
        out=_output(rest),
    )
    if not _TOOLING.isdisjoint(rest):
        request.tools, request.tool_choice = _tools(rest)
    rest.update(said)
    request.extras = rest
    return request


# ---- top level ----


def _sampling(rest: Extras) -> Sampling:
    found = Sampling()
    for name, (field, kind) in _SAMPLING.items():
        if name in rest:
            setattr(found, field, take(rest, name, kind))
    return found


def _want_usage(rest: Extras) -> bool:
    options = take(rest, "stream_options", dict)
    if options is None:
        return False
    others = dict(options)
    asked = take(others, "include_usage", bool, "stream_options.")
    if others:
        rest["stream_options"] = others
    return bool(asked)


def _think(rest: Extras) -> Think:
    effort = take(rest, "reasoning_effort", str)
    return Think(mode="off" if effort == "none" else None, effort=effort)


def _output(rest: Extras) -> Output:
    if _SHAPING.isdisjoint(rest):
        return Output(max_tokens=_max_tokens(rest))
    out = Output(n=_count(rest), max_tokens=_max_tokens(rest), stop=_stop(rest))
    asked, top = take(rest, "logprobs", bool), take(rest, "top_logprobs", int)
    if asked:
        out.logprobs = top or 0
    if top is not None and not (asked and top):
        rest["top_logprobs"] = top
    out.verbosity = take(rest, "verbosity", str)
    out.modalities = modalities(rest.get("modalities"))
    form = take(rest, "response_format", dict)
    if form is not None:
        out.format, out.schema, out.schema_name, out.strict = read_format(form)
        out.schema_about = _about(form) if out.format == "schema" else None
        rest["response_format"] = form
    return out


def _count(rest: Extras) -> int:
    n = take(rest, "n", int)
    if n is not None and n < 1:
        raise RequestError("bad_request", "n: must be at least 1", param="n")
    return n or 1


def _max_tokens(rest: Extras) -> int | None:
    old = take(rest, "max_tokens", int)
    new = take(rest, "max_completion_tokens", int)
    if new is None and old is not None:
        rest["max_tokens"] = old
    return old if new is None else new


def _stop(rest: Extras) -> list[str]:
    single = rest.get("stop")
    if isinstance(single, str):
        return [single]
    return words(rest, "stop")


_Format = Literal["text", "json", "schema"]
_FORMATS: dict[object, _Format] = {"text": "text", "json_object": "json", "json_schema": "schema"}


def read_format(form: Extras) -> tuple[_Format | None, object, str | None, bool | None]:
    """format, schema, schema_name and strict of a `response_format`; format None if unknown."""
    kind = _FORMATS.get(take(dict(form), "type", str, "response_format."))
    if kind != "schema":
        return kind, None, None, None
    where = "response_format.json_schema"
    spec = fields(form.get("json_schema"), where)
    name, strict = take(spec, "name", str, where + "."), take(spec, "strict", bool, where + ".")
    return kind, spec.get("schema"), name, strict


def _about(form: Extras) -> str | None:
    where = "response_format.json_schema"
    return take(fields(form.get("json_schema"), where), "description", str, f"{where}.")


# ---- tools ----


def _tools(rest: Extras) -> tuple[list[Tool], ToolChoice | None]:
    tools = [_tool(raw, f"tools[{at}]") for at, raw in enumerate(take(rest, "tools", list) or [])]
    choice = _choice(rest.pop("tool_choice", None), "tool_choice")
    functions = take(rest, "functions", list)
    old = rest.pop("function_call", None)
    if functions is None:
        return tools, choice
    rest["functions"] = functions
    tools += [
        _definition(fields(raw, f"functions[{at}]"), f"functions[{at}].", "function", {})
        for at, raw in enumerate(functions)
    ]
    if isinstance(old, dict):
        old = {"type": "function", "function": old}
    return tools, choice or _choice(old, "function_call")


def _tool(raw: object, where: str) -> Tool:
    rest = fields(raw, where)
    kind = need(rest, "type", str, where + ".")
    if kind not in ("function", "custom"):
        return Tool(name=kind, kind="hosted", raw=raw, dialect="openai_chat")
    inner = fields(rest.pop(kind, None), f"{where}.{kind}")
    return _definition(inner, f"{where}.{kind}.", kind, rest)


def _definition(inner: Extras, where: str, kind: str, extras: Extras) -> Tool:
    tool = Tool(
        name=need(inner, "name", str, where),
        description=take(inner, "description", str, where),
        schema=take(inner, "parameters", dict, where),
        kind="custom" if kind == "custom" else "function",
        strict=take(inner, "strict", bool, where),
        extras=extras,
        dialect="openai_chat",
    )
    if inner:
        extras[kind] = inner
    return tool


def _choice(raw: object, where: str) -> ToolChoice | None:
    if raw is None:
        return None
    if raw in ("auto", "none", "required"):
        return ToolChoice(raw)
    if isinstance(raw, str):
        return ToolChoice("other", raw=raw)
    rest = fields(raw, where)
    kind = need(rest, "type", str, where + ".")
    if kind in ("function", "custom"):
        inner = fields(rest.get(kind), f"{where}.{kind}")
        return ToolChoice("named", [need(inner, "name", str, f"{where}.{kind}.")], raw)
    return ToolChoice("other", raw=raw)


# ---- messages ----


@dataclass(slots=True)
class _Turn:
    """One message being read: `rest` holds the fields not taken yet.

    called: ids given to legacy function calls of earlier messages, by function name
    """

    rest: Extras
    at: int
    where: str
    called: dict[str, str]
    name: str | None = None


def _messages(rest: Extras) -> list[Message]:
    items = need(rest, "messages", list)
    if not items:
        raise RequestError("bad_request", "messages: must not be empty", param="messages")
    called: dict[str, str] = {}
    return [
        _simple(raw)
        or _message(_Turn(fields(raw, f"messages[{at}]"), at, f"messages[{at}].", called))
        for at, raw in enumerate(items)
    ]


def _simple(raw: object) -> Message | None:
    """A message of a role and a text, as nearly all are. None if there is more to it."""
    if type(raw) is not dict or len(raw) != 2:
        return None
    role, content = raw.get("role"), raw.get("content")
    if type(content) is not str or type(role) is not str or role not in _SPEAKERS:
        return None
    return Message(cast("Role", role), [Text(content)], None, {}, "openai_chat")


_SPEAKERS = ("user", "assistant", "system", "developer")


def _message(turn: _Turn) -> Message:
    rest, where = turn.rest, turn.where
    role = rest.pop("role", None)
    read = _ROLES.get(role) if isinstance(role, str) else None
    if read is None:
        got = f"'{role[:40]}'" if isinstance(role, str) else NAMES[type(role)]
        raise mismatch(where + "role", f"one of {', '.join(_ROLES)}", got)
    turn.name = take(rest, "name", str, where)
    parts = read(turn)
    role = "tool" if role == "function" else role
    return Message(cast("Role", role), parts, turn.name, rest, "openai_chat")


def _prompt(turn: _Turn) -> list[Part]:
    if turn.rest.get("content") is None:
        raise mismatch(turn.where + "content", _CONTENT, "nothing")
    return _content(turn)


def _content(turn: _Turn) -> list[Part]:
    """Parts of `content`: a string, a list of parts, or nothing."""
    content = turn.rest.pop("content", None)
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)]
    if not isinstance(content, list):
        raise mismatch(turn.where + "content", _CONTENT, NAMES[type(content)])
    turn.rest["content"] = []
    return [_part(raw, f"{turn.where}content[{at}]") for at, raw in enumerate(content)]


_CONTENT = "a string or a list of parts"


def _assistant(turn: _Turn) -> list[Part]:
    rest, where = turn.rest, turn.where
    parts = [*_reasoning(rest), *_content(turn), *take_images(rest)]
    if "content" not in rest:  # beside a list, a refusal stays where it is
        refusal = take(rest, "refusal", str, where)
        if refusal is not None:
            parts.append(Refusal(refusal))
    for at, raw in enumerate(take(rest, "tool_calls", list, where) or []):
        call = _call(fields(raw, f"{where}tool_calls[{at}]"), f"{where}tool_calls[{at}].")
        parts += [*_signature(call.extras), call]
    old = take(rest, "function_call", dict, where)
    if old is not None:
        inner, where = dict(old), where + "function_call."
        args = take(inner, "arguments", str, where) or ""
        call = ToolCall(f"call_{turn.at}", need(inner, "name", str, where), args)
        turn.called[call.name] = call.id
        parts.append(call)
    return parts


def _reasoning(rest: Extras) -> list[Part]:
    """The first field that has any; another one beside it stays in the message's extras."""
    for field in ("reasoning_content", "reasoning"):
        text = rest.get(field)
        if isinstance(text, str) and text:
            del rest[field]
            return [
                Reasoning(text, extras={} if field == "reasoning_content" else {"field": field})
            ]
    return []


def _signature(extras: Extras) -> list[Part]:
    """The signature that a call carries for Gemini, as the thought before it."""
    found = beside(extras)
    return [Reasoning(signature=found, origin=GOOGLE)] if found else []


def _call(rest: Extras, where: str) -> ToolCall:
    call_id = need(rest, "id", str, where)
    kind = take(rest, "type", str, where) or "function"
    if kind not in ("function", "custom"):
        raise mismatch(where + "type", "function or custom", f"'{kind[:40]}'")
    inner = fields(rest.pop(kind, None), where + kind)
    where += kind + "."
    call = ToolCall(
        call_id,
        need(inner, "name", str, where),
        take(inner, "input" if kind == "custom" else "arguments", str, where) or "",
        "custom" if kind == "custom" else "function",
        rest,
    )
    if inner:
        rest[kind] = inner
    return call


def _result(turn: _Turn) -> list[Part]:
    call_id = need(turn.rest, "tool_call_id", str, turn.where)
    return [ToolResult(call_id, _content(turn))]


def _function_result(turn: _Turn) -> list[Part]:
    name = turn.name or ""
    return [ToolResult(turn.called.get(name, name), _content(turn), name=turn.name)]


_ROLES: dict[str, Callable[[_Turn], list[Part]]] = {
    "system": _prompt,
    "developer": _prompt,
    "user": _prompt,
    "assistant": _assistant,
    "tool": _result,
    "function": _function_result,
}


# ---- parts ----


def _part(raw: object, where: str) -> Part:
    rest = fields(raw, where)
    kind = need(rest, "type", str, where + ".")
    read = _PARTS.get(kind)
    return read(rest, where + ".") if read else Opaque("openai_chat", kind, raw)


def _text(rest: Extras, where: str) -> Part:
    return Text(need(rest, "text", str, where), extras=rest)


def _refusal(rest: Extras, where: str) -> Part:
    return Refusal(need(rest, "refusal", str, where))


def _inner(rest: Extras, name: str, where: str) -> Extras:
    """The object that a media part holds under its type; its unknown fields stay there."""
    inner = fields(rest.pop(name, None), where + name)
    rest[name] = inner
    return inner


def _image(rest: Extras, where: str) -> Part:
    return _by_url(rest, "image_url", where, Media("image"))


def _video(rest: Extras, where: str) -> Part:
    return _by_url(rest, "video_url", where, Media("video"))


def _by_url(rest: Extras, name: str, where: str, media: Media) -> Media:
    if isinstance(rest.get(name), str):  # not in the specification, but seen
        rest[name] = {"url": rest[name]}
    inner = _inner(rest, name, where)
    url = need(inner, "url", str, f"{where}{name}.")
    media.detail = take(inner, "detail", str, f"{where}{name}.")
    media.mime, media.data = split_data(url)
    if media.data is None:
        media.url = url
    return _with_extras(media, rest, name)


def _audio(rest: Extras, where: str) -> Part:
    inner = _inner(rest, "input_audio", where)
    where += "input_audio."
    form = take(inner, "format", str, where)
    media = Media("audio", mime=f"audio/{form}" if form else None)
    media.data = need(inner, "data", str, where)
    return _with_extras(media, rest, "input_audio")


def _file(rest: Extras, where: str) -> Part:
    inner = _inner(rest, "file", where)
    where += "file."
    data = take(inner, "file_data", str, where)
    media = Media("file", file_id=take(inner, "file_id", str, where))
    media.name = take(inner, "filename", str, where)
    media.mime, split = split_data(data or "")
    media.data = data if split is None else split
    return _with_extras(media, rest, "file")


def _with_extras(media: Media, rest: Extras, name: str) -> Media:
    if not rest[name]:
        del rest[name]
    media.extras = rest
    return media


_PARTS: dict[str, Callable[[Extras, str], Part]] = {
    "text": _text,
    "refusal": _refusal,
    "image_url": _image,
    "video_url": _video,
    "input_audio": _audio,
    "file": _file,
}
