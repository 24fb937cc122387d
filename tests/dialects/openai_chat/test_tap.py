from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dialects.openai_chat.tap import Tap, check_whole
from engine.events import ErrorEvent, Finish, Usage
from engine.parsers.sse import SseFrames
from engine.wire import loads
from tests.grammar import check_chat_stream, sse_payloads

DONE = b"data: [DONE]\n\n"
HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "up"}
TRUNCATED = ErrorEvent("truncated", "the upstream's answer ended before it was whole")
EMPTY = ErrorEvent("empty_response", "the upstream's answer has no content")
NOT_JSON = ErrorEvent("retryable", "the upstream sent a frame that is not JSON")
AS_A_WHOLE = "the upstream answered as a whole where a stream was asked for"


def frame(value: object) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def value(delta: object, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {**HEAD, "choices": [choice], **more}


def chunk(delta: object, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    return frame(value(delta, finish, index, **more))


ROLE = chunk({"role": "assistant", "content": ""})
A, B = chunk({"content": "a"}), chunk({"content": "bé"})
STOP = chunk({}, "stop")
COUNTS = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
USAGE = frame({**HEAD, "choices": [], "usage": COUNTS})
COUNTED = Usage(3, 2, raw=COUNTS)


def test_a_good_answer_goes_on_byte_for_byte() -> None:
    tap = Tap()
    frames = [b": hello\n\n", ROLE, A, B, STOP, USAGE, DONE]
    assert tap.feed(frames) == b"".join(frames)
    assert (True, COUNTED, Finish("stop", "stop"), None, True) == (
        tap.content, tap.usage, tap.finish, tap.error, tap.done,
    )  # fmt: skip
    assert tap.end() == b""


def test_usage_beside_the_finish_of_a_choice_is_seen() -> None:
    last = value({}, "stop")
    last["choices"][0]["usage"] = COUNTS  # as Kimi tells it
    tap = Tap()
    frames = [ROLE, A, frame(last), DONE]
    assert b"".join(frames) == tap.feed(frames)
    assert (COUNTED, Finish("stop", "stop")) == (tap.usage, tap.finish)


def test_null_in_quotes_is_no_finish() -> None:
    frames = [chunk({"content": "a"}, "null"), chunk({"content": "b"}, "null"), STOP, DONE]
    tap = Tap()
    assert b"".join(frames) == tap.feed(frames)
    assert Finish("stop", "stop") == tap.finish


@pytest.mark.parametrize(
    ("delta", "content"),
    [
        ({"role": "assistant"}, False),
        ({"role": "assistant", "content": "", "refusal": None}, False),
        ({"tool_calls": []}, False),
        ({}, False),
        (None, False),
        ({"content": "a"}, True),
        ({"reasoning_content": "a"}, True),
        ({"reasoning": "a"}, True),
        ({"refusal": "a"}, True),
        ({"tool_calls": [{"index": 0}]}, True),
        ({"function_call": {"name": "f"}}, True),
    ],
)
def test_what_counts_as_content(delta: object, content: bool) -> None:
    tap = Tap()
    tap.feed([chunk(delta)])
    assert content is tap.content


def test_row_50_the_usage_chunk_goes_only_to_those_who_asked() -> None:
    tap = Tap(include_usage=False)
    assert tap.feed([A, STOP, USAGE, DONE]) == A + STOP + DONE
    assert tap.usage == COUNTED


def test_usage_in_the_finish_chunk_goes_to_everybody() -> None:
    tap = Tap(include_usage=False)
    last = chunk({}, "stop", usage=COUNTS)
    assert tap.feed([A, last]) == A + last
    assert tap.usage == COUNTED


@pytest.mark.parametrize("choices", [None, 5, [], [5], ["ab"], [{"delta": 5}], {"a": 1}])
def test_odd_chunks_in_mid_answer_go_on(choices: object) -> None:
    odd = frame({**HEAD, "choices": choices})
    tap = Tap()
    assert tap.feed([A, odd, B, STOP]) == A + odd + B + STOP
    assert Finish("stop", "stop") == tap.finish


def test_usage_of_null_is_no_usage() -> None:
    tap = Tap(include_usage=False)
    first = frame({**HEAD, "choices": [], "usage": None, "prompt_filter_results": []})
    assert tap.feed([first]) == first
    assert None is tap.usage


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_f12_id_and_retry_lines_go_and_nothing_else(newline: bytes) -> None:
    data = A[6:-2]
    lines = [b"id: 5", b"retry: 10", b"data:" + data, b"id", b"event: message", b": note"]
    kept = newline.join([b"data:" + data, b"event: message", b": note", b"", b""])
    assert Tap().feed([newline.join([*lines, b"", b""])]) == kept


def test_f12_a_frame_of_nothing_but_an_id_is_not_sent_as_a_blank_line() -> None:
    assert Tap().feed([b"id: 5\n\n", b"retry: 1\nid: 2\n\n", b"event: x\n\n", b"\n\n"]) == b""


def test_f12_a_byte_order_mark_and_unknown_fields_go() -> None:
    assert Tap().feed([b"\xef\xbb\xbf" + A]) == A
    assert Tap().feed([b"foo: bar\n" + A]) == A


def test_f12_data_of_several_lines_is_one_chunk() -> None:
    lines = b'data: {"choices":[{"delta":\ndata: {"content":"a"}}]}\n\n'
    tap = Tap()
    assert tap.feed([lines]) == lines
    assert tap.content


def test_a_frame_whose_blank_line_is_missing_gets_one() -> None:
    assert Tap().feed([A.rstrip(b"\n")]) == A
    assert Tap().feed([A[:-1]]) == A


@pytest.mark.parametrize("empty", [b"data:\n\n", b"data: \n\n", b"data\n\n", b"data: \ndata:\n\n"])
def test_frames_without_anything_in_them_are_dropped(empty: bytes) -> None:
    assert Tap().feed([A, empty, B]) == A + B


@pytest.mark.parametrize(
    "junk",
    [
        b"data: oops\n\n",
        b"data: {\n\n",
        b'data: "text"\n\n',
        b"data: [1]\n\n",
        b"data: null\n\n",
        b'data: {"a":NaN}\n\n',
        b'data: {"a":1}x\n\n',
        b'data: {"a":1\n"b":2}\n\n',
    ],
)
def test_f15_a_frame_that_is_not_json_ends_the_answer(junk: bytes) -> None:
    tap = Tap()
    assert tap.feed([A, junk, B, STOP, DONE]) == A
    assert tap.error == NOT_JSON
    assert b"" == tap.feed([B]) == tap.end()


@pytest.mark.parametrize(
    "junk", [b'data: {"a":"\xff"}\n\n', b": \xff\n\n", b"<html>\n\n", b"ok\n\n"]
)
def test_f14_what_is_not_text_of_a_stream_ends_the_answer(junk: bytes) -> None:
    tap = Tap()
    assert tap.feed([A, junk, B]) == A
    assert tap.error is not None
    assert tap.error.cls == "retryable"


def test_f14_a_lone_surrogate_becomes_visible() -> None:
    (payload,) = sse_payloads(Tap().feed([b'data: {"choices":[],"a":"x\\ud83d"}\n\n']))
    assert orjson.loads(payload) == {"choices": [], "a": "x\ufffd"}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            b'{"error":{"message":"no","code":"insufficient_quota"}}\n\n',
            ErrorEvent("quota_exhausted", "no", 0, "insufficient_quota"),
        ),
        (
            b'{\n  "error": {\n    "message": "no"\n  }\n}\n\n',
            ErrorEvent("retryable", "no"),
        ),
        (
            b'{"choices":[]}\n\n',
            ErrorEvent(
                "retryable", "the upstream answered as a whole where a stream was asked for"
            ),
        ),
        (
            b"<!doctype html>\n\n",
            ErrorEvent("retryable", "the upstream answered with a page, not JSON"),
        ),
    ],
)
def test_f5_an_answer_that_is_no_stream_is_an_error(body: bytes, error: ErrorEvent) -> None:
    tap = Tap()
    assert (b"", error) == (tap.feed([body]), tap.error)


