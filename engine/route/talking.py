"""Conversations over a websocket, compiled: what a route says, and when.

A TalkPlan belongs to a route; called with the variables of an attempt it gives that attempt's
Talking, the `Talk` of `engine/ports.py`. It does no network and knows no clock.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engine.errors import ExchangeError
from engine.options import OMIT, Env, Selector, Template, Tree
from engine.wire import HttpResponse, JsonError, SocketMessage, dumps, loads

from .classify import Classifier
from .http_spec import StepSpec
from .mentions import mentioned
from .render import Plan, text
from .spec import AnswerSpec, SendSpec, WebsocketSpec
from .taking import Takes, compile_takes, taken
from .values import Step

UPGRADED = 101


@dataclass(frozen=True, slots=True)
class Part:
    """A message of ours. fits: what it waits for or answers; None: it is said without."""

    fits: Callable[[object], bool] | None
    take: Takes
    make: Callable[[Env], bytes | None]
    text: bool

    def made(self, env: Env) -> list[SocketMessage]:
        """The message; [] where its template gives nothing."""
        data = self.make(env)
        return [] if data is None else [SocketMessage(data, self.text)]


@dataclass(frozen=True, slots=True)
class TalkPlan:
    """What a route says on its websocket. limit, ping: see `Talk`."""

    spec: WebsocketSpec
    send: tuple[Part, ...]
    reply: tuple[Part, ...]
    limit: int
    ping: float | None
    classifier: Classifier

    def __call__(self, env: Env) -> Talking:
        return Talking(self, env)

    def told(self, env: Env) -> Iterator[str]:
        """What is said later than at the beginning, in words.

        A message that reads what the upstream has said is shown as the route has it.
        """
        waits = False
        for part, made in zip(self.spec.send, self.send, strict=True):
            waits = waits or part.after is not None
            if waits:
                when = "then" if part.after is None else f"after {_shown(part.after)}"
                yield f"{when}: {_message(part, made, env)}"
        for answer, made in zip(self.spec.reply, self.reply, strict=True):
            yield f"to any {_shown(answer.match)}: {_message(answer, made, env)}"


class Talking:
    """One conversation: a message that waits holds back those below it."""

    def __init__(self, plan: TalkPlan, env: Env) -> None:
        self.limit, self.ping = plan.limit, plan.ping
        self._plan, self._env = plan, env
        self._waiting = list(plan.send)
        self._opening = self._said()

    def begin(self) -> list[SocketMessage]:
        return self._opening

    def _said(self) -> list[SocketMessage]:
        """The next messages, up to the first that waits."""
        out: list[SocketMessage] = []
        while self._waiting and self._waiting[0].fits is None:
            out += self._waiting.pop(0).made(self._env)
        return out

    def hear(self, message: SocketMessage) -> list[SocketMessage]:
        if not self._waiting and not self._plan.reply:
            return []
        try:
            value = loads(message.data)
        except JsonError:
            value = message.data.decode("utf-8", "replace")
        if self._waiting and _fits(self._waiting[0], value):
            return self._answered(self._waiting.pop(0), message, value) + self._said()
        part = next((part for part in self._plan.reply if _fits(part, value)), None)
        return [] if part is None else self._answered(part, message, value)

    def _answered(self, part: Part, message: SocketMessage, value: object) -> list[SocketMessage]:
        heard = HttpResponse(UPGRADED, (), message.data)
        found = taken(part.take, heard, self._env, "take", "the upstream's message")
        return part.made({**self._env, "data": value, "take": found})

    def closed(self, code: int, reason: str) -> ExchangeError | None:
        now = self._env.get("_now")
        seconds = now if isinstance(now, float) else 0.0
        found = self._plan.classifier.closed(code, reason, self._env, seconds)
        return None if found is None else found.error()


def _fits(part: Part, value: object) -> bool:
    return part.fits is not None and part.fits(value)


def compile_talk(
    spec: WebsocketSpec,
    steps: Callable[[StepSpec], Step],
    classifier: Classifier,
    limit: int,
) -> TalkPlan:
    """steps compiles one step of `take`; limit: bytes of the largest message."""

    def part(each: SendSpec | AnswerSpec) -> Part:
        heard = each.after if isinstance(each, SendSpec) else each.match
        return Part(
            fits=heard.test if heard is not None else None,
            take=compile_takes(each.take, steps),
            make=_maker(each.json, each.text),
            text=not each.binary,
        )

    return TalkPlan(
        spec=spec,
        send=tuple(map(part, spec.send)),
        reply=tuple(map(part, spec.reply)),
        limit=limit,
        ping=float(spec.ping) if spec.ping is not None else None,
        classifier=classifier,
    )


def _maker(tree: Tree | None, words: Template | None) -> Callable[[Env], bytes | None]:
    if tree is not None:
        return _unless_omitted(tree.render, dumps)
    assert words is not None
    return _unless_omitted(words.render, lambda value: text(value).encode())


def _unless_omitted(
    render: Callable[[Env], object], write: Callable[[object], bytes]
) -> Callable[[Env], bytes | None]:
    def make(env: Env) -> bytes | None:
        value = render(env)
        return None if value is OMIT else write(value)

    return make


def socket_plan(plan: Plan) -> Plan:
    """The plan of the request that opens a websocket: a GET to `ws` or `wss`."""
    url = plan.url
    return dataclasses.replace(plan, method="GET", url=lambda env: _ws(url(env)))


def _ws(url: str) -> str:
    return f"ws{url.removeprefix('http')}" if url.startswith("http") else url


# ---- shown by `explain` ----


def _shown(selector: Selector) -> str:
    return dumps(selector.source).decode()


def _message(part: SendSpec | AnswerSpec, made: Part, env: Env) -> str:
    mentions = {name.partition(".")[0] for name in mentioned(part)}
    if not mentions & {"data", "take"}:
        return "".join(each.data.decode("utf-8", "replace") for each in made.made(env))
    if part.text is not None:
        return part.text.source
    assert part.json is not None
    return dumps(_plain(part.json.source)).decode()


def _plain(value: object) -> object:
    """A tree as it was written: its leaves are nodes of the file."""
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_plain(child) for child in value]
    return getattr(value, "value", value)
