"""What several tests share.

Cut-anywhere: whoever parses a stream gives the same result wherever the network cut the bytes.
World: the ports of a gateway without network, time and disk, so that an exchange runs as it is.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, Self, TypeVar

from engine.accounts.keyring import Keyring
from engine.chat import Message
from engine.dialects import DIALECTS
from engine.errors import ExchangeError
from engine.events import CONTENT, Event, Finish, Reply, Start, Usage, fold
from engine.exchange.attempt import Call
from engine.exchange.loop import Exchange
from engine.kept.recall import Recall
from engine.kept.sessions import Sessions
from engine.options import Secret
from engine.ports import Line, Ports, Sent, Talk, pumped
from engine.replay.recorded import PlayedWeb
from engine.replay.staged import StagedClock
from engine.route.compile import Compiled, Sources, compile_route
from engine.route.references import Outside
from engine.route.route import Route
from engine.route.view import Asked
from engine.shell.bundle import bundled_presets, bundled_transforms
from engine.shell.store_memory import MemoryStore
from engine.wire import Headers, HttpRequest, HttpResponse, dumps, loads
from tests.grammar import check_events

T = TypeVar("T")

SMALL = 40  # bytes, up to which every three-piece cut is tried


class Feeder(Protocol[T]):
    """Anything that takes bytes in pieces: a parser, a frame splitter, a text decoder."""

    def feed(self, data: bytes) -> list[T]: ...
    def finish(self) -> list[T]: ...


def cuts(data: bytes, seed: int = 7) -> Iterator[list[bytes]]:
    """Ways to deliver the bytes: whole, one by one, every two pieces, seeded random pieces, and
    every three pieces where the data are few. Some random ways contain empty pieces."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]
    if len(data) <= SMALL:
        for pair in itertools.combinations(range(1, len(data)), 2):
            yield _pieces(data, pair)
    draw = random.Random(seed)
    for _ in range(50 if data else 0):
        places = draw.choices(range(len(data) + 1), k=draw.randint(2, 9))
        yield _pieces(data, sorted(places))


def _pieces(data: bytes, places: tuple[int, ...] | list[int]) -> list[bytes]:
    return [data[a:b] for a, b in itertools.pairwise([0, *places, len(data)])]


def deliver(feeder: Feeder[T], pieces: list[bytes]) -> tuple[list[T], str]:
    """Everything found in the pieces, and what was raised in the end ("" if nothing)."""
    found: list[T] = []
    try:
        for piece in pieces:
            found += feeder.feed(piece)
        found += feeder.finish()
    except ValueError as error:
        return found, f"{type(error).__name__}: {error}"
    return found, ""


def cut_anywhere(
    make: Callable[[], Feeder[T]],
    data: bytes,
    expected: list[T],
    *,
    fault: str = "",
    fold: Callable[[list[T]], list[T]] = list,
) -> None:
    """Assert that each way to cut the data gives what is expected, and the fault if there is one.

    fold brings results to a common form where pieces may differ by right (raw text).
    """
    for pieces in cuts(data):
        found, raised = deliver(make(), pieces)
        assert (expected, fault) == (fold(found), raised), f"{(fold(found), raised)} of {pieces}"


def arrivals(make: Callable[[], Feeder[T]], data: bytes) -> list[int]:
    """After how many bytes each result came, the bytes being fed one by one.

    Results of `finish` count as coming after len(data) + 1.
    """
    feeder = make()
    places: list[int] = []
    for at in range(len(data)):
        places += [at + 1] * len(feeder.feed(data[at : at + 1]))
    return places + [len(data) + 1] * len(feeder.finish())


# ---- a world without network, time and disk ----


def compiled(text: str, *, env: Mapping[str, str] | None = None, **own: str) -> Compiled:
    """A route file's text, compiled. own: transforms of the test's own, by name."""

    def parent(name: str, file: str) -> tuple[bytes, str] | str:
        path = bundled_presets() / f"{name}.yaml"
        return (path.read_bytes(), str(path)) if path.is_file() else f"no preset `{name}`"

    def transform(name: str) -> tuple[bytes, str] | None:
        if name in own:
            return own[name].encode(), f"transforms/{name}.py"
        path = bundled_transforms() / f"{name}.py"
        return (path.read_bytes(), str(path)) if path.is_file() else None

    sources = Sources(Outside(env or {}), parent, transform)
    return compile_route(text.encode(), "routes/sample.yaml", sources)


