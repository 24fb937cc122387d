"""Names of tools and ids of calls as an upstream takes them, and back again.

A name or an id that the upstream would refuse is cut and gets eight hex digits of its own hash, so
that the same one is always changed into the same: in definitions, choice, history and results.
Names come back in the answer. Ids need not: an upstream makes its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from engine.chat import ChatRequest, Message, Part, ToolCall, ToolResult
from engine.events import Event, Open

from .profile import ToolProfile

_PLAIN = re.compile(r"[^a-zA-Z0-9_-]")
_HEX = 8
_ALNUM = "0123456789abcdefghijklmnopqrstuvwxyz"
_WORD = re.compile(r"[a-zA-Z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Rule:
    """What a whole name or id must match (None: anything), and its greatest length (0: any)."""

    pattern: re.Pattern[str] | None = None
    most: int = 0

    def fits(self, text: str) -> bool:
        if self.most and len(text) > self.most:
            return False
        return self.pattern is None or self.pattern.fullmatch(text) is not None

    def fit(self, text: str) -> str:
        """The text, or what stands for it: its beginning and its hash, else letters and digits."""
        if not text or self.fits(text):
            return text
        digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
        room = (self.most or 64) - _HEX - 1
        made = f"{_PLAIN.sub('_', text)[: max(0, room)]}_{digest.hex()[:_HEX]}"
        return made if self.fits(made) else _letters(digest, self.most or 9)


def _letters(digest: bytes, length: int) -> str:
    number, made = int.from_bytes(digest, "big"), ""
    for _ in range(length):
        number, digit = divmod(number, len(_ALNUM))
        made += _ALNUM[digit]
    return made


@dataclass(frozen=True, slots=True)
class Limits:
    """What a dialect demands of names and ids that come from another one."""

    names: Rule = Rule(_WORD, 64)
    ids: Rule = Rule(_WORD, 64)

    def over(self, profile: ToolProfile, *, foreign: bool) -> Limits:
        """These limits as far as they hold, and over them what a profile says."""
        base = self if foreign else Limits(Rule(), Rule())
        return Limits(
            _laid(base.names, profile.name_pattern, profile.name_max),
            _laid(base.ids, profile.id_pattern, profile.id_max),
        )


def _laid(rule: Rule, pattern: re.Pattern[str] | None, most: int | None) -> Rule:
    return Rule(pattern or rule.pattern, rule.most if most is None else most)


def fit_names(
    request: ChatRequest, limits: Limits
) -> tuple[ChatRequest, Callable[[Event], list[Event]] | None]:
    """The request with names and ids that fit, and what puts the client's names into its answer."""
    said, idents = _said(request)
    changed = {name: told for name in said if (told := limits.names.fit(name)) != name}
    ids = {ident: told for ident in idents if (told := limits.ids.fit(ident)) != ident}
    if not changed and not ids:
        return request, None
    request = replace(request, messages=[_turn(m, changed, ids) for m in request.messages])
    if not changed:
        return request, None
    tools = [
        replace(tool, name=changed[tool.name]) if _renamed(tool.kind, tool.name, changed) else tool
        for tool in request.tools
    ]
    choice = request.tool_choice
    if choice is not None and any(name in changed for name in choice.names):
        choice = replace(choice, names=[changed.get(n, n) for n in choice.names], raw=None)
    back = {told: name for name, told in changed.items()}
    return replace(request, tools=tools, tool_choice=choice), _restorer(back)


def _renamed(kind: str, name: str, changed: dict[str, str]) -> bool:
    return kind != "hosted" and name in changed


def _said(request: ChatRequest) -> tuple[set[str], set[str]]:
    """The names of tools and the ids of calls in a request."""
    names = {tool.name for tool in request.tools if tool.kind != "hosted"}
    ids: set[str] = set()
    for message in request.messages:
        for part in message.parts:
            if type(part) is ToolCall:
                names.add(part.name)
                ids.add(part.id)
            elif type(part) is ToolResult:
                ids.add(part.call_id)
                if part.name is not None:
                    names.add(part.name)
    return names, ids


def _turn(message: Message, names: dict[str, str], ids: dict[str, str]) -> Message:
    if not any(isinstance(part, ToolCall | ToolResult) for part in message.parts):
        return message
    return replace(message, parts=[_part(part, names, ids) for part in message.parts])


def _part(part: Part, names: dict[str, str], ids: dict[str, str]) -> Part:
    if isinstance(part, ToolCall):
        return replace(part, id=ids.get(part.id, part.id), name=names.get(part.name, part.name))
    if isinstance(part, ToolResult):
        name = names.get(part.name, part.name) if part.name is not None else None
        return replace(part, call_id=ids.get(part.call_id, part.call_id), name=name)
    return part


def _restorer(back: dict[str, str]) -> Callable[[Event], list[Event]]:
    def restore(event: Event) -> list[Event]:
        if isinstance(event, Open) and isinstance(event.part, ToolCall):
            name = back.get(event.part.name)
            if name is not None:
                return [Open(event.block, replace(event.part, name=name))]
        return [event]

    return restore
