"""What answers are made of: calls, kinds of records, statuses."""

from __future__ import annotations

import json
from typing import Any

from engine.replay.anatomy import Answered, anatomy
from engine.route.compile import Sources, compile_route
from engine.route.route import Route
from engine.wire import HttpRequest, HttpResponse

RULES = """\
version: 1
base_url: https://example.com
models: [m]
request: { json: { q: "{{ req.prompt }}" } }
stream:
  events:
    - { match: { kind: word }, text: $.word }
    - { match: { kind: end }, finish: stop }
"""


def route(text: str = RULES) -> Route:
    found = compile_route(text.encode(), "r.yaml", Sources())
    assert found.route is not None, found.problems
    return found.route


def answered(body: Any, path: str = "/chat", status: int = 200, **more: Any) -> Answered:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = HttpResponse(status, (("Content-Type", more.pop("content", "text/x; charset=y")),))
    return Answered(HttpRequest("POST", f"https://example.com{path}"), head, data, **more)


def events(*frames: object) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(frame).encode() for frame in frames)


def test_records_of_a_stream_are_told_apart_by_the_word_that_rules_ask_for() -> None:
    body = events({"kind": "word", "word": "a"}, {"kind": "x", "y": 1}, {"kind": "end"}, {"z": 1})
    call = anatomy(route(), [answered(body)])["POST /chat"]
    assert ["word", "x", "end", ""] == list(call.kinds)
    assert {("kind",), ("word",), ()} == set(call.kinds["word"].spots)
    assert {"text/x"} == call.contents
    assert {"word": (0, 0), "x": (1, 1), "end": (2, 2), "": (3, 3)} == call.places


def test_names_of_events_marks_and_what_is_no_json_are_kinds() -> None:
    text = RULES.replace("stream:\n", 'stream:\n  done: "[DONE]"\n')
    body = b'event: open\ndata: {"a": 1}\n\ndata: so it is\n\ndata: [DONE]\n\n'
    call = anatomy(route(text), [answered(body)])["POST /chat"]
    assert ["open", "text", "[DONE]"] == list(call.kinds)


def test_a_document_is_one_record_and_a_page_is_none() -> None:
    calls = anatomy(route(), [answered({"type": "error", "n": 1}), answered(b"<html>", "/page")])
    assert ["error"] == list(calls["POST /chat"].kinds)
    assert [] == list(calls["POST /page"].kinds)


def test_paths_with_ids_in_them_are_one_call_and_its_answers_are_merged() -> None:
    calls = anatomy(route(), [answered({"a": 1}, "/jobs/81723"), answered({"b": 1}, "/jobs/9182")])
    assert ["POST /jobs/*"] == list(calls)
    assert {(), ("a",), ("b",)} == set(calls["POST /jobs/*"].kinds[""].spots)
    assert [200, 200] == calls["POST /jobs/*"].statuses


def test_an_answer_after_which_it_was_asked_again_does_not_count() -> None:
    call = anatomy(route(), [answered({"e": 1}, status=429), answered({"a": 1})])["POST /chat"]
    assert ([200], [429], {(), ("a",)}) == (call.statuses, call.passing, set(call.kinds[""].spots))
    assert [429] == anatomy(route(), [answered({}, status=429)])["POST /chat"].statuses


def test_a_dialects_records_are_told_apart_by_their_type() -> None:
    text = "version: 1\ndialect: anthropic_messages\nbase_url: https://example.com\nmodels: [m]\n"
    body = b'event: ping\ndata: {"type": "ping"}\n\ndata: {"type": "message_stop"}\n\n'
    call = anatomy(route(text), [answered(body)])["POST /chat"]
    assert ["ping ping", "message_stop"] == list(call.kinds)


def test_what_is_cut_in_a_frame_is_read_as_far_as_it_came() -> None:
    body = events({"kind": "word", "word": "a"}) + b'data: {"kind": "en'
    assert "word" in anatomy(route(), [answered(body)])["POST /chat"].kinds
