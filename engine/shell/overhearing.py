"""The ports of a gateway that records what it serves: everything passes at once, and is noted.

What belongs to a client's request is found by its context: tasks that it starts inherit it. Of
fetched values the last answers are remembered beside, since most requests use one that an earlier
request has fetched. Memory is bounded: an exchange that grows too large is let go.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from engine.ports import Answer, Line, Page, Sent, Talk, Tokens, Upstream, Web
from engine.replay.anatomy import request_name
from engine.replay.taping import Taken, Tape, TapedWeb
from engine.route.reach import Reach
from engine.wire import HttpRequest, HttpResponse

LARGEST = 4 * 1024**2  # bytes of one client's request and all that came of it
ROOM = 64 * 1024**2  # bytes of all requests that are noted, or wait to be written
MOST_FETCHED, LARGEST_FETCHED = 256, 64 * 1024  # answers remembered; bytes of one

Logins = dict[str, Mapping[str, object]]  # by place


@dataclass(slots=True)
class Room:
    """What is left of the memory for notes, in bytes."""

    left: int = ROOM


class Capture(Tape):
    """All exchanges of one client request.

    why     it cannot be kept
    logins  OAuth logins as they were when the request came, or were first read
    """

    closed = False

    def __init__(
        self,
        upstream: Upstream,
        monotonic: Callable[[], float],
        room: Room,
        logins: Logins | None = None,
    ) -> None:
        super().__init__(upstream, monotonic)
        self.logins = dict(logins or {})
        self.why = ""
        self._room = room
        self._size = 0

    def begin(self, request: HttpRequest) -> Taken:
        taken = super().begin(request)
        self._grows(len(request.body))
        return taken

    def keep(self, taken: Taken, data: bytes) -> None:
        if self._grows(len(data)):
            super().keep(taken, data)

    def step(self, taken: Taken, step: dict[str, Any]) -> None:
        if not self.why:  # its bytes are counted as they are read
            super().step(taken, step)

    def grows(self, by: int) -> None:
        """So many bytes more are held for this request."""
        self._grows(by)

    def _grows(self, by: int) -> bool:
        if self.why:
            return False
        self._size += by
        self._room.left -= by
        if self._size > LARGEST:
            self._give_up(f"it is larger than {LARGEST // 1024**2} MiB")
        elif self._room.left < 0:
            self._give_up(f"all notes together are larger than {ROOM // 1024**2} MiB")
        return not self.why

    def _give_up(self, why: str) -> None:
        self.why = why
        for each in self.taken:
            each.pieces.clear()
            each.frames.clear()
        self.release()

    def release(self) -> None:
        """Nothing is held any more."""
        self._room.left += self._size
        self._size = 0

    def close(self) -> None:
        """What tasks of the request still do is not part of it, and nothing is held any more."""
        self.closed = True
        self.release()


current: ContextVar[Capture | None] = ContextVar("capture", default=None)


def _open() -> Capture | None:
    """The capture of the request that this is done for."""
    capture = current.get()
    return None if capture is None or capture.closed else capture


class OverheardUpstream:
    """The Upstream port. fetched: the last answer to each request for a value."""

    def __init__(self, upstream: Upstream, monotonic: Callable[[], float]) -> None:
        self.plain = upstream
        self.room = Room()
        self._monotonic = monotonic
        self.fetched: OrderedDict[str, Taken] = OrderedDict()

    def stream(
        self, request: HttpRequest, line: Line, sent: Sent = None
    ) -> AbstractAsyncContextManager[Answer]:
        return (_open() or self.plain).stream(request, line, sent)

    def converse(
        self, request: HttpRequest, talk: Talk, line: Line, sent: Sent = None
    ) -> AbstractAsyncContextManager[Answer]:
        return (_open() or self.plain).converse(request, talk, line, sent)

    async def fetch(self, request: HttpRequest, line: Line, limit: int) -> HttpResponse:
        tape = _open() or Capture(self.plain, self._monotonic, Room())
        answer = await tape.fetch(request, line, limit)
        taken = next((each for each in reversed(tape.taken) if each.request is request), None)
        if taken is not None and len(answer.body) <= LARGEST_FETCHED and answer.status < 300:
            self.fetched[request_name(request)] = taken
            self.fetched.move_to_end(request_name(request))
            if len(self.fetched) > MOST_FETCHED:
                self.fetched.popitem(last=False)
        return answer


class OverheardWeb:
    """The Web port."""

    def __init__(self, web: Web) -> None:
        self._web = web

    async def get(self, url: str, reach: Reach) -> Page:
        capture = _open()
        web = self._web if capture is None else TapedWeb(self._web, capture)
        return await web.get(url, reach)


class OverheardTokens:
    """The Tokens port. kept: the logins as they were last read or written."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self.kept: Logins = {}

    async def load(self, place: str) -> Mapping[str, object] | None:
        found = await self._tokens.load(place)
        if found is not None:
            self.kept[place] = dict(found)
            capture = _open()
            if capture is not None:
                capture.logins.setdefault(place, dict(found))
        return found

    async def save(self, place: str, tokens: Mapping[str, object]) -> None:
        self.kept[place] = dict(tokens)
        await self._tokens.save(place, tokens)

    def alone(self, place: str) -> AbstractAsyncContextManager[None]:
        return self._tokens.alone(place)