# ---- errors in the stream ----


def failure(tap: Tap) -> dict[str, Any]:
    chunks = check_chat_stream(ROLE + tap.failure)
    return chunks[-1]["error"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("error", "cls", "shown"),
    [
        (
            {"message": "busy", "type": "overloaded_error", "code": None},
            "overloaded",
            {"type": "overloaded_error", "code": "overloaded"},
        ),
        (
            {"message": "slow", "type": None, "code": 429, "param": None},
            "rate_limited",
            {"type": "rate_limit_error", "code": "rate_limit_exceeded"},
        ),
        ({"message": "x"}, "retryable", {"type": "server_error", "code": "bad_gateway"}),
        (
            {
                "message": "too long",
                "type": "invalid_request_error",
                "code": "context_length_exceeded",
            },
            "context_length",
            {"type": "invalid_request_error", "code": "context_length_exceeded"},
        ),
    ],
)
def test_f7_an_error_frame_ends_the_answer_with_a_type(
    error: dict[str, Any], cls: str, shown: dict[str, Any]
) -> None:
    tap = Tap()
    assert tap.feed([A, frame({"error": error}), B, DONE]) == A
    assert tap.error is not None
    assert (cls, error["message"]) == (tap.error.cls, tap.error.message)
    assert {"message": error["message"], "param": None, **shown} == failure(tap)


