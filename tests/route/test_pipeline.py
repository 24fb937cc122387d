"""From bytes to events, and the judgement whether the answer was whole."""

from __future__ import annotations

import re
from itertools import count
from random import Random
from typing import Any

import pytest

from engine.events import (
    Annotation,
    ErrorEvent,
    Event,
    Finish,
    Reply,
    Start,
    TextDelta,
    Usage,
    fold,
)
from engine.route.pipeline import Pipeline
from engine.route.route import Route
from engine.route.rules import RuleReader
from engine.route.stages import context_of
from engine.wire import HttpResponse, dumps
from tests.grammar import check_events
from tests.kit import cuts, route_of, sse

HEAD = """
version: 1
base_url: https://a.example
models: [m]
session: { key: [req.user], state: { id: none } }
request: { path: /x, json: {} }
"""
STREAM = (
    HEAD
    + """
stream:
  format: sse
  done: "[DONE]"
  events:
    - { has: $.e, error: { message: $.e, class: overloaded } }
    - { match: { k: t }, text: $.x, reasoning: $.r }
    - { match: { k: c }, tool_calls: { index: $.i, id: $.id, name: $.n, arguments: $.a } }
    - { match: { k: u }, usage: { input: $.i, output: $.o }, set: { id: $.s }, annotation: $.note }
    - { match: { k: f }, finish: { path: $.f, map: { "*": stop, max: length } } }
"""
)
WHOLE = """
response: { events: [ { text: $.text, finish: $.f } ] }
errors:
  message: [$.msg]
  rules: [ { match: { ok: false }, as: stale }, { body: /busy/, as: overloaded } ]
"""
MARKED = (
    HEAD
    + """
stream:
  format: sse
  done: "[DONE]"
  events: [ { match: { over: true }, end: true }, { text: $.x } ]
"""
)


class Read:
    """One answer, read to its end."""

    def __init__(
        self,
        route: Route,
        chunks: list[bytes],
        *,
        stream: bool = True,
        head: HttpResponse | None = None,
    ) -> None:
        numbers = count(1)
        env: dict[str, Any] = {
            "_now": 0.0, "_random": Random(1), "_route": "sample", "req": {}, "vars": {},
            "session": {}, "model": {"id": "m", "upstream": "m"}, "account": {}, "values": {},
        }  # fmt: skip
        self.pipeline: Pipeline = route.pipeline(
            env,
            route.transforms(env, context_of(env)),
            head or HttpResponse(200),
            stream=stream,
            new_id=lambda: f"call_{next(numbers)}",
        )
        self.events: list[Event] = []
        self.straight = 0  # how many chunks were one text and no more
        for chunk in chunks:
            text = self.pipeline.text(chunk)
            self.straight += bool(text)
            again: list[Event] = [TextDelta(self.pipeline.block, text)] if text else []
            self.events += again or self.pipeline.feed(chunk)
        self.events += self.pipeline.finish()
        self.verdict = self.pipeline.verdict()

    @property
    def reply(self) -> Reply:
        return fold(self.events)

    @property
    def seen(self) -> tuple[Any, ...]:
        """What must not depend on the cuts."""
        calls = [(call.id, call.name, call.args) for call in self.reply.calls]
        return (self.reply.text, self.reply.reasoning, calls, self.verdict, self.pipeline.usage)


def read(text: str, body: bytes, *, stream: bool = True, **own: str) -> Read:
    """The answer read whole; every other way to cut it has to give the same."""
    route = route_of(text, env=None, **own)
    whole = Read(route, [body], stream=stream)
    for pieces in [frames_of(body), *cuts(body)]:
        assert Read(route, pieces, stream=stream).seen == whole.seen, pieces
    if isinstance(whole.verdict, Finish):
        check_events([Start(), *whole.events, whole.verdict])
    return whole


def frames_of(body: bytes) -> list[bytes]:
    return re.findall(rb"(?s).+?(?:\n\n|\Z)", body)


TEXT = {"k": "t", "x": "hi"}
STOP = {"k": "f", "f": "end"}


# ---- the straight path ----

PLAIN = STREAM.replace(", reasoning: $.r", "")
USED = {"k": "u", "i": 1, "o": 2}
CALL = {"k": "c", "id": "a", "n": "f", "a": "{}"}


