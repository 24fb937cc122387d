from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dialects.anthropic_messages.tap import Tap, check_whole
from engine.events import ErrorEvent, Finish, Usage
from engine.parsers.sse import SseFrames
from tests.grammar import check_messages_stream, named_payloads

TRUNCATED = ErrorEvent("truncated", "the upstream's answer ended before it was whole")
EMPTY = ErrorEvent("empty_response", "the upstream's answer has no content")
NOT_JSON = ErrorEvent("retryable", "the upstream sent a frame that is not JSON")


def frame(value: dict[str, Any], name: str | None = None) -> bytes:
    head = (name or value["type"]).encode()
    return b"event: %b\ndata: %b\n\n" % (head, orjson.dumps(value))


def begin(index: int, kind: str, **more: object) -> bytes:
    block = {"type": kind, **more}
    return frame({"type": "content_block_start", "index": index, "content_block": block})


def delta(index: int, kind: str, **more: object) -> bytes:
    return frame({"type": "content_block_delta", "index": index, "delta": {"type": kind, **more}})


def stop(index: int) -> bytes:
    return frame({"type": "content_block_stop", "index": index})


def ending(reason: str | None = "end_turn", **usage: object) -> bytes:
    told = {"stop_reason": reason, "stop_sequence": None}
    return frame({"type": "message_delta", "delta": told, "usage": usage or {"output_tokens": 5}})


MESSAGE: dict[str, Any] = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "up", "content": [],
    "stop_reason": None, "usage": {"input_tokens": 10, "output_tokens": 1},
}  # fmt: skip
START = frame({"type": "message_start", "message": MESSAGE})
PING = frame({"type": "ping"})
OPEN, A, B = (
    begin(0, "text", text=""),
    delta(0, "text_delta", text="a"),
    delta(0, "text_delta", text="é"),
)
SHUT, END, DONE = stop(0), ending(), frame({"type": "message_stop"})
GOOD = [START, PING, OPEN, A, B, SHUT, END, DONE]
COUNTED = Usage(10, 5, raw={"input_tokens": 10, "output_tokens": 5})


def test_a_good_answer_goes_on_byte_for_byte() -> None:
    tap = Tap()
    assert tap.feed(GOOD) == b"".join(GOOD)
    assert (True, COUNTED, Finish("stop", "end_turn"), None, True) == (
        tap.content, tap.usage, tap.finish, tap.error, tap.done,
    )  # fmt: skip
    assert tap.end() == b""
    check_messages_stream(b"".join(GOOD))


@pytest.mark.parametrize(
    ("frames", "content"),
    [
        ([START], False),
        ([START, PING], False),
        ([START, OPEN], False),
        ([START, begin(0, "thinking", thinking="", signature="")], False),
        ([START, OPEN, delta(0, "text_delta", text="")], False),
        ([START, OPEN, A], True),
        ([START, begin(0, "text", text="a")], True),
        ([START, begin(0, "thinking"), delta(0, "signature_delta", signature="s")], True),
        ([START, begin(0, "redacted_thinking", data="d")], True),
        ([START, begin(0, "tool_use", id="a", name="f", input={})], True),
    ],
)
def test_what_counts_as_content(frames: list[bytes], content: bool) -> None:
    tap = Tap()
    assert (b"".join(frames), content) == (tap.feed(frames), tap.content)


def test_the_input_is_told_at_the_start_and_the_end_counts_all() -> None:
    tap = Tap()
    tap.feed([START, OPEN, A])
    assert Usage(10, 1, raw=MESSAGE["usage"]) == tap.usage
    tap.feed([SHUT, ending(input_tokens=12, cache_read_input_tokens=3, output_tokens=7)])
    assert tap.usage is not None
    assert (15, 7, 3) == (tap.usage.input, tap.usage.output, tap.usage.cache_read)


# ---- ends ----


def test_f3_a_missing_terminator_is_added() -> None:
    tap = Tap()
    assert tap.feed(GOOD[:-1]) + tap.end() == b"".join(GOOD)
    assert (None, Finish("stop", "end_turn")) == (tap.error, tap.finish)


@pytest.mark.parametrize(("count", "error"), [(0, EMPTY), (1, EMPTY), (3, EMPTY), (4, TRUNCATED)])
def test_f2_an_answer_without_a_finish_is_an_error(count: int, error: ErrorEvent) -> None:
    tap = Tap()
    assert b"".join(GOOD[:count]) == tap.feed(GOOD[:count])
    assert (b"", error) == (tap.end(), tap.error)
    ((name, value),) = named_payloads(tap.failure)
    assert ("error", "api_error") == (name, value["error"]["type"])


