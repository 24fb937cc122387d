"""The Upstream and Web ports of a recording: everything passes through at once, and is noted.

A chunk is noted as it goes by; nothing waits for it. What is noted is what the exchange gets: the
body without the codings of the transport, in the pieces in which it came.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from engine.errors import ExchangeError
from engine.ports import Answer, Line, Page, Sent, Talk, Unfetched, Upstream, Web
from engine.route.reach import Reach
from engine.wire import HttpRequest, HttpResponse, JsonError, SocketMessage, loads


@dataclass(slots=True)
class Taken:
    """One exchange as it happened.

    head    None: there was no answer
    pieces  the body, each with the milliseconds since the request
    frames  of a websocket: the steps of `frames` in a fixture
    end     as in a fixture
    fetched it was for a value, and no call of the route's own
    """

    request: HttpRequest
    began: float
    head: HttpResponse | None = None
    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    frames: list[dict[str, Any]] = field(default_factory=list)
    end: str = "eof"
    fetched: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.pieces)


class Tape:
    """The Upstream port. taken: all exchanges in the order of their requests."""

    def __init__(self, upstream: Upstream, monotonic: Callable[[], float]) -> None:
        self._upstream = upstream
        self._monotonic = monotonic
        self.taken: list[Taken] = []

    def begin(self, request: HttpRequest) -> Taken:
        self.taken.append(Taken(request, self._monotonic()))
        return self.taken[-1]

    def keep(self, taken: Taken, data: bytes) -> None:
        """Note a piece of an answer."""
        taken.pieces.append((self.since(taken), data))

    def step(self, taken: Taken, step: dict[str, Any]) -> None:
        """Note a step on a websocket."""
        taken.frames.append(step)

    def since(self, taken: Taken) -> int:
        """Milliseconds since its request."""
        return round((self._monotonic() - taken.began) * 1000)

    def stream(
        self, request: HttpRequest, line: Line, sent: Sent = None
    ) -> AbstractAsyncContextManager[Answer]:
        return Taping(self, self.begin(request), self._upstream.stream(request, line, sent))

    def converse(
        self, request: HttpRequest, talk: Talk, line: Line, sent: Sent = None
    ) -> AbstractAsyncContextManager[Answer]:
        taken = self.begin(request)
        heard = Overheard(self, taken, talk)
        return Taping(self, taken, self._upstream.converse(request, heard, line, sent))

    async def fetch(self, request: HttpRequest, line: Line, limit: int) -> HttpResponse:
        taken = self.begin(request)
        taken.fetched = True
        async with Taping(self, taken, self._upstream.stream(request, line)) as answer:
            body = await answer.read(limit)
        return HttpResponse(answer.head.status, answer.head.headers, body)


class Taping:
    """An Answer that is noted while it comes in."""

    head: HttpResponse
    reused = False

    def __init__(
        self, tape: Tape, taken: Taken, answer: AbstractAsyncContextManager[Answer]
    ) -> None:
        self._tape = tape
        self._taken = taken
        self._opened = answer

    async def __aenter__(self) -> Taping:
        self._answer = await self._opened.__aenter__()
        self._chunks = aiter(self._answer)
        self.head, self.reused = self._answer.head, self._answer.reused
        self._taken.head = self.head
        return self

    async def __aexit__(self, *exc: Any) -> None:
        if isinstance(exc[1], asyncio.CancelledError):
            self._taken.end = "stall"  # a timer ran out, or the client left
        await self._opened.__aexit__(*exc)

    def _note(self, data: bytes) -> None:
        self._tape.keep(self._taken, data)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            data = await anext(self._chunks)
        except ExchangeError:
            self._taken.end = "reset"
            raise
        self._note(data)
        return data

    async def pump(self, take: Callable[[bytes], bool]) -> bool:
        raised: list[Exception] = []

        def noting(data: bytes) -> bool:
            self._note(data)
            try:
                return take(data)
            except Exception as error:
                raised.append(error)
                raise

        try:
            return await self._answer.pump(noting)
        except ExchangeError:
            if not raised:
                self._taken.end = "reset"
            raise

    async def read(self, limit: int) -> bytes:
        try:
            data = await self._answer.read(limit)
        except ExchangeError:
            self._taken.end = "reset"
            raise
        self._note(data)
        return data


class Overheard:
    """A Talk whose messages are noted, both ways."""

    def __init__(self, tape: Tape, taken: Taken, talk: Talk) -> None:
        self.limit, self.ping = talk.limit, talk.ping
        self._tape = tape
        self._taken = taken
        self._talk = talk

    def begin(self) -> list[SocketMessage]:
        return self._said(self._talk.begin())

    def hear(self, message: SocketMessage) -> list[SocketMessage]:
        step: dict[str, Any] = {"text": message.data.decode()} if message.text else {
            "base64": base64.b64encode(message.data).decode()
        }  # fmt: skip
        self._step({**step, "at": self._tape.since(self._taken)})
        return self._said(self._talk.hear(message))

    def closed(self, code: int, reason: str) -> ExchangeError | None:
        if code == 1006:
            self._taken.end = "reset"
        else:
            self._step({"close": code, **({"reason": reason} if reason else {})})
        return self._talk.closed(code, reason)

    def _said(self, messages: list[SocketMessage]) -> list[SocketMessage]:
        for message in messages:
            self._step({"expect": _readable(message.data)})
        return messages

    def _step(self, step: dict[str, Any]) -> None:
        self._tape.step(self._taken, step)


def _readable(data: bytes) -> object:
    try:
        found = loads(data)
    except JsonError:
        found = None
    return found if isinstance(found, dict) else data.decode("utf-8", "replace")


class TapedWeb:
    """The Web port: what a client names by URL is an exchange like others."""

    def __init__(self, web: Web, tape: Tape) -> None:
        self._web = web
        self._tape = tape

    async def get(self, url: str, reach: Reach) -> Page:
        taken = self._tape.begin(HttpRequest("GET", url))
        try:
            page = await self._web.get(url, reach)
        except Unfetched:
            taken.head = HttpResponse(404)
            raise
        taken.head = HttpResponse(200, (("Content-Type", page.kind),) if page.kind else ())
        taken.pieces = [(0, page.body)]
        return page