def test_f6_an_error_in_the_first_frame_sends_nothing_on() -> None:
    tap = Tap()
    assert tap.feed([frame({"error": {"message": "busy", "type": "overloaded_error"}})]) == b""
    assert not tap.content


def test_an_error_event_is_an_error_whatever_its_data() -> None:
    tap = Tap()
    assert tap.feed([b'event: error\ndata: {"message":"gone"}\n\n']) == b""
    assert ErrorEvent("retryable", "gone") == tap.error


def test_f23_an_error_about_the_credential_does_not_repeat_it() -> None:
    tap = Tap()
    tap.feed([A, frame({"error": {"message": "bad key sk-1", "type": "authentication_error"}})])
    shown = failure(tap)
    assert (shown["message"], shown["type"]) == ("upstream credential rejected", "server_error")


@pytest.mark.parametrize("word", ["error", "network_error"])
def test_a_finish_that_means_failure_is_an_error(word: str) -> None:
    tap = Tap()
    assert tap.feed([A, chunk({}, word), DONE]) == A
    assert (tap.finish, tap.error and tap.error.cls) == (None, "retryable")


def test_an_error_beside_choices_is_an_error() -> None:
    tap = Tap()
    assert tap.feed([chunk({"content": ""}, "error", error={"code": 502, "message": "x"})]) == b""
    assert tap.error is not None


def test_an_error_of_null_is_none() -> None:
    quiet = chunk({"content": "a"}, error=None)
    assert Tap().feed([quiet]) == quiet


@pytest.mark.parametrize("late", [b"data: oops\n\n", frame({"error": "late"}), b"junk\n\n"])
def test_a_failure_after_the_finish_only_ends_the_answer(late: bytes) -> None:
    tap = Tap()
    assert tap.feed([A, STOP, late, B]) == A + STOP + DONE
    assert (None, Finish("stop", "stop")) == (tap.error, tap.finish)


# ---- endings ----


def test_f3_a_missing_terminator_is_added_after_a_finish() -> None:
    tap = Tap()
    assert tap.feed([A, STOP]) + tap.end() == A + STOP + DONE
    assert None is tap.error
    assert tap.end() == b""


def test_f2_an_answer_that_just_stops_is_truncated() -> None:
    tap = Tap()
    assert tap.feed([A]) + tap.end() == A
    assert tap.error == TRUNCATED
    assert b'"code":"bad_gateway"' in tap.failure