def straight(stream: str, *values: object) -> int:
    return Read(route_of(stream, env=None), frames_of(sse(*values, STOP))).straight


def test_a_text_that_goes_on_is_read_the_straight_way() -> None:
    assert 2 == straight(PLAIN, TEXT, TEXT, TEXT, TEXT)  # one opens the block, one shows the way


def test_so_is_a_line_of_json() -> None:
    lines = [dumps(value) + b"\n" for value in (TEXT, TEXT, TEXT, TEXT, STOP)]
    found = Read(route_of(PLAIN.replace("sse", "ndjson"), env=None), lines)
    assert (2, "hihihihi") == (found.straight, found.reply.text)


@pytest.mark.parametrize(
    "stream",
    [
        STREAM,  # its rule may read more
        PLAIN.replace("format: sse", "format: sse\n  reduce: snapshot"),
        PLAIN.replace("text: $.x }", "text: $.x, continue: true }"),
        PLAIN + "transforms: [ think_tags ]\n",
    ],
)
def test_where_something_else_may_be_seen_or_said_there_is_none(stream: str) -> None:
    assert 0 == straight(stream, TEXT, TEXT, TEXT, TEXT)


@pytest.mark.parametrize(
    ("odd", "after"),
    [
        (sse(USED, done=False), 1),
        (sse({"k": "t", "x": ""}, done=False), 1),
        (sse({"k": "t", "x": 2**70}, done=False), 2),
        (sse(TEXT, TEXT, done=False), 2),
        (sse(CALL, done=False), 0),
        (b": ping\n\n", 1),
        (b"event: e\n" + sse(TEXT, done=False), 2),
        (b"data: \n\n", 1),
        (b'data: {"k":"t","x":"\\ud83d"}\n\ndata: {"k":"t","x":"\\ude00"}\n\n', 2),
    ],
)
def test_what_is_more_than_a_text_goes_the_long_way(odd: bytes, after: int) -> None:
    text = sse(TEXT, done=False)
    chunks = [text, text, odd, text, text, sse(STOP)]
    found = Read(route_of(PLAIN, env=None), chunks)
    assert Read(route_of(PLAIN, env=None), [b"".join(chunks)]).seen == found.seen
    assert after == found.straight


def test_where_texts_are_never_alone_they_are_not_looked_for_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []
    text = RuleReader.text

    def noted(reader: RuleReader, value: object) -> str:
        asked.append(value)
        return text(reader, value)

    monkeypatch.setattr(RuleReader, "text", noted)
    number = {"k": "t", "x": 1}  # read as a text by `feed` alone
    found = Read(route_of(PLAIN, env=None), frames_of(sse(TEXT, *[number] * 9, STOP)))
    assert ("hi111111111", [number] * 2) == (found.reply.text, asked)


@pytest.mark.parametrize("last", [{"e": "busy"}, STOP])
def test_after_the_end_nothing_is_a_text(last: object) -> None:
    frames = frames_of(sse(TEXT, TEXT, TEXT, last, TEXT, TEXT, done=False))
    found = Read(route_of(PLAIN, env=None), frames)
    assert ("hihihi", 1) == (found.reply.text, found.straight)


def test_a_text_that_is_the_mark_of_the_end_ends() -> None:
    stream = PLAIN.replace('done: "[DONE]"', """done: '{"k":"t","x":"end"}'""")
    frames = frames_of(sse(TEXT, TEXT, TEXT, {"k": "t", "x": "end"}, TEXT, done=False))
    assert "hihihi" == Read(route_of(stream, env=None), frames).reply.text


# ---- how an answer ends ----


def test_an_answer_with_a_finish_is_whole() -> None:
    done = read(STREAM, sse(TEXT, {"k": "t", "x": "!"}, STOP))
    assert (done.reply.text, done.verdict) == ("hi!", Finish("stop", "end"))


def test_an_answer_that_breaks_off_is_truncated() -> None:
    for body in (sse(TEXT, done=False), sse(TEXT), b"data: {"):
        verdict = read(STREAM, body).verdict
        assert isinstance(verdict, ErrorEvent)
        assert verdict.cls == ("truncated" if body != b"data: {" else "retryable")


