"""Which parts of a route its fixtures have reached: error rules, event rules, what is said on a
websocket, transforms.

A watched route does what the route does and notes it. Of a route that extends another only what
stands in its own file counts: the rest has fixtures of its own.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from engine.events import Event
from engine.options import Env
from engine.route.classify import Classifier, Fault
from engine.route.compile import Compiled
from engine.route.emits import Memory
from engine.route.pipeline import Reader, Road
from engine.route.places import find
from engine.route.route import Route
from engine.route.rules import Rule, RuleReader, Rules
from engine.route.talking import Part, TalkPlan
from engine.route.transforms import Loaded

Hit = tuple[str, int]
Way = tuple[str | int, ...]
_SEND, _REPLY = "request.websocket.send", "request.websocket.reply"


class Coverage:
    """What was reached so far, of one route."""

    def __init__(self) -> None:
        self.hits: set[Hit] = set()
        self.ran: set[str] = set()

    def watched(self, route: Route) -> Route:
        """The same route, noting which rules are hit."""
        classifier = self._classifier(route.classifier)
        return dataclasses.replace(
            route,
            classifier=classifier,
            talk=route.talk and self._talk(route.talk, classifier),
            stream_road=self._road("stream", route.stream_road),
            whole_road=self._road("response", route.whole_road),
        )

    def _classifier(self, classifier: Classifier) -> Classifier:
        watched = copy.copy(classifier)
        faults = {id(fault): self._fault(at, fault) for at, fault in enumerate(classifier.faults)}
        watched.faults = tuple(faults.values())
        watched.good = tuple(faults[id(fault)] for fault in classifier.good)
        return watched

    def _fault(self, at: int, fault: Fault) -> Fault:
        def note(answer: object, env: object) -> bool:
            self.hits.add(("errors.rules", at))
            return True  # asked last, when all other tests hold

        return dataclasses.replace(fault, tests=(*fault.tests, note))

    def _talk(self, talk: TalkPlan, classifier: Classifier) -> TalkPlan:
        return dataclasses.replace(
            talk,
            classifier=classifier,
            send=tuple(self._part(_SEND, at, part) for at, part in enumerate(talk.send)),
            reply=tuple(self._part(_REPLY, at, part) for at, part in enumerate(talk.reply)),
        )

    def _part(self, place: str, at: int, part: Part) -> Part:
        def make(env: Env) -> bytes | None:
            self.hits.add((place, at))
            return part.make(env)

        return dataclasses.replace(part, make=make)

    def _road(self, place: str, road: Road | None) -> Road | None:
        if road is None:
            return None
        make, known = road.reader, dict[int, Rules]()

        def reader(env: dict[str, object], new_id: Callable[[], str]) -> Reader:
            made = make(env, new_id)
            if isinstance(made, RuleReader):
                rules = made.rules
                made.rules = known.setdefault(id(rules), self._rules(place, rules))
            return made

        return dataclasses.replace(road, reader=reader)

    def _rules(self, place: str, rules: Rules) -> Rules:
        watched = (self._rule(f"{place}.events", at, r) for at, r in enumerate(rules.rules))
        return rules.over(tuple(watched))

    def _rule(self, place: str, at: int, rule: Rule) -> Rule:
        def note(reader: Memory, item: Any, out: list[Event]) -> None:
            self.hits.add((place, at))

        return dataclasses.replace(rule, emits=(note, *rule.emits), text=None)  # always by `emits`

    @contextmanager
    def running(self, transforms: list[Loaded]) -> Iterator[None]:
        """Inside the block it is noted which of the transforms run at all."""
        kept = [
            (loaded.make, method, getattr(loaded.make, method))
            for loaded in transforms
            for method in loaded.methods
        ]
        names = {loaded.make: loaded.name for loaded in transforms}
        for make, method, function in kept:
            setattr(make, method, self._noting(names[make], function))
        try:
            yield
        finally:
            for make, method, function in kept:
                setattr(make, method, function)

    def _noting(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            self.ran.add(name)
            return function(*args)

        return run

    def gaps(self, compiled: Compiled, transforms: list[Loaded]) -> list[str]:
        """What was never reached, with its place, in words."""
        route = compiled.route
        assert route is not None
        out = []
        for place, count in _places(route):
            for at in range(count):
                mark = find(compiled.tree, (*place.split("."), at)).mark if compiled.tree else None
                if (place, at) not in self.hits and mark is not None and mark.file == route.file:
                    out.append(f"{mark.file}:{mark.line}: {place}[{at}] was never hit")
        missed = sorted({loaded.name for loaded in transforms} - self.ran)
        return out + [f"{route.file}: transform `{name}` never ran" for name in missed]


def _places(route: Route) -> Iterator[Hit]:
    """The lists of rules a route has, and their lengths."""
    spec = route.spec
    if route.talk is not None:
        yield _SEND, len(route.talk.send)
        yield _REPLY, len(route.talk.reply)
    yield "errors.rules", len(spec.errors.rules)
    if spec.stream is not None:
        yield "stream.events", len(spec.stream.events or [])
    if spec.response is not None:
        yield "response.events", len(spec.response.events or [])
