"""Makes fixtures of served requests: `serve --record`.

A request that is over is handed to a thread, one at a time: there the route is read anew with what
it takes from outside, the request is replayed on what was noted, and the fixture is made and tried.
What a replay does not give as the client got it, and what would hold a secret, is not written.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom

from engine.dialects.openai_responses.items import NAME as RESPONSES
from engine.errors import PenstockError
from engine.options import Secret
from engine.ports import Observer
from engine.replay.composing import bearers, text_of
from engine.replay.fixtures import ClientSpec, Fixture, read_fixture
from engine.replay.play import Seen, complaints, play
from engine.replay.retelling import Retold
from engine.replay.taping import Taken
from engine.route.compile import Compiled
from engine.route.route import Route
from engine.wire import JsonError, dumps, loads

from .atomic import FileError, write_bytes
from .fixture_files import made
from .keeping import Keeping
from .library import Library
from .overhearing import Capture, OverheardTokens, OverheardUpstream
from .recorder import Notes, NotRecorded, Order, Recording, long_enough, outside
from .redact import Redactor
from .settings import Settings
from .testing import WORLD, Bench

WAITING = 16  # requests that wait to be written; more are not recorded
PATIENCE = 10.0  # seconds for those at the end
Settle = Callable[[], Awaitable[None]]
_NAME = re.compile(r"[^\w.-]+", re.ASCII)


@dataclass(slots=True)
class Served:
    """A request that is over.

    path     where the client sent it, where its dialect names model and stream there
    outcome  a class, `ok`, or `gone`; "" while it is not known
    moved    another route took over
    """

    ident: str
    dialect: str
    path: str | None
    body: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    key: Secret | None
    now: float
    capture: Capture
    route: Route | None = None
    status: int = 0
    outcome: str = ""
    moved: bool = False


@dataclass(slots=True)
class Scribe:
    """`offer` takes what was served, `tend` writes it."""

    keeping: Keeping
    library: Library
    settings: Settings
    observer: Observer
    redactor: Redactor
    upstream: OverheardUpstream
    tokens: OverheardTokens
    _waiting: asyncio.Queue[tuple[Served, Route, Settle]] = field(
        default_factory=lambda: asyncio.Queue(WAITING)
    )
    _full: set[str] = field(default_factory=set)

    def wants(self) -> bool:
        """Whether one more may be noted."""
        return not self._waiting.full()

    def offer(self, served: Served, settle: Settle) -> None:
        """Never raises, never waits. settle: waits for clean-ups, which belong to the request."""
        route = served.route
        if route is None or not served.capture.taken or route.name in self._full:
            served.capture.close()  # nothing was asked of an upstream, or nobody wants it
            return
        why = _unfit(served)
        if not why and not self.wants():
            why = f"{WAITING} others are waiting to be written"
        if why:
            served.capture.close()
            self._tell(served, "not_recorded", why=why)
        else:
            self._waiting.put_nowait((served, route, settle))

    async def tend(self) -> None:
        """Write what waits, one after the other, for ever."""
        while True:
            served, route, settle = await self._waiting.get()
            try:
                if any(plan.cleanup is not None for plan in route.values.values()):
                    await settle()
                served.capture.closed = True  # what tasks of the request still do is not its own
                await self._write(served, route)
            finally:
                served.capture.close()
                self._waiting.task_done()

    async def close(self) -> None:
        """Wait until all is written, but not for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._waiting.join()

    async def _write(self, served: Served, route: Route) -> None:
        work = _Work(self, served, route, dict(self.upstream.fetched))
        try:
            file = await asyncio.to_thread(work.run)
        except NotRecorded as error:
            self._tell(served, "not_recorded", why=str(error))
        except (FileError, PenstockError, OSError) as error:
            self._tell(served, "not_recorded", level="error", why=str(error))
        except Exception as error:
            self.observer.saw("crash", error=error, path="record")
        else:
            self._tell(served, "recorded", level="info", file=str(file))

    def full(self, served: Served, route: Route) -> bool:
        """Whether the folder of a route has as many as it may; told once."""
        folder = self.folder(route)
        count = sum(1 for _ in folder.glob("*.yaml")) if folder.is_dir() else 0
        if count >= self.keeping.most:
            self._full.add(route.name)
        return count >= self.keeping.most

    def folder(self, route: Route) -> Path:
        return self.keeping.folder / (_NAME.sub("_", route.name).lstrip(".") or "_")

    def _tell(self, served: Served, what: str, *, level: str = "warning", **more: str) -> None:
        assert served.route is not None
        self.observer.saw(what, level=level, id=served.ident, route=served.route.name, **more)


def _unfit(served: Served) -> str:
    """Why a request cannot be kept; empty if it can."""
    if served.outcome == "gone":
        return "the client left"
    if served.moved:
        return "another route took over"
    return served.capture.why