def test_the_marker_ends_an_answer_whose_rules_tell_no_finish() -> None:
    assert read(MARKED, sse({"x": "hi"})).verdict == Finish("stop")
    assert read(MARKED, sse({"x": "hi"}, {"over": True}, done=False)).verdict == Finish("stop")
    verdict = read(MARKED, sse({"x": "hi"}, done=False)).verdict
    assert verdict == ErrorEvent("truncated", "the upstream's answer ended before it was whole")


def test_nothing_after_the_marker_is_part_of_the_answer() -> None:
    body = sse({"x": "hi"}) + sse({"x": "late"}) + b"data: junk\n\n"
    assert read(MARKED, body).reply.text == "hi"


@pytest.mark.parametrize("body", [b"", b"\n\n", b": ping\n\n: ping\n\n", b"data:\n\n"])
def test_an_answer_without_any_record_is_empty(body: bytes) -> None:
    verdict = read(STREAM, body).verdict
    assert verdict == ErrorEvent("empty_response", "the upstream's answer was empty")


def test_where_the_finish_is_optional_the_end_alone_closes() -> None:
    text = STREAM.replace("format: sse", "format: sse\n  finish_optional: true")
    assert read(text, sse(TEXT, done=False)).verdict == Finish("stop")
    assert read(text, sse(TEXT)).verdict == Finish("stop")
    assert read(text, sse(done=True)).verdict == Finish("stop")
    verdict = read(text, sse({"k": "u", "i": 1}, done=False)).verdict
    assert isinstance(verdict, ErrorEvent)
    assert verdict.cls == "truncated"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"x": "[DONE]"}, "[DONE]"),
        ({"x": "say [DONE] now"}, "say [DONE] now"),
    ],
)
def test_the_marker_inside_json_is_text(value: object, text: str) -> None:
    assert read(MARKED, sse(value)).reply.text == text


def test_a_marker_with_white_space_around_it_is_the_marker() -> None:
    assert read(MARKED, b'data: {"x":"hi"}\n\ndata:  [DONE] \n\n').verdict == Finish("stop")


def test_too_little_text_is_an_empty_response() -> None:
    text = STREAM.replace("format: sse", "format: sse\n  min_text: 3")
    verdict = read(text, sse(TEXT, STOP)).verdict
    assert verdict == ErrorEvent("empty_response", "the upstream's answer has no text")
    assert read(text, sse(TEXT, TEXT, STOP)).verdict == Finish("stop", "end")
    call = {"k": "c", "i": 0, "id": "a", "n": "f", "a": "{}"}
    assert read(text, sse(call, STOP)).verdict == Finish("tool_calls", "end")
    text = text.replace("text: $.x,", "text: $.x, image: $.p,")
    assert read(text, sse({"k": "t", "p": "iVBORw0KGgo="}, STOP)).verdict == Finish("stop", "end")


SAID = (
    STREAM.replace("text: $.x, reasoning: $.r", "text: $.x")
    + "    - { has: $.r, reasoning: $.r }\n"
)
OVERLOOKED = ErrorEvent("empty_response", "the upstream's answer has no text the route reads")


@pytest.mark.parametrize(
    ("records", "overlooked"),
    [
        ([{"k": "t", "y": "a"}], True),  # the field has another name now
        ([{"k": "t"}, {"k": "t", "x": ""}, {"r": "hm"}], True),
        ([{"k": "words", "x": "a"}], True),  # the record has
        ([{"k": "u", "o": 9}], True),  # it says that it wrote something
        ([{"k": "u", "o": 1}], False),
        ([{"k": "u", "o": 9}, {"r": "hm"}], False),
        ([{"k": "t", "y": "a"}, TEXT], False),
        ([{"k": "words"}, {"k": "c", "i": 0, "id": "a", "n": "f"}], False),
        ([], False),
    ],
)
def test_a_stop_without_text_is_no_answer_where_something_was_overlooked(
    records: list[Any], overlooked: bool
) -> None:
    found = read(SAID, sse(*records, STOP)).verdict
    assert (found == OVERLOOKED) == overlooked
    assert isinstance(found, ErrorEvent) == overlooked


