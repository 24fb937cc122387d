"""Event rules: from a record of a custom upstream to events.

Rules are compiled once, at load: paths are generated getters, and rules that tell records apart
by the same path share a dispatch table. `RuleReader` holds what one attempt must remember (the
text so far of snapshots, which tool call is being told). First match wins; `continue` goes on.
Within one rule the order is reasoning, text, pictures, tool calls, usage, finish, error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from math import isfinite
from typing import Any

from engine.dataclass import dataclass
from engine.dialects.pictures import from_text
from engine.errors import OUTCOMES
from engine.events import (
    Annotation,
    ArgsDelta,
    End,
    ErrorEvent,
    Event,
    Finish,
    Open,
    ReasoningDelta,
    SignatureDelta,
    StateSet,
    TextDelta,
    Usage,
    UsageEvent,
)
from engine.options import Env, Path, Word
from engine.wire import Record, dumps

from .answer_spec import ErrorEmitter, FinishRule, RuleSpec, ToolCallsRule, UsageRule
from .pick import compile_selector_path, parse
from .waits import compile_waits

Find = Callable[[object], object]
Emit = Callable[["RuleReader", Any, list[Event]], None]
Read = Callable[["RuleReader", Record, list[Event]], bool]  # whether a rule knew the record


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled rule: tests are asked in order, emits run in order."""

    events: frozenset[str]
    tests: tuple[Callable[[Any], bool], ...]
    when: Callable[[Env], bool] | None
    each: Callable[[object], list[object]] | None
    emits: tuple[Emit, ...]
    goes_on: bool
    source: RuleSpec


@dataclass(frozen=True, slots=True)
class Rules:
    """A compiled list of rules, shared by all attempts of a route.

    finishes   some rule tells the finish, so an answer without one is truncated
    exact      whole JSON values are handed on (arguments, annotations, state)
    key        path whose value chooses among `table`; None: always `rest`
    table      reads a record by those rules that the value leaves possible
    """

    rules: tuple[Rule, ...]
    finishes: bool
    reduce: str
    key: Find | None = None
    table: Mapping[str, Read] = field(default_factory=dict)
    rest: Read = lambda reader, record, out: False
    exact: bool = False

    def over(self, rules: tuple[Rule, ...]) -> Rules:
        """The same with these rules, and the table that belongs to them."""
        path = _discriminator([rule.source for rule in rules])
        if path is None:
            return replace(self, rules=rules, key=None, table={}, rest=_reading(rules))
        known = [(_words(rule.source, path), rule) for rule in rules]
        rest = [rule for has, rule in known if not has]
        table = {
            word: _reading(
                [
                    _chosen(rule, path) if has else rule
                    for has, rule in known
                    if not has or word in has
                ]
            )
            for words, _ in known
            for word in words or ()
        }
        key = compile_selector_path(path).first
        return replace(self, rules=rules, key=key, table=table, rest=_reading(rest))


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
        return [event for event in out if type(event) in _LATE] if late else out

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
        emits=tuple(_emits(at, spec, reduce, whole=whole)),
        goes_on=spec.continue_,
        source=spec,
    )


def _emits(at: int, spec: RuleSpec, reduce: str, *, whole: bool) -> list[Emit]:
    """The emitters in their order, whatever order the file has."""
    finish = _finish_of_content if whole and _takes_anything(spec) else _finish
    makers: list[tuple[object, Callable[[Any], Emit]]] = [
        (spec.reasoning, lambda path: _text(path, ReasoningDelta, 2 * at, reduce)),
        (spec.reasoning_signature, _signature),
        (spec.text, lambda path: _text(path, TextDelta, 2 * at + 1, reduce, due=due)),
        (spec.image, lambda path: _picture(path, reduce)),
        (spec.tool_calls, _calls),
        (spec.annotation, _annotation),
        (spec.set, _set),
        (spec.note, _note),
        (spec.usage, _usage),
        (spec.finish, finish),
        (spec.error, _error),
        (spec.end, lambda _: _end),
    ]
    due = _selects(spec) and sum(bool(written) for written, _ in makers) == 1
    return [make(written) for written, make in makers if written]