def test_f5_an_answer_without_content_is_empty() -> None:
    tap = Tap()
    assert (tap.end(), tap.error) == (b"", EMPTY)
    beginning = Tap()
    assert (beginning.feed([ROLE]) + beginning.end(), beginning.error) == (ROLE, EMPTY)


def test_f4_a_terminator_without_a_finish_is_not_sent() -> None:
    tap = Tap()
    assert tap.feed([A, DONE]) + tap.end() == A
    assert (tap.error, tap.done) == (TRUNCATED, True)


def test_f4_a_terminator_without_a_finish_is_enough_if_the_route_says_so() -> None:
    tap = Tap(finish_optional=True)
    assert tap.feed([A, DONE]) + tap.end() == A + DONE
    assert None is tap.error


def test_f9_nothing_follows_the_terminator() -> None:
    tap = Tap()
    assert tap.feed([A, STOP, DONE, B, DONE]) + tap.feed([B]) + tap.end() == A + STOP + DONE


def test_f9_a_second_finish_and_what_follows_the_finish_do_not_go_on() -> None:
    tap = Tap()
    late = chunk({}, "length")
    assert tap.feed([A, STOP, late, B, USAGE, DONE]) == A + STOP + USAGE + DONE
    assert Finish("stop", "stop") == tap.finish


def test_usage_beside_a_second_finish_goes_on_alone() -> None:
    late = chunk({}, "stop", usage=COUNTS)
    tap = Tap()
    assert tap.feed([A, STOP, late]) == A + STOP + frame({**HEAD, "choices": [], "usage": COUNTS})
    assert Tap(include_usage=False).feed([A, STOP, late]) == A + STOP


def test_an_answer_of_two_choices_is_whole_when_both_are() -> None:
    tap = Tap()
    one, two = chunk({"content": "a"}, index=0), chunk({"content": "b"}, index=1)
    tap.feed([one, two, chunk({}, "stop", 0)])
    assert None is tap.finish
    tap.feed([two, chunk({}, "length", 1)])
    assert Finish("length", "length") == tap.finish


def test_a_choice_that_begins_late_reopens_the_answer() -> None:
    tap = Tap()
    tap.feed([A, STOP, chunk({"content": "b"}, index=1)])
    assert None is tap.finish


@pytest.mark.parametrize("index", [None, {}, [], "x"])
def test_an_odd_index_does_no_harm(index: object) -> None:
    odd = value({"content": "a"})
    odd["choices"] = [{**odd["choices"][0], "index": index}, 5]
    tap = Tap()
    assert tap.feed([frame(odd)]) == frame(odd)
    assert tap.content


# ---- the model's name ----


def test_the_model_is_renamed_and_nothing_else() -> None:
    tap = Tap(model="alias")
    assert tap.feed([A, USAGE, DONE][:2]) == (A + USAGE).replace(b'"up"', b'"alias"')


@pytest.mark.parametrize(
    "raw",
    [
        b'data: {"model": "up", "choices": []}\n\n',
        b'data: {"model":"up","choices":[],"x":{"model":"up"}}\n\n',
        b'data: {"model":null,"choices":[]}\n\n',
    ],
)
def test_the_model_is_renamed_however_it_is_written(raw: bytes) -> None:
    (payload,) = sse_payloads(Tap(model="alias").feed([raw]))
    assert {**orjson.loads(raw[6:]), "model": "alias"} == orjson.loads(payload)


def test_a_chunk_without_a_model_gets_none() -> None:
    bare = frame({"choices": []})
    assert Tap(model="alias").feed([bare]) == bare


# ---- with the splitter, cut anywhere ----

STREAM = b": hi\n\n" + ROLE + A + B + STOP + USAGE + DONE


