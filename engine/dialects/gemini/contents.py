"""`contents` of a request -> messages.

A signature that stands on a text or a call becomes a Reasoning of its own before it, as every other
dialect knows it; `turns.py` puts it back. Calls need an id to meet their results elsewhere: one
that came without gets one by its place in the conversation, and results that name no call take the
calls of their name in order. What was added so is noted in `extras` (`id`: None), and goes again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from engine.chat import (
    Extras,
    Media,
    Message,
    Opaque,
    Part,
    Reasoning,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from engine.dialects.reading import NAMES, mismatch, need, take
from engine.errors import RequestError
from engine.wire import dumps

from .names import NAME, spelled
from .signatures import signed, standard

_ROLES: dict[object, Role] = {
    None: "user", "": "user", "user": "user", "model": "assistant", "function": "user"
}  # fmt: skip
_FILES = ("https://generativelanguage.googleapis.com/", "gs://")  # nobody else can read these


@dataclass(slots=True)
class _Calls:
    """The calls of the conversation so far. waiting: ids not yet answered, by function name."""

    known: set[str] = field(default_factory=set)
    waiting: dict[str, list[str]] = field(default_factory=dict)

    def begin(self, call: ToolCall) -> None:
        if not call.id:
            call.id = self._made()
            call.extras["id"] = None
        self.known.add(call.id)
        self.waiting.setdefault(call.name, []).append(call.id)

    def end(self, result: ToolResult) -> None:
        waiting = self.waiting.get(result.name or "", [])
        if not result.call_id:
            result.call_id = waiting[0] if waiting else self._made()
            result.extras["id"] = None
        if result.call_id in waiting:
            waiting.remove(result.call_id)

    def _made(self) -> str:
        number = len(self.known)
        while f"call_{number}" in self.known:
            number += 1
        return f"call_{number}"


def read_contents(rest: Extras) -> list[Message]:
    items = need(rest, "contents", list)
    if not items:
        raise RequestError("bad_request", "contents: must not be empty", param="contents")
    calls = _Calls()
    return [_message(raw, f"contents[{at}]", calls) for at, raw in enumerate(items)]


def _message(raw: object, where: str, calls: _Calls) -> Message:
    rest = spelled(raw, where)
    where += "."
    given = rest.pop("role", None)
    role = _ROLES.get(given) if given is None or isinstance(given, str) else None
    if role is None:
        got = f"'{given[:40]}'" if isinstance(given, str) else NAMES[type(given)]
        raise mismatch(where + "role", "user or model", got)
    parts = _closed(parts_of(rest, where))
    for part in parts:
        if isinstance(part, ToolCall):
            calls.begin(part)
        elif isinstance(part, ToolResult):
            calls.end(part)
    if role == "user" and parts and all(isinstance(part, ToolResult) for part in parts):
        role = "tool"
    return Message(role, parts, extras=rest, dialect=NAME)


def _closed(parts: list[Part]) -> list[Part]:
    """The parts, a signature of another provider together with the thoughts that it closes."""
    out: list[Part] = []
    for part in parts:
        if isinstance(part, Reasoning) and part.origin != NAME and not part.text:
            texts: list[str] = []
            while out and isinstance(last := out[-1], Reasoning) and not _bound(last):
                texts.insert(0, last.text)
                out.pop()
            part = replace(part, text="".join(texts))
        out.append(part)
    return out


def _bound(part: Reasoning) -> bool:
    return bool(part.signature or part.encrypted)


def parts_of(rest: Extras, where: str) -> list[Part]:
    """Pop `parts` of a content."""
    items = take(rest, "parts", list, where) or []
    found: list[Part] = []
    for at, raw in enumerate(items):
        found += _part(spelled(raw, f"{where}parts[{at}]"), f"{where}parts[{at}].")
    return found


def _part(rest: Extras, where: str) -> list[Part]:
    signature = take(rest, "thoughtSignature", str, where)
    text = rest.get("text")
    if rest.get("thought") is True or (text == "" and signature is not None):
        return [_thought(rest, signature, where)]
    kind = next((name for name in _PARTS if name in rest), None)
    part = Opaque(NAME, next(iter(rest), "part"), rest)
    found: Part = part if kind is None else _PARTS[kind](rest, where)
    if signature is None:
        return [found]
    return [signed(signature, Reasoning()), found]


def _thought(rest: Extras, signature: str | None, where: str) -> Reasoning:
    """A thought. One without text keeps `text` in its extras: it is a part of its own."""
    text = take(rest, "text", str, where) or ""
    rest.pop("thought", None)
    thought = Reasoning(text, origin=NAME, extras=rest)
    if not text:
        thought.extras["text"] = ""
    return thought if signature is None else signed(signature, thought)


def _text(rest: Extras, where: str) -> Part:
    return Text(take(rest, "text", str, where) or "", extras=rest)


_Kind = Literal["image", "file", "audio", "video"]


def kind_of(mime: str) -> _Kind:
    """What kind of media a type is."""
    family = mime.partition("/")[0]
    return family if family in ("image", "audio", "video") else "file"  # type: ignore[return-value]


def _inline(rest: Extras, where: str) -> Part:
    inner = spelled(rest.pop("inlineData"), where + "inlineData")
    where += "inlineData."
    mime = need(inner, "mimeType", str, where)
    media = Media(kind_of(mime), mime, data=standard(need(inner, "data", str, where)))
    return _media(media, rest, inner, where, "inlineData")


def _file(rest: Extras, where: str) -> Part:
    inner = spelled(rest.pop("fileData"), where + "fileData")
    where += "fileData."
    mime, uri = take(inner, "mimeType", str, where), need(inner, "fileUri", str, where)
    media = Media(kind_of(mime or ""), mime)
    if uri.startswith("http") and not uri.startswith(_FILES):
        media.url = uri
    else:
        media.file_id = uri
    return _media(media, rest, inner, where, "fileData")


def _media(media: Media, rest: Extras, inner: Extras, where: str, holder: str) -> Media:
    media.name = take(inner, "displayName", str, where)
    if inner:
        rest[holder] = inner
    media.extras = rest
    return media


def _call(rest: Extras, where: str) -> Part:
    inner = spelled(rest.pop("functionCall"), where + "functionCall")
    where += "functionCall."
    name, given = need(inner, "name", str, where), take(inner, "args", dict, where)
    call = ToolCall(take(inner, "id", str, where) or "", name, dumps(given or {}).decode())
    call.extras = {**rest, "functionCall": inner} if inner else rest
    return call


def _result(rest: Extras, where: str) -> Part:
    inner = spelled(rest.pop("functionResponse"), where + "functionResponse")
    where += "functionResponse."
    result = ToolResult(take(inner, "id", str, where) or "")
    result.name = need(inner, "name", str, where)
    given = take(inner, "response", dict, where)
    text, result.is_error = response_text(given or {})
    result.parts = [Text(text)] if text else []
    result.parts += parts_of(inner, where)
    result.extras = {**rest, "response": given}
    if inner:
        result.extras["functionResponse"] = inner
    return result


def response_text(response: Extras) -> tuple[str, bool | None]:
    """A response as others know it: its text, and whether it tells of a failure."""
    if len(response) == 1:
        (name, value), *_ = response.items()
        if name in ("result", "output", "error"):
            text = value if isinstance(value, str) else dumps(value).decode()
            return text, name == "error" or None
    return dumps(response).decode() if response else "", None


_PARTS: dict[str, Callable[[Extras, str], Part]] = {
    "text": _text,
    "inlineData": _inline,
    "fileData": _file,
    "functionCall": _call,
    "functionResponse": _result,
}
