"""The same recorded answer, delivered otherwise: the client must see the same.

    cuts         byte by byte, line by line, event by event, in seeded random pieces; `full`: at
                 every place in two
    rewrites     what the framing calls equivalent: line ends, comments, a byte order mark
    re-split     the text before the transforms, character by character and in one piece
    broken ends  the stream cut after each frame, a document in its midst: an error, or the same
                 answer; never a shorter one that claims to be whole

The oracle is the uncut replay.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any, Literal

from engine.events import Event, TextDelta
from engine.parsers import FramingError
from engine.route.pipeline import Road
from engine.route.route import Route, Stage
from engine.route.sniff import sniff
from engine.route.transforms import Loaded
from engine.transform import Context

from .fixtures import Fixture
from .play import Seen, World, play, visible
from .recorded import Cut, Recorded, Rewrite, same, whole

Depth = Literal["quick", "full"]

RANDOM_CUTS = {"quick": 8, "full": 64}
BROKEN_ENDS = {"quick": 16, "full": 10_000}
TWO_PIECES = 4096  # bytes up to which every place to cut in two is tried
SHOWN = 400  # characters of an answer in a complaint

IN_ONE = "text in one piece"
NO_LAST = "no last "

Way = tuple[str, Cut, Rewrite]


async def fuzz(route: Route, fixture: Fixture, world: World, depth: Depth = "quick") -> list[str]:
    """Differences from the uncut replay, in words; [] if there are none."""
    recorded = Recorded(fixture)
    oracle = await play(route, fixture, world, recorded)
    longest = max((len(body) for body in recorded.answered), default=0)
    out: list[str] = []
    streamed = _streams(route, fixture)
    ends = {each.reply.end for each in fixture.spec.exchanges}
    for name, cut, rewrite in _ways(fixture.spec.seed, longest, depth, _framing(route, streamed)):
        if name.startswith(NO_LAST) and ends != {"eof"}:
            continue  # only the end of an answer stands for the end of its last line
        out += await _differ(name, route, fixture, world, oracle, cut, rewrite)
    stalls = "stall" in ends
    for name, other in _resplit(route):
        if stalls and name == IN_ONE:
            continue  # it would wait for text that never comes
        out += await _differ(name, other, fixture, world, oracle, whole, same)
    road = route.stream_road if streamed else route.whole_road or route.stream_road
    assert road is not None
    for name, rewrite in broken_ends(road, recorded.answered, BROKEN_ENDS[depth]):
        out += await _broken(name, route, fixture, world, oracle, rewrite)
    return out


async def _differ(
    name: str,
    route: Route,
    fixture: Fixture,
    world: World,
    oracle: list[Seen],
    cut: Cut,
    rewrite: Rewrite,
) -> list[str]:
    seen = await play(route, fixture, world, Recorded(fixture, cut, rewrite))
    await asyncio.sleep(0)
    pairs = zip(map(visible, seen), map(visible, oracle), strict=True)
    return [_told(name, got, wanted) for got, wanted in pairs if got != wanted]


async def _broken(
    name: str, route: Route, fixture: Fixture, world: World, oracle: list[Seen], rewrite: Rewrite
) -> list[str]:
    """An answer that broke off is told as an error; or nothing of it was missing."""
    seen = await play(route, fixture, world, Recorded(fixture, rewrite=rewrite))
    await asyncio.sleep(0)
    return [
        _told(name, visible(got), visible(wanted))
        for got, wanted in zip(seen, oracle, strict=True)
        if got.error is None and visible(got)[:-1] != visible(wanted)[:-1]
    ]


def _told(name: str, got: object, wanted: object) -> str:
    return f"{name}: the client sees {repr(got)[:SHOWN]} instead of {repr(wanted)[:SHOWN]}"


def _streams(route: Route, fixture: Fixture) -> bool:
    """Whether the upstream of this fixture is asked to stream."""
    client = fixture.spec.client
    assert client is not None
    return route.streams(client.streams)


def _framing(route: Route, streamed: bool) -> str:
    """The word of the framing, "" for a whole answer."""
    if not streamed:
        return ""
    stream = route.spec.stream
    if stream is not None and stream.format is not None:
        return stream.format.name
    return route.dialect.framing if route.dialect else "sse"


# ---- cuts and rewrites ----


def _ways(seed: int, longest: int, depth: Depth, framing: str) -> Iterator[Way]:
    for name, cut in cuts(seed, RANDOM_CUTS[depth]):
        yield name, cut, same
    if depth == "full" and longest <= TWO_PIECES:
        for at in range(1, longest):
            yield f"cut at {at}", partial(_in_two, at), same
    for name, rewrite in rewrites(framing):
        rewrite = partial(_events_only, rewrite) if framing == "sse" else rewrite
        yield f"{name}, whole", whole, rewrite
        yield f"{name}, byte by byte", _bytes, rewrite


def _events_only(rewrite: Rewrite, body: bytes) -> bytes:
    """A document or a page in place of events, or in answer to another request, stays as it is."""
    return body if sniff(body) in ("document", "page") else rewrite(body)


def cuts(seed: int, number: int) -> Iterator[tuple[str, Cut]]:
    """Ways to cut an answer: byte by byte, after (blank) lines, and seeded random pieces."""
    yield "byte by byte", _bytes
    yield "line by line", partial(_after, b"\n")
    yield "event by event", partial(_after, b"\n\n")
    random = Random(seed)
    for at in range(number):
        yield f"random cuts {at}", partial(_pieces, random.getrandbits(32))


def _bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def _after(end: bytes, data: bytes) -> list[bytes]:
    *parts, last = data.split(end)
    return [*(part + end for part in parts), last]


def _in_two(at: int, data: bytes) -> list[bytes]:
    return [data[:at], data[at:]]


def _pieces(state: int, data: bytes) -> list[bytes]:
    random = Random(state)
    out, at = [], 0
    while at < len(data):
        step = random.choice((1, 2, 3, 7, 30, 200))
        out.append(data[at : at + step])
        at += step
    return out


def rewrites(framing: str) -> Iterator[tuple[str, Rewrite]]:
    """Equivalent forms of a line-based stream (WHATWG server-sent events, JSON lines)."""
    if framing == "sse":
        yield "CRLF", lambda body: _lines(body).replace(b"\n", b"\r\n")
        yield "CR", lambda body: _lines(body).replace(b"\n", b"\r")
        yield "BOM", lambda body: b"\xef\xbb\xbf" + body
        yield "comments", _unless_document(_commented)
        yield "ids", _unless_document(lambda body: b"id: 1\nretry: 9\n" + body)
        yield "no space", lambda body: body.replace(b"data: ", b"data:")
        yield f"{NO_LAST}blank line", lambda body: body.rstrip(b"\r\n") + b"\n"
    elif framing == "ndjson":
        yield "CRLF", lambda body: body.replace(b"\n", b"\r\n")
        yield "blank lines", lambda body: body.replace(b"\n", b"\n\n")
        yield f"{NO_LAST}newline", lambda body: body.rstrip(b"\n")


def _unless_document(rewrite: Rewrite) -> Rewrite:
    """JSON in place of a stream of events stays: no line can be put into it."""
    return lambda body: body if body.lstrip()[:1] in (b"{", b"[") else rewrite(body)


def _commented(body: bytes) -> bytes:
    return b": a\n\n" + body.replace(b"\n\n", b"\n\n: b\n\n")


def _lines(body: bytes) -> bytes:
    return body.replace(b"\r\n", b"\n")


# ---- text before the transforms ----


class Characters:
    """A transform that gives text character by character."""

    def feed(self, event: Event) -> list[Event]:
        if not isinstance(event, TextDelta):
            return [event]
        return [TextDelta(event.block, letter) for letter in event.text]


class Merged:
    """A transform that gives neighbouring text in one piece."""

    def __init__(self, options: object, context: Context) -> None:
        self.held: TextDelta | None = None

    def feed(self, event: Event) -> list[Event]:
        if not isinstance(event, TextDelta):
            return [*self.finish(), event]
        if self.held is not None and self.held.block == event.block:
            self.held = TextDelta(event.block, self.held.text + event.text)
            return []
        out = self.finish()
        self.held = event
        return out

    def finish(self) -> list[Event]:
        held, self.held = self.held, None
        return [held] if held else []


def _resplit(route: Route) -> Iterator[tuple[str, Route]]:
    """The route with a stage before its transforms, if any of them looks at events."""
    if not any(stage.has("feed") for stage in route.stages):
        return
    for name, make in (("text by characters", Characters), (IN_ONE, Merged)):
        stage = Stage(_loaded(name, make), None, None)
        yield name, dataclasses.replace(route, stages=(stage, *route.stages))


def _loaded(name: str, make: type[Any]) -> Loaded:
    methods: Any = frozenset(method for method in ("feed", "finish") if hasattr(make, method))
    return Loaded(
        name=name,
        path="",
        digest="",
        doc="",
        options=None,
        methods=methods,
        after=(),
        retries=(),
        hosts=(),
        cpu_bound=False,
        make=make,
    )


# ---- broken ends ----


def broken_ends(road: Road, bodies: list[bytes], most: int) -> Iterator[tuple[str, Rewrite]]:
    """Rewrites that cut the end off, where an answer says that it is whole."""
    if road.finish_optional or (road.whole and not road.json):
        return  # the route itself takes whatever came for the whole
    if road.whole:
        for part in (0.0, 0.5, 0.9):
            yield f"broken off at {part:.0%}", partial(_part, part)
        return
    count = max((len(frame_ends(road.parser, body)) for body in bodies), default=0)
    step = max(1, -(-count // most))
    for number in itertools.chain(range(0, count, step), [count]):
        yield f"broken off after frame {number}", partial(_first, road, number)


def _part(part: float, body: bytes) -> bytes:
    return body[: int(len(body) * part)]


def _first(road: Road, number: int, body: bytes) -> bytes:
    ends = frame_ends(road.parser, body)
    return body[: ends[min(number, len(ends)) - 1]] if number and ends else b""


def frame_ends(make: Callable[[], Any], body: bytes) -> list[int]:
    """Where each whole frame ends."""
    parser, ends, seen = make(), [], 0
    try:
        for at in range(len(body)):
            parser.feed(body[at : at + 1])
            if parser.frames > seen:
                seen = parser.frames
                ends.append(at + 1)
    except FramingError:
        pass
    return ends