@dataclass(slots=True)
class _Work:
    """One fixture, made in a thread of its own loop."""

    scribe: Scribe
    served: Served
    route: Route
    remembered: Mapping[str, Taken]

    def run(self) -> Path:
        """The file. Raises NotRecorded, FileError."""
        if self.scribe.full(self.served, self.route):
            most = self.scribe.keeping.most
            raise NotRecorded(f"the folder of the route has {most} fixtures: no more are recorded")
        return asyncio.run(self._run())

    async def _run(self) -> Path:
        notes = Notes()
        compiled = self._anew(notes)
        assert compiled.route is not None
        order = self._order(compiled.route, notes)
        recording = await self._recording(order)
        files = await made(order, recording)
        await self._holds(order, files)
        for name, data in reversed(files.items()):  # what names the others comes last
            write_bytes(order.out.parent / name, data, mode=0o600)
        return order.out

    def _anew(self, notes: Notes) -> Compiled:
        """The route, read once more to know what it takes from outside."""
        library = self.scribe.library
        shelf = notes.shelf(
            library.folders,
            env=library.env,
            own_transforms=library.own_transforms,
            servers=library.servers,
        )
        compiled = shelf.load(Path(self.route.file))
        if compiled.route is None or compiled.route.digest != self.route.digest:
            raise NotRecorded("the route's file is another one by now")
        notes.read(compiled.route.file)
        return compiled

    def _order(self, route: Route, notes: Notes) -> Order:
        scribe, served = self.scribe, self.served
        try:
            body = loads(served.body)
        except JsonError:
            body = None
        if not isinstance(body, dict):
            raise NotRecorded("the request is no JSON object")
        if body.get("previous_response_id") and not _has_answers(route):
            raise NotRecorded("it goes on from an answer that is kept here")
        client = ClientSpec(
            dialect=served.dialect, path=served.path, json=body, headers=served.headers
        )
        stamp = datetime.fromtimestamp(served.now, UTC).strftime("%Y%m%d-%H%M%S")
        out = scribe.folder(route) / f"{stamp}-{served.ident[-10:]}.yaml"
        if out.exists():
            raise NotRecorded(f"{out} is there already")
        folders = list(scribe.library.folders)
        return Order(
            route, route.name, client, out, notes, folders, scribe.settings,
            note="served", allow=scribe.keeping.allow, synthetic=scribe.keeping.synthetic,
        )  # fmt: skip

    async def _recording(self, order: Order) -> Recording:
        """The request, replayed on what was noted of it."""
        served, capture, seed = self.served, self.served.capture, SystemRandom().getrandbits(31)
        places = {login.place: login.account for login in order.route.logins}
        logins = {**self.scribe.tokens.kept, **capture.logins}
        tokens = {places[place]: dict(each) for place, each in logins.items() if place in places}
        clock = float(int(served.now))
        retold = Retold(_bare(order, clock, seed, tokens), capture.taken, self.remembered)
        seen = (await play(order.route, retold.fixture, WORLD, retold))[-1]
        if retold.missing:
            raise NotRecorded(f"{retold.missing} was answered before, and is not known any more")
        if retold.unasked:
            raise NotRecorded(f"a replay does not call {retold.unasked[0]}")
        self._same(seen)
        unanswered = sum(each.head is None for each in capture.taken)
        secrets = [*self._secrets(order, retold.told, tokens)]
        return Recording(clock, seed, seen, retold.told, tokens, secrets, unanswered)

    async def _holds(self, order: Order, files: Mapping[str, bytes]) -> None:
        """Raises NotRecorded where the fixture does not give what it says."""
        fixture = read_fixture(files[order.out.name], str(order.out), files.__getitem__)
        route = Bench(order.folders, depth="off", http=False).route(fixture)
        if route is None:
            raise NotRecorded("the route does not work with what stands for its secrets")
        wrong = complaints(fixture, await play(route, fixture, WORLD))
        if wrong:  # without values: they may be what was said
            raise NotRecorded(f"a replay differs: {wrong[0].partition(' should ')[0][:200]}")

    def _same(self, seen: Seen) -> None:
        """Raises NotRecorded where the replay ends otherwise than what the client got."""
        came = (self.served.status, self.served.outcome)
        given = (seen.status, seen.error.cls if seen.error is not None else "ok")
        if came != given:
            raise NotRecorded(
                f"the client got {came[0]} ({came[1]}), a replay gives {given[0]} ({given[1]})"
            )

    def _secrets(
        self, order: Order, taken: list[Taken], tokens: Mapping[str, object]
    ) -> Iterator[Secret]:
        yield from outside(order)
        key = self.served.key
        if key is not None and (long_enough(key) or order.route.roster.client):
            yield key  # a short one that is not passed on stands nowhere
        yield from (each for each in bearers(taken) if long_enough(each))
        yield from self.scribe.redactor.inside(b"\n".join(_bytes(taken)) + dumps(tokens))


def _has_answers(route: Route) -> bool:
    """Whether its upstream keeps answers for clients that go on from them."""
    return route.dialect is not None and route.dialect.name == RESPONSES


def _bare(order: Order, clock: float, seed: int, tokens: Mapping[str, object]) -> Fixture:
    """A fixture without exchanges."""
    spec = order.client
    client = {
        "dialect": spec.dialect, "path": spec.path, "headers": spec.headers, "json": spec.json
    }  # fmt: skip
    tree = {"fixture": 1, "route": order.named, "clock": clock, "seed": seed, "tokens": tokens}
    tree |= {"client": {name: each for name, each in client.items() if each}, "exchanges": []}
    return read_fixture(text_of(tree).encode(), str(order.out), lambda name: b"")


def _bytes(taken: list[Taken]) -> Iterator[bytes]:
    """All that was said, for the search for secrets."""
    for each in taken:
        head = each.head.headers if each.head is not None else ()
        pairs = (*each.request.headers, *each.request.query, *head)
        yield each.request.url.encode()
        yield from (f"{name}: {value}".encode("utf-8", "replace") for name, value in pairs)
        yield each.request.body
        yield each.body
        yield dumps(each.frames)
