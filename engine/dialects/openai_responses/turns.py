"""Messages of the model -> `instructions` and `input` of a request.

Thinking goes along only if this API encrypted it; ids of items do not, since an API that stores
nothing knows none of them (a thought's own id is part of it). Parts that have no form here are
named as dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.chat import (
    ChatRequest,
    Extras,
    Media,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from engine.dialects.filetypes import right_type, sound_format
from engine.dialects.foreign import native, settle_system
from engine.dialects.json_mode import named, wish
from engine.dialects.pictures import handed_on
from engine.dialects.profile import PROFILE, Profile
from engine.errors import RequestError

from .items import NAME
from .parse import INSTRUCTIONS
from .shown import sent_back

_SYSTEM = ("system", "developer")


def prompt(
    request: ChatRequest, profile: Profile, dropped: list[str]
) -> tuple[str | None, list[object]]:
    """`instructions` and `input`. Of another dialect the system messages at the front go first."""
    turns = request.messages
    count = next((at for at, m in enumerate(turns) if m.role not in _SYSTEM), len(turns))
    lead = [m for m in turns[:count] if m.dialect != NAME or INSTRUCTIONS in m.extras]
    rest = [m for m in turns[:count] if not any(m is found for found in lead)] + turns[count:]
    if request.dialect != NAME and request.out.format == "json" and not named(rest):
        rest = [wish(), *rest]
    text = "\n\n".join(m.text for m in native(lead, NAME) if m.text)
    return text or None, messages(rest, profile, dropped)


def messages(
    items: list[Message], profile: Profile = PROFILE, dropped: list[str] | None = None
) -> list[object]:
    """Items of an input."""
    lost = [] if dropped is None else dropped
    later = "keep" if profile.later_system == "as_sent" else profile.later_system
    turns = settle_system(handed_on(native(items, NAME), NAME), later)
    customs = {part.id for turn in turns for part in turn.parts
               if isinstance(part, ToolCall) and part.kind == "custom"}  # fmt: skip
    out: list[object] = []
    for turn in turns:
        if turn.role == "assistant":
            out += _assistant(turn, lost)
        else:
            out += _others(turn, profile, customs, lost)
    return out


# ---- turns of the user, the system, the tools ----


def _others(turn: Message, profile: Profile, customs: set[str], lost: list[str]) -> list[object]:
    results = [part for part in turn.parts if isinstance(part, ToolResult)]
    out: list[object] = [_result(part, part.call_id in customs, lost) for part in results]
    parts: list[Part] = [part for part in turn.parts if not isinstance(part, ToolResult)]
    if not parts and turn.parts:
        return out
    role: str = "user" if turn.role == "tool" else turn.role
    if role == "developer" and profile.developer_role == "system":
        role = "system"
    plain = "content" not in turn.extras and len(parts) == 1 and _bare(parts[0])
    content = parts[0].text if plain else _contents(parts, lost)  # type: ignore[union-attr]
    extras = {n: v for n, v in turn.extras.items() if n not in ("content", "id", "status")}
    return [*out, {"type": "message", **extras, "role": role, "content": content}]


def _bare(part: Part) -> bool:
    return isinstance(part, Text) and not part.extras


def _contents(parts: list[Part], lost: list[str]) -> list[object]:
    made = [(part, _CONTENTS.get(type(part))) for part in parts]
    lost += [part.kind for part in parts if isinstance(part, Opaque) and part.dialect != NAME]
    found = [make(part) for part, make in made if make is not None]
    return [part for part in found if part is not None]


def _result(part: ToolResult, custom: bool, lost: list[str]) -> Extras:
    extras = {n: v for n, v in part.extras.items() if n not in ("output", "id", "status")}
    kind = "custom_tool_call_output" if custom else "function_call_output"
    parts = [Text("Error: "), *part.parts] if part.is_error else part.parts
    output: object = _contents(parts, lost)
    if "output" not in part.extras and all(map(_bare, parts)):
        output = f"Error: {part.text}" if part.is_error else part.text
    return {"type": kind, **extras, "call_id": part.call_id, "output": output}


def _text(part: Text) -> object:
    return {"type": "input_text", "text": part.text, **part.extras}


def _media(part: Media) -> object:
    make = _MEDIA.get(part.kind)
    if make is None:
        message = f"{part.kind} cannot be sent to the upstream of this model"
        raise RequestError("unsupported", message, about=part)
    return {**part.extras, **make(part)}


def _image(part: Media) -> Extras:
    out: Extras = {"type": "input_image", "detail": part.detail or "auto"}
    return out | _place(part, "image_url", "image_url", "image/png")


def _file(part: Media) -> Extras:
    out: Extras = {"type": "input_file"}
    if part.name is not None:
        out["filename"] = part.name
    return out | _place(part, "file_data", "file_url", "application/pdf")


def _place(part: Media, data: str, url: str, mime: str) -> Extras:
    """Where the bytes are."""
    if part.data is not None:
        said = right_type(part.data, part.mime) or mime
        return {data: f"data:{said};base64,{part.data}"}
    return {url: part.url} if part.url is not None else {"file_id": part.file_id}


def _audio(part: Media) -> Extras:
    if part.data is None:
        message = "audio by URL cannot be sent to this upstream"
        raise RequestError("unsupported", message, about=part)
    form = sound_format(part.mime or "audio/wav")
    return {"type": "input_audio", "input_audio": {"data": part.data, "format": form}}


_MEDIA: dict[str, Callable[[Media], Extras]] = {"image": _image, "file": _file, "audio": _audio}


def _opaque(part: Opaque) -> object:
    """What only this API knows; not a reference to what it does not hold."""
    return part.raw if part.dialect == NAME and part.kind != "item_reference" else None


# ---- turns of the assistant ----


def _assistant(turn: Message, lost: list[str]) -> list[object]:
    """The items of a turn; neighbouring texts of one item stay together."""
    out: list[object] = []
    item: object = None  # what the open message said of itself
    for part in turn.parts:
        if isinstance(part, Text | Refusal):
            if not part.text and turn.dialect != NAME:
                continue
            said = part.extras.get("item") if isinstance(part, Text) else item
            if out and item is not None and said is item:
                out[-1]["content"].append(_said(part))  # type: ignore[index]
            else:
                out.append(_message(part, said))
                item = said
            continue
        item = None
        made = _ITEMS[type(part)](part) if type(part) in _ITEMS else None
        if made is not None:
            out.append(made)
        elif isinstance(part, Opaque) or not isinstance(part, Reasoning):
            lost.append(part.kind if isinstance(part, Opaque | Media) else "content")
    return out


def _message(part: Text | Refusal, item: object) -> Extras:
    known = item if isinstance(item, dict) else {}
    extras = {n: v for n, v in known.items() if n not in ("content", "id")}
    if isinstance(part, Text) and "phase" in part.extras:
        extras["phase"] = part.extras["phase"]
    return {"type": "message", **extras, "role": "assistant", "content": [_said(part)]}


def _said(part: Text | Refusal) -> Extras:
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    gone = ("item", "phase", "logprobs")
    extras = {name: value for name, value in part.extras.items() if name not in gone}
    return {"type": "output_text", "annotations": [], **extras, "text": part.text}


def _reasoning(part: Reasoning) -> object:
    if part.origin != NAME or not part.encrypted:
        return None
    summary = part.summary if part.summary is not None else [part.text] if part.text else []
    out: Extras = {"type": "reasoning"}
    if part.id:
        out["id"] = part.id
    out["summary"] = [{"type": "summary_text", "text": text} for text in summary]
    content = part.extras.get("content")
    if isinstance(content, list):
        out["content"] = [{"type": "reasoning_text", "text": text} for text in content]
    return {**out, "encrypted_content": part.encrypted}


def _call(part: ToolCall) -> object:
    gone = ("id", "status")
    extras = {name: value for name, value in part.extras.items() if name not in gone}
    space, name = extras.get("namespace"), part.name
    if isinstance(space, str):
        name = name.removeprefix(f"{space}__")
    out = {**extras, "call_id": part.id, "name": name}
    if part.kind == "custom":
        return {"type": "custom_tool_call", **out, "input": part.args}
    return {"type": "function_call", **out, "arguments": part.args or "{}"}


_CONTENTS: dict[type, Callable[[Any], object]] = {
    Text: _text,
    Media: _media,
    Opaque: _opaque,
    Refusal: lambda part: {"type": "input_text", "text": part.text},
}
_ITEMS: dict[type, Callable[[Any], object]] = {
    Reasoning: _reasoning,
    ToolCall: _call,
    Opaque: _opaque,
    Media: sent_back,
}
