"""Calls of the engine's tools that a model made beside those of its client's, and their results.

The client sees only its own calls, and comes back with their results alone. What was called beside
them is run and kept under the id of the first of the client's, for one client key and one
conversation; in the next request calls and results stand where the model made them. So the upstream
gets back the turn that it gave, with all of its calls answered.

It lives in the shared store, for an hour, at most so many for each client key, none larger than
`LARGEST`. What is not there any more is left out, as if it had not been called.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from engine.chat import ChatRequest, Media, Message, Part, Text, ToolCall, ToolResult
from engine.dialects.answered import in_place
from engine.ports import Ports, StoreError
from engine.route.view import Asked
from engine.wire import JsonError, dumps, loads

from .recall import digest_of, key_of, place_of

TTL = 3600.0  # seconds
MOST = 200  # kept for one client key
LARGEST = 2 * 1024 * 1024  # bytes of one turn's calls and results
LOOKED_UP = 32  # newest turns of a conversation that are looked for


@dataclass(slots=True)
class Run:
    """What was run beside a turn. calls: each with the number of the client's before it."""

    calls: list[tuple[int, ToolCall]]
    results: list[ToolResult]

    def into(self, turn: Message, after: list[Message]) -> list[Message]:
        """The client's turn with the calls in place and all results behind it, in their order.

        after: what follows up to the next turn of the assistant
        """
        parts, count = list[Part](), 0
        for part in turn.parts:
            if isinstance(part, ToolCall):
                parts += [call for before, call in self.calls if before == 0 == count]
                count += 1
                parts += [part, *(call for before, call in self.calls if before == count)]
            else:
                parts.append(part)
        return in_place([replace(turn, parts=parts), Message("tool", [*self.results]), *after])


class Beside:
    """Keeps and finds."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def keep(self, asked: Asked, parts: list[Part], results: list[ToolResult]) -> bool:
        """Keep what was run beside the client's calls. parts: the turn as the model made it.

        False where it could not be kept.
        """
        own, theirs, calls = {result.call_id for result in results}, list[ToolCall](), []
        for call in (part for part in parts if isinstance(part, ToolCall)):
            if call.id in own:
                calls.append([len(theirs), _plain(call)])
            else:
                theirs.append(call)
        if not theirs:
            return False
        told = [{**_plain(result), "parts": list(map(_told, result.parts))} for result in results]
        value = dumps({"args": digest_of(theirs[0]), "calls": calls, "results": told})
        return len(value) <= LARGEST and await self._write(_key(asked, theirs[0]), value)

    async def forget(self, asked: Asked, parts: list[Part]) -> None:
        """Nothing was run beside these calls. Some upstreams give the same ids again, and what was
        kept under one of them is of another conversation."""
        call = _first(Message("assistant", parts))
        if call is None:
            return
        try:
            await self._ports.store.delete(_key(asked, call))
        except StoreError:
            self._ports.observer.saw("store_error", store="beside")

    async def restore(self, asked: Asked) -> ChatRequest:
        """The conversation with what was run beside its turns."""
        chat, found = asked.chat, dict[int, Run]()
        called = [(at, call) for at, turn in enumerate(chat.messages) if (call := _first(turn))]
        for at, call in called[-LOOKED_UP:]:
            run = await self._read(_key(asked, call), call)
            if run is not None:
                found[at] = run
        if not found:
            return chat
        begins = [at for at, turn in enumerate(chat.messages) if turn.role == "assistant"]
        messages = chat.messages[: begins[0]]
        for at, end in pairwise([*begins, len(chat.messages)]):
            turn, after = chat.messages[at], chat.messages[at + 1 : end]
            messages += found[at].into(turn, after) if at in found else [turn, *after]
        return replace(chat, messages=messages)

    async def _write(self, key: str, value: bytes) -> bool:
        try:
            await self._ports.store.put(key, value, TTL)
            await self._ports.store.trim(key.rpartition("/")[0] + "/", MOST)
        except StoreError:
            self._ports.observer.saw("store_error", store="beside")
            return False
        return True

    async def _read(self, key: str, call: ToolCall) -> Run | None:
        try:
            raw = await self._ports.store.get(key)
            kept: Any = loads(raw) if raw is not None else None
            if kept is None or kept["args"] != digest_of(call):
                return None
            calls = [(before, ToolCall(**made)) for before, made in kept["calls"]]
            results = [
                ToolResult(**{**made, "parts": [_part(told) for told in made["parts"]]})
                for made in kept["results"]
            ]
        except (StoreError, JsonError, KeyError, TypeError, ValueError):  # unreadable, too
            self._ports.observer.saw("store_error", store="beside")
            return None
        return Run(calls, results)


def _key(asked: Asked, call: ToolCall) -> str:
    return "beside/" + key_of(place_of(asked), call).partition("/")[2]


def _first(turn: Message) -> ToolCall | None:
    if turn.role != "assistant":
        return None
    return next((part for part in turn.parts if isinstance(part, ToolCall)), None)


def _plain(part: ToolCall | ToolResult) -> dict[str, object]:
    return asdict(part)


def _told(part: Part) -> dict[str, object]:
    """A part of a result, which is text or media."""
    assert isinstance(part, Text | Media)
    return asdict(part)


def _part(told: dict[str, Any]) -> Part:
    return Media(**told) if "kind" in told else Text(told["text"])
