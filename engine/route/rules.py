"""Event rules: from a record of a custom upstream to events.

Rules are compiled once, at load: paths are generated getters, and rules that tell records apart
by the same path share a dispatch table. `RuleReader` holds what one attempt must remember (the
text so far of snapshots, which tool call is being told). First match wins; `continue` goes on.
What the words of a rule read of a record is in `emits.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from engine.dialects.outcomes import shorten
from engine.events import Annotation, End, ErrorEvent, Event, StateSet, UsageEvent
from engine.options import Env
from engine.wire import FailureRecord, Record

from .answer_spec import RuleSpec
from .emits import Emit, Find, emitters, written
from .pick import compile_selector_path, parse

Read = Callable[["RuleReader", Record, list[Event]], bool]  # whether a rule knew the record
_LATE = {UsageEvent, StateSet, Annotation, End}  # heard after the finish


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled rule: tests are asked in order, emits run in order.

    text  finds its text, where that is all it reads and it ends the reading of a record
    """

    events: frozenset[str]
    tests: tuple[Callable[[Any], bool], ...]
    when: Callable[[Env], bool] | None
    each: Callable[[object], list[object]] | None
    emits: tuple[Emit, ...]
    goes_on: bool
    source: RuleSpec
    text: Find | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """A compiled list of rules, shared by all attempts of a route.

    finishes   some rule tells the finish, so an answer without one is truncated
    exact      whole JSON values are handed on (arguments, annotations, state)
    key        path whose value chooses among `table`; None: always `rest`
    table      reads a record by those rules that the value leaves possible
    texts      finds the text of such a record, if that is all it holds; other is for `rest`
    """

    rules: tuple[Rule, ...]
    finishes: bool
    reduce: str
    key: Find | None = None
    table: Mapping[str, Read] = field(default_factory=dict)
    rest: Read = lambda reader, record, out: False
    exact: bool = False
    texts: Mapping[str, Find | None] = field(default_factory=dict)
    other: Find | None = None

    def over(self, rules: tuple[Rule, ...]) -> Rules:
        """The same with these rules, and the table that belongs to them."""
        path = _discriminator([rule.source for rule in rules])
        if path is None:
            read, text = _reading(rules), _only_text(rules)
            return replace(self, rules=rules, key=None, table={}, rest=read, texts={}, other=text)
        known = [(_words(rule.source, path), rule) for rule in rules]
        rest = [rule for has, rule in known if not has]
        chosen = {
            word: [
                _chosen(rule, path) if has else rule
                for has, rule in known
                if not has or word in has
            ]
            for words, _ in known
            for word in words or ()
        }
        return replace(
            self,
            rules=rules,
            key=compile_selector_path(path).first,
            table={word: _reading(found) for word, found in chosen.items()},
            rest=_reading(rest),
            texts={word: _only_text(found) for word, found in chosen.items()},
            other=_only_text(rest),
        )


class RuleReader:
    """Reads the records of one attempt.

    unmatched   how many records no rule knew, by their discriminator
    finished    a record has told the finish: those after it add counts and state only
    noted       what rules have kept of records before, for conditions
    missed      a rule that is about text fitted a record that has none where it looks
    """

    def __init__(self, rules: Rules, env: Env) -> None:
        self.rules = rules
        self.env = env
        self.so_far: dict[tuple[int, int], str] = {}  # snapshots, by rule and item
        self.at = 0  # the item of `each` that is being read
        self.shown: set[str] = set()  # pictures
        self.calls: list[str] = []  # ids of the calls, "" while unknown
        self.by_index: dict[object, int] = {}
        self._unmatched: Counter[str] | None = None
        self.finished = False
        self.noted: dict[str, object] = {}
        self.missed = False

    def feed(self, record: Record) -> list[Event]:
        rules, late = self.rules, self.finished
        out: list[Event] = []
        read = rules.rest
        if rules.key is not None:
            word = rules.key(record.value)
            if type(word) is str:
                read = rules.table.get(word, read)
        if not read(self, record, out):
            self._unmatched = self.unmatched
            self._unmatched[self._name(record)] += 1
            if isinstance(record, FailureRecord):
                out.append(_failure(record))
        return [event for event in out if type(event) in _LATE] if late else out

    def text(self, value: object) -> str:
        """The text of a record without a name, if it holds nothing else; "" if `feed` must look."""
        rules = self.rules
        find = rules.other
        if rules.key is not None:
            word = rules.key(value)
            if type(word) is str:
                find = rules.texts.get(word, find)
        text = None if find is None else find(value)
        return text if type(text) is str else ""

    @property
    def unmatched(self) -> Counter[str]:
        return Counter() if self._unmatched is None else self._unmatched

    def apply(self, rule: Rule, record: Record, out: list[Event]) -> bool:
        """Read what the rule knows of a record; False if that is nothing."""
        if rule.each is None:
            return self._item(rule, record.value, record.event, out)
        matched = False
        for self.at, item in enumerate(rule.each(record.value)):
            matched = self._item(rule, item, record.event, out) or matched
        self.at = 0
        return matched

    def _item(self, rule: Rule, item: object, event: str, out: list[Event]) -> bool:
        for test in rule.tests:
            if not test(item):
                return False
        if rule.when is not None:
            here = {"data": item, "event": event, "noted": self.noted}
            if not rule.when({**self.env, **here}):
                return False
        for emit in rule.emits:
            emit(self, item, out)
        return True

    def _name(self, record: Record) -> str:
        word = self.rules.key(record.value) if self.rules.key else None
        return str(word if word is not None else record.event or "record")[:60]

    def call(self, index: object, ident: str, *, named: bool) -> int:
        """Number of the call a fragment belongs to: by its index, else its id, else the last one.

        A name with an id that the call does not have begins a new one although the index is taken:
        some upstreams number all calls 0. So does any name, or a new id, without an index.
        """
        if index is not None:
            at = self.by_index.get(index)
        elif ident:
            at = self.calls.index(ident) if ident in self.calls else None
        else:
            at = None if named or not self.calls else len(self.calls) - 1
        if at is None or (named and ident and self.calls[at] not in ("", ident)):
            at = len(self.calls)
            self.calls.append("")
            if index is not None:
                self.by_index[index] = at
        self.calls[at] = self.calls[at] or ident
        return at

    def finish(self) -> list[Event]:
        return []


