"""The client's side of an exchange, over aiohttp: a stream, or one whole answer.

A stream holds back everything until the first content, so that a failing beginning is still an
HTTP status. After `early` (headers and a ping for a client that has waited long) errors are
in-band. A sink writes once per batch; awaiting the write is the back-pressure.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

from aiohttp import web

from engine.chat import ChatRequest
from engine.dialects import Dialect, Encoder
from engine.dialects.contract import Reframe, hides
from engine.dialects.outcomes import retry_headers
from engine.dialects.tokens import FACTOR, estimate, said, weight
from engine.dialects.unsaid import beside, unsaid
from engine.errors import ExchangeError
from engine.events import (
    ArgsDelta,
    ErrorEvent,
    Event,
    Finish,
    Folder,
    Open,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
    tells,
)
from engine.route.view import Asked
from engine.wire import loads

from .reply import Reply

_ODD = re.compile(r"[^A-Za-z0-9_.-]")  # a client may name its fields as it likes


@dataclass(slots=True)
class Client:
    """What a sink needs to know of the client's request.

    upstream  headers that the upstream's answer brought

    release  called when the answer begins: nothing is tried again
    clean    takes secrets out of what an error says: some upstreams repeat the key
    chat     the parsed request, None where it is passed through
    keep     given the answer as one document before its client has seen its end
    remember  called then, too: what the exchange itself keeps
    reframe  writes a stream in the form that the client asked for, None for the dialect's own
    retries  attempts that failed before the one that is answered with
    factor   gives that of estimates, where the upstream tells no usage, or not yet
    named    the client's own name for its request, "" for none
    """

    request: web.BaseRequest
    dialect: Dialect
    asked: Asked
    model: str
    created: int
    headers: dict[str, str]
    wants_usage: bool = False
    release: Callable[[], None] = lambda: None
    clean: Callable[[bytes], bytes] = bytes
    chat: ChatRequest | None = None
    keep: Callable[[object], Awaitable[None]] | None = None
    remember: Callable[[], Awaitable[None]] | None = None
    reframe: Reframe | None = None
    retries: int = 0
    factor: Callable[[], float] = lambda: FACTOR
    named: str = ""
    upstream: dict[str, str] = field(default_factory=dict)

    async def remembered(self) -> None:
        if self.remember is not None:
            await self.remember()

    @property
    def left(self) -> bool:
        """Whether it has hung up."""
        transport = self.request.transport
        return transport is None or transport.is_closing()

    @property
    def told(self) -> dict[str, str]:
        """`headers`, the retries there were, and fields that the upstream was not given."""
        dropped = self.chat.dropped if self.chat is not None else None
        told = {**self.headers, **self.upstream} if self.upstream else self.headers
        if self.retries:
            told = {**told, "x-retry-attempts": str(self.retries)}
        if not dropped:
            return told
        return {**told, "x-penstock-dropped": _listed(dropped)}


def _listed(names: list[str]) -> str:
    """Names as a header's value."""
    return ", ".join(_ODD.sub("_", name)[:64] for name in names[:16])


def error_response(client: Client, error: ExchangeError) -> web.Response:
    """A failure before commit: the dialect's status, body and headers."""
    status, body = client.dialect.failure(error.cls, error.message, client.asked.id, error)
    headers = {**client.told, **retry_headers(error.cls, error.retry_after)}
    if client.retries:
        headers["x-all-retries-failed"] = "true"
    if error.status:
        headers["x-penstock-upstream-status"] = str(error.status)
    return web.Response(
        status=status,
        body=client.clean(body),
        content_type=client.dialect.content_type,
        headers=headers,
    )


