"""What rules read of a record: each word of a rule (`text`, `usage`, `finish`, …) is an emitter.

An emitter is made at load. It is given the reader of the answer, which remembers, and appends what
it finds to the events of the record. Within one rule the order is reasoning, text, pictures, tool
calls, usage, finish, error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Protocol

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
from engine.wire import dumps

from .answer_spec import ErrorEmitter, FinishRule, RuleSpec, ToolCallsRule, UsageRule
from .waits import compile_waits

Find = Callable[[object], object]


class Memory(Protocol):
    """What a reader keeps from record to record; see `RuleReader`."""

    env: Env
    so_far: dict[tuple[int, int], str]
    at: int
    shown: set[str]
    noted: dict[str, object]
    finished: bool
    missed: bool

    def call(self, index: object, ident: str, *, named: bool) -> int:
        """The number of the call that a fragment belongs to."""
        ...


Emit = Callable[[Memory, Any, list[Event]], None]


def written(spec: RuleSpec) -> tuple[object, ...]:
    """What a rule may read of a record."""
    return (
        spec.reasoning, spec.reasoning_signature, spec.text, spec.image, spec.tool_calls,
        spec.annotation, spec.set, spec.note, spec.usage, spec.finish, spec.error, spec.end,
    )  # fmt: skip


def emitters(at: int, spec: RuleSpec, reduce: str, *, whole: bool) -> list[Emit]:
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
    own = sum(map(bool, written(spec))) - bool(spec.reasoning)
    due = _selects(spec) and own == 1  # text, and perhaps thinking
    return [make(written) for written, make in makers if written]


def _end(reader: Memory, item: Any, out: list[Event]) -> None:
    out.append(End())


def _text(
    path: Path,
    kind: type[TextDelta] | type[ReasoningDelta],
    slot: int,
    reduce: str,
    *,
    due: bool = False,
) -> Emit:
    """due: a record with neither text nor new thinking is not what the rule was written for."""
    find = path.first
    if reduce.startswith("snapshot"):
        return _snapshot(find, kind, slot, tolerant=reduce == "snapshot_tolerant", due=due)

    def emit(reader: Memory, item: Any, out: list[Event]) -> None:
        text = find(item)
        if text is not None:
            text = text if type(text) is str else _as_text(text)
            if text:
                out.append(kind(0, text))
        elif due and not _thinks(out):
            reader.missed = True

    return emit


def _thinks(out: list[Event]) -> bool:
    return bool(out) and type(out[-1]) is ReasoningDelta


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
    def emit(reader: Memory, item: Any, out: list[Event]) -> None:
        whole = find(item)
        if not isinstance(whole, str):
            reader.missed = reader.missed or (due and not _thinks(out))
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
    def emit(reader: Memory, item: Any, out: list[Event]) -> None:
        found = path.first(item)
        if found is not None:
            out.append(SignatureDelta(0, str(found)))

    return emit


def _picture(path: Path, reduce: str) -> Emit:
    """A picture is whole in itself; snapshots tell it again and again."""
    again = reduce.startswith("snapshot")

    def emit(reader: Memory, item: Any, out: list[Event]) -> None:
        found = path.first(item)
        if isinstance(found, str) and found and not (again and found in reader.shown):
            reader.shown.add(found)
            out.append(Open(0, from_text(found)))

    return emit


def _annotation(path: Path) -> Emit:
    def emit(reader: Memory, item: Any, out: list[Event]) -> None:
        found = path.first(item)
        if found is not None:
            out.append(Annotation(found))

    return emit


def _set(paths: Mapping[str, Path]) -> Emit:
    def emit(reader: Memory, item: Any, out: list[Event]) -> None:
        found = {name: path.first(item) for name, path in paths.items()}
        known = {name: value for name, value in found.items() if value is not None}
        if known:
            out.append(StateSet(known))

    return emit


def _note(words: Mapping[str, Word]) -> Emit:
    def emit(reader: Memory, item: Any, out: list[Event]) -> None:
        for name, word in words.items():
            found = word.constant if word.path is None else word.path.first(item)
            if found is not None:
                reader.noted[name] = found

    return emit


def _calls(rule: ToolCallsRule) -> Emit:
    """Tool calls: fragments of arguments, the first with the call's name."""

    def one(reader: Memory, item: Any, out: list[Event]) -> None:
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

    def emit(reader: Memory, item: Any, out: list[Event]) -> None:
        for call in rule.each.all(item) if rule.each else (item,):
            one(reader, call, out)

    return emit


def _usage(rule: UsageRule) -> Emit:
    paths = (rule.input, rule.output, rule.cached, rule.cache_write, rule.reasoning)  # as in Usage
    finds = [None if path is None else path.first for path in paths]

    def emit(reader: Memory, item: Any, out: list[Event]) -> None:
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


def _finish(rule: FinishRule) -> Emit:
    def emit(reader: Memory, item: Any, out: list[Event]) -> None:
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

    def emit(reader: Memory, item: Any, out: list[Event]) -> None:
        if any(type(event) in _FOUND for event in out):
            finish(reader, item, out)
        else:
            out.append(ErrorEvent("empty_response", "the upstream's answer has no text"))

    return emit


_FOUND = {TextDelta, ReasoningDelta, ArgsDelta, Open}


def _error(rule: ErrorEmitter) -> Emit:
    wait = compile_waits(rule.retry_after)

    def emit(reader: Memory, item: Any, out: list[Event]) -> None:
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
