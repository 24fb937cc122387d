"""What the answers of one exchange are made of: their status, their kinds of events, their shapes.

Answers of one request (the same method and path, ids in it left out) are one call: a job that is
asked for again and again has merged answers. An answer that asks to be patient, and after which
the same was asked again, does not count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from engine.parsers import FramingError
from engine.route.pipeline import Road
from engine.route.route import Route
from engine.route.rules import RuleReader
from engine.route.sniff import sniff
from engine.wire import HttpRequest, HttpResponse, JsonError, Record, loads

from .shapes import Opens, Shape, is_id, word

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
MOST_KINDS = 64
_NUMBERED = re.compile(r"(?=(?:.*\d){3}).{5,}")  # `job-1723`; of a model both sides have the same
Key = Callable[[object], object]


@dataclass(frozen=True, slots=True)
class Answered:
    """One request and its answer. fetched: for a value, and not a call of the route's own."""

    request: HttpRequest
    head: HttpResponse
    body: bytes
    fetched: bool = False

    @property
    def name(self) -> str:
        return request_name(self.request)


def request_name(request: HttpRequest) -> str:
    """The method and path of a request, without the ids in it."""
    path = urlsplit(request.url).path or "/"
    masked = ("*" if is_id(part) or _NUMBERED.fullmatch(part) else part for part in path.split("/"))
    return f"{request.method} {'/'.join(masked)}"


@dataclass(slots=True)
class Call:
    """All answers to one request.

    kinds    the shape of each kind of records, by the word that tells it; in order of their coming
    places   of each kind the first and the last record
    passing  statuses of answers after which it was asked again
    """

    name: str
    fetched: bool
    statuses: list[int] = field(default_factory=list)
    passing: list[int] = field(default_factory=list)
    contents: set[str] = field(default_factory=set)
    kinds: dict[str, Shape] = field(default_factory=dict)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    records: int = 0

    def add(self, answer: Answered, records: Iterable[tuple[str, object]], opens: Opens) -> None:
        self.statuses.append(answer.head.status)
        content = (answer.head.header("content-type") or "").partition(";")[0].strip().lower()
        self.contents |= {content} if content else set()
        for kind, value in records:
            if kind not in self.kinds and len(self.kinds) >= MOST_KINDS:
                continue
            self.kinds.setdefault(kind, Shape(opens)).add(value)
            first = self.places.get(kind, (self.records, 0))[0]
            self.places[kind] = (first, self.records)
            self.records += 1


def anatomy(
    route: Route, answers: list[Answered], opens: Opens = lambda way: False
) -> dict[str, Call]:
    """The calls by name, in order. opens: as of Shape."""
    calls: dict[str, Call] = {}
    names = [answer.name for answer in answers]
    for at, answer in enumerate(answers):
        call = calls.setdefault(names[at], Call(names[at], answer.fetched))
        if answer.head.status in PASSING and names[at] in names[at + 1 :]:
            call.passing.append(answer.head.status)
        else:
            call.add(answer, Dissector(route).records(answer), opens)
    return calls


class Dissector:
    """Cuts answers into records as the route reads them, and names their kinds."""

    def __init__(self, route: Route) -> None:
        self._road = route.stream_road
        self._keys = [_key(road) for road in (route.stream_road, route.whole_road)]

    def kind(self, record: Record, *, streamed: bool) -> str:
        """The name of its event, and the word at the path by which rules tell records apart."""
        key = self._keys[0 if streamed else 1]
        found = word(key(record.value))
        return " ".join(part for part in (word(record.event), found) if part)

    def records(self, answer: Answered) -> Iterator[tuple[str, object]]:
        """(kind, value) of each record; nothing where the answer is neither JSON nor a stream."""
        body, road = answer.body, self._road
        document = _loaded(body)
        if document is not None:
            yield self.kind(document, streamed=False), document.value
        elif road is not None and (not answer.fetched or sniff(body) == "stream"):
            for record in _parsed(road, body):
                yield self._named(road, record)

    def _named(self, road: Road, record: Record) -> tuple[str, object]:
        text = record.data.strip()
        if text in road.done:
            return text.decode("utf-8", "replace"), None
        found = _loaded(record.data)
        if found is None:
            kind = self.kind(Record(record.event, b""), streamed=True)
            return kind or "text", record.data.decode("utf-8", "replace")
        found.event = record.event
        return self.kind(found, streamed=True), found.value


def _parsed(road: Road, body: bytes) -> Iterator[Record]:
    parser = road.parser()
    try:
        yield from parser.feed(body)
        yield from parser.finish()
    except FramingError:
        return  # that the answer cannot be read shows in what came of it


def _loaded(data: bytes) -> Record | None:
    try:
        value = loads(data)
    except JsonError:
        return None
    return Record("", data, value)


def _key(road: Road | None) -> Key:
    """What finds the word that tells records apart: the path that the rules ask, else `type`."""
    made = road.reader({}, str) if road is not None else None
    if isinstance(made, RuleReader) and made.rules.key is not None:
        return made.rules.key
    return lambda value: value.get("type") if isinstance(value, dict) else None
