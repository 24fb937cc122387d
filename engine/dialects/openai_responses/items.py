"""Items of a Responses input -> messages.

Neighbours that belong to one turn of the assistant (reasoning, text, calls) become one message, and
so do results of tools. What an item says beside its content is in the extras of its parts: for a
text under `item`, shared by all parts of that item. Kinds of items that nobody else knows are
Opaque.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.chat import (
    Extras,
    Media,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from engine.dialects.filetypes import split_data
from engine.dialects.provenance import unseal
from engine.dialects.reading import NAMES, fields, mismatch, need, take

from .shown import KIND, picture_of

NAME = "openai_responses"
_ROLES: dict[object, Role] = {
    "user": "user", "assistant": "assistant", "system": "system", "developer": "developer",
}  # fmt: skip


def flat_name(namespace: str, name: str) -> str:
    """The name of a namespace's tool where there are no namespaces."""
    return f"{namespace}__{name}"


def read_items(items: list[object]) -> list[Message]:
    """Raises RequestError(bad_request) that names the field, as `input[2].content`."""
    out: list[Message] = []
    for at, raw in enumerate(items):
        message = _item(fields(raw, f"input[{at}]"), f"input[{at}].", raw)
        if out and _belongs(out[-1], message):
            out[-1].parts += message.parts
        else:
            out.append(message)
    return out


def _belongs(last: Message, message: Message) -> bool:
    """Whether an item goes on with the turn before it."""
    if last.role != message.role or message.role not in ("assistant", "tool"):
        return False
    texts = any(isinstance(part, Text | Refusal) for part in message.parts)
    told = [part for part in last.parts if isinstance(part, Text | Refusal | ToolCall)]
    return not texts or not told or isinstance(told[-1], ToolCall)


def _item(rest: Extras, where: str, raw: object) -> Message:
    kind = take(rest, "type", str, where) or ("message" if "role" in rest else "item_reference")
    if kind == "message":
        return _message(rest, where)
    role, read = _ITEMS.get(kind, _UNKNOWN)
    part = picture_of(rest) if kind == KIND else read(rest, where) if read is not None else None
    part = part or Opaque(NAME, kind, raw)
    return Message(role, [part], dialect=NAME)


# ---- messages ----


def _message(rest: Extras, where: str) -> Message:
    given = rest.pop("role", None)
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        got = f"'{given[:40]}'" if isinstance(given, str) else NAMES[type(given)]
        raise mismatch(where + "role", f"one of {', '.join(map(str, _ROLES))}", got)
    content = rest.pop("content", None)
    if not isinstance(content, str | list):
        got = "nothing" if content is None else NAMES[type(content)]
        raise mismatch(where + "content", _CONTENT, got)
    listed = isinstance(content, list)
    parts = _content(content, where + "content")
    if role != "assistant":
        extras = {**rest, "content": []} if listed else rest
        return Message(role, parts, extras=extras, dialect=NAME)
    item = {**rest, "content": []} if listed else rest
    for part in parts:
        if isinstance(part, Text):
            part.extras = {**part.extras, "item": item}
    return Message(role, parts, dialect=NAME)


_CONTENT = "a string or a list of parts"


def _content(content: object, where: str) -> list[Part]:
    if isinstance(content, str):
        return [Text(content)]
    assert isinstance(content, list)
    return [_part(raw, f"{where}[{at}]") for at, raw in enumerate(content)]


def _part(raw: object, where: str) -> Part:
    rest = fields(raw, where)
    kind = need(rest, "type", str, where + ".")
    read = _PARTS.get(kind)
    found = read(rest, where + ".") if read else None
    return Opaque(NAME, kind, raw) if found is None else found


def _text(rest: Extras, where: str) -> Part:
    return Text(need(rest, "text", str, where), extras=rest)


def _refusal(rest: Extras, where: str) -> Part:
    return Refusal(need(rest, "refusal", str, where))


