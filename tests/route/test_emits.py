"""What each word of a rule reads of a record, and what is remembered for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chat import Media
from engine.events import (
    Annotation,
    ArgsDelta,
    End,
    ErrorEvent,
    Finish,
    Open,
    ReasoningDelta,
    SignatureDelta,
    StateSet,
    TextDelta,
    Usage,
    UsageEvent,
)
from engine.route.answer_spec import RuleSpec
from engine.route.pick import compile_path
from engine.route.rules import compile_rules
from engine.wire import Record

from .test_rules import read, reader, rules_of, texts

PNG = "iVBORw0KGgo="


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