@given(st.lists(st.integers(0, len(STREAM)), max_size=8), st.sampled_from([b"\n", b"\r\n", b"\r"]))
@settings(max_examples=300, deadline=None)
def test_f12_f13_cuts_and_newlines_change_nothing(cuts: list[int], newline: bytes) -> None:
    stream = STREAM.replace(b"\n", newline)
    places = [0, *sorted(cut * len(stream) // len(STREAM) for cut in cuts), len(stream)]
    splitter, tap, out = SseFrames(), Tap(), b""
    for start, stop in pairwise(places):
        out += tap.feed(splitter.feed(stream[start:stop]))
    out += tap.feed(splitter.finish()) + tap.end()
    assert stream == out
    assert (tap.error, tap.usage, tap.done) == (None, COUNTED, True)


lines = st.lists(
    st.sampled_from(
        [b"data: {}", b"data", A[:-2], STOP[:-2], DONE[:-2], b": c", b"id: 1", b"event: error", b"",
         b"data: [", b"\xff", b"retry: 1", b"x: y", USAGE[:-2]]
    ),
    max_size=12,
)  # fmt: skip


@given(lines, st.booleans())
@settings(max_examples=600, deadline=None)
def test_whatever_comes_the_client_gets_json_frames_and_one_end(
    items: list[bytes], usage: bool
) -> None:
    splitter, tap = SseFrames(), Tap(usage)
    raw = b"\n".join(items)
    out = tap.feed(splitter.feed(raw)) + tap.feed(splitter.finish()) + tap.end()
    payloads = [
        b"\n".join(line[5:].strip() for line in part.split(b"\n") if line.startswith(b"data"))
        for part in out.split(b"\n\n")
        if b"data" in part
    ]
    ends = [payload for payload in payloads if payload == b"[DONE]"]
    assert all(isinstance(loads(p), dict) for p in payloads if p != b"[DONE]")
    assert (tap.error is None) == (len(ends) == 1)
    assert (tap.finish is None) == (tap.error is not None)
    assert not ends or payloads[-1] == b"[DONE]"


# ---- whole answers ----


def answer(message: dict[str, Any], finish: str | None = "stop", **more: Any) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return orjson.dumps({"id": "c1", "choices": [choice], **more})


def test_a_whole_answer_is_observed() -> None:
    body = answer({"content": "a"}, usage=COUNTS)
    seen = check_whole(body)
    assert (True, COUNTED, Finish("stop", "stop"), None, True) == (
        seen.content, seen.usage, seen.finish, seen.error, seen.done,
    )  # fmt: skip
    assert seen.body is body


def test_a_whole_answer_that_does_not_say_why_it_ended_is_whole() -> None:
    seen = check_whole(answer({"content": "a"}, None, usage=COUNTS))
    assert (True, COUNTED, Finish("stop", ""), None) == (
        seen.content, seen.usage, seen.finish, seen.error,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "cls"),
    [
        (b"", "empty_response"),
        (b"  ", "empty_response"),
        (b"<html>", "retryable"),
        (b"<html><script src=/cdn-cgi/challenge-platform>", "challenge"),
        (b"ok", "retryable"),
        (b"null", "retryable"),
        (b"[]", "retryable"),
        (b'{"a":"\xff"}', "retryable"),
        (b"{}", "retryable"),
        (b'{"choices":[]}', "empty_response"),
        (b'{"choices":5}', "retryable"),
        (b'{"error":{"message":"x","type":"overloaded_error"}}', "overloaded"),
        (b'{"error":"x","choices":[]}', "retryable"),
        (b"data: [DONE]\n\n", "retryable"),
        (answer({}, "network_error"), "retryable"),
    ],
)
def test_f5_a_whole_answer_that_is_none_is_an_error(body: bytes, cls: str) -> None:
    seen = check_whole(body)
    assert seen.error is not None
    assert cls == seen.error.cls
    assert not seen.content


def test_a_whole_answer_without_content_says_so() -> None:
    assert not check_whole(answer({"content": ""})).content
    assert check_whole(answer({"content": None, "tool_calls": [{"function": {}}]})).content


def test_f14_a_whole_answer_with_a_lone_surrogate_is_repaired() -> None:
    seen = check_whole(b'{"choices":[{"message":{"content":"x\\ud83d"}}]}')
    assert orjson.loads(seen.body) == {"choices": [{"message": {"content": "x\ufffd"}}]}
    assert seen.content
