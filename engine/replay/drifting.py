"""What has changed between two runs of one request: how a fixture was answered, and how it is now.

An error is what the route needs and no longer finds; a note is what it need not care about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Literal

from engine.route.answer_spec import RuleSpec
from engine.route.route import Route
from engine.route.rules import RuleReader

from .anatomy import Call
from .coverage import Hit
from .play import Seen
from .readings import Reading, Readings
from .shapes import Change, Shape, Way, changes, said, word

MOST = 200  # differences that are told
_ORDERS = 3  # of which about order, of one call
_NAMES = {"input": "usage.input", "output": "usage.output"}
_LISTS = ("stream.events", "response.events")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it was.

    what      calls, status, content, vanished, retyped, appeared, renamed, kind, order, rule,
              unmatched, outcome, finish, usage
    call      method and path, "" of the answer as a whole
    kind      of the records, "" where there is one kind
    way       the path in them; None: it is about no path
    before    what the fixture has; after: what the upstream sends now
    readings  where the route reads it
    """

    severity: Literal["error", "note"]
    what: str
    before: str
    after: str
    call: str = ""
    kind: str = ""
    way: Way | None = None
    readings: tuple[Reading, ...] = ()

    @property
    def path(self) -> str:
        return "" if self.way is None else said(self.way)


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its calls, the rules that it hit, records no rule knew, what the client saw."""

    calls: dict[str, Call]
    hits: set[Hit]
    unmatched: Mapping[str, int]
    seen: list[Seen]


@dataclass(frozen=True, slots=True)
class Sometimes:
    """What is in some fixtures of a call and not in all: kinds, and paths of kinds."""

    kinds: frozenset[tuple[str, str]] = frozenset()
    ways: frozenset[tuple[str, str, Way]] = frozenset()


def sometimes(runs: list[Run]) -> Sometimes:
    """What several fixtures of one route tell."""
    kinds: dict[tuple[str, str], int] = {}
    ways: dict[tuple[str, str, Way], int] = {}
    of_call: dict[str, int] = {}
    for run in runs:
        for name, call in run.calls.items():
            of_call[name] = of_call.get(name, 0) + 1
            for kind, shape in call.kinds.items():
                kinds[name, kind] = kinds.get((name, kind), 0) + 1
                for way in shape.spots:
                    ways[name, kind, way] = ways.get((name, kind, way), 0) + 1
    return Sometimes(
        frozenset(key for key, count in kinds.items() if count < of_call[key[0]]),
        frozenset(key for key, count in ways.items() if count < kinds[key[:2]]),
    )


@dataclass(slots=True)
class Comparison:
    """Compares runs of a route. readings: of the route's text."""

    route: Route
    readings: Readings
    rare: Sometimes = field(default_factory=Sometimes)

    def differences(self, old: Run, new: Run) -> list[Difference]:
        found = [*self._outcomes(old, new), *self._calls(old, new), *self._rules(old, new)]
        return found[:MOST]

    # ---- what came of it ----

    def _outcomes(self, old: Run, new: Run) -> Iterator[Difference]:
        for before, after in zip(old.seen, new.seen, strict=False):
            if _outcome(before) != _outcome(after):
                yield Difference("error", "outcome", _outcome(before), _outcome(after))
            elif before.error is None:
                yield from _answers(before, after)

    # ---- calls ----

    def _calls(self, old: Run, new: Run) -> Iterator[Difference]:
        for name in [*old.calls, *(name for name in new.calls if name not in old.calls)]:
            before, after = old.calls.get(name), new.calls.get(name)
            if before is None or after is None:
                told = (_times(before), _times(after))
                yield Difference("error", "calls", *told, call=name)
            else:
                yield from self._call(before, after)

    def _call(self, old: Call, new: Call) -> Iterator[Difference]:
        if new.passing and not old.passing:
            statuses = ", ".join(map(str, new.passing))
            yield Difference("note", "calls", "", f"asked again after {statuses}", call=new.name)
        polled = self.route.poll is not None and not old.fetched
        if len(old.statuses) != len(new.statuses) and not polled:
            yield Difference("error", "calls", _times(old), _times(new), call=new.name)
        if _status(old) != _status(new):
            told = (_listed(old.statuses), _listed(new.statuses))
            yield Difference("error", "status", *told, call=new.name)
            return  # the body is another thing then
        if old.contents and new.contents != old.contents:
            told = (_listed(old.contents), _listed(new.contents) or "none")
            yield Difference("error", "content", *told, call=new.name)
        yield from self._kinds(old, new)
        yield from self._orders(old, new)
        for kind, shape in old.kinds.items():
            if kind in new.kinds:
                yield from self._shapes(new, kind, shape, new.kinds[kind])

    def _kinds(self, old: Call, new: Call) -> Iterator[Difference]:
        for kind in old.kinds:
            if kind not in new.kinds:
                yield Difference(
                    "note", "kind", "", "did not come", call=new.name, kind=kind or "record"
                )
        for kind in new.kinds:
            if kind not in old.kinds and (new.name, kind) not in self.rare.kinds:
                yield Difference("note", "kind", "", "is new", call=new.name, kind=kind)

    def _orders(self, old: Call, new: Call) -> Iterator[Difference]:
        """Kinds of which all of one now come after all of the other, and did before it."""
        both = [kind for kind in old.kinds if kind in new.kinds]
        turned = [
            (one, other)
            for one, other in combinations(both, 2)
            if old.places[one][1] < old.places[other][0]
            and new.places[other][1] < new.places[one][0]
        ]
        for one, other in turned[:_ORDERS]:
            ends = self._ends(one) or self._ends(other)
            yield Difference(
                "error" if ends else "note",
                "order",
                f"{one or 'record'} before {other}",
                f"{other} before {one or 'record'}",
                call=new.name,
            )

    def _ends(self, kind: str) -> bool:
        """Whether a rule takes records of this kind for the end, or learns from them."""
        words = set(kind.split(" "))
        return any(
            _weighty(rule) and not rule.text and words & _constants(rule)
            for rule in _rules(self.route, "stream.events")
        )

    def _shapes(self, call: Call, kind: str, old: Shape, new: Shape) -> Iterator[Difference]:
        for change in changes(old, new):
            read = self.readings.of(change.way, fetched=call.fetched)
            yield Difference(
                self._severity(call, kind, change, bool(read)),
                change.what,
                change.before,
                change.after,
                call.name,
                kind,
                change.way,
                tuple(dict.fromkeys(read)) if change.what != "appeared" else (),
            )

    def _severity(
        self, call: Call, kind: str, change: Change, read: bool
    ) -> Literal["error", "note"]:
        loses = change.what in ("vanished", "retyped") and not change.open
        rare = change.what == "vanished" and (call.name, kind, change.way) in self.rare.ways
        return "error" if loses and read and not rare else "note"

    # ---- rules ----

    def _rules(self, old: Run, new: Run) -> Iterator[Difference]:
        refused = any(
            not call.fetched and name in new.calls and _status(call) != _status(new.calls[name])
            for name, call in old.calls.items()
        )
        for place, at in sorted(old.hits - new.hits):
            if refused and place in _LISTS:
                continue  # nothing was there to be read, and that is told
            reading = self.readings.at(place, at)
            yield Difference(
                "error" if self._needed(place, at) else "note", "rule", "hit", "not hit",
                readings=(reading,) if reading else (),
            )  # fmt: skip
        for place, at in sorted(new.hits - old.hits):
            reading = self.readings.at(place, at)
            yield Difference(
                "note", "rule", "not hit", "hit", readings=(reading,) if reading else ()
            )
        stream = self.route.spec.stream
        if stream is None or stream.unmatched != "ignore":
            for name in sorted(new.unmatched.keys() - old.unmatched.keys()):
                kind = word(name) or "record"
                yield Difference("error", "unmatched", "", "no rule knows it", kind=kind)

    def _needed(self, place: str, at: int) -> bool:
        """Whether each answer hits it. Thinking, calls, pictures and errors come as they like."""
        if place == "errors.rules":
            return False
        rules = _rules(self.route, place)
        kinds = _constants(rules[at]) if at < len(rules) else frozenset()
        if any(kind in self.rare_words for kind in kinds):
            return False
        return at >= len(rules) or _weighty(rules[at])

    @property
    def rare_words(self) -> frozenset[str]:
        return frozenset(part for _, kind in self.rare.kinds for part in kind.split(" ") if part)


