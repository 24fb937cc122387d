"""Runs a route against a fixture: in memory, with every cut, or through ports of the caller's.

The oracle is the uncut answer: however the bytes are cut, and in whatever equivalent form they
are written, the client must see the same. Nothing here knows a socket.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from .attempt import Call
from .chat import Message
from .dialects import DIALECTS, Dialect
from .errors import ExchangeError, RequestError
from .events import CONTENT, ErrorEvent, Event, Finish, Folder, Reply, Start, Usage, fold
from .exchange import Exchange
from .fixtures import ExchangeSpec, Fixture, Matcher
from .keyring import Keyring
from .parsers import PARSERS
from .ports import Clock, Line, Observer, Ports, Store
from .route.route import Route
from .route.view import Asked
from .sessions import Sessions
from .wire import Headers, HttpRequest, HttpResponse, Record, dumps, loads

Cut = Callable[[bytes], list[bytes]]
Rewrite = Callable[[bytes], bytes]


@dataclass(slots=True)
class Seen:
    """What the client saw, and what the upstream was sent."""

    status: int = 0
    reply: Reply = field(default_factory=Reply)
    error: ExchangeError | None = None
    raw: bytes = b""
    calls: int = 0
    complaints: list[str] = field(default_factory=list)


class Recorded:
    """The Upstream port over a fixture. Complaints collect what was not as expected."""

    def __init__(self, fixture: Fixture, cut: Cut, rewrite: Rewrite) -> None:
        self.fixture = fixture
        self.cut = cut
        self.rewrite = rewrite
        self.matcher = Matcher()
        self.left = [each.repeat for each in fixture.spec.exchanges]
        self.calls = 0
        self.complaints: list[str] = []

    def stream(self, request: HttpRequest, line: Line) -> AbstractAsyncContextManager[Any]:
        return Playing(self, request)

    async def fetch(self, request: HttpRequest, line: Line, limit: int) -> HttpResponse:
        spec, body = self.take(request)
        return HttpResponse(spec.reply.status, tuple(spec.reply.headers.items()), body)

    def take(self, request: HttpRequest) -> tuple[ExchangeSpec, bytes]:
        """The exchange that this request belongs to."""
        self.calls += 1
        spec = self.fixture.spec
        waiting = [at for at, left in enumerate(self.left) if left > 0]
        candidates = waiting if spec.any_order else waiting[:1]
        differences: list[str] = []
        for at in candidates:
            differences = self.matcher.differences(spec.exchanges[at].expect, request)
            if not differences:
                self.left[at] -= 1
                return spec.exchanges[at], self.fixture.bodies[at]
        if not candidates:
            differences = ["no further request was expected"]
        where = f"request {self.calls} ({request.method} {request.url})"
        self.complaints += [f"{where}: {difference}" for difference in differences]
        raise ExchangeError("fatal", "the fixture expects another request")


class Playing:
    """An Answer out of a fixture."""

    reused = False

    def __init__(self, recorded: Recorded, request: HttpRequest) -> None:
        self._recorded = recorded
        self._request = request
        self._chunks: list[bytes] = []
        self._end = "eof"

    async def __aenter__(self) -> Playing:
        spec, body = self._recorded.take(self._request)
        reply = spec.reply
        self.head = HttpResponse(reply.status, tuple(reply.headers.items()))
        whole = self._recorded.rewrite(body) if reply.status < 300 else body
        self._chunks = self._recorded.cut(whole)
        self._end = reply.end
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._chunks = []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._chunks:
            return self._chunks.pop(0)
        if self._end == "reset":
            raise ExchangeError("truncated", "the upstream broke off its answer")
        if self._end == "stall":
            raise TimeoutError
        raise StopAsyncIteration

    async def read(self, limit: int) -> bytes:
        return b"".join([chunk async for chunk in self])


class Recorder:
    """The Sink of a replay: folds what the client would see, and keeps the encoded bytes."""

    def __init__(self, dialect: Dialect, asked: Asked, model: str, seen: Seen) -> None:
        self.dialect = dialect
        self.asked = asked
        self.committed = False
        self.seen = seen
        self.encoder = dialect.encoder(asked.id, model, 0, True)
        self.folder = Folder()
        self.passed: list[bytes] = []
        self.begun = False

    def _encode(self, events: list[Event]) -> bytes:
        if not self.begun:
            self.begun = True
            events = [Start(self.asked.id), *events]
        return self.encoder.feed(events)

    async def send(self, events: list[Event]) -> None:
        self.committed = self.committed or (
            self.asked.stream and any(isinstance(event, CONTENT) for event in events)
        )
        self.folder.feed(events)
        self.seen.raw += self._encode(events)

    def restart(self) -> None:
        self.folder = Folder()
        self.passed.clear()

    async def forward(self, data: bytes, content: bool) -> None:
        self.passed.append(data)
        self.committed = self.committed or content

    async def whole(self, body: bytes) -> None:
        self.seen.status, self.seen.raw = 200, body
        self.seen.reply = _read(self.dialect.whole_reader({}, str), [body])

    async def finish(self, finish: Finish, usage: Usage | None) -> None:
        self.folder.feed([finish])
        self.seen.raw += self._encode([finish])
        self.seen.reply = self.folder.done()
        self.seen.reply.usage = usage
        self.seen.status = 200

    async def end(self) -> None:
        self.seen.status = 200
        self.seen.raw = b"".join(self.passed)
        self.seen.reply = _read(self.dialect.stream_reader({}, str), _payloads(self.seen.raw))

    async def fail(self, error: ExchangeError, frames: bytes = b"") -> None:
        self.seen.error = error
        if self.committed:
            self.seen.status = 200
            self.seen.reply = self.folder.done()
            self.seen.reply.error = ErrorEvent(error.cls, error.message)
            return
        status, body = self.dialect.failure(error.cls, error.message, self.asked.id, error)
        self.seen.status, self.seen.raw = status, body


def _read(decoder: Any, payloads: list[bytes]) -> Reply:
    """What a client would make of bytes that were passed through."""
    events: list[Event] = []
    for payload in payloads:
        events += decoder.feed(Record("", payload, loads(payload)))
    return fold([*events, *decoder.finish()])


def _payloads(stream: bytes) -> list[bytes]:
    records = PARSERS["sse"].make(None)
    found = [*records.feed(stream), *records.finish()]
    return [record.data for record in found if record.data != b"[DONE]"]


@dataclass(frozen=True, slots=True)
class World:
    """What a replay borrows from the shell."""

    clock: Callable[[float], Clock]
    store: Callable[[], Store]
    observer: Observer


async def play(
    route: Route,
    fixture: Fixture,
    world: World,
    *,
    upstream: Any = None,
    cut: Cut = lambda body: [body],
    rewrite: Rewrite = lambda body: body,
) -> list[Seen]:
    """Ask as the fixture's client does; one Seen for each time it asks."""
    spec = fixture.spec
    assert spec.client is not None
    recorded = Recorded(fixture, cut, rewrite)
    clock = world.clock(spec.clock)
    random = Random(spec.seed)
    ports = Ports(upstream or recorded, clock, world.store(), world.store(), world.observer, random)
    out = []
    async with Keyring(ports) as keyring:
        sessions = Sessions(ports)
        for _ in range(spec.client.times):
            out.append(await _ask(route, fixture, ports, keyring, sessions))
    out[-1].calls = recorded.calls
    out[-1].complaints = recorded.complaints
    return out