def test_f4_a_terminator_without_a_finish_is_an_error_unless_the_route_allows_it() -> None:
    tap = Tap()
    frames = [START, OPEN, A, SHUT, DONE]
    assert tap.feed(frames) == b"".join(frames[:-1])
    assert (True, TRUNCATED) == (tap.done, tap.error)
    lax = Tap(finish_optional=True)
    assert lax.feed(frames) == b"".join(frames)
    assert lax.error is None


def test_f9_nothing_follows_the_end() -> None:
    tap = Tap()
    late = [
        begin(1, "text", text="x"),
        delta(1, "text_delta", text="x"),
        stop(1),
        ending("refusal"),
    ]
    assert tap.feed([*GOOD[:-1], *late, DONE, A, DONE, b"data: [DONE]\n\n"]) == b"".join(GOOD)
    assert Finish("stop", "end_turn") == tap.finish


def test_row_18_the_terminator_of_another_dialect_is_dropped() -> None:
    tap = Tap()
    assert tap.feed([*GOOD[:-1], b"data: [DONE]\n\n"]) + tap.end() == b"".join(GOOD)


def test_a_usage_event_before_the_finish_goes_on() -> None:
    early = ending(None, output_tokens=2)
    tap = Tap()
    assert tap.feed([START, OPEN, A, SHUT, early, END]) == b"".join(
        [START, OPEN, A, SHUT, early, END]
    )


def test_blocks_left_open_are_closed_before_the_finish() -> None:
    tap = Tap()
    data = tap.feed([START, OPEN, A, END]) + tap.end()
    assert data == b"".join([START, OPEN, A, SHUT, END, DONE])
    check_messages_stream(data)


# ---- frames ----


def test_row_56_every_frame_gets_its_event_line() -> None:
    tap = Tap()
    bare = [frame_.partition(b"\n")[2] for frame_ in GOOD]
    assert tap.feed(bare) == b"".join(GOOD)
    assert b"" == Tap().feed([b'data: {"x":1}\n\n', b'data: {"type":"a b"}\n\n'])


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_f12_id_and_retry_lines_go_and_nothing_else(newline: bytes) -> None:
    name, data = A.split(b"\n")[:2]
    given_ = newline.join([b"id: 5", name, b"retry: 1", data, b": note", b"", b""])
    tap = Tap()
    assert newline.join([name, data, b": note", b"", b""]) == tap.feed([given_])
    assert tap.content


def test_f12_data_of_several_lines_is_one_event() -> None:
    lines = A.replace(b',"index"', b',\ndata: "index"')
    assert lines.count(b"data: ") == 2
    tap = Tap()
    assert (lines, True) == (tap.feed([lines]), tap.content)


def test_events_nobody_knows_go_on() -> None:
    new = frame({"type": "x_new", "x": 1})
    assert new == Tap().feed([new])


@pytest.mark.parametrize(
    "junk",
    [
        b"event: content_block_delta\ndata: oops\n\n",
        b'event: content_block_delta\ndata: {"a":\n\n',
        b'data: "text"\n\n',
        b"data: [1]\n\n",
    ],
)
def test_f15_a_frame_that_is_not_json_ends_the_answer(junk: bytes) -> None:
    tap = Tap()
    assert tap.feed([START, OPEN, A, junk, B]) == START + OPEN + A
    assert (NOT_JSON, b"") == (tap.error, tap.end())


@pytest.mark.parametrize("junk", [b'event: ping\ndata: {"a":"\xff"}\n\n', b"<html>\n\n"])
def test_f14_what_is_not_text_of_a_stream_ends_the_answer(junk: bytes) -> None:
    tap = Tap()
    assert tap.feed([START, junk, A]) == START
    assert tap.error is not None
    assert tap.error.cls == "retryable"


def test_f14_a_lone_surrogate_becomes_visible() -> None:
    odd = A.replace(b'"a"', b'"x\\ud83d"')
    ((_, value),) = named_payloads(Tap().feed([odd]))
    assert value["delta"]["text"] == "x\ufffd"


# ---- errors ----


