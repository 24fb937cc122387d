"""Event rules: which records, which events, and what is remembered between them."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events import (
    End,
    ErrorEvent,
    Event,
    Finish,
    ReasoningDelta,
    StateSet,
    TextDelta,
    Usage,
    UsageEvent,
)
from engine.options import Selector
from engine.route.answer_spec import RuleSpec
from engine.route.pick import compile_match, compile_path
from engine.route.rules import RuleReader, Rules, compile_rules, one_by_one
from engine.wire import FailureRecord, Record, dumps
from tests.kit import compiled

HEAD = """
version: 1
base_url: https://a.example
models: [m]
vars: { flag: on_, n: 1 }
session: { key: [req.user], state: { id: none } }
request: { path: /x, json: {} }
stream:
  format: sse
  done: "[DONE]"
"""


def rules_of(events: str, reduce: str = "delta", *, whole: bool = False) -> Rules:
    """Rules from YAML: a list, one rule per line."""
    lines = "".join(f"    - {line}\n" for line in events.strip().splitlines())
    text = f"{HEAD}  reduce: {reduce}\n  events:\n{lines}"
    found = compiled(text)
    errors = [str(problem) for problem in found.problems if problem.severity == "error"]
    assert not errors, errors
    assert found.spec is not None
    assert found.spec.stream is not None
    assert found.spec.stream.events is not None
    return compile_rules(found.spec.stream.events, reduce, whole=whole)


def reader(rules: Rules) -> RuleReader:
    return RuleReader(rules, {"vars": {"flag": "on_", "n": 1}, "session": {}, "req": {}})


def read(events: str, *values: object, reduce: str = "delta", event: str = "") -> list[Event]:
    made = reader(rules_of(events, reduce))
    return [e for value in values for e in made.feed(Record(event, dumps(value), value))]


def texts(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, TextDelta)]


# ---- selectors ----


def test_the_first_rule_that_matches_wins() -> None:
    rules = "{ match: { k: a }, text: $.x }\n{ match: { k: [a, b] }, text: $.y }\n{ text: $.z }"
    value = {"x": "1", "y": "2", "z": "3"}
    assert texts(read(rules, {**value, "k": "a"})) == ["1"]
    assert texts(read(rules, {**value, "k": "b"})) == ["2"]
    assert texts(read(rules, {**value, "k": "c"})) == ["3"]
    assert texts(read(rules, {**value})) == ["3"]


def test_continue_looks_at_the_rules_below_too() -> None:
    rules = "{ has: $.x, text: $.x, continue: true }\n{ text: $.y }"
    assert texts(read(rules, {"x": "1", "y": "2"})) == ["1", "2"]
    assert texts(read(rules, {"y": "2"})) == ["2"]


@pytest.mark.parametrize(
    ("selector", "value", "fits"),
    [
        ("match: { a.b: x }", {"a": {"b": "x"}}, True),
        ("match: { a.b: x }", {"a": "x"}, False),
        ("match: { a: x, b: y }", {"a": "x", "b": "y"}, True),
        ("match: { a: x, b: y }", {"a": "x"}, False),
        ("match: { a: /^X/i }", {"a": "xyz"}, True),
        ("match: { a: 1 }", {"a": 1}, True),
        ("match: { a: 1 }", {"a": True}, False),
        ("match: { a: 1 }", {"a": "1"}, False),
        ("match: { a: 1 }", {"a": 1.0}, False),
        ("match: { a: true }", {"a": True}, True),
        ("match: { a: null }", {}, True),
        ('match: { a: "" }', {"a": ""}, True),
        ('match: { a: "" }', {}, False),
        ("match: { 'a[*].b': x }", {"a": [{"b": "y"}, {"b": "x"}]}, True),
        ("match: { 0.a: x }", [{"a": "x"}], True),
        ("not: { a: x }", {"a": "x"}, False),
        ("not: { a: x }", {"a": "y"}, True),
        ("not: { a: x }", {}, True),
        ("not: { a: x, b: y }", {"a": "x"}, True),
        ("has: $.a", {"a": 0}, True),
        ("has: $.a", {"a": False}, True),
        ("has: $.a", {"a": None}, False),
        ("has: $.a", {"a": ""}, False),
        ("has: [$.b, $.a]", {"a": "x"}, True),
        ("when: data.a > vars.n", {"a": 2}, True),
        ("when: data.a > vars.n", {"a": 1}, False),
        ("when: data.a.b.c == 1", {}, False),
        ("when: data.a / 0", {"a": 1}, False),
        ("event: m", {}, True),
        ("event: [n, m]", {}, True),
        ("event: n", {}, False),
        ("match: { a: x }, not: { b: y }, has: $.c, event: m", {"a": "x", "c": 1}, True),
    ],
)
def test_selectors_say_which_records_a_rule_is_for(
    selector: str, value: object, fits: bool
) -> None:
    made = reader(rules_of(f"{{ {selector}, end: true }}"))
    assert made.feed(Record("m", b"", value)) == ([End()] if fits else [])
    assert made.unmatched.total() == (0 if fits else 1)


def test_each_item_is_looked_at_by_itself() -> None:
    rules = "{ each: '$.parts[*]', match: { t: a }, text: $.x, continue: true }\n{ finish: $.end }"
    parts = [{"t": "a", "x": "1"}, {"t": "b", "x": "2"}, {"t": "a", "x": "3"}]
    assert read(rules, {"parts": parts, "end": "stop"}) == [
        TextDelta(0, "1"),
        TextDelta(0, "3"),
        Finish("stop", "stop"),
    ]


def test_a_rule_matches_if_one_item_does() -> None:
    rules = "{ each: '$.parts[*]', match: { t: a }, text: $.x }\n{ text: $.else }"
    assert texts(read(rules, {"parts": [{"t": "b"}, {"t": "a", "x": "1"}], "else": "2"})) == ["1"]
    assert texts(read(rules, {"parts": [{"t": "b"}], "else": "2"})) == ["2"]
    assert texts(read(rules, {"parts": [], "else": "2"})) == ["2"]


def test_the_condition_of_an_item_is_about_the_item() -> None:
    rules = "{ each: '$.p[*]', when: data.n > 1, text: $.x }"
    assert texts(read(rules, {"p": [{"n": 1, "x": "a"}, {"n": 2, "x": "b"}]})) == ["b"]


def test_records_no_rule_knows_are_counted_by_what_tells_them_apart() -> None:
    made = reader(rules_of("{ match: { k: a }, text: $.x }\n{ match: { k: b }, ignore: true }"))
    values: list[Any] = [{"k": "new"}, {"k": "new"}, {"k": "a"}, {"k": "b"}, {}, {"k": 5}, "text"]
    for value in values:
        made.feed(Record("ping", b"", value))
    assert made.unmatched == {"new": 2, "ping": 2, "5": 1}


# ---- what is remembered ----


def test_after_the_finish_only_counts_and_state_are_heard() -> None:
    rules = "{ text: $.t, usage: { input: $.u }, set: { id: $.i }, finish: $.f }"
    late = {"t": "late", "u": 1, "i": "x", "f": "length"}
    assert read(rules, {"t": "a", "f": "stop"}, late) == [
        TextDelta(0, "a"),
        Finish("stop", "stop"),
        StateSet({"id": "x"}),
        UsageEvent(Usage(1)),
    ]


def test_a_mode_is_kept_until_the_next_one() -> None:
    rules = "{ match: { k: on }, note: { mode: thinking } }\n"
    rules += "{ match: { k: off }, note: { mode: $.mode } }\n"
    rules += "{ when: noted.mode == 'thinking', reasoning: $.t }\n{ text: $.t }"
    values = [{"t": "a"}, {"k": "on"}, {"t": "b"}, {"k": "off"}, {"t": "c"}]
    values += [{"k": "off", "mode": "said"}, {"t": "d"}]
    assert read(rules, *values) == [
        TextDelta(0, "a"),
        ReasoningDelta(0, "b"),
        ReasoningDelta(0, "c"),
        TextDelta(0, "d"),
    ]


def test_each_answer_begins_without_notes() -> None:
    rules = rules_of("{ match: { k: on }, note: { on: yes_ } }\n{ when: noted.on, text: $.t }")
    first, second = reader(rules), reader(rules)
    first.feed(Record("", b"{}", {"k": "on"}))
    assert texts(first.feed(Record("", b"{}", {"t": "a"}))) == ["a"]
    assert texts(second.feed(Record("", b"{}", {"t": "a"}))) == []


def test_rules_that_ask_for_the_same_word_share_a_table() -> None:
    rules = rules_of(
        "{ match: { type: [a, b] }, text: $.x }\n{ match: { type: c }, text: $.y }\n{ text: $.z }"
    )
    assert {"a", "b", "c"} == rules.table.keys()
    for word, expected in (("a", "1"), ("b", "1"), ("c", "2"), ("d", "3"), (4, "3")):
        made = reader(rules).feed(Record("", b"", {"type": word, "x": "1", "y": "2", "z": "3"}))
        assert [expected] == texts(made)


def test_a_path_that_may_find_several_values_does_not_choose() -> None:
    rules = "{ match: { 'a[*].t': x }, text: $.p }\n{ match: { 'a[*].t': y }, text: $.q }"
    value = {"a": [{"t": "y"}, {"t": "x"}], "p": "1", "q": "2"}
    assert texts(read(rules, value)) == ["1"]


def test_an_empty_word_is_a_word() -> None:
    rules = "{ match: { t: '' }, text: $.p }\n{ match: { t: y }, text: $.q }"
    assert texts(read(rules, {"t": "", "p": "1", "q": "2"})) == ["1"]


PATHS = ["t", "u.v", "a[*].t", "t | lower"]
WORDS = ["", "x", "y", "X", 1, True, None, "/x/", ["x", "y"], ["x", 1]]
VALUES = st.sampled_from([None, "", "x", "y", "X", "z", 1, True, {"v": "x"}, {"v": "y"}])


@st.composite
def specs(draw: st.DrawFn) -> RuleSpec:
    def selector() -> Selector | None:
        paths = draw(st.lists(st.sampled_from(PATHS), max_size=2, unique=True))
        source = {path: draw(st.sampled_from(WORDS)) for path in paths}
        return Selector(source, compile_match(source)) if source else None

    return RuleSpec(
        event=draw(st.sampled_from([[], ["m"], ["n"]])),
        match=selector(),
        not_=selector(),
        each=draw(st.sampled_from([None, None, compile_path("$.a[*]")])),
        text=compile_path(draw(st.sampled_from(["$.t", "$.u.v"]))),
        usage=None,
        end=draw(st.booleans()),
        continue_=draw(st.booleans()),
    )


RECORD = st.fixed_dictionaries(
    {},
    optional={
        "t": VALUES,
        "u": VALUES,
        "a": st.lists(st.fixed_dictionaries({}, optional={"t": VALUES, "u": VALUES}), max_size=2),
    },
)


@given(st.lists(specs(), max_size=6), st.lists(RECORD, max_size=5))
def test_the_table_says_what_asking_rule_by_rule_says(
    rules: list[RuleSpec], values: list[dict[str, Any]]
) -> None:
    made = compile_rules(rules)
    plain = dataclasses.replace(made, key=None, table={}, rest=partial(one_by_one, made.rules))
    fast, slow = reader(made), reader(plain)
    for value in values:
        record = Record("m", b"", value)
        assert fast.feed(record) == slow.feed(record)
    assert fast.unmatched.total() == slow.unmatched.total()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"message": "slow down"}, "throttlingException: slow down"),
        ({}, "throttlingException"),
        (None, "throttlingException"),
    ],
)
def test_a_frame_that_is_a_failure_is_one_where_no_rule_knows_it(
    value: object, message: str
) -> None:
    record = FailureRecord("throttlingException", b"", value)
    made = reader(rules_of("{ match: { t: x }, text: $.t }"))
    assert [ErrorEvent("retryable", message)] == made.feed(record)
    known = reader(rules_of("{ event: throttlingException, ignore: true }"))
    assert [] == known.feed(record)


@given(st.lists(specs(), max_size=6), RECORD)
def test_a_record_that_is_said_to_be_one_text_is_read_as_one(
    rules: list[RuleSpec], value: dict[str, Any]
) -> None:
    made = reader(compile_rules(rules))
    text = made.text(value)
    if text:
        assert [TextDelta(0, text)] == made.feed(Record("", b"", value))


KINDS = "{ match: { k: x }, text: $.t }\n{ match: { k: y }, end: true }"


@pytest.mark.parametrize(
    ("rules", "value", "text"),
    [
        ("{ text: $.t }", {"t": "a"}, "a"),
        ("{ text: $.t }", {"t": 5}, ""),
        ("{ text: $.t, usage: { input: $.u } }", {"t": "a"}, ""),
        ("{ text: $.t, continue: true }", {"t": "a"}, ""),
        ("{ each: '$.a[*]', text: $.t }", {"a": [{"t": "a"}]}, ""),
        ("{ when: data.t, text: $.t }", {"t": "a"}, ""),
        ("{ event: m, error: { message: $.t } }\n{ text: $.t }", {"t": "a"}, "a"),
        ("{ has: $.e, error: { message: $.e } }\n{ has: $.t, text: $.t }", {"t": "a"}, "a"),
        ("{ has: $.e, error: { message: $.e } }\n{ has: $.t, text: $.t }", {"t": "a", "e": 1}, ""),
        (KINDS, {"k": "x", "t": "a"}, "a"),
        (KINDS, {"k": "y", "t": "a"}, ""),
        (KINDS, [1], ""),
    ],
)  # fmt: skip
def test_records_that_are_one_text_are_known(rules: str, value: object, text: str) -> None:
    assert text == reader(rules_of(rules)).text(value)


def test_a_snapshot_is_no_piece_of_text() -> None:
    assert "" == reader(rules_of("{ text: $.t }", "snapshot")).text({"t": "a"})