def route_of(text: str, *, env: Mapping[str, str] | None = None, **own: str) -> Route:
    """The same, as a Route; whatever is wrong with it fails the test."""
    found = compiled(text, env=env, **own)
    assert found.route is not None, "\n".join(map(str, found.problems))
    return found.route


def problems_of(text: str, *, env: Mapping[str, str] | None = None, **own: str) -> list[str]:
    """`line:code` of each problem of a route file's text."""
    return [f"{p.line}:{p.code}" for p in compiled(text, env=env, **own).problems]


class FakeClock(StagedClock):
    """Time that stands still but for `move` and for sleeps, which are noted and return at once."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        super().__init__(now)
        self.sleeps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await super().sleep(seconds)

    def move(self, seconds: float) -> None:
        self._now += seconds


@dataclass
class Say:
    """One answer of a FakeUpstream.

    body   the whole, or the chunks as they arrive
    end    `eof`, `reset` (breaks off) or `stall` (says nothing any more)
    error  raised instead of answering
    gate   waited for before answering
    """

    body: bytes | Sequence[bytes] = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    end: str = "eof"
    error: ExchangeError | None = None
    gate: asyncio.Event | None = None


Script = Callable[[HttpRequest], Say]


class FakeUpstream:
    """The Upstream port, scripted: a list of answers, given in turn, or a function of the request.

    requests  what was sent, in order; open: answers that are not closed yet
    """

    def __init__(self, script: Sequence[Say | bytes] | Script, clock: StagedClock) -> None:
        self.script = script
        self.clock = clock
        self.requests: list[HttpRequest] = []
        self.lines: list[Line] = []
        self.open = 0

    def next(self, request: HttpRequest, line: Line) -> Say:
        self.requests.append(request)
        self.lines.append(line)
        if callable(self.script):
            return self.script(request)
        assert len(self.requests) <= len(self.script), f"one request too many: {request}"
        say = self.script[len(self.requests) - 1]
        return Say(say) if isinstance(say, bytes) else say

    def stream(self, request: HttpRequest, line: Line, sent: Sent = None) -> FakeAnswer:
        if sent is not None:
            sent()
        return FakeAnswer(self, request, line)

    def converse(
        self, request: HttpRequest, talk: Talk, line: Line, sent: Sent = None
    ) -> FakeAnswer:
        raise AssertionError("no websocket is played here")

    async def fetch(self, request: HttpRequest, line: Line, limit: int) -> HttpResponse:
        async with self.stream(request, line) as answer:
            return HttpResponse(answer.head.status, answer.head.headers, await answer.read(limit))

    @property
    def bodies(self) -> list[Any]:
        """The JSON bodies that were sent."""
        return [loads(request.body) for request in self.requests]


class FakeAnswer:
    """An answer of a FakeUpstream."""

    reused = False

    def __init__(self, upstream: FakeUpstream, request: HttpRequest, line: Line) -> None:
        self.upstream, self.request, self.line = upstream, request, line
        self.head = HttpResponse(0)

    async def __aenter__(self) -> Self:
        self.say = say = self.upstream.next(self.request, self.line)
        if say.gate is not None:
            await say.gate.wait()
        self.upstream.open += 1
        if say.error is not None:
            self.upstream.open -= 1
            raise say.error
        self.head = HttpResponse(say.status, tuple(say.headers.items()))
        self.chunks = [say.body] if isinstance(say.body, bytes) else list(say.body)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.upstream.open -= 1

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while self.chunks:
            chunk = self.chunks.pop(0)
            if chunk:
                return chunk
        if self.say.end == "reset":
            raise ExchangeError("truncated", "the upstream broke off its answer")
        if self.say.end == "stall":
            await self.upstream.clock.stall()
        raise StopAsyncIteration

    async def pump(self, take: Callable[[bytes], bool]) -> bool:
        return await pumped(self, take)

    async def read(self, limit: int) -> bytes:
        return b"".join([chunk async for chunk in self])


class Notes:
    """The Observer port: keeps what it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def saw(self, name: str, **fields: object) -> None:
        self.seen.append((name, dict(fields)))

    def of(self, name: str) -> list[dict[str, Any]]:
        return [fields for seen, fields in self.seen if seen == name]


