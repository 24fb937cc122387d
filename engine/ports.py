"""How the exchange sees the world: protocols, and the plain values that pass through them.

The shell implements them (`engine/shell/`); fixtures implement some of them anew
(`engine/replay/play.py`). Nothing above floor 2 and below the shell does I/O in any other way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from random import Random
from typing import Literal, Protocol

from .chat import JSON, Part, Text
from .errors import ExchangeError
from .events import Event, Finish, Usage
from .options import Secret
from .route.reach import Reach
from .wire import HttpRequest, HttpResponse, SocketMessage


@dataclass(frozen=True, slots=True)
class Line:
    """How to reach an upstream.

    pool     connections are shared by calls of the same pool, and of the same way to the upstream:
             one for each account of a route, "" for all routes that have one credential or none
    jar      cookies are kept and shared under this name; "" keeps none
    reuse    False: a fresh connection for each call
    sniff    undeclared gzip and deflate are recognised by their first bytes
    """

    pool: str = ""
    jar: str = ""
    proxy: str | None = field(default=None, repr=False)  # may hold a password
    verify: bool = True
    ca: str | None = None
    reuse: bool = True
    connect: float = 10.0
    sniff: bool = False

    def __hash__(self) -> int:
        return hash((self.pool, self.proxy, self.connect))  # looked up for each call


class Answer(Protocol):
    """An upstream's answer while it comes in. Iterating gives decoded chunks, as they arrive."""

    head: HttpResponse
    reused: bool

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def pump(self, take: Callable[[bytes], bool]) -> bool:
        """Give each chunk to `take` as it arrives, until it says True. False: the answer is over.

        What `take` raises is raised here. It runs in the callback of the read: no task is woken
        for a chunk.
        """
        ...

    async def read(self, limit: int) -> bytes:
        """The rest, whole; at most `limit` bytes, else ExchangeError."""
        ...


async def pumped(chunks: AsyncIterator[bytes], take: Callable[[bytes], bool]) -> bool:
    """`Answer.pump` of an answer that has nothing better than its iterator."""
    async for data in chunks:
        if take(data):
            return True
    return False


class Talk(Protocol):
    """Our side of one conversation over a websocket.

    limit   bytes of the largest message that is taken
    ping    seconds of silence after which the line is tried; None: never
    """

    limit: int
    ping: float | None

    def begin(self) -> list[SocketMessage]:
        """What is said as soon as the websocket is open."""
        ...

    def hear(self, message: SocketMessage) -> list[SocketMessage]:
        """What is said to a message. Raises ExchangeError, RenderError."""
        ...

    def closed(self, code: int, reason: str) -> ExchangeError | None:
        """What it means that the upstream closed (1006: broke off); None: nothing wrong so far."""
        ...


Sent = Callable[[], None] | None


class Upstream(Protocol):
    """Calls services. Never follows a redirect.

    Raises ExchangeError of the classes connect, truncated, retryable, fatal. `sent` is called when
    there is a connection, and the request leaves; it may be called again, for another connection.
    """

    def converse(
        self, request: HttpRequest, talk: Talk, line: Line, sent: Sent = None
    ) -> AbstractAsyncContextManager[Answer]:
        """Open a websocket (RFC 6455) at the request's URL, `ws` or `wss`, with its headers.

        The answer's bytes are the upstream's messages in the form of
        `engine/parsers/websocket.py`; its status is 101, else it is the refusal. Beside the
        classes above it raises what `talk` makes of the end.
        """
        ...

    def stream(
        self, request: HttpRequest, line: Line, sent: Sent = None
    ) -> AbstractAsyncContextManager[Answer]: ...
    async def fetch(self, request: HttpRequest, line: Line, limit: int) -> HttpResponse: ...


class Watch(Protocol):
    """A timer that a stream of events keeps pushing back. `beat` costs an assignment.

    paused   set while the reader of the answer keeps its writer waiting: no silence is counted
    """

    paused: bool

    def beat(self) -> None: ...
    def allow(self, seconds: float) -> None:
        """From now on silence may last so long."""
        ...