@pytest.mark.parametrize("reduce", ["delta", "snapshot", "snapshot_tolerant"])
@pytest.mark.parametrize(
    ("records", "overlooked"),
    [
        ([{"k": "t", "r": "hm"}, {"k": "t", "y": "a"}], True),
        ([{"k": "t", "r": "hm"}, {"k": "t", "r": "hm!"}], False),  # it only thought
        ([{"k": "t", "r": "hm"}, {"k": "t", "y": "a"}, TEXT], False),
    ],
)
def test_a_rule_for_text_and_thinking_overlooks_what_is_neither(
    reduce: str, records: list[Any], overlooked: bool
) -> None:
    text = STREAM.replace("format: sse", f"format: sse\n  reduce: {reduce}")
    assert (read(text, sse(*records, STOP)).verdict == OVERLOOKED) == overlooked


def test_a_snapshot_that_repeats_its_thinking_and_has_no_text_was_overlooked() -> None:
    text = STREAM.replace("format: sse", "format: sse\n  reduce: snapshot")
    thinks = {"k": "t", "r": "hm"}
    assert read(text, sse(thinks, {**thinks, "y": "a"}, STOP)).verdict == OVERLOOKED


def test_what_is_cut_off_or_refused_may_have_no_text() -> None:
    words = {"k": "words", "x": "a"}
    assert read(SAID, sse(words, {"k": "f", "f": "max"})).verdict == Finish("length", "max")
    text = SAID.replace("format: sse", "format: sse\n  unmatched: ignore")
    assert read(text, sse(words, STOP)).verdict == Finish("stop", "end")


def test_a_refusal_for_its_content_needs_no_text() -> None:
    text = STREAM.replace("format: sse", "format: sse\n  min_text: 3")
    text = text.replace("max: length", "max: length, bad: content_filter")
    assert read(text, sse({"k": "f", "f": "bad"})).verdict == Finish("content_filter", "bad")


def test_after_calls_the_finish_says_so_and_without_calls_it_does_not() -> None:
    call = {"k": "c", "i": 0, "id": "a", "n": "f"}
    done = read(STREAM, sse(call, STOP))
    assert done.verdict == Finish("tool_calls", "end")
    assert done.reply.calls[0].args == "{}"
    text = STREAM.replace("max: length", "max: length, calls: tool_calls")
    assert read(text, sse(TEXT, {"k": "f", "f": "calls"})).verdict == Finish("stop", "calls")


def test_a_call_that_was_cut_for_its_length_stays_as_it_is() -> None:
    call = {"k": "c", "i": 0, "id": "a", "n": "f"}
    done = read(STREAM, sse(call, {"k": "f", "f": "max"}))
    assert done.verdict == Finish("length", "max")
    assert done.reply.calls[0].args == ""


def test_a_call_without_a_name_is_an_error() -> None:
    verdict = read(STREAM, sse({"k": "c", "i": 0, "a": "{}"}, STOP)).verdict
    assert verdict == ErrorEvent("retryable", "the upstream called a tool without naming it")


def test_what_is_not_content_is_kept_until_the_end() -> None:
    usage = [{"k": "u", "i": 3}, {"k": "u", "o": 4, "s": "s1", "note": "n"}]
    done = read(STREAM, sse(TEXT, STOP, *usage))
    assert done.pipeline.usage == Usage(3, 4)
    assert done.pipeline.state == {"id": "s1"}
    assert Annotation("n") in done.events
    assert [type(event) for event in done.events if type(event) in (Finish, Start)] == []


# ---- errors ----


def test_an_error_ends_the_answer_and_keeps_what_came_before() -> None:
    done = read(STREAM, sse(TEXT, {"e": "busy"}, TEXT, STOP))
    assert done.verdict == ErrorEvent("overloaded", "busy")
    assert done.reply.text == "hi"


@pytest.mark.parametrize("junk", [b"data: <html>\n\n", b"data: {\n\n", b"data: nope [DONE]\n\n"])
def test_a_frame_that_is_not_json_ends_the_answer(junk: bytes) -> None:
    done = read(STREAM, sse(TEXT, done=False) + junk + sse(STOP))
    assert done.verdict == ErrorEvent("retryable", "the upstream sent a frame that is not JSON")
    assert done.reply.text == "hi"


@pytest.mark.parametrize("framing", ["sse", "ndjson"])
def test_a_last_frame_that_breaks_off_is_no_frame_that_is_not_json(framing: str) -> None:
    body = sse(TEXT, done=False) if framing == "sse" else b'{"k":"t","x":"hi"}\n'
    cut = b'data: {"k":"t","x' if framing == "sse" else b'{"k":"t","x'
    done = read(STREAM.replace("format: sse", f"format: {framing}"), body + cut)
    message = "the upstream's answer ended before it was whole"
    assert done.verdict == ErrorEvent("truncated", message)
    assert done.reply.text == "hi"