async def _ask(
    route: Route, fixture: Fixture, ports: Ports, keyring: Keyring, sessions: Sessions
) -> Seen:
    client = fixture.spec.client
    assert client is not None
    dialect = DIALECTS[client.dialect]
    seen = Seen()
    body = dumps(client.json)
    headers = Headers.of(client.headers)
    ident = f"req_{ports.random.getrandbits(96):024x}"
    try:
        chat = dialect.parse(body, headers)
        model = chat.model.removeprefix(f"{route.name}/")
        if model not in route.offers:
            raise RequestError("model_not_found", f"The model `{model}` does not exist")
    except RequestError as error:
        seen.status, seen.raw = dialect.refusal(error, ident)
        seen.error = ExchangeError(error.kind, error.message)
        return seen
    asked = Asked(ident, lambda: chat, chat.stream, headers, "fixture")
    scan = dialect.scan(body)
    call = Call(
        asked=asked,
        offer=route.offers[model],
        dialect=dialect,
        wants_stream=chat.stream,
        splice=partial(dialect.splice, body, scan) if scan is not None else None,
        wants_usage=chat.want_usage,
    )
    sink = Recorder(dialect, asked, model, seen)
    exchange = Exchange(route, call, ports, keyring, sessions, sink)
    await exchange.run(lambda: [Message("assistant", list(sink.folder.done().parts))])
    return seen


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
    out += _error(expect.error, last.error)
    if last.error is not None and not expect.error:
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


