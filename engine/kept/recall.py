"""The thinking that the engine itself has handed on, kept to be put back into later requests.

Many clients do not send an assistant's thinking back. Some upstreams refuse a conversation without
it, others lose the thread. What was thought before a tool call is kept under the call's id, for one
client key and one conversation; a call that was changed since is not taken for the same.

It lives in the shared store: for an hour, at most so many calls for each client key, none larger
than `LARGEST`. A store that fails is counted, and the request goes on without.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from engine.chat import ChatRequest, Message, Part, Reasoning, ToolCall
from engine.events import (
    ArgsDelta,
    Event,
    Folder,
    Open,
    ReasoningDelta,
    SignatureDelta,
)
from engine.ports import Ports, StoreError
from engine.route.view import Asked, fingerprint
from engine.wire import JsonError, dumps, loads

TTL = 3600.0  # seconds
MOST = 500  # calls kept for one client key
LARGEST = 64 * 1024  # bytes of one call's thinking
LOOKED_UP = 64  # newest calls of a conversation that are looked for
_HEADERS = ("x-session-id", "session-id", "session_id", "conversation_id",
            "x-claude-code-session-id")  # fmt: skip
_KEPT = (Open, ReasoningDelta, SignatureDelta, ArgsDelta)


class Keeper:
    """Folds the thinking and the calls of one answer, not its text."""

    def __init__(self) -> None:
        self._folder = Folder()
        self._blocks: set[int] = set()

    def feed(self, events: list[Event]) -> None:
        kept: list[Event] = []
        for event in events:
            if type(event) in _KEPT:
                if isinstance(event, Open):
                    if not isinstance(event.part, Reasoning | ToolCall):
                        continue
                    self._blocks.add(event.block)
                if event.block in self._blocks:  # type: ignore[union-attr]
                    kept.append(event)
        if kept:
            self._folder.feed(kept)

    def parts(self) -> list[Part]:
        return self._folder.done().parts


@dataclass(slots=True)
class Recalled:
    """What was found for one request: thinking by the id of the call it led to."""

    keys: dict[str, str] = field(default_factory=dict)
    thoughts: dict[str, list[Reasoning]] = field(default_factory=dict)

    @property
    def texts(self) -> dict[str, str]:
        """For transforms: the words alone."""
        found = {
            ident: "".join(thought.text for thought in thoughts)
            for ident, thoughts in self.thoughts.items()
        }
        return {ident: text for ident, text in found.items() if text}

    def restore(self, chat: ChatRequest, origin: str) -> ChatRequest:
        """The conversation with the signed thinking of this origin back at the head of its turns.

        Words without a signature are not put back: whether they are wanted, a transform knows.
        """
        messages = [self._turn(message, origin) for message in chat.messages]
        return chat if messages == chat.messages else replace(chat, messages=messages)

    def _turn(self, message: Message, origin: str) -> Message:
        if not _lacks_thought(message):
            return message
        for part in message.parts:
            thoughts = self.thoughts.get(part.id, []) if isinstance(part, ToolCall) else []
            signed = [t for t in thoughts if t.origin == origin and _is_signed(t)]
            if signed:
                return replace(message, parts=[*signed, *message.parts])
        return message


class Recall:
    """Keeps and finds."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports

    async def find(self, asked: Asked) -> Recalled:
        """The thinking that is missing in a conversation, as far as it is known."""
        found = Recalled()
        calls = [part for message in asked.chat.messages if _lacks_thought(message)
                 for part in message.parts if isinstance(part, ToolCall)]  # fmt: skip
        if not calls:
            return found
        place = place_of(asked)
        for call in calls[-LOOKED_UP:]:
            key = key_of(place, call)
            thoughts = await self._read(key, call)
            if thoughts:
                found.keys[call.id], found.thoughts[call.id] = key, thoughts
        return found

    async def keep(self, asked: Asked, parts: list[Part], origin: str) -> None:
        """Keep what was thought before each call of an answer that was delivered."""
        thoughts: list[Reasoning] = []
        place = place_of(asked)
        for part in parts:
            if isinstance(part, Reasoning):
                thoughts.append(replace(part, origin=part.origin or origin))
            elif isinstance(part, ToolCall) and thoughts:
                await self._write(key_of(place, part), part, thoughts)

    async def forget(self, found: Recalled) -> None:
        """The upstream did not like what was put back."""
        for key in found.keys.values():
            try:
                await self.ports.store.delete(key)
            except StoreError:
                self.ports.observer.saw("store_error", store="recall")

    async def _read(self, key: str, call: ToolCall) -> list[Reasoning]:
        try:
            raw = await self.ports.store.get(key)
            kept: Any = loads(raw) if raw is not None else None
            if kept is None or kept["args"] != digest_of(call):
                return []
            return [Reasoning(**thought) for thought in kept["thoughts"]]
        except (StoreError, JsonError, KeyError, TypeError):  # unreadable, too
            self.ports.observer.saw("store_error", store="recall")
            return []

    async def _write(self, key: str, call: ToolCall, thoughts: list[Reasoning]) -> None:
        value = dumps({"args": digest_of(call), "thoughts": [_plain(t) for t in thoughts]})
        if len(value) > LARGEST:
            return
        try:
            await self.ports.store.put(key, value, TTL)
            await self.ports.store.trim(key.rpartition("/")[0] + "/", MOST)
        except StoreError:
            self.ports.observer.saw("store_error", store="recall")


def _lacks_thought(message: Message) -> bool:
    if message.role != "assistant":
        return False
    thoughts = (part for part in message.parts if isinstance(part, Reasoning))
    return not any(part.text.strip() or _is_signed(part) for part in thoughts)


def _is_signed(part: Reasoning) -> bool:
    return bool(part.signature) or part.encrypted is not None


def _plain(part: Reasoning) -> dict[str, object]:
    found: dict[str, object] = {"text": part.text, "origin": part.origin}
    for name in ("signature", "encrypted", "id", "summary"):
        value = getattr(part, name)
        if value is not None:
            found[name] = value
    return found


def place_of(asked: Asked) -> str:
    """Where a conversation's thinking is kept: one client key, one conversation."""
    chat = asked.chat
    named = next((found for name in _HEADERS if (found := asked.headers.get(name))), "")
    cache_key = chat.extras.get("prompt_cache_key")
    name = named or (cache_key if isinstance(cache_key, str) else "") or fingerprint(chat)
    return f"recall/{asked.client}/{_digest(name)}"


def key_of(place: str, call: ToolCall) -> str:
    head, _, conversation = place.rpartition("/")
    return f"{head}/{_digest(conversation, call.id, call.name)}"


def _digest(*parts: str) -> str:
    return hashlib.sha256(dumps(parts)).hexdigest()[:32]


def digest_of(call: ToolCall) -> str:
    """A digest of the arguments that does not see how their JSON is written."""
    try:
        value = loads(call.args) if call.args.strip() else {}
    except JsonError:
        value = call.args
    return _digest(dumps(_sorted(value)).decode())


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
