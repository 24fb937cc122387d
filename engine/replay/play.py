"""Runs a route against a fixture in memory, and says what a client should have seen and did not.

Everything is real but the network, the clock and the store. Nothing here knows a socket; the
replay through sockets shares the judging (`engine/shell/testing.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from random import Random
from typing import Any

from engine.accounts.keyring import Keyring
from engine.chat import Message
from engine.dialects import DIALECTS, Dialect, Target
from engine.dialects.contract import hides
from engine.dialects.outcomes import UpstreamError, read_error
from engine.dialects.tokens import FACTOR, estimate, said
from engine.errors import ExchangeError, RequestError
from engine.events import (
    ErrorEvent,
    Event,
    Finish,
    Folder,
    Reply,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
    fold,
    tells,
)
from engine.exchange.asides import Asides
from engine.exchange.attempt import Call
from engine.exchange.loop import Exchange
from engine.kept.recall import Recall
from engine.kept.sessions import Sessions
from engine.options import Secret
from engine.parsers import PARSERS
from engine.ports import Clock, Observer, PassingTokens, Ports, Store, Upstream
from engine.route.book import make_book
from engine.route.route import Route
from engine.route.view import Asked
from engine.wire import Headers, JsonError, Record, loads

from .fixtures import ClientSpec, Fixture, Matcher
from .recorded import PlayedWeb, Recorded


@dataclass(slots=True)
class Seen:
    """What the client saw, and what the upstream was sent.

    reply    the answer as a client reads it; usage None: it was told none
    error    how the engine says it failed; class "" when only the client's words are known
    shown    the same in the client's words
    raw      all bytes
    """

    status: int = 0
    reply: Reply = field(default_factory=Reply)
    error: ExchangeError | None = None
    shown: UpstreamError | None = None
    raw: bytes = b""
    calls: int = 0
    complaints: list[str] = field(default_factory=list)


class Recorder:
    """The Sink of a replay: folds what the client would see, and keeps the encoded bytes."""

    def __init__(self, call: Call, model: str, seen: Seen) -> None:
        self.call = call
        self.seen = seen
        self.committed = False
        self.model = model
        self.chat = call.asked.chat
        self.restart()

    def tell(self, headers: dict[str, str]) -> None:
        """Nobody is told."""

    def restart(self) -> None:
        call, model = self.call, self.model
        self.encoder = call.dialect.encoder(call.asked.id, model, 0, call.wants_usage, self.chat)
        self.folder = Folder()
        self.passed: list[bytes] = []
        self.begun, self.seen.raw = False, b""

    def _encode(self, events: list[Event]) -> bytes:
        if not self.begun:
            self.begun = True
            events = [Start(self.call.asked.id), *events]
        return self.encoder.feed(events)

    def send(self, events: list[Event]) -> bool:
        self.committed = self.committed or (
            self.call.wants_stream and tells(events, hidden=hides(self.encoder))
        )
        self.folder.feed(events)
        if self.call.wants_stream:
            self.seen.raw += self._encode(events)
        return False

    def say(self, block: int, text: str) -> bool:
        return self.send([TextDelta(block, text)])

    async def drained(self) -> None:
        """Nobody is kept waiting."""

    def forward(self, data: bytes, content: bool) -> bool:
        self.passed.append(data)
        self.committed = self.committed or content
        return False

    async def whole(self, body: bytes) -> None:
        self._saw(read_answer(self.call.dialect, 200, body, stream=False))

    async def finish(self, finish: Finish, usage: Usage | None) -> None:
        self.folder.feed([finish])
        reply, call = self.folder.done(), self.call
        reply.usage = usage
        if usage is None and (call.wants_usage or not call.wants_stream):
            written = ceil(sum(map(said, reply.parts)) * FACTOR)
            reply.usage = Usage(estimate(self.chat), written, estimated=True)
        if call.wants_stream:
            counts: list[Event] = [UsageEvent(reply.usage)] if reply.usage else []
            self.seen.raw += self._encode([*counts, finish])
        else:
            try:
                body = call.dialect.reply(reply, call.asked.id, self.model, 0, self.chat)
            except ExchangeError as error:  # the dialect has no words for it
                await self.fail(error)
                return
            self.seen.raw = body
        self.seen.status, self.seen.reply = 200, reply

    async def end(self) -> None:
        raw = b"".join(self.passed)
        self._saw(read_answer(self.call.dialect, 200, raw, stream=True))

    async def fail(self, error: ExchangeError, frames: bytes = b"") -> None:
        seen, dialect = self.seen, self.call.dialect
        status, body = dialect.failure(error.cls, error.message, self.call.asked.id, error)
        seen.error, seen.shown = error, _error_in(body)
        if not self.committed:
            seen.status, seen.raw = status, body
            return
        event = ErrorEvent(error.cls, error.message, error.status, error.code, error.retry_after)
        if self.passed:
            self._saw(read_answer(dialect, 200, b"".join(self.passed), stream=True))
            seen.raw += frames or dialect.stream_failure(event)
        else:
            seen.reply = self.folder.done()
            seen.raw += self._encode([event])
        seen.status, seen.reply.error = 200, event

    def _saw(self, seen: Seen) -> None:
        self.seen.status, self.seen.reply, self.seen.raw = seen.status, seen.reply, seen.raw


def read_answer(
    dialect: Dialect, status: int, raw: bytes, *, stream: bool, framing: str = ""
) -> Seen:
    """What a client of the dialect makes of the bytes it got. framing: of its stream, if the
    dialect has several."""
    seen = Seen(status, raw=raw)
    if status >= 300:
        seen.shown = _error_in(raw)
    else:
        made = (dialect.stream_reader if stream else dialect.whole_reader)({}, str)
        records = _records(dialect, raw, framing) if stream else [Record("", raw, loads(raw))]
        events = [event for record in records for event in made.feed(record)]
        seen.reply = fold([*events, *made.finish()])
        failed = seen.reply.error
        if failed is not None:
            seen.shown = UpstreamError(failed.message, code=failed.code)
    if seen.shown is not None:
        seen.error = ExchangeError("", seen.shown.message)
    return seen


def _records(dialect: Dialect, raw: bytes, framing: str) -> Iterator[Record]:
    parser = PARSERS[framing or dialect.framing].make(None)
    for record in [*parser.feed(raw), *parser.finish()]:
        if record.data.decode() not in dialect.done:
            yield Record(record.event, record.data, loads(record.data))


def _error_in(body: bytes) -> UpstreamError:
    try:
        return read_error(loads(body)) or UpstreamError("no error is told")
    except JsonError:
        return UpstreamError("the answer is not JSON")


@dataclass(frozen=True, slots=True)
class World:
    """What a replay borrows from the shell."""

    store: Callable[[Clock], Store]
    observer: Observer


class PlayedAws:
    """The keys of AWS's own examples, whatever the machine holds."""

    async def keys(self) -> Mapping[str, Secret]:
        secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
        return {"access_key": Secret("AKIDEXAMPLE"), "secret_key": Secret(secret)}


