"""Event rules: which records, which events, and what is remembered between them."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chat import Media
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
from engine.options import Selector
from engine.route.answer_spec import RuleSpec
from engine.route.pick import compile_match, compile_path
from engine.route.rules import RuleReader, Rules, compile_rules, one_by_one
from engine.wire import Record, dumps
from tests.kit import compiled

PNG = "iVBORw0KGgo="
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


# ---- emitters ----


def test_within_a_record_the_order_is_fixed_whatever_the_file_says() -> None:
    rules = (
        "{ error: { message: $.e }, finish: stop, usage: { input: $.u }, annotation: $.n, "
        "tool_calls: { name: $.f }, text: $.t, reasoning_signature: $.s, reasoning: $.r, "
        "set: { id: $.i }, image: $.p, end: true }"
    )
    value = {"e": "x", "u": 1, "n": "n", "f": "f", "t": "t", "s": "s", "r": "r", "i": "i", "p": PNG}
    assert [type(event) for event in read(rules, value)] == [
        ReasoningDelta, SignatureDelta, TextDelta, Open, ArgsDelta, Annotation, StateSet,
        UsageEvent, Finish, ErrorEvent, End,
    ]  # fmt: skip


def test_an_emitter_that_finds_nothing_says_nothing() -> None:
    rules = (
        "{ text: $.t, reasoning: $.r, tool_calls: { name: $.f, arguments: $.a }, annotation: $.n, "
        "usage: { input: $.u }, finish: $.end, set: { id: $.i }, reasoning_signature: $.s, "
        "image: $.p }"
    )
    assert read(rules, {"t": "", "r": None, "p": ""}) == []


@pytest.mark.parametrize(
    ("found", "picture"),
    [
        (PNG, Media("image", "image/png", PNG)),
        (f"data:image/webp;base64,{PNG}", Media("image", "image/webp", PNG)),
        ("https://a.example/b.png", Media("image", url="https://a.example/b.png")),
    ],
)
def test_a_picture_is_base64_a_data_uri_or_a_url(found: str, picture: Media) -> None:
    assert [Open(0, picture)] == read("{ image: $.p }", {"p": found})


def test_a_picture_that_snapshots_repeat_comes_once() -> None:
    made = reader(rules_of("{ text: $.t, image: $.p }", "snapshot"))
    found = [made.feed(Record("", b"", {"t": text, "p": PNG})) for text in ("a", "ab")]
    picture = Open(0, Media("image", "image/png", PNG))
    assert [[TextDelta(0, "a"), picture], [TextDelta(0, "b")]] == found


def test_an_answer_of_pictures_alone_is_no_empty_one() -> None:
    made = reader(rules_of("{ image: $.p, finish: stop }", whole=True))
    picture = Open(0, Media("image", "image/png", PNG))
    assert [picture, Finish("stop", "stop")] == made.feed(Record("", b"", {"p": PNG}))


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (5, "5"), (1.5, "1.5"), (True, "true"), ({"a": 1}, '{"a":1}'), (["é"], '["é"]')],
)
def test_what_is_no_text_is_written_as_json(value: object, text: str) -> None:
    assert texts(read("{ text: $.t }", {"t": value})) == [text]


def test_state_is_set_from_what_was_found() -> None:
    assert read("{ set: { a: $.a, b: $.b } }", {"a": {"x": 1}}) == [StateSet({"a": {"x": 1}})]


# ---- tool calls ----


def calls(rule: str, *values: object) -> list[tuple[int, str, str, str]]:
    found = read(f"{{ tool_calls: {rule} }}", *values)
    return [(e.block, e.id, e.name, e.json) for e in found if isinstance(e, ArgsDelta)]


def test_calls_with_an_index_may_interleave() -> None:
    rule = "{ index: $.i, id: $.id, name: $.n, arguments: $.a }"
    assert calls(
        rule,
        {"i": 0, "id": "x", "n": "f"},
        {"i": 1, "id": "y", "n": "g"},
        {"i": 0, "a": "{"},
        {"i": 1, "a": "{}"},
        {"i": 0, "a": "}"},
    ) == [
        (0, "x", "f", ""),
        (1, "y", "g", ""),
        (0, "", "", "{"),
        (1, "", "", "{}"),
        (0, "", "", "}"),
    ]


def test_without_an_index_each_name_begins_a_call() -> None:
    rule = "{ each: '$.c[*]', name: $.n, arguments: $.a }"
    values = {"c": [{"n": "f", "a": {"x": 1}}, {"n": "f", "a": {}}]}
    assert calls(rule, values, {"c": [{"n": "g"}, {"a": "{}"}]}) == [
        (0, "", "f", '{"x":1}'),
        (1, "", "f", "{}"),
        (2, "", "g", ""),
        (2, "", "", "{}"),
    ]


def test_without_an_index_an_id_tells_calls_apart() -> None:
    rule = "{ id: $.id, name: $.n, arguments: $.a }"
    values = [
        {"id": "x", "n": "f", "a": "1"},
        {"id": "y", "n": "g", "a": "2"},
        {"id": "x", "n": "f", "a": "3"},
        {"id": "y", "a": "4"},
        {"a": "5"},
    ]
    assert [at for at, *_ in calls(rule, *values)] == [0, 1, 0, 1, 1]


def test_a_new_id_and_name_begin_a_call_although_the_index_is_taken() -> None:
    rule = "{ index: $.i, id: $.id, name: $.n, arguments: $.a }"
    values = [
        {"i": 0, "id": "x", "n": "f"},
        {"i": 0, "a": "1"},
        {"i": 0, "id": "y", "n": "g"},
        {"i": 0, "a": "2"},
        {"i": 0, "id": "y", "n": "g", "a": "3"},
    ]
    assert [at for at, *_ in calls(rule, *values)] == [0, 0, 1, 1, 1]


def test_an_id_that_is_a_number_is_text() -> None:
    assert calls("{ id: $.id, name: $.n }", {"id": 7, "n": "f"}) == [(0, "7", "f", "")]


def test_arguments_before_the_name_belong_to_the_same_call() -> None:
    assert calls(
        "{ index: $.i, name: $.n, arguments: $.a }", {"i": 3, "a": "{"}, {"i": 3, "n": "f"}
    ) == [
        (0, "", "", "{"),
        (0, "", "f", ""),
    ]


# ---- usage ----


@pytest.mark.parametrize(
    ("rule", "value", "usage"),
    [
        ("{ input: $.i, output: $.o }", {"i": 3, "o": 4}, Usage(3, 4)),
        ("{ input: $.i, output: $.o }", {"i": 3}, Usage(3)),
        ("{ input: $.i }", {"i": "12"}, Usage(12)),
        ("{ input: $.i }", {"i": 2.0}, Usage(2)),
        ("{ input: $.i }", {"i": -2}, Usage(0)),
        (
            "{ input: $.i, cached: $.c, input_includes: nothing }",
            {"i": 3, "c": 4},
            Usage(7, cache_read=4),
        ),
        ("{ input: $.i, cached: $.c }", {"i": 3, "c": 4}, Usage(3, cache_read=4)),
        (
            "{ input: $.i, cached: $.c, cache_write: $.w, input_includes: nothing }",
            {"i": 3, "c": 4, "w": 5},
            Usage(12, cache_read=4, cache_write=5),
        ),
        (
            "{ output: $.o, reasoning: $.r, output_excludes: reasoning }",
            {"o": 3, "r": 4},
            Usage(None, 7, reasoning=4),
        ),
        ("{ output: $.o, reasoning: $.r }", {"o": 3, "r": 1}, Usage(None, 3, reasoning=1)),
    ],
)
def test_usage_is_told_by_our_convention(rule: str, value: object, usage: Usage) -> None:
    assert read(f"{{ usage: {rule} }}", value) == [UsageEvent(usage)]


@pytest.mark.parametrize(
    "value", [True, "x", "²", "٣", "9" * 30, None, [], float("inf"), float("nan"), ""]
)
def test_what_is_no_count_is_not_told(value: object) -> None:
    assert read("{ usage: { input: $.i } }", {"i": value}) == []


def test_a_count_of_any_size_does_no_harm() -> None:
    assert read("{ usage: { input: $.i } }", {"i": 10**400}) == [UsageEvent(Usage(10**400))]


# ---- finish and error ----


@pytest.mark.parametrize(
    ("rule", "value", "reason", "raw"),
    [
        ("length", {}, "length", "length"),
        ("$.f", {"f": "stop"}, "stop", "stop"),
        ("$.f", {"f": "whatever"}, "stop", "whatever"),
        (
            "{ path: $.f, map: { end_turn: stop, '*': length } }",
            {"f": "end_turn"},
            "stop",
            "end_turn",
        ),
        ("{ path: $.f, map: { end_turn: stop, '*': length } }", {"f": "x"}, "length", "x"),
        ("{ path: $.f, map: { 1: stop, 2: length } }", {"f": 2}, "length", "2"),
        ("{ path: $.f, map: { '1.5': length } }", {"f": 1.5}, "length", "1.5"),
        ("{ path: $.f, map: { true: stop, false: length } }", {"f": False}, "length", "false"),
        ("{ path: [$.g, $.f] }", {"f": "tool_calls"}, "tool_calls", "tool_calls"),
    ],
)
def test_the_finish_may_be_a_word_a_number_or_a_boolean(
    rule: str, value: object, reason: str, raw: str
) -> None:
    assert read(f"{{ finish: {rule} }}", value) == [Finish(reason, raw)]


@pytest.mark.parametrize("value", [{}, {"f": None}, {"f": ""}])
def test_no_finish_where_nothing_stands(value: object) -> None:
    assert read("{ finish: { path: $.f, map: { '*': stop } } }", value) == []


def test_after_the_finish_only_counts_and_state_are_heard() -> None:
    rules = "{ text: $.t, usage: { input: $.u }, set: { id: $.i }, finish: $.f }"
    late = {"t": "late", "u": 1, "i": "x", "f": "length"}
    assert read(rules, {"t": "a", "f": "stop"}, late) == [
        TextDelta(0, "a"),
        Finish("stop", "stop"),
        StateSet({"id": "x"}),
        UsageEvent(Usage(1)),
    ]


UNSAID = "the upstream reported an error"


@pytest.mark.parametrize(
    ("rule", "value", "event"),
    [
        ("{ message: $.m, class: overloaded }", {"m": "busy"}, ErrorEvent("overloaded", "busy")),
        ("{ message: $.m }", {"m": {"a": 1}}, ErrorEvent("retryable", '{"a":1}', code="")),
        ("{}", {}, ErrorEvent("retryable", UNSAID)),
        (
            "{ message: $.m, class: $.c, map: { busy: overloaded, '*': fatal } }",
            {"m": "x", "c": "busy"},
            ErrorEvent("overloaded", "x", code="busy"),
        ),
        ("{ class: $.c, map: { '*': fatal } }", {"c": 5}, ErrorEvent("fatal", UNSAID, code="5")),
        ("{ class: $.c }", {"c": "odd"}, ErrorEvent("retryable", UNSAID, code="odd")),
        ("{ class: $.c }", {"c": "stale"}, ErrorEvent("stale", UNSAID)),
        ("{ class: $.c, map: { '*': fatal } }", {}, ErrorEvent("retryable", UNSAID)),
        (
            "{ class: overloaded, retry_after: [$.w, 9s] }",
            {"w": "1 min"},
            ErrorEvent("overloaded", UNSAID, retry_after=60.0),
        ),
        (
            "{ class: overloaded, retry_after: [$.w, 9s] }",
            {},
            ErrorEvent("overloaded", UNSAID, retry_after=9.0),
        ),
    ],
)
def test_errors_are_classed(rule: str, value: object, event: ErrorEvent) -> None:
    assert read(f"{{ error: {rule} }}", value) == [event]


# ---- what is kept of records before ----


def test_of_messages_that_are_mixed_the_one_that_was_announced_is_read() -> None:
    rules = "{ has: $.all, each: '$.all[*]', match: { by: bot }, note: { bot: $.id } }\n"
    rules += "{ when: data.id == noted.bot, text: $.t }"
    begin = {"all": [{"id": 1, "by": "me"}, {"id": 2, "by": "bot"}]}
    pieces = [
        {"id": 1, "t": "x"},
        {"id": 2, "t": "Good "},
        {"id": 1, "t": "y"},
        {"id": 2, "t": "day"},
    ]
    assert texts(read(rules.replace("has: $.all, ", ""), begin, *pieces)) == ["Good ", "day"]
    assert texts(read(rules, *pieces)) == []


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


# ---- snapshots ----


def test_of_a_snapshot_only_the_new_part_is_said() -> None:
    rules = "{ text: $.t, reasoning: $.r }"
    values = [{"r": "h"}, {"r": "hm", "t": "a"}, {"t": "a"}, {"t": "abc"}, {"t": "ab"}, {"t": 5}]
    assert read(rules, *values, reduce="snapshot") == [
        ReasoningDelta(0, "h"),
        ReasoningDelta(0, "m"),
        TextDelta(0, "a"),
        TextDelta(0, "bc"),
    ]


def test_a_snapshot_that_changes_its_mind_is_an_error() -> None:
    assert read("{ text: $.t }", {"t": "abc"}, {"t": "axcd"}, reduce="snapshot") == [
        TextDelta(0, "abc"),
        ErrorEvent("retryable", "the upstream rewrote text it had already sent"),
    ]


def test_a_tolerant_snapshot_goes_on_by_length() -> None:
    values = [{"t": "abc"}, {"t": "axcd"}, {"t": "a"}]
    found = read("{ text: $.t }", *values, reduce="snapshot_tolerant")
    assert texts(found) == ["abc", "d"]


def test_the_parts_of_a_snapshot_grow_apart() -> None:
    rules = "{ each: '$.p[*]', text: $.t }"
    values = [
        {"p": [{"t": "a"}]},
        {"p": [{"t": "ab"}, {"t": "x"}]},
        {"p": [{"t": "ab"}, {"t": "xy"}]},
    ]
    assert texts(read(rules, *values, reduce="snapshot")) == ["a", "b", "x", "y"]


def test_snapshots_of_two_rules_do_not_meet() -> None:
    rules = "{ match: { k: a }, text: $.t }\n{ match: { k: b }, text: $.t }"
    values = [{"k": "a", "t": "one"}, {"k": "b", "t": "two"}, {"k": "a", "t": "one!"}]
    assert texts(read(rules, *values, reduce="snapshot")) == ["one", "two", "!"]


@given(st.lists(st.text(max_size=4), max_size=8))
def test_growing_snapshots_give_the_whole_text(pieces: list[str]) -> None:
    whole, values = "", []
    for piece in pieces:
        whole += piece
        values.append({"t": whole})
    made = reader(compile_rules([RuleSpec(text=compile_path("$.t"))], "snapshot"))
    said = [e for value in values for e in made.feed(Record("", b"", value))]
    assert "".join(texts(said)) == whole


# ---- the dispatch table ----


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
