"""The Upstream port over a fixture: what it expects is compared, what it recorded is played.

Answers of calls may be cut and rewritten on the way; fetched values come as they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from engine.errors import ExchangeError
from engine.parsers.websocket import encoded
from engine.ports import Line, Page, Sent, Talk, Unfetched, Upstream, pumped
from engine.route.reach import Reach
from engine.wire import PACKED, HttpRequest, HttpResponse, SocketMessage, Unpacker

from .fixtures import ExchangeSpec, Fixture, FrameSpec, Matcher
from .staged import StagedClock

MAX_UNPACKED = 64 * 1024**2  # bytes of a recorded answer
Cut = Callable[[bytes], list[bytes]]
Rewrite = Callable[[bytes], bytes]


class PlayedWeb:
    """The Web port over an upstream that is played: what is fetched stands in the fixture, too."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def get(self, url: str, reach: Reach) -> Page:
        answer = await self._upstream.fetch(HttpRequest("GET", url), Line(), reach.largest)
        if answer.status != 200:
            raise Unfetched("failed")
        return Page(answer.body, (answer.header("content-type") or "").partition(";")[0])


def whole(body: bytes) -> list[bytes]:
    """The Cut that cuts nothing."""
    return [body]


def same(body: bytes) -> bytes:
    """The Rewrite that changes nothing."""
    return body


class Recorded:
    """The Upstream port over a fixture. Complaints collect what was not as expected.

    cut, rewrite   how answers of calls are delivered
    answered       the bodies that calls got, rewritten
    requests       what was asked
    """

    def __init__(self, fixture: Fixture, cut: Cut = whole, rewrite: Rewrite = same) -> None:
        self.fixture = fixture
        self.cut = cut
        self.rewrite = rewrite
        self.matcher = Matcher()
        self.left = [each.repeat for each in fixture.spec.exchanges]
        self.clock = StagedClock(fixture.spec.clock)
        self.calls = 0
        self.answered: list[bytes] = []
        self.requests: list[HttpRequest] = []
        self._complaints: list[str] = []

    def stream(
        self, request: HttpRequest, line: Line, sent: Sent = None
    ) -> AbstractAsyncContextManager[Any]:
        if sent is not None:
            sent()
        return Playing(self, request, called=True, sniff=line.sniff)

    def converse(
        self, request: HttpRequest, talk: Talk, line: Line, sent: Sent = None
    ) -> AbstractAsyncContextManager[Any]:
        if sent is not None:
            sent()
        return Conversing(self, request, talk, sniff=line.sniff)

    async def fetch(self, request: HttpRequest, line: Line, limit: int) -> HttpResponse:
        async with Playing(self, request, called=False, sniff=line.sniff) as answer:
            body = await answer.read(limit)
        return HttpResponse(answer.head.status, answer.head.headers, body)

    def take(self, request: HttpRequest) -> tuple[ExchangeSpec, bytes]:
        """The exchange that this request belongs to. Raises ExchangeError if there is none."""
        self.calls += 1
        self.requests.append(request)
        spec = self.fixture.spec
        differences = ["no further request was expected"]
        for at in self._candidates():
            differences = self.matcher.differences(spec.exchanges[at].expect, request)
            if not differences:
                if not spec.any_order:
                    self.left[:at] = [0] * at
                self.left[at] -= 1
                return spec.exchanges[at], self.fixture.bodies[at]
        where = f"request {self.calls} ({request.method} {request.url})"
        self._complaints += [f"{where}: {difference}" for difference in differences]
        raise ExchangeError("fatal", "the fixture expects another request")

    def _candidates(self) -> Iterator[int]:
        """The exchanges that may come now: the next one, and those before it that may repeat."""
        for at, each in enumerate(self.fixture.spec.exchanges):
            if self.left[at] > 0:
                yield at
                if self.left[at] == each.repeat and not self.fixture.spec.any_order:
                    return

    def complain(self, differences: list[str]) -> None:
        """Something said in the midst of a conversation is not as expected."""
        self._complaints += [f"request {self.calls}: {each}" for each in differences]

    def complaints(self) -> list[str]:
        """What was not as expected, also what never came."""
        out = list(self._complaints)
        if not self.fixture.spec.any_order:
            pairs = zip(self.left, self.fixture.spec.exchanges, strict=True)
            out += [
                f"exchange {at} never happened: {each.expect.method or 'request'} "
                f"{each.expect.url or ''}".rstrip()
                for at, (left, each) in enumerate(pairs, 1)
                if left == each.repeat
            ]
        return out