def _failure(record: FailureRecord) -> ErrorEvent:
    told = record.value.get("message") if isinstance(record.value, dict) else None
    words = [word for word in (record.event, told) if isinstance(word, str) and word]
    return ErrorEvent("retryable", shorten(": ".join(words) or "the upstream reported an error"))


def compile_rules(specs: list[RuleSpec], reduce: str = "delta", *, whole: bool = False) -> Rules:
    """Compile a list of rules. The paths in the specs are compiled already.

    whole: they read whole answers, whose end says nothing by itself.
    """
    made = tuple(_rule(at, spec, reduce, whole=whole) for at, spec in enumerate(specs))
    return Rules(
        rules=made,
        finishes=any(spec.finish is not None for spec in specs),
        reduce=reduce,
        exact=any(spec.tool_calls or spec.annotation or spec.set for spec in specs),
    ).over(made)


def _reading(rules: Sequence[Rule]) -> Read:
    """Asks rules in turn until one knows the record and does not go on."""
    if any(rule.events or rule.each or rule.when for rule in rules):
        return partial(one_by_one, rules)
    plain = tuple((rule.tests, rule.emits, rule.goes_on) for rule in rules)

    def read(reader: RuleReader, record: Record, out: list[Event]) -> bool:
        value, matched = record.value, False
        for tests, emits, goes_on in plain:
            for test in tests:
                if not test(value):
                    break
            else:
                for emit in emits:
                    emit(reader, value, out)
                if not goes_on:
                    return True
                matched = True
        return matched

    return read


def _only_text(rules: Sequence[Rule]) -> Find | None:
    """Finds the text of a record without a name; None, always or for it, where it may hold more."""
    asked: list[tuple[tuple[Callable[[Any], bool], ...], Find | None]] = []
    for rule in rules:
        if rule.each or rule.when:  # more than tests decides
            break
        if not rule.events:
            asked.append((rule.tests, rule.text))
    if not any(text for _, text in asked):
        return None
    tests, text = asked[0]
    return _find_by(asked) if tests else text


def _find_by(asked: Sequence[tuple[Sequence[Callable[[Any], bool]], Find | None]]) -> Find:
    """Finds by the first whose tests all pass."""

    def find(value: object) -> object:
        for tests, text in asked:
            for test in tests:
                if not test(value):
                    break
            else:
                return None if text is None else text(value)
        return None

    return find


def one_by_one(rules: Sequence[Rule], reader: RuleReader, record: Record, out: list[Event]) -> bool:
    matched = False
    for rule in rules:
        if rule.events and record.event not in rule.events:
            continue
        if reader.apply(rule, record, out):
            matched = True
            if not rule.goes_on:
                break
    return matched


def _chosen(rule: Rule, path: str) -> Rule:
    """The rule without its `match`, where that only asks for the word that chose it already."""
    match = rule.source.match
    if match is None or list(match.source) != [path]:
        return rule
    return replace(rule, tests=rule.tests[1:])


def _words(spec: RuleSpec, path: str) -> tuple[str, ...] | None:
    """The constants a rule demands at a path, None if it does not say (or says a pattern).

    Only where one value stands at the path can it choose among rules.
    """
    if spec.match is None or spec.each is not None or path not in spec.match.source:
        return None
    parsed = parse(path, selector=True)
    if not parsed.simple or parsed.pipe:
        return None
    wanted = spec.match.source[path]
    words = wanted if isinstance(wanted, list) else [wanted]
    plain = all(isinstance(word, str) and word and not word.startswith("/") for word in words)
    return tuple(str(word) for word in words) if plain else None


def _discriminator(specs: list[RuleSpec]) -> str | None:
    """The path that most rules ask, if at least two do."""
    counts = Counter(
        path
        for spec in specs
        if spec.match is not None and spec.each is None
        for path in spec.match.source
        if _words(spec, path)
    )
    best = counts.most_common(1)
    return best[0][0] if best and best[0][1] > 1 else None


def _rule(at: int, spec: RuleSpec, reduce: str, *, whole: bool) -> Rule:
    tests: list[Callable[[Any], bool]] = []
    if spec.match is not None:
        tests.append(spec.match.test)
    if spec.not_ is not None:
        refuse = spec.not_.test
        tests.append(lambda item: not refuse(item))
    if spec.has is not None:
        find = spec.has.first
        tests.append(lambda item: find(item) is not None)
    return Rule(
        events=frozenset(spec.event),
        tests=tuple(tests),
        when=spec.when.test if spec.when else None,
        each=spec.each.all if spec.each else None,
        emits=tuple(emitters(at, spec, reduce, whole=whole)),
        goes_on=spec.continue_,
        source=spec,
        text=spec.text.first if spec.text and reduce == "delta" and _only_one(spec) else None,
    )


def _only_one(spec: RuleSpec) -> bool:
    """Whether a rule reads one thing of a record, and no other rule reads more."""
    return not (spec.each or spec.continue_) and sum(map(bool, written(spec))) == 1