def _error(wanted: dict[str, Any], error: ExchangeError | None) -> list[str]:
    if not wanted:
        return []
    if error is None:
        return ["it should have failed"]
    got = {"class": error.cls, "message": error.message, "code": error.code}
    return [
        f"error {name} should be {value!r}, is {got.get(name)!r}"
        for name, value in wanted.items()
        if not Matcher()._fits(value, got.get(name))
    ]


# ---- fuzzing ----


def cuts(body: bytes, seed: int) -> Iterator[tuple[str, Cut]]:
    """Ways to cut an answer: byte by byte, and seeded random pieces."""
    yield "byte by byte", lambda data: [data[at : at + 1] for at in range(len(data))]
    random = Random(seed)
    for number in range(8):
        state = random.getrandbits(32)
        yield f"random cuts {number}", partial(_pieces, state)


def _pieces(state: int, data: bytes) -> list[bytes]:
    random = Random(state)
    out, at = [], 0
    while at < len(data):
        step = random.choice((1, 2, 3, 7, 30, 200))
        out.append(data[at : at + step])
        at += step
    return out


def rewrites(framing: str) -> Iterator[tuple[str, Rewrite]]:
    """Equivalent forms of a line-based stream (WHATWG server-sent events)."""
    if framing == "sse":
        yield "CRLF", lambda body: body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        yield "CR", lambda body: body.replace(b"\r\n", b"\n").replace(b"\n", b"\r")
        yield "BOM", lambda body: b"\xef\xbb\xbf" + body
        yield (
            "comments",
            lambda body: b": hello\n\n" + body.replace(b"\n\n", b"\n\n: still here\n\n"),
        )
        yield "no space", lambda body: body.replace(b"data: ", b"data:")
        yield "no last blank line", lambda body: body.rstrip(b"\r\n") + b"\n"
    elif framing == "ndjson":
        yield "CRLF", lambda body: body.replace(b"\n", b"\r\n")
        yield "blank lines", lambda body: body.replace(b"\n", b"\n\n")
        yield "no last newline", lambda body: body.rstrip(b"\n")


async def fuzz(route: Route, fixture: Fixture, world: World, framing: str) -> list[str]:
    """Differences from the uncut replay, in words."""
    oracle = [_visible(seen) for seen in await play(route, fixture, world)]
    out = []
    plain: Rewrite = _same
    ways = [(name, cut, plain) for name, cut in cuts(b"", fixture.spec.seed)]
    ways += [
        (f"{name}, {step}", cut, rewrite)
        for name, rewrite in rewrites(framing)
        for step, cut in (("whole", _whole), ("byte by byte", next(cuts(b"", 0))[1]))
    ]
    for name, cut, rewrite in ways:
        got = [_visible(s) for s in await play(route, fixture, world, cut=cut, rewrite=rewrite)]
        if got != oracle:
            out.append(f"{name}: the client sees {got!r} instead of {oracle!r}")
        await asyncio.sleep(0)
    return out


def _same(body: bytes) -> bytes:
    return body


def _whole(body: bytes) -> list[bytes]:
    return [body]


def _visible(seen: Seen) -> tuple[Any, ...]:
    """What must not depend on how the bytes were cut."""
    reply = seen.reply
    error = seen.error.cls if seen.error else None
    return (
        seen.status,
        reply.text,
        reply.reasoning,
        _calls(reply),
        reply.finish,
        error,
        seen.calls,
    )