class Playing:
    """An Answer out of a fixture. called: it is a call's, not a fetched value's.

    sniff: like the port of the shell, it hands out unpacked what is packed without a word.
    """

    reused = False

    def __init__(
        self, recorded: Recorded, request: HttpRequest, *, called: bool, sniff: bool
    ) -> None:
        self._recorded = recorded
        self._request = request
        self._called = called
        self._sniff = sniff
        self._chunks: list[bytes] = []
        self._steps: list[FrameSpec] = []
        self._body = b""
        self._end = "eof"

    async def __aenter__(self) -> Playing:
        recorded = self._recorded
        spec, body = recorded.take(self._request)
        if self._sniff and body[:2] in PACKED:
            body = Unpacker().feed(body, MAX_UNPACKED)
        reply = spec.reply
        status = reply.status if reply.frames is None else 101
        self.head = HttpResponse(status, tuple(reply.headers.items()))
        self._steps = list(reply.frames or ())
        self._end = reply.end
        self._chunks = [body]
        if self._called:
            if status < 300:
                body = recorded.rewrite(body)
            recorded.answered.append(body)
            self._chunks = recorded.cut(body)
        self._body = body
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
            await self._recorded.clock.stall()
        raise StopAsyncIteration

    async def pump(self, take: Callable[[bytes], bool]) -> bool:
        return await pumped(self, take)

    async def read(self, limit: int) -> bytes:
        return b"".join([chunk async for chunk in self])


class Conversing(Playing):
    """A conversation over a websocket out of a fixture; without `frames`, what refused it.

    Each message comes when it is its turn; what is said meanwhile is compared in order.
    """

    def __init__(
        self, recorded: Recorded, request: HttpRequest, talk: Talk, *, sniff: bool
    ) -> None:
        super().__init__(recorded, request, called=True, sniff=sniff)
        self._talk = talk
        self._said: list[SocketMessage] = []

    async def __aenter__(self) -> Conversing:
        await super().__aenter__()
        if self.head.status == 101:
            self._chunks = []
            self._said = self._talk.begin()
        return self

    async def __anext__(self) -> bytes:
        if self.head.status != 101:
            return await super().__anext__()
        while not self._chunks:
            self._compared()
            if not self._steps or (self._steps[0].message and not self._body):
                await self._over()  # the end, or the fuzzer took the rest away
            self._next(self._steps.pop(0))
        return self._chunks.pop(0)

    def _next(self, step: FrameSpec) -> None:
        """The upstream says something, or closes."""
        message = step.message
        if message is None:
            self._closed(step.close or 0, step.reason)
            raise StopAsyncIteration
        frame = encoded(message)
        piece, self._body = self._body[: len(frame)], self._body[len(frame) :]
        self._chunks = self._recorded.cut(piece)
        if piece == frame:
            self._said += self._talk.hear(message)

    def _compared(self) -> None:
        """What had to be said by now."""
        while self._steps and self._steps[0].expect is not None:
            expect = self._steps.pop(0).expect
            said = self._said.pop(0) if self._said else None
            self._recorded.complain(self._recorded.matcher.message(expect, said))

    async def _over(self) -> None:
        if self._end == "stall":
            await self._recorded.clock.stall()
        self._closed(1006 if self._end == "reset" else 1000, "")
        raise StopAsyncIteration

    def _closed(self, code: int, reason: str) -> None:
        error = self._talk.closed(code, reason)
        if error is not None:
            raise error

    async def __aexit__(self, *exc: object) -> None:
        self._compared()
        shown = [message.data.decode("utf-8", "replace")[:300] for message in self._said]
        self._recorded.complain([f"a message was not expected: {text}" for text in shown])
        await super().__aexit__(*exc)
