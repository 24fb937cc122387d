"""Messages of the model -> `systemInstruction` and `contents`, in the order this API demands.

Contents that came from this API stay as they are. Others are merged where one role follows itself;
all results of a step make one content of their own, in the order of the calls and with the names
of their functions, and what else the user says follows in the next. Media of a result follow there
too. Thoughts go along only if this API signed them; a signature stands on the part after it.
"""

from __future__ import annotations

from dataclasses import replace

from engine.chat import (
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
from engine.dialects.arguments import arguments
from engine.dialects.filetypes import right_type
from engine.dialects.foreign import native, settle_system
from engine.dialects.profile import PROFILE, Profile
from engine.errors import RequestError
from engine.wire import JsonError, loads

from .names import NAME
from .signatures import carried

_SYSTEM = ("system", "developer")
_OPENING = "(The conversation begins here.)"  # the first content must be the user's
_FILES = ("gs://", "https://generativelanguage.googleapis.com/", "https://www.youtube.com/")
# What Google lets stand for a signature that was lost.
SENTINEL = "skip_thought_signature_validator"


def split(items: list[Message], profile: Profile) -> tuple[list[Message], list[Message]]:
    """The system messages at the front, and the turns."""
    lifts = profile.later_system == "lift"
    found = settle_system(native(items, NAME), "lift" if lifts else "user")
    count = next((at for at, m in enumerate(found) if m.role not in _SYSTEM), len(found))
    return found[:count], found[count:]


def system(lead: list[Message]) -> Extras:
    """`systemInstruction`."""
    extras = {name: value for message in lead for name, value in message.extras.items()
              if message.dialect == NAME}  # fmt: skip
    parts = [made for message in lead for made in _written(message.parts, {}, [])]
    return {**extras, "parts": parts}


def contents(
    turns: list[Message], profile: Profile = PROFILE, dropped: list[str] | None = None
) -> list[Extras]:
    """`contents` of a request body. Parts that have no form here are named in `dropped`."""
    lost = [] if dropped is None else dropped
    names = {part.id: part.name for turn in turns for part in turn.parts
             if isinstance(part, ToolCall)}  # fmt: skip
    out: list[Extras] = []
    for turn in _arranged(turns):
        parts = _written(turn.parts, names, lost)
        if parts or turn.dialect == NAME:
            role = "model" if turn.role == "assistant" else "user"
            out.append({**turn.extras, "role": role, "parts": parts})
    if not out or (out[0]["role"] == "model" and turns[0].dialect != NAME):
        out.insert(0, {"role": "user", "parts": [{"text": _OPENING}]})
    return out


def _arranged(turns: list[Message]) -> list[Message]:
    """The turns with results apart and in order, roles alternating as far as they are foreign."""
    out: list[Message] = []
    for turn in turns:
        if turn.dialect == NAME:
            out.append(turn)
        elif turn.role == "assistant":
            _append(out, turn)
        else:
            results = [part for part in turn.parts if isinstance(part, ToolResult)]
            if results:
                _append(out, Message("tool", list(results)))
            rest: list[Part] = [media for result in results for media in result.parts
                                if isinstance(media, Media)]  # fmt: skip
            rest += [part for part in turn.parts if not isinstance(part, ToolResult)]
            if rest:
                _append(out, Message("user", rest))
    return [_ordered(turn, before) for turn, before in zip(out, [None, *out], strict=False)]


def _append(out: list[Message], turn: Message) -> None:
    """Add a foreign turn to the last one of its role. Results go before what follows them."""
    for back in (1, 2):
        if len(out) < back or out[-back].dialect == NAME:
            break
        last = out[-back]
        if last.role == turn.role:
            out[-back] = Message(turn.role, last.parts + turn.parts)
            return
        if turn.role != "tool" or last.role != "user":
            break
    out.append(Message(turn.role, turn.parts))


def _ordered(turn: Message, before: Message | None) -> Message:
    if turn.role != "tool" or turn.dialect == NAME or before is None:
        return turn
    calls = [part.id for part in before.parts if isinstance(part, ToolCall)]
    place = {call_id: at for at, call_id in enumerate(calls)}

    def rank(part: Part) -> int:
        return place.get(part.call_id, len(place)) if isinstance(part, ToolResult) else len(place)

    return replace(turn, parts=sorted(turn.parts, key=rank))


# ---- parts ----


def _written(parts: list[Part], names: dict[str, str], dropped: list[str]) -> list[Extras]:
    """Parts as they go out; a signature stands on the part that follows it."""
    out: list[Extras] = []
    signature: str | None = None
    for part in parts:
        if isinstance(part, Reasoning):
            if part.origin != NAME:
                continue
            if part.text or "text" in part.extras:
                out.append(_thought(part))
            else:
                signature = part.signature
            continue
        made = _part(part, names, dropped)
        if made is None:
            continue
        if signature is not None:
            made, signature = {**made, "thoughtSignature": signature}, None
        out.append(made)
    if signature is not None:
        out.append({"text": "", "thoughtSignature": signature})
    return out


def _thought(part: Reasoning) -> Extras:
    out = {**part.extras, "text": part.text}
    if part.text:
        out["thought"] = True
    sealed = carried(part)
    return {**out, "thoughtSignature": sealed} if sealed else out


def _part(part: Part, names: dict[str, str], dropped: list[str]) -> Extras | None:
    if isinstance(part, Text):
        return {**part.extras, "text": part.text} if part.text or part.extras else None
    if isinstance(part, Refusal):
        return {"text": part.text} if part.text else None
    if isinstance(part, Media):
        return _media(part)
    if isinstance(part, ToolCall):
        return _call(part)
    if isinstance(part, ToolResult):
        return _result(part, names)
    if isinstance(part, Opaque):
        if part.dialect == NAME and isinstance(part.raw, dict):
            return part.raw
        dropped.append(part.kind)
    return None


def _media(part: Media) -> Extras:
    holder = "inlineData" if part.data is not None else "fileData"
    inner = _inline(part) if part.data is not None else _pointer(part)
    if part.name is not None and part.extras:
        inner["displayName"] = part.name
    more = part.extras.get(holder)
    inner = {**inner, **more} if isinstance(more, dict) else inner
    return {**part.extras, holder: inner}


def _inline(part: Media) -> Extras:
    mime = right_type(part.data or "", part.mime)
    if mime is None:
        message = f"{part.kind}: it does not say its type"
        raise RequestError("unsupported", message, about=part)
    return {"mimeType": mime, "data": part.data}


def by_url(part: Media) -> bool:
    """Whether the API reads from this URL itself."""
    return (part.url or "").startswith(_FILES)


def _pointer(part: Media) -> Extras:
    uri = part.file_id or part.url or ""
    if not part.file_id and not by_url(part):
        message = f"{part.kind} by URL cannot be sent to the upstream of this model"
        raise RequestError("unsupported", message, about=part)
    return {"mimeType": part.mime, "fileUri": uri} if part.mime else {"fileUri": uri}


def _call(part: ToolCall) -> Extras:
    inner: Extras = {"name": part.name, "args": arguments(part)}
    extras = dict(part.extras)
    if extras.pop("id", part.id) is not None:
        inner = {"id": part.id, **inner}
    more = extras.pop("functionCall", None)
    return {**extras, "functionCall": {**inner, **more} if isinstance(more, dict) else inner}


def _result(part: ToolResult, names: dict[str, str]) -> Extras:
    name = names.get(part.call_id) or part.name or part.call_id
    extras = dict(part.extras)
    sent = extras.pop("response", None)
    inner: Extras = {"name": name, "response": sent if isinstance(sent, dict) else response(part)}
    if extras.pop("id", part.call_id) is not None:
        inner = {"id": part.call_id, **inner}
    more = extras.pop("functionResponse", None)
    if "response" in part.extras:
        media = [_media(held) for held in part.parts if isinstance(held, Media)]
        if media:
            inner["parts"] = media
    return {**extras, "functionResponse": {**inner, **more} if isinstance(more, dict) else inner}


def response(part: ToolResult) -> Extras:
    """What a tool said, as an object: an object itself, or a text under `result` or `error`."""
    notes = [f"[{media.kind} attached]" for media in part.parts if isinstance(media, Media)]
    text = "\n".join(filter(None, [part.text, *notes]))
    if part.is_error:
        return {"error": text}
    try:
        value = loads(text) if text.startswith("{") else None
    except JsonError:
        value = None
    return value if isinstance(value, dict) else {"result": text}