def test_junk_after_the_finish_does_no_harm() -> None:
    body = sse(TEXT, STOP, done=False) + b"data: bye\n\n"
    assert read(STREAM.replace('done: "[DONE]"', "done: []"), body).verdict == Finish("stop", "end")


def test_a_route_may_pass_over_what_it_does_not_know() -> None:
    text = STREAM.replace("format: sse", "format: sse\n  unmatched: ignore")
    body = sse(TEXT, done=False) + b"data: junk\n\n" + sse({"k": "new"}, STOP)
    assert read(text, body).verdict == Finish("stop", "end")


def test_records_that_no_rule_knows_are_counted() -> None:
    done = read(STREAM, sse(TEXT, {"k": "new"}, STOP))
    assert done.verdict == Finish("stop", "end")
    assert done.pipeline.unmatched == {"new": 1}


def test_a_strict_route_ends_with_what_it_does_not_know() -> None:
    text = STREAM.replace("format: sse", "format: sse\n  unmatched: error")
    done = read(text, sse(TEXT, {"k": "new"}, TEXT, STOP))
    assert done.verdict == ErrorEvent("fatal", "the upstream sent something that no rule knows")
    assert done.reply.text == "hi"
    assert read(text, sse(TEXT, STOP, {"k": "new"})).verdict == Finish("stop", "end")


def test_the_first_record_is_held_against_the_error_rules() -> None:
    assert read(STREAM + WHOLE, sse({"ok": False, "msg": "old"}, TEXT)).verdict == ErrorEvent(
        "stale", "old", 200
    )
    done = read(STREAM + WHOLE, sse(TEXT, {"ok": False, "k": "t", "x": "!"}, STOP))
    assert done.verdict == Finish("stop", "end")


TALKS = """
version: 1
base_url: https://a.example
models: [m]
request: { path: /x, raw: "{{ req.prompt }}" }
stream: { format: text, finish_optional: true, events: [ { text: $ } ] }
errors: { rules: [ { body: "/^ERROR [0-9]+:/", as: overloaded } ] }
"""


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"ERROR 42: the lamp is out", "ERROR 42: the lamp is out"),
        (b"Good day.", ""),
        ("Ein längerer Text. ".encode() * 30, ""),
        (b"ERROR 42:\nno oil\n" * 30, "the upstream answered with status 200"),
    ],
)
def test_a_text_is_told_from_an_error_however_it_is_cut(body: bytes, told: str) -> None:
    done = read(TALKS, body)
    assert told == (done.verdict.message if isinstance(done.verdict, ErrorEvent) else "")
    assert done.reply.text == ("" if told else body.decode())


def test_an_html_page_instead_of_json_is_held_against_the_error_rules() -> None:
    done = read(STREAM + WHOLE, b"<html>we are busy</html>", stream=False)
    assert isinstance(done.verdict, ErrorEvent)
    assert done.verdict.cls == "overloaded"
    verdict = read(STREAM + WHOLE, b"<html>hello</html>", stream=False).verdict
    assert verdict == ErrorEvent("retryable", "the upstream answered with a page, not JSON")


@pytest.mark.parametrize("framing", ["sse", "ndjson", "frames", "aws_eventstream"])
@pytest.mark.parametrize(
    ("body", "cls", "message"),
    [
        (
            b"\n<!DOCTYPE html><p>Sign in",
            "retryable",
            "the upstream answered with a page, not JSON",
        ),
        (b"<html>Just a moment...", "challenge", "a bot wall answered instead of the upstream"),
    ],
)
def test_a_page_instead_of_a_stream_is_named_as_one(
    framing: str, body: bytes, cls: str, message: str
) -> None:
    done = read(STREAM.replace("format: sse", f"format: {framing}"), body)
    assert done.verdict == ErrorEvent(cls, message)
    assert done.reply.text == ""


def test_a_frame_beyond_the_limit_ends_the_answer() -> None:
    text = STREAM + "limits: { event: 100B }\n"
    done = read(text, sse(TEXT, {"k": "t", "x": "y" * 200}, STOP))
    assert isinstance(done.verdict, ErrorEvent)
    assert done.verdict.message.startswith("the answer cannot be read: ")
    assert done.reply.text == "hi"


