"""What templates see of a request: plain values under the closed set of `req` names.

Only the names a route's templates mention are computed. What the client did not send is absent,
which makes it undefined in templates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from engine.chat import ChatRequest, Message, Text, media_parts
from engine.wire import Headers, dumps

_ABSENT = object()


class Asked:
    """One client request, as an exchange carries it.

    id       the request's id in logs and headers
    stream   whether the client wants a stream
    client   a digest of the client key, "" without one
    headers  the client's headers
    chat     the conversation, parsed when it is first asked for (passthrough never asks)
    """

    __slots__ = ("_parse", "chat", "client", "headers", "id", "stream")
    chat: ChatRequest

    def __init__(
        self,
        id: str,
        parse: Callable[[], ChatRequest],
        stream: bool,
        headers: Headers | None = None,
        client: str = "",
    ) -> None:
        self.id = id
        self.stream = stream
        self.client = client
        self.headers = headers or Headers()
        self._parse = parse

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> ChatRequest:
            """`chat`, until it is there: from then on reading it costs nothing."""
            if name != "chat":
                raise AttributeError(name)
            self.chat = chat = self._parse()
            self._parse = self._gone  # with it goes the client's body
            return chat

    def release(self) -> None:
        """Nobody will parse any more: the client's body may go."""
        self._parse = self._gone

    def _gone(self) -> ChatRequest:
        raise LookupError("the request's body was released")

    def with_chat(self, chat: ChatRequest, *, stream: bool | None = None) -> Asked:
        """The same request about another conversation."""
        asked = self.stream if stream is None else stream
        return Asked(self.id, lambda: chat, asked, self.headers, self.client)


def prompt_of(messages: list[Message]) -> str:
    """Text of the last user message, "" if there is none."""
    return next((m.text for m in reversed(messages) if m.role == "user"), "")


def system_of(messages: list[Message]) -> str:
    """Text of all system and developer messages, joined by blank lines."""
    return "\n\n".join(m.text for m in messages if m.role in ("system", "developer"))


def media_of(messages: list[Message]) -> set[str]:
    """The kinds of media in it, those in results of tools too."""
    return {part.kind for part in media_parts(messages)}


def _system(asked: Asked) -> object:
    found = [m for m in asked.chat.messages if m.role in ("system", "developer")]
    return found or _ABSENT


def _or_absent(value: object) -> object:
    return value if value else _ABSENT


def _given(value: object) -> object:
    return _ABSENT if value is None else value


def _reasoning(asked: Asked) -> object:
    think = asked.chat.think
    if think.effort in (None, "none") and think.budget is None and think.mode in (None, "off"):
        return _ABSENT
    return {"effort": think.effort, "budget": think.budget, "mode": think.mode}


def _reasoning_off(asked: Asked) -> object:
    think = asked.chat.think
    return _or_absent(think.effort == "none" or think.mode == "off")


def _format(asked: Asked) -> object:
    out = asked.chat.out
    if out.format is None:
        return _ABSENT
    return {"type": out.format, "schema": out.schema, "name": out.schema_name, "strict": out.strict}


FIELDS: dict[str, Callable[[Asked], object]] = {
    "id": lambda a: a.id,
    "model": lambda a: a.chat.model,
    "messages": lambda a: a.chat.messages,
    "system": _system,
    "system_text": lambda a: _or_absent(system_of(a.chat.messages)),
    "prompt": lambda a: prompt_of(a.chat.messages),
    "stream": lambda a: a.stream,
    "temperature": lambda a: _given(a.chat.sampling.temperature),
    "top_p": lambda a: _given(a.chat.sampling.top_p),
    "max_tokens": lambda a: _given(a.chat.out.max_tokens),
    "stop": lambda a: _or_absent(a.chat.out.stop),
    "tools": lambda a: _or_absent(a.chat.tools),
    "tool_choice": lambda a: _given(a.chat.tool_choice),
    "response_format": _format,
    "reasoning": _reasoning,
    "reasoning_off": _reasoning_off,
    "seed": lambda a: _given(a.chat.sampling.seed),
    "n": lambda a: a.chat.out.n,
    "user": lambda a: _or_absent(a.chat.user),
    "session_id": lambda a: _or_absent(a.chat.extras.get("session_id")),
    "metadata": lambda a: _given(a.chat.metadata),
    "media": lambda a: _or_absent(sorted(media_of(a.chat.messages))),
    "extra": lambda a: a.chat.extras,
}


def view(asked: Asked, names: Iterable[str]) -> dict[str, object]:
    """The `req` of templates, with these names only."""
    found: dict[str, object] = {}
    for name in names:
        value = FIELDS[name](asked)
        if value is not _ABSENT:
            found[name] = value
    return found


def fingerprint(chat: ChatRequest) -> str:
    """Text that stays the same over a conversation: model, system and the first user turn."""
    first = next((m for m in chat.messages if m.role == "user"), None)
    parts = [chat.model, system_of(chat.messages)]
    if first is not None:
        parts += [part.text if isinstance(part, Text) else repr(part) for part in first.parts]
    return dumps(parts).decode()