class Clock(Protocol):
    def now(self) -> float:
        """Epoch seconds."""
        ...

    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...
    def watch(self, seconds: float) -> AbstractContextManager[Watch]:
        """Raises TimeoutError in the block when it is silent for longer."""
        ...

    def deadline(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Raises TimeoutError in the block when it takes longer in all."""
        ...


class Store(Protocol):
    """Small values under names. A store that fails raises StoreError; nothing else.

    A name is a path, `kind/…/one`; `trim` takes a prefix that ends with `/` and has no further `/`
    below it. Times to live are in seconds; None is for ever.
    """

    async def get(self, key: str) -> bytes | None: ...
    async def put(self, key: str, value: bytes, ttl: float | None = None) -> None: ...
    async def delete(self, key: str) -> None: ...
    async def trim(self, prefix: str, most: int) -> int:
        """Forget the least recently written under a prefix until `most` are left."""
        ...

    async def add(self, key: str, by: int, ttl: float | None = None) -> int:
        """Count: the sum with `by` in it. `ttl` runs from the first addition on."""
        ...

    async def swap(
        self, key: str, old: bytes | None, new: bytes | None, ttl: float | None = None
    ) -> bool:
        """Put `new` (None: delete) if `old` (None: nothing) stands there; whether it did."""
        ...

    async def keys(self, prefix: str, most: int = 10_000) -> list[str]:
        """Names under any prefix, in no order, at most so many."""
        ...


class StoreError(Exception):
    """The store cannot be reached or written."""


class Tokens(Protocol):
    """Logins that outlive the process, by place: `store:NAME` or `file:PATH`. It raises nothing:
    what could not be written is remembered, and told to the observer."""

    async def load(self, place: str) -> Mapping[str, object] | None: ...
    async def save(self, place: str, tokens: Mapping[str, object]) -> None: ...
    def alone(self, place: str) -> AbstractAsyncContextManager[None]:
        """Inside the block no other process renews this login."""
        ...


class PassingTokens:
    """Logins that end with the process."""

    def __init__(self) -> None:
        self.kept: dict[str, Mapping[str, object]] = {}

    async def load(self, place: str) -> Mapping[str, object] | None:
        return self.kept.get(place)

    async def save(self, place: str, tokens: Mapping[str, object]) -> None:
        self.kept[place] = tokens

    def alone(self, place: str) -> AbstractAsyncContextManager[None]:
        return nullcontext()


class Aws(Protocol):
    """AWS's own chain of credentials: environment, profiles, roles."""

    async def keys(self) -> Mapping[str, Secret]:
        """`access_key`, `secret_key`, perhaps `session_token`, good now. Raises ExchangeError."""
        ...


class NoAws:
    """Where nothing of the machine's may be used."""

    async def keys(self) -> Mapping[str, Secret]:
        raise ExchangeError("unavailable", "there are no AWS credentials here")


@dataclass(frozen=True, slots=True)
class ServerTool:
    """A tool of a server that the operator declared. schema: of its arguments."""

    server: str
    name: str
    description: str
    schema: JSON = field(repr=False)


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What came of a call.

    outcome   ok; error: the tool says so; timeout; refused: not allowed; down: no server answers
    """

    parts: list[Part] = field(repr=False)
    outcome: Literal["ok", "error", "timeout", "refused", "down"] = "ok"


class Tools(Protocol):
    """Tools of the servers that the operator declared. None of ours is among them.

    Neither raises for what a server does: one that is down has no tools, and its calls fail.
    A call lasts at most so many seconds.
    """

    async def offered(self, servers: Sequence[str]) -> list[ServerTool]: ...
    async def call(
        self, server: str, name: str, arguments: Mapping[str, object], seconds: float
    ) -> ToolAnswer: ...


class NoTools:
    """Where no server is declared."""

    async def offered(self, servers: Sequence[str]) -> list[ServerTool]:
        return []

    async def call(
        self, server: str, name: str, arguments: Mapping[str, object], seconds: float
    ) -> ToolAnswer:
        return ToolAnswer([Text(f"there is no server {server}")], "refused")


@dataclass(frozen=True, slots=True)
class Page:
    """What a URL of a client led to. kind: its content type as declared, without parameters."""

    body: bytes = field(repr=False)
    kind: str = ""


class Unfetched(Exception):
    """Nothing was had from a URL of a client: it may not be asked, did not give it, or too much."""

    def __init__(self, why: Literal["refused", "failed", "large"]) -> None:
        super().__init__(why)
        self.why = why


class Web(Protocol):
    """Fetches what a client names by URL, no farther than `reach` goes, with nothing of the
    engine's or the client's own. Raises Unfetched.
    """

    async def get(self, url: str, reach: Reach) -> Page: ...


class NoWeb:
    """Where nothing is fetched."""

    async def get(self, url: str, reach: Reach) -> Page:
        raise Unfetched("refused")


class Observer(Protocol):
    """How the exchange reaches log and metrics. Never raises, never blocks."""

    def saw(self, name: str, **fields: object) -> None: ...


class Sink(Protocol):
    """The client's side of one exchange; holds the encoder of its dialect.

    Nothing reaches the client before `commit`; after it errors are in-band. One may have
    `say(block, text) -> bool` besides: `send` of one TextDelta, of which most answers are made.
    """

    @property
    def committed(self) -> bool: ...

    def tell(self, headers: dict[str, str]) -> None:
        """Headers that the upstream's answer brought, for the client's."""
        ...

    def send(self, events: list[Event]) -> bool:
        """Content events, numbered. The first ones commit. True: wait for the client, `drained`."""
        ...

    async def drained(self) -> None:
        """Wait until the client has read most of what it was sent: the back-pressure."""
        ...

    def restart(self) -> None:
        """A new attempt begins: what was held back of the last one is forgotten."""
        ...

    def forward(self, data: bytes, content: bool) -> bool:
        """Bytes of the same dialect. They wait until some of them hold content, which commits.

        True: wait for the client, `drained`.
        """
        ...

    async def whole(self, body: bytes) -> None:
        """A whole answer of the same dialect, as it came."""
        ...

    async def finish(self, finish: Finish, usage: Usage | None) -> None: ...
    async def end(self) -> None:
        """The forwarded answer is over: nothing is added."""
        ...

    async def fail(self, error: ExchangeError, frames: bytes = b"") -> None:
        """frames: how the dialect says it in-band, where the upstream's own words are kept."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """shared: other processes serve the same routes on the same stores."""

    upstream: Upstream
    clock: Clock
    store: Store
    durable: Store
    observer: Observer
    random: Random
    aws: Aws = NoAws()
    shared: bool = False
    tokens: Tokens = field(default_factory=PassingTokens)
    tools: Tools = NoTools()
    web: Web = NoWeb()