# ---- whole answers ----


def whole(value: object) -> Read:
    return read(HEAD + WHOLE, dumps(value), stream=False)


@pytest.mark.parametrize("value", [{}, {"oops": 1}, {"text": ""}, {"text": None}])
def test_a_constant_finish_makes_no_success_of_an_answer_without_content(value: object) -> None:
    head = "version: 1\nbase_url: https://a.example\nmodels: [m]\nrequest: { path: /x, raw: a }\n"
    rules = "response: { events: [ { text: $.text, finish: stop } ] }\n"
    verdict = Read(route_of(head + rules), [dumps(value)], stream=False).verdict
    assert verdict == ErrorEvent("empty_response", "the upstream's answer has no text")
    good = Read(route_of(head + rules), [b'{"text":"a"}'], stream=False).verdict
    assert isinstance(good, Finish)
    named = rules.replace("text: $.text", "has: $, text: $.text")
    assert isinstance(Read(route_of(head + named), [dumps(value)], stream=False).verdict, Finish)


def test_a_whole_answer_is_one_record() -> None:
    done = whole({"text": "hi", "f": "length"})
    assert (done.reply.text, done.verdict) == ("hi", Finish("length", "length"))


def test_a_whole_answer_needs_no_finish_if_it_says_something() -> None:
    assert whole({"text": "hi"}).verdict == Finish("stop")


@pytest.mark.parametrize("value", [{}, {"other": 1}, [], "text", None, {"text": ""}])
def test_a_whole_answer_that_no_rule_reads_is_an_error(value: object) -> None:
    assert whole(value).verdict == ErrorEvent(
        "retryable", "the upstream's answer holds nothing the route reads"
    )


def test_an_answer_that_is_an_error_in_disguise_is_one() -> None:
    assert whole({"ok": False, "msg": "expired", "text": "hi"}).verdict == ErrorEvent(
        "stale", "expired", 200
    )


def test_text_may_be_the_whole_answer() -> None:
    text = HEAD + 'response: { format: text, events: [ { text: "$" } ] }'
    assert read(text, "héllo\n{".encode(), stream=False).reply.text == "héllo\n{"


# ---- the other kind of answer ----


def test_a_document_where_a_stream_was_asked_for_is_read_by_response() -> None:
    done = read(STREAM + WHOLE, dumps({"text": "hi", "f": "stop"}))
    assert (done.reply.text, done.verdict) == ("hi", Finish("stop", "stop"))


def test_white_space_and_a_mark_before_a_document_do_not_hide_it() -> None:
    done = read(STREAM + WHOLE, b'\xef\xbb\xbf \n\n {"text":\n "hi"}\n')
    assert (done.reply.text, done.verdict) == ("hi", Finish("stop"))


def test_a_refusal_as_a_document_is_classed() -> None:
    done = read(STREAM + WHOLE, b'{\n  "ok": false,\n  "msg": "expired"\n}')
    assert done.verdict == ErrorEvent("stale", "expired", 200)


def test_a_document_is_held_against_the_error_rules_even_if_no_rule_reads_it() -> None:
    text = STREAM + "errors: { rules: [ { match: { ok: false }, as: stale } ] }"
    assert read(text, b'{"ok": false}').verdict == ErrorEvent(
        "stale", "the upstream answered with status 200", 200
    )
    verdict = read(text, b'{"ok": true}').verdict
    assert isinstance(verdict, ErrorEvent)
    assert verdict.cls == "retryable"


def test_a_stream_where_a_document_was_asked_for_is_read_as_a_stream() -> None:
    done = read(STREAM + WHOLE, sse(TEXT, STOP), stream=False)
    assert (done.reply.text, done.verdict) == ("hi", Finish("stop", "end"))
    done = read(STREAM + WHOLE, b"\n: ping\n\n" + sse(TEXT, STOP), stream=False)
    assert done.reply.text == "hi"


def test_without_rules_for_it_a_stream_is_not_a_document() -> None:
    verdict = read(HEAD + WHOLE, sse(TEXT, STOP), stream=False).verdict
    assert verdict == ErrorEvent("retryable", "the upstream sent an answer that is not JSON")