class FakeSink:
    """The Sink port: what a client would see, with the rules of a real one checked.

    ends   how often the answer ended: once, or a test fails
    """

    def __init__(self, *, stream: bool) -> None:
        self.stream = stream
        self.committed = False
        self.events: list[Event] = []
        self.bytes = b""
        self.ends = 0
        self.finished: Finish | None = None
        self.usage: Usage | None = None
        self.error: ExchangeError | None = None
        self.restarts = 0
        self.told: dict[str, str] = {}
        self.document: bytes | None = None

    def send(self, events: list[Event]) -> bool:
        assert not self.ends, "something after the end"
        self.events += events
        self.committed = self.committed or (
            self.stream and any(isinstance(event, CONTENT) for event in events)
        )
        return False

    async def drained(self) -> None:
        """This client reads at once."""

    def tell(self, headers: dict[str, str]) -> None:
        self.told |= headers

    def restart(self) -> None:
        assert not self.committed, "a new attempt after the commit"
        self.restarts += 1
        self.events.clear()
        self.bytes = b""

    def forward(self, data: bytes, content: bool) -> bool:
        assert not self.ends, "something after the end"
        self.bytes += data
        self.committed = self.committed or content
        return False

    async def whole(self, body: bytes) -> None:
        self._end()
        self.document = body

    async def finish(self, finish: Finish, usage: Usage | None) -> None:
        self._end()
        self.finished, self.usage = finish, usage
        check_events([Start(), *self.events, finish])

    async def end(self) -> None:
        self._end()

    async def fail(self, error: ExchangeError, frames: bytes = b"") -> None:
        self._end()
        self.error = error
        self.bytes += frames

    def _end(self) -> None:
        self.ends += 1
        assert self.ends == 1, "a second end"

    @property
    def reply(self) -> Reply:
        return fold(self.events)

    @property
    def text(self) -> str:
        return self.reply.text


class World:
    """The ports of a gateway, faked, and what stands on them. Use it as a context manager."""

    def __init__(self, script: Sequence[Say | bytes] | Script = (), *, seed: int = 1) -> None:
        self.clock = FakeClock()
        self.upstream = FakeUpstream(script, self.clock)
        self.notes = Notes()
        self.ports = Ports(
            self.upstream,
            self.clock,
            MemoryStore(self.clock.monotonic),
            MemoryStore(self.clock.monotonic),
            self.notes,
            random.Random(seed),
            web=PlayedWeb(self.upstream),
        )
        self.keyring = Keyring(self.ports)
        self.sessions = Sessions(self.ports)
        self.recall = Recall(self.ports)

    async def __aenter__(self) -> Self:
        await self.keyring.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.keyring.__aexit__(*exc)
        assert self.upstream.open == 0, "an answer was left open"

    async def ask(
        self,
        route: Route,
        prompt: str | list[dict[str, Any]] = "Hello",
        *,
        key: str = "",
        headers: Mapping[str, str] | None = None,
        dialect: str = "openai_chat",
        **body: object,
    ) -> FakeSink:
        """One client request to a route's first model; the sink tells how it ended."""
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        given = {"messages": turns, **body}
        call = call_of(route, given, key=key, headers=headers, dialect=dialect)
        sink = FakeSink(stream=call.wants_stream)
        exchange = Exchange(
            route, call, self.ports, self.keyring, self.sessions, sink, recall=self.recall
        )
        self.report = await exchange.run(lambda: [Message("assistant", list(sink.reply.parts))])
        assert sink.ends == 1, "the answer never ended"
        return sink


_NUMBERS = itertools.count(1)


def call_of(
    route: Route,
    body: dict[str, Any],
    *,
    key: str = "",
    headers: Mapping[str, str] | None = None,
    dialect: str = "openai_chat",
) -> Call:
    """A client's request as the server hands it over."""
    kind = DIALECTS[dialect]
    raw = dumps({"model": next(iter(route.offers)), **body})
    chat = kind.parse(raw, Headers())
    scan = kind.scan(raw)
    asked = Asked(
        f"req_{next(_NUMBERS)}", lambda: chat, chat.stream, Headers.of(headers or {}), key
    )
    return Call(
        asked=asked,
        offer=route.offers[chat.model],
        dialect=kind,
        wants_stream=chat.stream,
        splice=None if scan is None else partial(kind.splice, raw, scan),
        client_key=Secret(key, "client key") if key else None,
        wants_usage=chat.want_usage,
    )


def sse(*values: object, done: bool = True) -> bytes:
    """Server-sent events of these values, with the terminator of Chat Completions."""
    frames = [b"data: " + dumps(value) + b"\n\n" for value in values]
    return b"".join([*frames, b"data: [DONE]\n\n" if done else b""])