def played_tokens(route: Route, fixture: Fixture) -> PassingTokens:
    """The logins that a fixture brings, in memory."""
    tokens = PassingTokens()
    for login in route.logins:
        kept = fixture.spec.tokens.get(login.account)
        if kept is not None:
            found = kept.render({})
            tokens.kept[login.place] = found if isinstance(found, dict) else {}
    return tokens


async def play(
    route: Route,
    fixture: Fixture,
    world: World,
    recorded: Recorded | None = None,
    reach: Callable[[Upstream], Upstream] = lambda it: it,
) -> list[Seen]:
    """Ask as the fixture's client does; one Seen for each time it asks.

    reach: what stands between the engine and the fixture, if something does
    """
    client = fixture.spec.client
    assert client is not None
    recorded = recorded or Recorded(fixture)
    clock = recorded.clock
    ports = Ports(
        reach(recorded),
        clock,
        world.store(clock),
        world.store(clock),
        world.observer,
        Random(fixture.spec.seed),
        PlayedAws(),
        tokens=played_tokens(route, fixture),
        web=PlayedWeb(recorded),
    )
    out = await ask(route, client, ports)
    out[-1].calls = recorded.calls
    out[-1].complaints = recorded.complaints()
    return out


async def ask(route: Route, client: ClientSpec, ports: Ports) -> list[Seen]:
    """Ask as a fixture's client does, with nothing kept from before; one Seen for each request."""
    out: list[Seen] = []
    async with Keyring(ports) as keyring:
        sessions = Sessions(ports)
        book = make_book([route])
        keyring.answer = Asides(lambda: book, ports, keyring, sessions).answer
        for body in client.bodies():
            if out:
                await ports.clock.sleep(float(client.wait))
            headers = Headers.of(client.headers)
            asked = Asking(DIALECTS[client.dialect], client.target, body, headers)
            out.append(await _ask(route, asked, ports, keyring, sessions))
            await keyring.cleanups.settle()
    return out