def _end(reader: RuleReader, item: Any, out: list[Event]) -> None:
    out.append(End())


# ---- emitters ----


def _text(
    path: Path,
    kind: type[TextDelta] | type[ReasoningDelta],
    slot: int,
    reduce: str,
    *,
    due: bool = False,
) -> Emit:
    """due: a record without text is not what the rule was written for."""
    find = path.first
    if reduce.startswith("snapshot"):
        return _snapshot(find, kind, slot, tolerant=reduce == "snapshot_tolerant", due=due)

    def emit(reader: RuleReader, item: Any, out: list[Event]) -> None:
        text = find(item)
        if text is not None:
            text = text if type(text) is str else _as_text(text)
            if text:
                out.append(kind(0, text))
        elif due:
            reader.missed = True

    return emit


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else dumps(value).decode()


def _snapshot(
    find: Find,
    kind: type[TextDelta] | type[ReasoningDelta],
    slot: int,
    *,
    tolerant: bool,
    due: bool,
) -> Emit:
    def emit(reader: RuleReader, item: Any, out: list[Event]) -> None:
        whole = find(item)
        if not isinstance(whole, str):
            reader.missed = reader.missed or due
            return
        before = reader.so_far.get((slot, reader.at), "")
        if not tolerant and not whole.startswith(before):
            if not before.startswith(whole):
                out.append(ErrorEvent("retryable", "the upstream rewrote text it had already sent"))
            return
        if len(whole) > len(before):
            reader.so_far[slot, reader.at] = whole
            out.append(kind(0, whole[len(before) :]))

    return emit


def _signature(path: Path) -> Emit:
    def emit(reader: RuleReader, item: Any, out: list[Event]) -> None:
        found = path.first(item)
        if found is not None:
            out.append(SignatureDelta(0, str(found)))

    return emit


def _picture(path: Path, reduce: str) -> Emit:
    """A picture is whole in itself; snapshots tell it again and again."""
    again = reduce.startswith("snapshot")

    def emit(reader: RuleReader, item: Any, out: list[Event]) -> None:
        found = path.first(item)
        if isinstance(found, str) and found and not (again and found in reader.shown):
            reader.shown.add(found)
            out.append(Open(0, from_text(found)))

    return emit


def _annotation(path: Path) -> Emit:
    def emit(reader: RuleReader, item: Any, out: list[Event]) -> None:
        found = path.first(item)
        if found is not None:
            out.append(Annotation(found))

    return emit


def _set(paths: Mapping[str, Path]) -> Emit:
    def emit(reader: RuleReader, item: Any, out: list[Event]) -> None:
        found = {name: path.first(item) for name, path in paths.items()}
        known = {name: value for name, value in found.items() if value is not None}
        if known:
            out.append(StateSet(known))

    return emit


def _note(words: Mapping[str, Word]) -> Emit:
    def emit(reader: RuleReader, item: Any, out: list[Event]) -> None:
        for name, word in words.items():
            found = word.constant if word.path is None else word.path.first(item)
            if found is not None:
                reader.noted[name] = found

    return emit


def _calls(rule: ToolCallsRule) -> Emit:
    """Tool calls: fragments of arguments, the first with the call's name."""

    def one(reader: RuleReader, item: Any, out: list[Event]) -> None:
        name = rule.name.first(item) if rule.name else None
        args = rule.arguments.first(item) if rule.arguments else None
        found = rule.id.first(item) if isinstance(rule.id, Path) else None
        if name is None and args is None and found is None:
            return
        index = rule.index.first(item) if rule.index else None
        ident = _as_text(found) if found is not None else ""
        known = index if isinstance(index, int | str) else None
        at = reader.call(known, ident, named=name is not None)
        text = "" if args is None else _as_text(args)
        out.append(ArgsDelta(at, text, ident, "" if name is None else _as_text(name)))

    def emit(reader: RuleReader, item: Any, out: list[Event]) -> None:
        for call in rule.each.all(item) if rule.each else (item,):
            one(reader, call, out)

    return emit


