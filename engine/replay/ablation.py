"""Finds out whether a route reads a field: plays a fixture without it, and looks for a difference.

This holds for what no text of the route names: dialects and transforms. Nothing is compared with
what the fixture expects, only one replay with another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from engine.parsers import Parser
from engine.route.pipeline import Road
from engine.route.route import Route
from engine.wire import JsonError, Record, dumps, loads

from .anatomy import Answered, Dissector
from .fixtures import ExpectRequest, Fixture
from .play import Seen, World, play, visible
from .recorded import Recorded
from .shapes import Way, without


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """A path in the records of one kind of a call."""

    call: str
    kind: str
    way: Way


class Ablation:
    """Replays of one fixture on one route, each without some field."""

    def __init__(self, route: Route, fixture: Fixture, world: World) -> None:
        self._route = dataclasses.replace(route, passthrough=False)  # so that it is read at all
        self._world = world
        self._fixture = loose(fixture)
        self._whole: object = None

    async def matters(self, gone: Field, answers: list[tuple[int, Answered]]) -> bool:
        """Whether anything comes out otherwise. answers: each with the index of its exchange."""
        if self._whole is None:
            self._whole = await self._outcome(self._route, self._fixture)
        dissector = Dissector(self._route)
        bodies = list(self._fixture.bodies)
        for at, answer in answers:
            if answer.name == gone.call:
                bodies[at] = _document(dissector, answer.body, gone)
        fixture = dataclasses.replace(self._fixture, bodies=tuple(bodies))
        road = self._route.stream_road
        route = self._route
        if road is not None and road.json:
            lacking = dataclasses.replace(road, parser=_lacking(road, dissector, gone))
            route = dataclasses.replace(route, stream_road=lacking)
        return await self._outcome(route, fixture) != self._whole

    async def _outcome(self, route: Route, fixture: Fixture) -> object:
        recorded = Recorded(fixture)
        try:
            seen = await play(route, fixture, self._world, recorded)
        except TimeoutError:  # nothing would have come any more
            return None
        asked = [(request.method, request.url, request.body) for request in recorded.requests]
        return [_told(each) for each in seen], asked


def loose(fixture: Fixture) -> Fixture:
    """The fixture taking any request, where it has its exchanges in a row."""
    spec = fixture.spec
    if spec.any_order or any(each.repeat > 1 for each in spec.exchanges):
        return fixture
    exchanges = [dataclasses.replace(each, expect=ExpectRequest()) for each in spec.exchanges]
    return dataclasses.replace(fixture, spec=dataclasses.replace(spec, exchanges=exchanges))


def _told(seen: Seen) -> object:
    return visible(seen), seen.reply.usage, [str(part) for part in seen.reply.parts]


def _document(dissector: Dissector, body: bytes, gone: Field) -> bytes:
    """The body without the field, if it is a JSON document of that kind."""
    try:
        value = loads(body)
    except JsonError:
        return body
    if dissector.kind(Record("", b"", value), streamed=False) != gone.kind:
        return body
    return dumps(without(value, gone.way))


def _lacking(road: Road, dissector: Dissector, gone: Field) -> Callable[[], Parser]:
    return lambda: _Parser(road, dissector, gone)


class _Parser:
    """The road's own parser, whose records lack the field."""

    frames = 0

    def __init__(self, road: Road, dissector: Dissector, gone: Field) -> None:
        self._inner = road.parser()
        self._dissector = dissector
        self._gone = gone
        self._done = road.done

    def feed(self, data: bytes) -> list[Record]:
        return self._cut(self._inner.feed(data))

    def finish(self) -> list[Record]:
        return self._cut(self._inner.finish())

    def _cut(self, records: Iterable[Record]) -> list[Record]:
        self.frames = self._inner.frames
        return [self._lacking(record) for record in records]

    def _lacking(self, record: Record) -> Record:
        if record.data.strip() in self._done:
            return record
        try:
            value = loads(record.data)
        except JsonError:
            return record
        kind = self._dissector.kind(Record(record.event, b"", value), streamed=True)
        if kind != self._gone.kind:
            return record
        return Record(record.event, dumps(without(value, self._gone.way)))