@dataclass(frozen=True, slots=True)
class Asking:
    """One request of a fixture's client."""

    dialect: Dialect
    target: Target
    body: bytes
    headers: Headers


async def _ask(
    route: Route, asked: Asking, ports: Ports, keyring: Keyring, sessions: Sessions
) -> Seen:
    ident = f"req_{ports.random.getrandbits(96):024x}"
    try:
        call, model = _call(route, asked, ident)
    except RequestError as error:
        status, raw = asked.dialect.refusal(error, ident)
        failed = ExchangeError(error.kind, error.message)
        return Seen(status, error=failed, shown=_error_in(raw), raw=raw)
    seen = Seen()
    sink = Recorder(call, model, seen)
    exchange = Exchange(route, call, ports, keyring, sessions, sink, recall=Recall(ports))
    await exchange.run(lambda: [Message("assistant", list(sink.folder.done().parts))])
    return seen


def _call(route: Route, asked: Asking, ident: str) -> tuple[Call, str]:
    """The request as the server would hand it over. Raises RequestError."""
    dialect, body, headers = asked.dialect, asked.body, asked.headers
    chat = dialect.parse(body, headers, asked.target)
    model = chat.model.removeprefix(f"{route.name}/")
    offer = route.offer(model)
    if offer is None:
        raise RequestError("model_not_found", f"The model `{model}` does not exist")
    scan = dialect.scan(body, asked.target)
    key = headers.get("authorization").removeprefix("Bearer ") or headers.get("x-api-key")
    call = Call(
        asked=Asked(ident, lambda: chat, chat.stream, headers, "fixture"),
        offer=offer,
        dialect=dialect,
        wants_stream=chat.stream,
        splice=partial(dialect.splice, body, scan) if scan is not None else None,
        client_key=Secret(key, "client key") if key else None,
        wants_usage=chat.want_usage,
    )
    return call, model


# ---- judging ----


def complaints(fixture: Fixture, seen: list[Seen]) -> list[str]:
    """What the client should have seen and did not, in words."""
    expect, last = fixture.spec.expect, seen[-1]
    out = [*last.complaints]
    reply = last.reply
    pairs: list[tuple[str, Any, Any]] = [
        ("status", expect.status, last.status),
        ("text", expect.text, reply.text),
        ("reasoning", expect.reasoning, reply.reasoning),
        ("finish", expect.finish, reply.finish),
        ("upstream calls", expect.upstream_calls, last.calls),
        ("tool calls", expect.tool_calls, _calls(reply)),
    ]
    out += [
        f"{what} should be {wanted!r}, is {got!r}"
        for what, wanted, got in pairs
        if wanted is not None and wanted != got
    ]
    out += _usage(expect.usage, reply.usage)
    out += _error(expect.error, last)
    if last.error is not None and not expect.error and expect.status < 300:
        out.append(f"it failed with {last.error.cls}: {last.error.message}")
    shown = reply.text + reply.reasoning
    out += [f"{text!r} is in the answer" for text in expect.never_contains if text in shown]
    return out


def _calls(reply: Reply) -> list[dict[str, Any]]:
    return [{"name": call.name, "arguments": call.args} for call in reply.calls]


def _usage(wanted: dict[str, Any], usage: Usage | None) -> list[str]:
    got = dataclasses.asdict(usage) if usage else {}
    return [
        f"usage {name} should be {value!r}, is {got.get(name)!r}"
        for name, value in wanted.items()
        if got.get(name) != value
    ]


def _error(wanted: dict[str, Any], seen: Seen) -> list[str]:
    if not wanted:
        return []
    if seen.error is None or seen.shown is None:
        return ["it should have failed"]
    got = {"message": seen.shown.message, "code": seen.shown.code, "type": seen.shown.type}
    got["class"] = seen.error.cls or wanted.get("class", "")
    return [
        f"error {name} should be {value!r}, is {got.get(name)!r}"
        for name, value in wanted.items()
        if not Matcher().fits(value, got.get(name))
    ]


def visible(seen: Seen) -> tuple[Any, ...]:
    """What must not depend on how the bytes were delivered."""
    reply = seen.reply
    failed = seen.error.cls if seen.error else None
    told = (reply.text, reply.reasoning, _calls(reply), reply.finish)
    return (seen.status, *told, failed, seen.calls)