def _usage(rule: UsageRule) -> Emit:
    paths = (rule.input, rule.output, rule.cached, rule.cache_write, rule.reasoning)  # as in Usage
    finds = [None if path is None else path.first for path in paths]

    def emit(reader: RuleReader, item: Any, out: list[Event]) -> None:
        counts = [None if find is None else _count(find(item)) for find in finds]
        if counts == _NO_COUNTS:
            return
        usage = Usage(*counts)  # type: ignore[arg-type] # these are the first five fields
        if rule.input_includes == "nothing" and usage.input is not None:
            usage.input += (usage.cache_read or 0) + (usage.cache_write or 0)
        if rule.output_excludes == "reasoning" and usage.output is not None:
            usage.output += usage.reasoning or 0
        out.append(UsageEvent(usage))

    return emit


_NO_COUNTS = [None] * 5


def _count(value: object) -> int | None:
    """A token count: a whole number, also as text or float; below zero counts as zero."""
    if type(value) is int:
        return max(0, value)
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and len(value) < 20 and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, float):
        return max(0, int(value)) if isfinite(value) else None
    return None


def word_of(word: Word, mapping: Mapping[str, str], item: object) -> tuple[str | None, str]:
    """(mapped word, raw word) of a constant-or-path with a map; (None, "") if nothing is there."""
    if word.path is None:
        raw: object = word.constant
    else:
        raw = word.path.first(item)
        if raw is None:
            return None, ""
    text = raw if isinstance(raw, str) else dumps(raw).decode()
    return mapping.get(text, mapping.get("*", text)), text


_FINISHES = {"stop", "length", "tool_calls", "content_filter"}
_LATE = {UsageEvent, StateSet, Annotation, End}


def _finish(rule: FinishRule) -> Emit:
    def emit(reader: RuleReader, item: Any, out: list[Event]) -> None:
        reason, raw = word_of(rule.path, rule.map, item)
        if reason is not None:
            reader.finished = True
            out.append(Finish(reason if reason in _FINISHES else "stop", raw))

    return emit


def _takes_anything(spec: RuleSpec) -> bool:
    """Whether a rule that looks for content fits every answer, those that hold none too."""
    constant = spec.finish is not None and spec.finish.path.path is None
    alone = constant and not _selects(spec) and not spec.continue_ and spec.each is None
    return alone and any((spec.text, spec.reasoning, spec.image, spec.tool_calls))


def _selects(spec: RuleSpec) -> bool:
    return any((spec.event, spec.match, spec.not_, spec.has, spec.when))


def _finish_of_content(rule: FinishRule) -> Emit:
    """A constant finish that is only true of an answer in which something was found."""
    finish = _finish(rule)

    def emit(reader: RuleReader, item: Any, out: list[Event]) -> None:
        if any(type(event) in _FOUND for event in out):
            finish(reader, item, out)
        else:
            out.append(ErrorEvent("empty_response", "the upstream's answer has no text"))

    return emit


_FOUND = {TextDelta, ReasoningDelta, ArgsDelta, Open}


def _error(rule: ErrorEmitter) -> Emit:
    wait = compile_waits(rule.retry_after)

    def emit(reader: RuleReader, item: Any, out: list[Event]) -> None:
        cls, raw = word_of(rule.class_, rule.map, item)
        message = rule.message.first(item) if rule.message else None
        text = "the upstream reported an error" if message is None else _as_text(message)
        known = cls if cls in OUTCOMES else "retryable"
        now: Any = reader.env.get("_now", 0.0)
        after = wait(item, _no_header, now)
        out.append(ErrorEvent(known, text, code="" if raw in OUTCOMES else raw, retry_after=after))

    return emit


def _no_header(name: str) -> None:
    """The records of an answer have none."""
