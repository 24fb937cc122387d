"""The Upstream port over a fixture: what it expects is compared, what it recorded is played.

Answers of calls may be cut and rewritten on the way; fetched values come as they are.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from .errors import ExchangeError
from .fixtures import ExchangeSpec, Fixture, Matcher
from .ports import Line, pumped
from .staged import StagedClock
from .wire import PACKED, HttpRequest, HttpResponse

Cut = Callable[[bytes], list[bytes]]
Rewrite = Callable[[bytes], bytes]


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
        self._complaints: list[str] = []

    def stream(self, request: HttpRequest, line: Line) -> AbstractAsyncContextManager[Any]:
        return Playing(self, request, called=True, sniff=line.sniff)

    async def fetch(self, request: HttpRequest, line: Line, limit: int) -> HttpResponse:
        async with Playing(self, request, called=False, sniff=line.sniff) as answer:
            body = await answer.read(limit)
        return HttpResponse(answer.head.status, answer.head.headers, body)

    def take(self, request: HttpRequest) -> tuple[ExchangeSpec, bytes]:
        """The exchange that this request belongs to. Raises ExchangeError if there is none."""
        self.calls += 1
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
        self._end = "eof"

    async def __aenter__(self) -> Playing:
        recorded = self._recorded
        spec, body = recorded.take(self._request)
        if self._sniff and body[:2] in PACKED:
            body = zlib.decompress(body, 47)
        reply = spec.reply
        self.head = HttpResponse(reply.status, tuple(reply.headers.items()))
        self._end = reply.end
        self._chunks = [body]
        if self._called:
            if reply.status < 300:
                body = recorded.rewrite(body)
            recorded.answered.append(body)
            self._chunks = recorded.cut(body)
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
