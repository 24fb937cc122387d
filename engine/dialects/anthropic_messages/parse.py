"""Messages request body -> ChatRequest.

Nothing is lost: a field the model has no place for stays in the `extras` of its own level, blocks
that only this API has become Opaque. `extras` also keep a known field as the client wrote it where
the model knows a part of it only (`SPELLINGS`), `content: []` for content that was a list, and
`block` for a document whose texts and pictures are all that others can take of it. An explicit null
equals its absence. The system prompt is the first message; one that only holds tool results has the
role tool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

from engine.chat import (
    ChatRequest,
    Extras,
    Media,
    Message,
    Opaque,
    Output,
    Part,
    Reasoning,
    Role,
    Sampling,
    Text,
    Think,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from engine.dialects.provenance import unseal
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
from engine.wire import Headers, dumps

NAME = "anthropic_messages"
# Top-level extras that repeat what the model says already, or that no body holds.
SPELLINGS = frozenset({"thinking", "output_config", "betas"})
# A line that Claude Code puts before its system prompt, new in each request: it would spoil every
# prefix cache, and no other API wants it.
_BILLING = "x-anthropic-billing-header"


def parse(body: bytes, headers: Headers) -> ChatRequest:
    """Raises RequestError(bad_request) that names the field, as `messages[2].content`."""
    rest = body_fields(read_body(body))
    system = _system(rest)
    request = ChatRequest(
        dialect=NAME,
        model=model_of(rest),
        messages=system + _messages(rest),
        sampling=_sampling(rest),
        stream=bool(take(rest, "stream", bool)),
        want_usage=True,
        metadata=take(rest, "metadata", dict),
        tools=_tools(rest),
    )
    request.tool_choice, request.parallel = _choice(rest)
    request.think, request.out = _think(rest), _output(rest)
    user = request.metadata.get("user_id") if request.metadata else None
    request.user = user if isinstance(user, str) else None
    betas = [beta.strip() for beta in headers.get("anthropic-beta").split(",") if beta.strip()]
    request.extras = {**rest, "betas": betas} if betas else rest
    return request


# ---- top level ----


def _sampling(rest: Extras) -> Sampling:
    return Sampling(
        temperature=take(rest, "temperature", float),
        top_p=take(rest, "top_p", float),
        top_k=take(rest, "top_k", int),
    )


_MODES: dict[object, Literal["off", "on", "adaptive"]] = {
    "disabled": "off",
    "enabled": "on",
    "adaptive": "adaptive",
    "between_tools": "adaptive",
}


_SHOWN: dict[object, bool] = {"summarized": True, "omitted": False}


def read_think(thinking: object, config: object) -> Think:
    """What `thinking` and `output_config` say together."""
    think = Think()
    if isinstance(thinking, dict):
        budget = thinking.get("budget_tokens")
        think.mode = _MODES.get(take(dict(thinking), "type", str, "thinking."))
        think.budget = budget if type(budget) is int else None
        think.show = _SHOWN.get(thinking.get("display"))
    effort = config.get("effort") if isinstance(config, dict) else None
    think.effort = effort if isinstance(effort, str) else None
    return think


def _think(rest: Extras) -> Think:
    for name in ("thinking", "output_config"):
        value = take(rest, name, dict)
        if value is not None:
            rest[name] = value
    return read_think(rest.get("thinking"), rest.get("output_config"))


def read_format(config: object) -> tuple[Literal["schema"] | None, object]:
    """format and schema of an `output_config`; format None if it has none that is known."""
    form = config.get("format") if isinstance(config, dict) else None
    if isinstance(form, dict) and form.get("type") == "json_schema":
        return "schema", form.get("schema")
    return None, None


def _output(rest: Extras) -> Output:
    most = take(rest, "max_tokens", int)
    if most is not None and most < 0:
        raise RequestError("bad_request", "max_tokens: must not be negative", param="max_tokens")
    form, schema = read_format(rest.get("output_config"))
    return Output(max_tokens=most, stop=words(rest, "stop_sequences"), format=form, schema=schema)


# ---- tools ----


def _tools(rest: Extras) -> list[Tool]:
    return [_tool(raw, f"tools[{at}]") for at, raw in enumerate(take(rest, "tools", list) or [])]


def _tool(raw: object, where: str) -> Tool:
    rest = fields(raw, where)
    kind = rest.get("type")
    where += "."
    if kind not in (None, "custom"):
        if not isinstance(kind, str):
            raise mismatch(where + "type", NAMES[str], NAMES[type(kind)])
        return Tool(name=kind, kind="hosted", raw=raw, dialect=NAME)
    return Tool(
        name=need(rest, "name", str, where),
        description=take(rest, "description", str, where),
        schema=take(rest, "input_schema", dict, where),
        strict=take(rest, "strict", bool, where),
        extras=rest,
        dialect=NAME,
    )


CHOICES: dict[object, Literal["auto", "none", "required", "named"]] = {
    "auto": "auto",
    "none": "none",
    "any": "required",
    "tool": "named",
}


def _choice(rest: Extras) -> tuple[ToolChoice | None, bool | None]:
    """The choice, and whether calls may be parallel (None if nothing is said of it)."""
    raw = take(rest, "tool_choice", dict)
    if raw is None:
        return None, None
    inner, where = dict(raw), "tool_choice."
    mode = CHOICES.get(need(inner, "type", str, where))
    single = take(inner, "disable_parallel_tool_use", bool, where)
    names = [need(inner, "name", str, where)] if mode == "named" else []
    return ToolChoice(mode or "other", names, raw), None if single is None else not single


# ---- messages ----


def _system(rest: Extras) -> list[Message]:
    message = Message("system", [], dialect=NAME)
    message.parts = [_unbilled(part) for part in _content(rest, message, "", "system")]
    return [message] if message.parts else []


def _unbilled(part: Part) -> Part:
    if isinstance(part, Text) and part.text.startswith(_BILLING):
        return Opaque(NAME, "billing_header", {"type": "text", "text": part.text, **part.extras})
    return part


def _messages(rest: Extras) -> list[Message]:
    items = need(rest, "messages", list)
    if not items:
        raise RequestError("bad_request", "messages: must not be empty", param="messages")
    return [_message(raw, f"messages[{at}]") for at, raw in enumerate(items)]


_ROLES: dict[object, Role] = {"user": "user", "assistant": "assistant", "system": "system"}


def _message(raw: object, where: str) -> Message:
    rest = fields(raw, where)
    where += "."
    given = rest.pop("role", None)
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        got = f"'{given[:40]}'" if isinstance(given, str) else NAMES[type(given)]
        raise mismatch(where + "role", f"one of {', '.join(map(str, _ROLES))}", got)
    if rest.get("content") is None:
        raise mismatch(where + "content", _CONTENT, "nothing")
    message = Message(role, [], dialect=NAME)
    message.parts = _content(rest, message, where, "content")
    message.extras |= rest
    if role == "user" and all(isinstance(part, ToolResult) for part in message.parts):
        message.role = "tool" if message.parts else "user"
    return message


_CONTENT = "a string or a list of blocks"


def _content(rest: Extras, holder: Message | ToolResult, where: str, name: str) -> list[Part]:
    """Parts of a string or a list of blocks; `holder` notes that it was a list."""
    content = rest.pop(name, None)
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)] if content else []
    if not isinstance(content, list):
        raise mismatch(where + name, _CONTENT, NAMES[type(content)])
    holder.extras["content"] = []
    parts: list[Part] = []
    for at, raw in enumerate(content):
        parts.append(_part(raw, f"{where}{name}[{at}]"))
        if _BLOCK in getattr(parts[-1], "extras", ()):
            parts += _pictures(raw, f"{where}{name}[{at}].source.content")
    return parts


# ---- blocks ----

_BLOCK = "block"  # extra of a text: the block that it is told of; of a picture: it is in that


def held(part: Part) -> bool:
    """Whether it stands in the block before it, which is sent whole where it came from."""
    return isinstance(part, Media) and part.extras.get(_BLOCK) is True


def _part(raw: object, where: str) -> Part:
    rest = fields(raw, where)
    kind = need(rest, "type", str, where + ".")
    read = _PARTS.get(kind)
    found = read(rest, where + ".") if read else None
    if isinstance(found, str):
        return Text(found, extras={_BLOCK: raw})
    return Opaque(NAME, kind, raw) if found is None else found


def _text(rest: Extras, where: str) -> Part:
    return Text(need(rest, "text", str, where), extras=rest)


def _image(rest: Extras, where: str) -> Part | None:
    return _by_source(Media("image"), rest, where)


def _document(rest: Extras, where: str) -> Part | str | None:
    source = fields(rest.get("source"), where + "source")
    if source.get("type") in ("text", "content"):
        return document_text(rest)
    return _by_source(Media("file", name=take(rest, "title", str, where)), rest, where)


_SOURCES = {"base64": "data", "url": "url", "file": "file_id"}


def _by_source(media: Media, rest: Extras, where: str) -> Media | None:
    """None for a kind of source that nobody knows."""
    source = fields(rest.pop("source", None), where + "source")
    where += "source."
    field = _SOURCES.get(need(source, "type", str, where))
    if field is None:
        return None
    setattr(media, field, need(source, field, str, where))
    if field == "data":
        media.mime = need(source, "media_type", str, where)
    media.extras = {**rest, "source": source} if source else rest
    return media


def document_text(block: Extras) -> str:
    """The words of a search result, or of a document that came as text."""
    source = block.get("source")
    held = source if isinstance(source, dict) else block
    body = held.get("data", held.get("content"))
    if isinstance(body, list):
        body = "\n".join(_words(item) for item in body)
    link = source if isinstance(source, str) else None
    told = (block.get("title"), link, block.get("context"), body)
    return "\n".join(found for found in told if isinstance(found, str) and found)


def _pictures(block: object, where: str) -> Iterator[Media]:
    """The pictures among the texts of a document."""
    source = block.get("source") if isinstance(block, dict) else None
    inner = source.get("content") if isinstance(source, dict) else None
    for at, raw in enumerate(inner if isinstance(inner, list) else ()):
        if isinstance(raw, dict) and raw.get("type") == "image":
            found = _by_source(Media("image"), fields(raw, f"{where}[{at}]"), f"{where}[{at}].")
            if found is not None:
                yield replace(found, extras={_BLOCK: True})


def _words(block: object) -> str:
    text = block.get("text") if isinstance(block, dict) else None
    return text if isinstance(text, str) else ""


def _search_result(rest: Extras, where: str) -> str:
    return document_text(rest)


def _thinking(rest: Extras, where: str) -> Part:
    text, signature = need(rest, "thinking", str, where), take(rest, "signature", str, where)
    part = Reasoning(text, signature=signature, origin=NAME, extras=rest)
    return unseal(signature or "", part)


def _redacted(rest: Extras, where: str) -> Part:
    sealed = need(rest, "data", str, where)
    return unseal(sealed, Reasoning(encrypted=sealed, origin=NAME, extras=rest))


def _call(rest: Extras, where: str) -> Part:
    call_id, name = need(rest, "id", str, where), need(rest, "name", str, where)
    args = dumps(need(rest, "input", dict, where)).decode()
    return ToolCall(call_id, name, args, extras=rest)


def _result(rest: Extras, where: str) -> Part:
    result = ToolResult(need(rest, "tool_use_id", str, where))
    result.is_error = take(rest, "is_error", bool, where)
    result.parts = _content(rest, result, where, "content")
    result.extras |= rest
    return result


_PARTS: dict[str, Callable[[Extras, str], Part | str | None]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "tool_use": _call,
    "tool_result": _result,
}
