"""How a route reads answers: the roads that a spec leads to."""

from __future__ import annotations

from typing import Any

import pytest

from engine.route.pipeline import Road
from engine.wire import Record
from tests.kit import compiled, route_of

HEAD = "version: 1\nbase_url: https://a.example\nmodels: [m]\nrequest: { path: /x, json: {} }\n"
RULES = "events: [ { text: $.x, finish: $.f } ]"
DIALECT = "version: 1\nbase_url: https://a.example\nmodels: [m]\ndialect: openai_chat\n"


def stream(text: str) -> Road:
    road = route_of(text).stream_road
    assert road is not None
    return road


def whole(text: str) -> Road:
    road = route_of(text).whole_road
    assert road is not None
    return road


def test_a_custom_route_has_the_roads_it_has_rules_for() -> None:
    only_stream = route_of(HEAD + f"stream: {{ format: sse, {RULES} }}")
    only_whole = route_of(HEAD + f"response: {{ {RULES} }}")
    assert (only_stream.stream_road is None, only_stream.whole_road is None) == (False, True)
    assert (only_whole.stream_road is None, only_whole.whole_road is None) == (True, False)


def test_a_dialect_brings_both_roads_and_rules_replace_one() -> None:
    plain = route_of(DIALECT)
    ruled = route_of(DIALECT + f"stream: {{ {RULES} }}")
    assert plain.stream_road is not None
    assert plain.whole_road is not None
    assert (plain.stream_road.done, plain.stream_road.finishes) == (frozenset({b"[DONE]"}), True)
    assert ruled.stream_road is not None
    assert ruled.stream_road.done == frozenset()
    assert ruled.whole_road is not None


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("done: [a, b]", "done", frozenset({b"a", b"b"})),
        ("min_text: 5", "min_text", 5),
        ("finish_optional: true", "finish_optional", True),
        ("unmatched: error", "unmatched", "error"),
        ("format: sse", "unlike", "document"),
        ("format: aws_eventstream", "unlike", "document"),
        ("format: { frames: { length: u32be } }", "unlike", "document"),
        ("format: ndjson", "unlike", ""),
        ("format: json_array", "unlike", ""),
        ("format: text", "json", False),
        ("format: lines", "json", False),
        ("format: ndjson", "json", True),
        ("format: sse", "sse", True),
        ("format: ndjson", "sse", False),
    ],
)
def test_what_the_stream_says_is_on_its_road(words: str, name: str, value: Any) -> None:
    assert getattr(stream(HEAD + f"stream: {{ {words}, {RULES} }}"), name) == value


def test_whether_an_answer_without_finish_is_truncated_is_in_the_rules() -> None:
    assert stream(HEAD + f"stream: {{ {RULES} }}").finishes
    assert not stream(HEAD + "stream: { done: x, events: [ { text: $.x } ] }").finishes


def test_integers_stay_exact_where_values_are_handed_on() -> None:
    assert not stream(HEAD + f"stream: {{ {RULES} }}").exact
    calls = "events: [ { tool_calls: { name: $.n, arguments: $.a } } ]"
    assert stream(HEAD + f"stream: {{ done: x, {calls} }}").exact


def test_the_limits_of_the_route_bound_the_parsers() -> None:
    text = HEAD + f"stream: {{ format: ndjson, {RULES} }}\nresponse: {{ {RULES} }}\n"
    limits = "limits: { event: 10B, answer: 20B }"
    with pytest.raises(ValueError, match="10 bytes"):
        stream(text + limits).parser().feed(b"x" * 11)
    with pytest.raises(ValueError, match="20 bytes"):
        whole(text + limits).parser().feed(b"x" * 21)


def test_patches_of_a_document_have_a_reducer_of_their_own() -> None:
    road = stream(HEAD + f"stream: {{ format: sse, reduce: path_patch, {RULES} }}")
    assert road.patch is not None
    first, second = road.patch(), road.patch()
    first(Record("", b"", {"p": "a", "v": "x"}))
    (made,) = second(Record("", b"", {"p": "b", "v": "y"}))
    assert made.value == {"p": "/b", "o": "add", "v": "y", "doc": {"b": "y"}}


def test_a_whole_answer_is_json_or_text() -> None:
    assert whole(HEAD + f"response: {{ {RULES} }}").unlike == "stream"
    text = whole(HEAD + f"response: {{ format: text, min_text: 2, {RULES} }}")
    assert (text.json, text.unlike, text.min_text, text.whole) == (False, "", 2, True)


def test_a_whole_text_is_one_record_however_it_arrives() -> None:
    parser = whole(HEAD + f"response: {{ format: text, {RULES} }}").parser()
    assert (parser.feed(b"<a>1"), parser.feed(b"2</a>")) == ([], [])
    assert [record.value for record in parser.finish()] == ["<a>12</a>"]


@pytest.mark.parametrize(
    ("text", "asked", "streams"),
    [
        (DIALECT, True, True),
        (DIALECT, False, False),
        (DIALECT + "stream: { use: always }", False, True),
        (DIALECT + "stream: { use: never }", True, False),
        (HEAD + f"stream: {{ {RULES} }}", False, True),
        (HEAD + f"response: {{ {RULES} }}", True, False),
    ],
)
def test_whether_the_upstream_is_asked_to_stream(text: str, asked: bool, streams: bool) -> None:
    assert route_of(text).streams(asked) == streams


def test_a_route_without_a_road_is_refused() -> None:
    assert [p.code for p in compiled(HEAD).problems] == ["E508"]
    assert compiled(HEAD + "stream: { format: sse }").route is None