class PlainSink:
    """Collects the answer and replies with it whole."""

    def __init__(self, client: Client, now: Callable[[], float]) -> None:
        self.client = client
        self.committed = False
        self.folder: Folder | None = None
        self.response: web.StreamResponse | None = None
        self.status = 0
        self.first_event: float | None = None
        self._unsaid: list[str] = []
        self._now = now
        self._begun = now()
        self._spoke: float | None = None

    def send(self, events: list[Event]) -> bool:
        self._spoke = self._spoke or self._now()
        self._folded().feed(events)
        return False

    async def drained(self) -> None:
        """Nothing was sent yet."""

    def _folded(self) -> Folder:
        if self.folder is None:
            self.folder = Folder()
        return self.folder

    def tell(self, headers: dict[str, str]) -> None:
        self.client.upstream = headers

    def restart(self) -> None:
        """A new attempt begins: what the last one said is forgotten."""
        self.client.retries += 1
        self.folder = None

    def forward(self, data: bytes, content: bool) -> bool:
        raise AssertionError("a whole answer is never forwarded in pieces")

    async def whole(self, body: bytes) -> None:
        self._reply(body)

    async def end(self) -> None:
        raise AssertionError("a whole answer is never forwarded in pieces")

    async def finish(self, finish: Finish, usage: Usage | None) -> None:
        folder = self._folded()
        folder.feed([_timed(finish, self._begun, self._spoke, self._now())])
        reply = folder.done()
        self._unsaid = unsaid(beside(reply), self.client.dialect, self.client.chat)
        reply.usage = whole_usage(usage, self.client, sum(map(said, reply.parts)))
        client = self.client
        try:
            body = client.dialect.reply(
                reply, client.asked.id, client.model, client.created, client.chat
            )
        except ExchangeError as error:  # the dialect has no words for it
            await self.fail(error)
        else:
            if client.keep is not None:
                await client.keep(loads(body))
            await client.remembered()
            self._reply(body)

    async def fail(self, error: ExchangeError, frames: bytes = b"") -> None:
        self.response = error_response(self.client, error)
        self.status = self.response.status

    def _reply(self, body: bytes) -> None:
        self.committed = True
        self.status = 200
        client = self.client
        headers = {**client.told, "Content-Type": client.dialect.content_type}
        if self._unsaid:
            headers["x-penstock-answer-dropped"] = _listed(self._unsaid)
        self.response = Reply(client.request, headers, body)


