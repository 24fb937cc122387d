"""What a scripted upstream hears and says, whatever its dialect."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

Body = dict[str, Any]
INPUT, OUTPUT = 10, 5  # tokens of every answer


@dataclass(frozen=True)
class Say:
    """One answer.

    calls    (name, arguments)
    thought  what stands before it; it is sealed where the dialect seals thoughts
    cut      the connection breaks off behind the text
    silent   nothing comes at all, until the gateway leaves
    endless  the text never ends
    read     tokens of the prompt; of 0 Chat Completions say nothing
    """

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    status: int = 200
    cut: bool = False
    finish: str = ""
    thought: str = ""
    silent: bool = False
    endless: bool = False
    read: int = INPUT

    @property
    def reason(self) -> str:
        return self.finish or ("tool_calls" if self.calls else "stop")

    @property
    def pieces(self) -> list[str]:
        return [self.text[at : at + 7] for at in range(0, len(self.text), 7)]

    def ids(self, number: int) -> list[str]:
        """Ids of its calls; number: of the request it answers."""
        return [f"call_{number}_{at}" for at in range(len(self.calls))]

    def numbered(self, number: int) -> Iterator[tuple[str, str, Any]]:
        """Its calls as (id, name, arguments)."""
        for ident, (name, args) in zip(self.ids(number), self.calls, strict=True):
            yield ident, name, args


@dataclass
class Turn:
    """What an assistant's turn brings back. calls: (id, name); seals: of its thoughts."""

    calls: list[tuple[str, str]] = field(default_factory=list)
    seals: list[str] = field(default_factory=list)


@dataclass
class Heard:
    """A request.

    offered    names of tools; forbidden: none may be called
    results    what came of the calls so far, in order
    """

    body: Body
    stream: bool = False
    offered: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    forbidden: bool = False

    @property
    def may_call(self) -> bool:
        return bool(self.offered) and not self.forbidden


Script = Callable[[Heard], Say]


class Refused(Exception):
    """What the real service answers 400 to."""


class Tongue(Protocol):
    """A dialect, as an upstream speaks it. n: the number of the request that is answered.

    ROUTE   lines of a route to it, `%URL%` for its address
    PATH    a regular expression
    """

    ROUTE: str
    PATH: str

    def hear(self, body: Body, path: str) -> Heard: ...
    def frames(self, say: Say, n: int) -> Iterator[str]: ...
    def whole(self, say: Say, n: int) -> Body | str: ...
    def refusal(self, status: int) -> Body: ...


def seal(n: int) -> str:
    """What the thought of an answer is sealed with."""
    return f"c2VhbC1v{n:08d}"  # base64, as all seals are


def owe(owed: list[str], ident: str) -> None:
    """A result has come; Refused if there is no call for it."""
    if ident not in owed:
        raise Refused(f"a result without a call: {ident}")
    owed.remove(ident)


def none_owed(owed: list[str]) -> None:
    if owed:
        raise Refused(f"calls without results: {owed}")


def sse(value: object, event: str = "") -> str:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(value)}\n\n"