def test_content_decides_and_not_its_type() -> None:
    route = route_of(STREAM + WHOLE)
    lies = HttpResponse(200, (("Content-Type", "application/json"),))
    assert Read(route, [sse(TEXT, STOP)], head=lies).reply.text == "hi"
    lies = HttpResponse(200, (("Content-Type", "text/event-stream"),))
    assert Read(route, [dumps({"text": "hi"})], head=lies).reply.text == "hi"


@pytest.mark.parametrize("stream", [True, False])
def test_a_dialect_reads_both_kinds_whatever_was_asked_for(stream: bool) -> None:
    text = "version: 1\nextends: openai\nbase_url: https://a.example\nmodels: [m]\n"
    document = dumps({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]})
    chunks = sse(
        {"choices": [{"index": 0, "delta": {"content": "hi"}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    )
    for body in (document, chunks):
        done = read(text, body, stream=stream)
        assert (done.reply.text, done.verdict) == ("hi", Finish("stop", "stop"))


def test_lines_of_json_are_not_taken_for_a_document() -> None:
    text = (
        HEAD
        + WHOLE
        + """
stream: { format: ndjson, events: [ { text: $.x, finish: $.f } ] }
"""
    )
    done = read(text, b'{"x":"a"}\n{"x":"b","f":"stop"}\n')
    assert (done.reply.text, done.verdict) == ("ab", Finish("stop", "stop"))


# ---- transforms ----


def own(*lines: str) -> str:
    return (
        '"""A transform of a test."""\n'
        "from engine.transform import Context, ErrorEvent, Finish, Record, Refuse, TextDelta\n"
        "API = 1\n"
        "class Transform:\n"
        "    def __init__(self, options: object, context: Context) -> None: self.held = ''\n"
        + "".join(f"    {line}\n" for line in lines)
    )


UPPER = own(
    "def feed(self, event):",
    "    if not isinstance(event, TextDelta): return [event]",
    "    return [TextDelta(0, event.text.upper())]",
)
HOLDS = own(
    "def feed(self, event):",
    "    if not isinstance(event, TextDelta): return [event]",
    "    self.held += event.text",
    "    return []",
    "def finish(self): return [TextDelta(0, '<' + self.held + '>')]",
)
TWICE = own("def feed_record(self, record): return [record, record]")


def test_events_pass_the_transforms_from_top_to_bottom() -> None:
    text = STREAM + "transforms: [ holds, upper ]"
    assert read(text, sse(TEXT, TEXT, STOP), holds=HOLDS, upper=UPPER).reply.text == "<HIHI>"
    text = STREAM + "transforms: [ upper, holds ]"
    assert read(text, sse(TEXT, TEXT, STOP), holds=HOLDS, upper=UPPER).reply.text == "<HIHI>"


def test_a_transform_may_end_an_answer_with_an_error() -> None:
    ends = own("def feed(self, event): return [ErrorEvent('{}', 'no')]")
    for cls, seen in (("challenge", "challenge"), ("no_such_class", "fatal")):
        done = read(STREAM + "transforms: [ mine ]", sse(TEXT, STOP), mine=ends.format(cls))
        assert done.verdict == ErrorEvent(seen, "no")


def test_what_was_held_back_comes_before_the_end_even_of_a_failed_answer() -> None:
    text = STREAM + "transforms: [ holds ]"
    done = read(text, sse(TEXT, {"e": "busy"}), holds=HOLDS)
    assert (done.reply.text, done.verdict) == ("<hi>", ErrorEvent("overloaded", "busy"))


@pytest.mark.parametrize(
    "ends", ["return [ErrorEvent('truncated', 'no end')]", "raise Refuse('no end')"]
)
def test_what_a_transform_misses_at_the_end_is_no_news_after_an_error(ends: str) -> None:
    route, mine = STREAM + "transforms: [ mine ]", own(f"def finish(self): {ends}")
    for records in ([TEXT, {"e": "busy"}], [{"e": "busy"}]):
        assert read(route, sse(*records), mine=mine).verdict == ErrorEvent("overloaded", "busy")
    verdict = read(route, sse(TEXT, STOP), mine=mine).verdict
    assert isinstance(verdict, ErrorEvent)
    assert verdict.message == "no end"


def test_a_transform_sees_records_before_the_rules_do() -> None:
    text = STREAM + "transforms: [ twice ]"
    assert read(text, sse(TEXT, STOP), twice=TWICE).reply.text == "hihi"


def test_a_transform_may_class_the_first_record_of_a_stream() -> None:
    classes = own(
        "def classify(self, response): return 'challenge' if b'wall' in response.body else None"
    )
    text = STREAM + "transforms: [ mine ]"
    verdict = read(text, sse({"k": "wall"}, TEXT, STOP), mine=classes).verdict
    assert verdict == ErrorEvent("challenge", "the upstream refused the request", 200)
    assert read(text, sse(TEXT, {"k": "wall"}, STOP), mine=classes).verdict == Finish("stop", "end")


def test_a_transform_that_fails_ends_the_answer_and_leaves_its_cause() -> None:
    fails = own("def feed_record(self, record): return 1 / 0 if b'!' in record.data else [record]")
    done = read(STREAM + "transforms: [ mine ]", sse(TEXT, {"k": "t", "x": "!"}, STOP), mine=fails)
    assert done.verdict == ErrorEvent("fatal", "transform `mine` failed in `feed_record`")
    assert isinstance(done.pipeline.cause, ZeroDivisionError)
    assert done.reply.text == "hi"


def test_what_came_before_a_transform_failed_goes_out() -> None:
    fails = own("def feed(self, event): return 1 / 0 if '!' in event.text else [event]")
    done = read(STREAM + "transforms: [ mine ]", sse(TEXT, {"k": "t", "x": "!"}, STOP), mine=fails)
    assert done.verdict == ErrorEvent("fatal", "transform `mine` failed in `feed`")
    assert isinstance(done.pipeline.cause, ZeroDivisionError)
    assert done.reply.text == "hi"


def test_a_transform_that_fails_at_the_end_fails_the_answer() -> None:
    fails = own("def feed(self, event): return [event]", "def finish(self): raise KeyError")
    verdict = read(STREAM + "transforms: [ mine ]", sse(TEXT, STOP), mine=fails).verdict
    assert verdict == ErrorEvent("fatal", "transform `mine` failed in `finish`")


# ---- what the attempt watches ----


def test_life_and_over_are_known_as_soon_as_they_are_true() -> None:
    route = route_of(STREAM)
    made = Read(route, [])
    fresh = Read(route, []).pipeline
    assert made.verdict == ErrorEvent("empty_response", "the upstream's answer was empty")
    states = []
    for chunk in (b": ping\n\n", sse(TEXT, done=False), sse(STOP, done=False), b"data: [DONE]\n\n"):
        pipeline = fresh
        pipeline.feed(chunk)
        states.append((pipeline.parser.frames, pipeline.over, pipeline.ended))
    assert states == [(1, False, False), (2, False, False), (3, True, False), (4, True, True)]


def test_where_no_marker_is_due_usage_is_all_that_can_follow() -> None:
    text = STREAM.replace('done: "[DONE]"', "done: []")
    pipeline = Read(route_of(text), []).pipeline
    pipeline.feed(sse(TEXT, STOP, done=False))
    assert (pipeline.over, pipeline.ended) == (True, False)
    pipeline.feed(sse({"k": "u", "o": 1}, done=False))
    assert pipeline.ended


def test_after_an_error_nothing_comes_any_more() -> None:
    pipeline = Read(route_of(STREAM), []).pipeline
    pipeline = route_of(STREAM).pipeline(
        pipeline._env, [], HttpResponse(200), stream=True, new_id=lambda: "x"
    )
    assert pipeline.feed(sse({"e": "busy"})) == []
    assert pipeline.feed(sse(TEXT)) == []
    assert pipeline.finish() == []
    assert pipeline.feed(b"") == []


def test_text_is_counted_after_the_transforms() -> None:
    nothing = own("def feed(self, event): return [] if isinstance(event, TextDelta) else [event]")
    text = STREAM.replace("format: sse", "format: sse\n  min_text: 1") + "transforms: [ mine ]"
    verdict = read(text, sse(TEXT, STOP), mine=nothing).verdict
    assert verdict == ErrorEvent("empty_response", "the upstream's answer has no text")


def test_deltas_of_a_transform_are_numbered_like_all_others() -> None:
    odd = own("def feed(self, event): return [TextDelta(99, 'x'), event]")
    done = read(STREAM + "transforms: [ mine ]", sse(TEXT, STOP), mine=odd)
    assert [event.block for event in done.events if isinstance(event, TextDelta)] == [0, 0, 0]
