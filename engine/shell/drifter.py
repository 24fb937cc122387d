"""Asks a real upstream what a fixture's client asked, and compares the answers' shapes.

Both sides run the same engine with the same eyes: the fixture is replayed, the upstream is asked in
the world of a recording (`engine/shell/recorder.py`), and what came is compared
(`engine/replay/drifting.py`). An upstream that could not be asked has not drifted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import Literal

from engine.errors import ConfigError
from engine.options import Secret
from engine.ports import Upstream
from engine.replay.ablation import Ablation, Field
from engine.replay.anatomy import PASSING, Answered, anatomy
from engine.replay.composing import bearers
from engine.replay.coverage import Coverage
from engine.replay.drifting import Comparison, Difference, Run, confirmed, sometimes
from engine.replay.fixtures import ClientSpec, ExchangeSpec, Fixture
from engine.replay.play import Seen, World, ask, complaints, play
from engine.replay.readings import Reading, Readings
from engine.replay.recorded import Recorded
from engine.replay.taping import Taken, Tape
from engine.route.compile import Compiled
from engine.route.route import Route
from engine.wire import HttpRequest

from .recorder import HeldClock, Listening, Notes, Order, outside, told, world
from .settings import Settings
from .stub import load_fixture
from .testing import WORLD, Prepared

REFUSED = PASSING | {401, 402, 403, 407}  # statuses that tell nothing of the form of answers
UNTOLD = frozenset(
    {"auth_expired", "auth_invalid", "quota_exhausted", "rate_limited", "overloaded", "challenge",
     "timeout", "connect"}
)  # fmt: skip
MOST_ABLATED = 50


class Unusable(Exception):
    """A fixture that cannot be compared with: it is broken, or its replay fails."""


@dataclass(slots=True)
class Verdict:
    """What came of one fixture. why: of what was not asked."""

    file: Path
    state: Literal["alike", "drifted", "unasked"] = "alike"
    why: str = ""
    differences: list[Difference] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What is to be asked.

    key     what stands for the client's key in the fixture
    reach   what stands between the engine and the network, if something does
    """

    compiled: Compiled
    notes: Notes
    settings: Settings
    key: str = ""
    reach: Callable[[Upstream], Upstream] = lambda it: it

    @property
    def route(self) -> Route:
        assert self.compiled.route is not None
        return self.compiled.route

    @property
    def readings(self) -> Readings:
        assert self.compiled.tree is not None
        return Readings(self.compiled.tree)


@dataclass(slots=True)
class Played:
    """A fixture and its replay. answers: each with the index of its exchange."""

    file: Path
    fixture: Fixture
    route: Route
    run: Run
    answers: list[tuple[int, Answered]]

    @property
    def client(self) -> ClientSpec:
        assert self.fixture.spec.client is not None
        return self.fixture.spec.client


class Attentive(Recorded):
    """A fixture that notes which of its exchanges happened, in order."""

    def __init__(self, fixture: Fixture) -> None:
        super().__init__(fixture)
        self.played: list[int] = []

    def take(self, request: HttpRequest) -> tuple[ExchangeSpec, bytes]:
        spec, body = super().take(request)
        exchanges = enumerate(self.fixture.spec.exchanges)
        self.played.append(next(at for at, each in exchanges if each is spec))
        return spec, body


async def inquire(inquiry: Inquiry, files: list[Path]) -> list[Verdict]:
    """Compare each fixture with the upstream. Raises Unusable before anything is sent."""
    played = [await replay(inquiry, file) for file in files]
    rare = sometimes([each.run for each in played])
    comparison = Comparison(inquiry.route, inquiry.readings, rare)
    return [await _compare(inquiry, each, comparison) for each in played]


async def replay(inquiry: Inquiry, file: Path) -> Played:
    """Play a fixture on the route, with the fixture's own environment. Raises Unusable."""
    try:
        fixture = load_fixture(file)
    except (ConfigError, OSError) as error:
        raise Unusable(f"{file}: {error}") from None
    if fixture.spec.client is None:
        raise Unusable(f"{file}: it has no client whose request could be sent")
    path = Path(inquiry.route.file)
    found = Prepared([path.parent], fixture, bundled=True).load(path)
    if found.route is None:
        raise Unusable(f"{file}: {found.errors[0]}")
    coverage, recorded, listening = Coverage(), Attentive(fixture), Listening()
    asked = coverage.watched(found.route)
    tape = Tape(recorded, recorded.clock.monotonic)
    watched = World(WORLD.store, listening)
    seen = await play(asked, fixture, watched, recorded, lambda upstream: tape)
    wrong = complaints(fixture, seen)
    if wrong:  # without values: they may be what was said
        what = wrong[0].partition(" should ")[0]
        raise Unusable(f"{file} does not hold on route {inquiry.route.name}: {what}")
    answers, opens = _answers(tape), inquiry.readings.opens
    run = Run(anatomy(found.route, answers, opens), coverage.hits, listening.unmatched, seen)
    return Played(file, fixture, found.route, run, [*zip(recorded.played, answers, strict=False)])