def _image(rest: Extras, where: str) -> Part:
    media = Media("image", detail=take(rest, "detail", str, where))
    return _pointed(media, rest, "image_url", where)


def _file(rest: Extras, where: str) -> Part:
    media = Media("file", name=take(rest, "filename", str, where))
    data = take(rest, "file_data", str, where)
    if data is not None:
        media.mime, split = split_data(data)
        media.data = data if split is None else split
    return _pointed(media, rest, "file_url", where)


def _pointed(media: Media, rest: Extras, name: str, where: str) -> Media:
    url, media.file_id = take(rest, name, str, where), take(rest, "file_id", str, where)
    if url is not None:
        media.mime, media.data = split_data(url)
        media.url = url if media.data is None else None
    if media.url is None and media.data is None and media.file_id is None:
        raise mismatch(where + name, "a string", "nothing")
    media.extras = rest
    return media


def _audio(rest: Extras, where: str) -> Part:
    inner = fields(rest.pop("input_audio", None), where + "input_audio")
    where += "input_audio."
    form, data = take(inner, "format", str, where), need(inner, "data", str, where)
    return Media("audio", mime=f"audio/{form}" if form else None, data=data, extras=rest)


_PARTS: dict[str, Callable[[Extras, str], Part]] = {
    "input_text": _text,
    "output_text": _text,
    "text": _text,
    "refusal": _refusal,
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
}


# ---- other items ----


def _call(rest: Extras, where: str) -> Part:
    return _called(rest, where, "arguments")


def _custom_call(rest: Extras, where: str) -> Part:
    call = _called(rest, where, "input")
    call.kind = "custom"
    return call


def _called(rest: Extras, where: str, field: str) -> ToolCall:
    call_id, name = need(rest, "call_id", str, where), need(rest, "name", str, where)
    args = take(rest, field, str, where) or ""
    space = rest.get("namespace")
    if isinstance(space, str):
        name = flat_name(space, name)
    return ToolCall(call_id, name, args, extras=rest)


def _result(rest: Extras, where: str) -> Part:
    return _output(rest, where)


def _custom_result(rest: Extras, where: str) -> Part:
    result = _output(rest, where)
    result.extras["type"] = "custom_tool_call_output"
    return result


def _output(rest: Extras, where: str) -> ToolResult:
    result = ToolResult(need(rest, "call_id", str, where), extras=rest)
    output = rest.pop("output", None)
    if not isinstance(output, str | list):
        got = "nothing" if output is None else NAMES[type(output)]
        raise mismatch(where + "output", _CONTENT, got)
    result.parts = _content(output, where + "output")
    if isinstance(output, list):
        rest["output"] = []
    return result


def _reasoning(rest: Extras, where: str) -> Part:
    summary = _texts(rest, "summary", where)
    content = _texts(rest, "content", where)
    part = Reasoning(
        text="".join(content) if content else "\n\n".join(summary),
        summary=summary,
        id=take(rest, "id", str, where),
        origin=NAME,
        extras=rest,
    )
    if content:
        rest["content"] = content
    sealed = take(rest, "encrypted_content", str, where)
    if sealed is None:
        return part
    part.encrypted = sealed
    return unseal(sealed, part)


def _texts(rest: Extras, name: str, where: str) -> list[str]:
    listed = enumerate(take(rest, name, list, where) or [])
    found = ((fields(raw, f"{where}{name}[{at}]"), at) for at, raw in listed)
    return [need(part, "text", str, f"{where}{name}[{at}].") for part, at in found]


_Read = Callable[[Extras, str], Part]
_UNKNOWN: tuple[Role, _Read | None] = ("assistant", None)
_ITEMS: dict[str, tuple[Role, _Read | None]] = {
    "function_call": ("assistant", _call),
    "custom_tool_call": ("assistant", _custom_call),
    "function_call_output": ("tool", _result),
    "custom_tool_call_output": ("tool", _custom_result),
    "reasoning": ("assistant", _reasoning),
}