class StreamSink:
    """Encodes events as they come. `silent_since` is for pings; times are monotonic."""

    def __init__(self, client: Client, now: Callable[[], float]) -> None:
        self._use(client)
        self.now = now
        self.committed = False
        self.begun = now()
        self.silent_since = self.begun
        self.response: web.StreamResponse | None = None
        self._reply: Reply | None = None
        self.status = 0
        self.first_event: float | None = None
        self._held: list[Event] = []
        self._waiting: list[bytes] = []
        self._weight = 0.0
        self._passed = False
        self._counts = client.wants_usage
        self.folder: Folder | None = None

    def keep(self) -> None:
        """Fold what is sent, for sessions that keep the history."""
        self.folder = Folder()

    def turn(self, client: Client) -> None:
        """Another route answers, though headers and pings have gone."""
        self._use(client)
        self.folder = None
        self._forget()

    def _use(self, client: Client) -> None:
        self.client = client
        self.encoder: Encoder = client.dialect.encoder(
            client.asked.id, client.model, client.created, client.wants_usage, client.chat
        )
        self._say = getattr(self.encoder, "say", None) if client.reframe is None else None

    def tell(self, headers: dict[str, str]) -> None:
        self.client.upstream = headers

    def restart(self) -> None:
        """A new attempt begins: what the last one held back is forgotten."""
        self.client.retries += 1
        self._forget()
        if self.folder is not None:
            self.folder = Folder()

    def _forget(self) -> None:
        self._held.clear()
        self._waiting.clear()
        self._weight = 0.0
        self._passed = False

    def send(self, events: list[Event]) -> bool:
        if self.folder is not None:
            self.folder.feed(events)
        if self._counts:
            for event in events:
                if type(event) is TextDelta and event.text.isascii():  # nearly all of them
                    self._weight += len(event.text) / 4
                else:
                    self._weight += _weight(event)
        if not self.committed:
            self._held += events
            if not tells(events, hidden=hides(self.encoder)):
                return False
            self._commit()
            events = self._beginning()
        return self._put(self.encoder.feed(events), later=True)

    def say(self, block: int, text: str) -> bool:
        """`send` of one TextDelta, of which most answers are made."""
        write, reply = self._say, self._reply
        if write is None or reply is None or not self.committed or self.folder is not None:
            return self.send([TextDelta(block, text)])
        if self._counts:
            self._weight += len(text) / 4 if text.isascii() else weight(text)
        self.silent_since = self.now()
        return reply.later(write(block, text))

    def _commit(self) -> None:
        self.committed = True
        self.first_event = self.now()
        self.client.release()

    def _beginning(self) -> list[Event]:
        """The first events of an encoded answer: Start, then what was held back."""
        client, held = self.client, self._held
        self._held = []
        return [Start(client.asked.id, client.model, client.created, client.factor()), *held]

    def forward(self, data: bytes, content: bool) -> bool:
        self._passed = True
        if not self.committed:
            self._waiting.append(data)
            if not content:
                return False
            self._commit()
            data, self._waiting = b"".join(self._waiting), []
        return self._put(data, later=True)

    async def whole(self, body: bytes) -> None:
        raise AssertionError("a stream is never sent as one document")

    async def finish(self, finish: Finish, usage: Usage | None) -> None:
        events: list[Event] = [] if self.committed else self._beginning()
        if self.client.wants_usage:
            usage = whole_usage(usage, self.client, self._weight)
        if usage is not None:
            events.append(UsageEvent(usage))
        self.committed = True
        finish = _timed(finish, self.begun, self.first_event, self.now())
        data = self.encoder.feed([*events, finish])
        if self.client.keep is not None:
            await self.client.keep(getattr(self.encoder, "document", None))
        await self.client.remembered()
        await self._write(data, last=True)

    async def end(self) -> None:
        self.committed = True
        await self._write(b"".join(self._waiting), last=True)

    async def fail(self, error: ExchangeError, frames: bytes = b"") -> None:
        if self.response is None and not self.committed:
            self.response = response = error_response(self.client, error)
            self.status = response.status
            return
        event = ErrorEvent(error.cls, error.message, error.status, error.code, error.retry_after)
        if not frames:
            passed = self._passed
            frames = (
                self.client.dialect.stream_failure(event) if passed else self.encoder.feed([event])
            )
        await self._write(self.client.clean(frames), last=True)

    def _start(self) -> Reply:
        """The answer, whose head leaves with the first bytes."""
        client = self.client
        headers = {
            **client.told,
            "Content-Type": client.reframe.content_type
            if client.reframe
            else client.dialect.stream_type,
            "Cache-Control": "no-cache",
            "X-Accel-Buffering": "no",
        }
        self.response = response = self._reply = Reply(client.request, headers)
        self.status = 200
        return response

    async def _write(self, data: bytes, *, last: bool = False) -> None:
        if self._put(data, last):
            await self.drained()

    async def drained(self) -> None:
        if self._reply is not None:
            await self._reply.drain()

    def _put(self, data: bytes, last: bool = False, later: bool = False) -> bool:
        """Write without waiting. True if the client should be waited for."""
        reply, form = self._reply, self.client.reframe
        if reply is None:
            reply = self._start()
        if form is not None:
            data = form.feed(data) + (form.end() if last else b"")
        if data:
            self.silent_since = self.now()
        return reply.later(data) if later else reply.put(data, last)

    def early(self) -> None:
        """Headers and a ping, though nothing has been said yet. The true status is given up."""
        self._start().put(self.encoder.ping() or b"")
        self.silent_since = self.now()

    def ping(self) -> None:
        """A sign of life, if the dialect has one and the client is reading."""
        data = self.encoder.ping()
        self.silent_since = self.now()
        transport: Any = self.client.request.transport
        idle = transport is not None and transport.get_write_buffer_size() == 0
        if data and idle and self._reply is not None:
            self._reply.put(data)


def _timed(finish: Finish, begun: float, spoke: float | None, now: float) -> Finish:
    """The finish with the time that the answer took; all are monotonic."""
    waited = (spoke or now) - begun
    return replace(finish, seconds=now - begun, waited=waited)


def whole_usage(usage: Usage | None, client: Client, written: float) -> Usage:
    """The usage with an estimate, marked, of what the upstream does not tell.

    written: weight of the answer.
    """
    usage = usage or Usage()
    if usage.input is not None and usage.output is not None:
        return usage
    factor = client.factor()
    read = estimate(client.asked.chat, factor) if usage.input is None else usage.input
    output = ceil(written * factor) if usage.output is None else usage.output
    return replace(usage, input=read, output=output, estimated=True)


def _weight(event: Event) -> float:
    """What an event adds to an answer: text, thinking, calls of tools."""
    match event:
        case TextDelta(text=text) | ReasoningDelta(text=text) | RefusalDelta(text=text):
            return weight(text)
        case ArgsDelta(json=text):
            return weight(text)
        case Open(part=part):
            return said(part)
    return 0.0