def _answers(tape: Tape) -> list[Answered]:
    return [
        Answered(each.request, each.head, each.body, each.fetched)
        for each in tape.taken
        if each.head is not None
    ]


async def _compare(inquiry: Inquiry, played: Played, comparison: Comparison) -> Verdict:
    verdict = Verdict(played.file)
    run, taken, secrets = await _asked(inquiry, played)
    verdict.why = told(_unasked(played.run.seen[-1], run.seen[-1], taken), secrets)
    if verdict.why:
        verdict.state = "unasked"
        return verdict
    found = comparison.differences(played.run, run)
    verdict.differences = [_bare(each, secrets) for each in await _weighed(played, found)]
    if any(each.severity == "error" for each in verdict.differences):
        verdict.state = "drifted"
    return verdict


async def _asked(inquiry: Inquiry, played: Played) -> tuple[Run, list[Taken], list[Secret]]:
    """Ask the upstream what the fixture's client asked."""
    client, route = played.client, inquiry.route
    if inquiry.key:
        headers = {"Authorization": f"Bearer {inquiry.key}"}
        kept = {name: text for name, text in client.headers.items() if name.lower() not in _KEYS}
        client = dataclasses.replace(client, headers={**kept, **headers})
    order = Order(route, route.name, client, played.file, inquiry.notes, [], inquiry.settings)
    coverage, listening = Coverage(), Listening()
    seed = SystemRandom().getrandbits(31)
    async with world(order, listening, HeldClock(), seed, inquiry.reach) as (ports, tape, _):
        seen = await ask(coverage.watched(route), client, ports)
    calls = anatomy(route, _answers(tape), inquiry.readings.opens)
    run = Run(calls, coverage.hits, listening.unmatched, seen)
    return run, tape.taken, [*outside(order), *listening.secrets, *bearers(tape.taken)]


_KEYS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "api-key"})


def _unasked(old: Seen, new: Seen, taken: list[Taken]) -> str:
    """Why the upstream's form cannot be told; empty if it can."""
    failed = new.error
    if failed is None or (old.error is not None and old.error.cls == failed.cls):
        return ""
    if not taken:
        return f"no request was sent ({failed.cls}: {failed.message})"
    last = taken[-1]
    name = f"{last.request.method} {last.request.url.partition('?')[0]}"
    if last.head is None:
        return f"{name} got no answer ({failed.cls})"
    if last.head.status in REFUSED:
        return f"{name} was answered with {last.head.status} ({failed.cls})"
    if last.end != "eof":
        return f"the answer to {name} broke off ({failed.cls})"
    return f"{name} was refused ({failed.cls})" if failed.cls in UNTOLD else ""


async def _weighed(played: Played, found: list[Difference]) -> list[Difference]:
    """The differences, with those made errors that a dialect or a transform would miss."""
    ablation, left = Ablation(played.route, played.fixture, WORLD), MOST_ABLATED
    out = []
    for each in found:
        lost = each.what in ("vanished", "retyped") and not each.readings and each.way is not None
        if lost and left:
            left -= 1
            assert each.way is not None
            gone = Field(each.call, each.kind, each.way)
            if await ablation.matters(gone, played.answers):
                each = confirmed(each, _reader(played.route))
        out.append(each)
    return out


def _reader(route: Route) -> Reading:
    dialect = route.spec.dialect
    return Reading(f"dialect {dialect}" if dialect else "a transform", route.file, 0)


def _bare(found: Difference, secrets: list[Secret]) -> Difference:
    """The difference without secrets, whatever an upstream made its names of."""
    way = None if found.way is None else tuple(told(step, secrets) for step in found.way)
    return dataclasses.replace(
        found,
        way=way,
        call=told(found.call, secrets),
        kind=told(found.kind, secrets),
        before=told(found.before, secrets),
        after=told(found.after, secrets),
    )