def confirmed(found: Difference, reading: Reading) -> Difference:
    """A loss that the route turned out to read."""
    return replace(found, severity="error", readings=(*found.readings, reading))


def _rules(route: Route, place: str) -> list[RuleSpec]:
    """The rules at `stream.events` or `response.events`."""
    road = {"stream.events": route.stream_road, "response.events": route.whole_road}.get(place)
    made = road.reader({}, str) if road is not None else None
    return [rule.source for rule in made.rules.rules] if isinstance(made, RuleReader) else []


def _weighty(rule: RuleSpec) -> bool:
    return any((rule.text, rule.usage, rule.finish, rule.set, rule.note, rule.end))


def _constants(rule: RuleSpec) -> frozenset[str]:
    """The words that a rule asks for."""
    wanted = rule.match.source.values() if rule.match is not None else ()
    flat = (each for value in wanted for each in (value if isinstance(value, list) else [value]))
    return frozenset([*rule.event, *(each for each in flat if isinstance(each, str))])


# ---- words ----


def _outcome(seen: Seen) -> str:
    if seen.error is None:
        return f"{seen.status}, answered"
    return f"{seen.status}, failed with {seen.error.cls or 'an error'}"


def _answers(old: Seen, new: Seen) -> Iterator[Difference]:
    if old.reply.finish != new.reply.finish:
        yield Difference("error", "finish", old.reply.finish or "none", new.reply.finish or "none")
    if old.reply.text and not (new.reply.text or new.reply.calls):
        yield Difference("error", "outcome", "text", "no text")
    before, after = _counts(old), _counts(new)
    if before - after:
        yield Difference("error", "usage", _listed(before), _listed(after) or "none told")


def _counts(seen: Seen) -> set[str]:
    """The counts that the upstream told."""
    usage = seen.reply.usage
    if usage is None or usage.estimated:
        return set()
    return {told for name, told in _NAMES.items() if getattr(usage, name) is not None}


def _status(call: Call) -> set[int]:
    return set(call.statuses)


def _times(call: Call | None) -> str:
    count = len(call.statuses) if call is not None else 0
    return {0: "not called", 1: "called once"}.get(count, f"called {count} times")


def _listed(items: list[int] | set[str]) -> str:
    return ", ".join(sorted({str(item) for item in items}))