def error(type: str, message: str = "m") -> bytes:
    return frame({"type": "error", "error": {"type": type, "message": message}})


@pytest.mark.parametrize(
    ("data", "found", "type"),
    [
        (error("overloaded_error"), ErrorEvent("overloaded", "m"), "overloaded_error"),
        (error("new_error"), ErrorEvent("retryable", "m"), "new_error"),
        (
            frame({"error": {"message": "m"}}, "x"),
            ErrorEvent("retryable", "m"),
            "api_error",
        ),
        (frame({"message": "m"}, "error"), ErrorEvent("retryable", "m"), "api_error"),
    ],
)
def test_f6_and_f7_an_error_keeps_its_type(data: bytes, found: ErrorEvent, type: str) -> None:
    for frames in ([], [START, OPEN, A]):
        tap = Tap()
        assert tap.feed([*frames, data, B, END]) == b"".join(frames)
        assert found == tap.error
        ((name, value),) = named_payloads(tap.failure)
        assert ("error", {"type": type, "message": "m"}) == (name, value["error"])


def test_an_error_after_the_finish_ends_the_answer_well() -> None:
    tap = Tap()
    assert tap.feed([*GOOD[:-1], error("api_error"), A]) == b"".join(GOOD)
    assert tap.error is None


def test_f5_an_error_body_where_a_stream_was_asked_for() -> None:
    tap = Tap()
    assert (
        tap.feed([b'{"type":"error","error":{"type":"rate_limit_error","message":"m"}}\n\n']) == b""
    )
    assert ErrorEvent("rate_limited", "m") == tap.error


# ---- names ----


def test_the_model_is_renamed_if_asked_for() -> None:
    (name, value), *_ = named_payloads(Tap(model="mine").feed([START, OPEN, A]))
    assert ("message_start", {**MESSAGE, "model": "mine"}) == (name, value["message"])


# ---- whole answers ----


def whole(**fields: object) -> bytes:
    text = {"type": "text", "text": "a"}
    return orjson.dumps({**MESSAGE, "content": [text], "stop_reason": "end_turn", **fields})


def test_a_whole_answer_goes_on_as_it_came() -> None:
    body = whole()
    seen = check_whole(body)
    assert (body, True, Finish("stop", "end_turn"), None) == (
        seen.body, seen.content, seen.finish, seen.error,
    )  # fmt: skip
    assert Usage(10, 1, raw=MESSAGE["usage"]) == seen.usage


def test_a_whole_answer_with_a_lone_surrogate_is_made_good() -> None:
    seen = check_whole(whole().replace(b'"a"', b'"\\ud83d"'))
    assert orjson.loads(seen.body)["content"][0]["text"] == "\ufffd"


@pytest.mark.parametrize(
    ("body", "cls"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}', "overloaded"),
        (b"<html>just a moment...</html>", "challenge"),
        (b"", "empty_response"),
        (b"[]", "retryable"),
        (b'{"content":null}', "retryable"),
    ],
)
def test_f5_what_is_no_answer_is_an_error(body: bytes, cls: str) -> None:
    seen = check_whole(body)
    assert seen.error is not None
    assert (cls, False) == (seen.error.cls, seen.content)


# ---- properties ----

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)


@given(st.lists(words, min_size=1, max_size=4), st.data())
@settings(max_examples=100, deadline=None)
def test_a_good_answer_passes_however_it_is_cut(texts: list[str], data: st.DataObject) -> None:
    frames = [START, OPEN, *(delta(0, "text_delta", text=text) for text in texts), SHUT, END, DONE]
    raw = b"".join(frames)
    places = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    splitter, tap, out = SseFrames(), Tap(), b""
    for first, last in pairwise([0, *places, len(raw)]):
        out += tap.feed(splitter.feed(raw[first:last]))
    assert raw == out + tap.feed(splitter.finish()) + tap.end()


lines = st.sampled_from([*GOOD, PING, stop(1), ending(None), error("x_error"), b"data: x\n\n",
                         b"event: x\n\n", b": note\n\n", b"data: [DONE]\n\n"])  # fmt: skip


@given(st.lists(lines, max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_frames_end_in_one_way(frames: list[bytes]) -> None:
    tap = Tap()
    out = tap.feed(frames) + tap.end()
    assert (tap.error is None) == out.endswith(DONE)
    assert out.count(DONE) <= 1
    assert bool(tap.failure) == (tap.error is not None)
