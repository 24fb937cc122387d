from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dialects.gemini.tap import Tap, check_whole
from engine.events import ErrorEvent, Finish, Usage
from engine.parsers.sse import SseFrames
from tests.grammar import check_gemini_stream

TRUNCATED = ErrorEvent("truncated", "the upstream's answer ended before it was whole")
EMPTY = ErrorEvent("empty_response", "the upstream's answer has no content")
NOT_JSON = ErrorEvent("retryable", "the upstream sent a frame that is not JSON")
HEAD = {"responseId": "r", "modelVersion": "up"}
COUNTS = {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11}
ERROR = {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}


def chunk(*parts: object, finish: str | None = None, index: int = 0, **more: object) -> Any:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": index}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], **HEAD, **more}


def frame(value: object, end: bytes = b"\r\n\r\n") -> bytes:
    return b"data: " + orjson.dumps(value) + end


A, B = frame(chunk({"text": "a"})), frame(chunk({"text": "é"}))
END = frame(chunk({"text": ""}, finish="STOP", usageMetadata=COUNTS))
GOOD = [A, B, END]
COUNTED = Usage(9, 2, raw=COUNTS)


def test_a_good_answer_goes_on_byte_for_byte() -> None:
    tap = Tap()
    assert b"".join(GOOD) == tap.feed(GOOD)
    assert (True, COUNTED, Finish("stop", "STOP"), None, False) == (
        tap.content, tap.usage, tap.finish, tap.error, tap.done,
    )  # fmt: skip
    assert tap.end() == b""
    assert tap.error is None


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (chunk(), False),
        (chunk({"text": ""}), False),
        (chunk({"text": "", "thought": True}), False),
        ({"usageMetadata": COUNTS, **HEAD}, False),
        (chunk({"text": "a"}), True),
        (chunk({"text": "a", "thought": True}), True),
        (chunk({"functionCall": {"name": "f"}}), True),
        (chunk({"text": "", "thoughtSignature": "s"}), True),
    ],
)
def test_what_counts_as_content(value: object, content: bool) -> None:
    tap = Tap()
    tap.feed([frame(value)])
    assert content is tap.content


@pytest.mark.parametrize(
    "odd",
    [
        b": ping\n\n",
        b"event: message\n\n",
        b"data: [DONE]\n\n",
        b"data:\n\n",
        b"id: 1\n\n",
    ],
)
def test_row_57_what_clients_stumble_over_is_left_out(odd: bytes) -> None:
    assert Tap().feed([A, odd, END]) == A + END


@pytest.mark.parametrize(
    "raw",
    [
        b'data:{"candidates":[]}\n\n',
        b'event: x\ndata: {"candidates":[]}\n\n',
        b'id: 1\ndata: {"candidates":[]}\r\n\r\n',
    ],
)
def test_every_frame_is_one_line_with_its_space(raw: bytes) -> None:
    assert Tap().feed([raw]) == b'data: {"candidates":[]}\n\n'


def test_a_frame_of_several_lines_becomes_one() -> None:
    assert Tap().feed([b'data: {"candidates":\ndata: []}\n\n']) == b'data: {"candidates":[]}\n\n'


def test_row_59_lone_surrogates_are_replaced() -> None:
    raw = b'data: {"candidates":[{"content":{"parts":[{"text":"\\ud83d"}]}}]}\n\n'
    assert "\ufffd".encode() in Tap().feed([raw])


@pytest.mark.parametrize(
    ("frames", "error"), [([A], TRUNCATED), ([], EMPTY), ([frame(chunk())], EMPTY)]
)
def test_an_answer_without_its_finish_was_cut_off(frames: list[bytes], error: ErrorEvent) -> None:
    tap = Tap()
    tap.feed(frames)
    assert tap.end() == b""
    assert error == tap.error
    assert b'"status":"UNAVAILABLE"' in tap.failure


def test_a_route_may_take_the_end_for_a_finish() -> None:
    tap = Tap(finish_optional=True)
    tap.feed([A])
    tap.end()
    assert tap.error is None


def test_every_candidate_has_to_finish() -> None:
    tap = Tap()
    other = frame(chunk({"text": "b"}, index=1))
    tap.feed([A, other, END])
    assert tap.finish is None
    tap.feed([frame(chunk(index=1, finish="MAX_TOKENS"))])
    assert Finish("length", "MAX_TOKENS") == tap.finish


def test_a_refused_prompt_is_an_answer() -> None:
    tap = Tap()
    refused = frame({"promptFeedback": {"blockReason": "SAFETY"}, **HEAD})
    assert refused == tap.feed([refused])
    tap.end()
    assert (Finish("content_filter", "SAFETY"), None) == (tap.finish, tap.error)


def test_row_19_an_error_keeps_its_status() -> None:
    tap = Tap()
    assert A == tap.feed([A, frame(ERROR), B])
    assert ErrorEvent("overloaded", "busy", code="503") == tap.error
    (told,) = check_gemini_stream(tap.failure)
    assert ("busy", "UNAVAILABLE") == (told["error"]["message"], told["error"]["status"])
    assert tap.end() == b""


@pytest.mark.parametrize(
    ("raw", "cls"),
    [
        (b"data: words\n\n", "retryable"),
        (b"data: [1]\n\n", "retryable"),
        (b"<html>just a moment...</html>\n\n", "challenge"),
        (b'{"error":{"code":429,"message":"m"}}\n\n', "rate_limited"),
    ],
)
def test_what_is_no_chunk_ends_the_answer(raw: bytes, cls: str) -> None:
    tap = Tap()
    assert tap.feed([raw, A]) == b""
    assert tap.error is not None
    assert cls == tap.error.cls


def test_after_the_finish_nothing_fails_any_more() -> None:
    tap = Tap()
    assert A + END == tap.feed([A, END, b"data: words\n\n"])
    assert (None, b"") == (tap.error, tap.failure)


def test_the_model_is_renamed_if_it_was_asked_for() -> None:
    told = Tap(model="mine").feed([A, frame({"candidates": []})])
    renamed, untouched = told[:-4].split(b"\n\n")
    assert (b'"modelVersion":"mine"' in renamed, b'data: {"candidates":[]}') == (True, untouched)


@given(st.lists(st.integers(1, 400), max_size=6))
@settings(max_examples=100, deadline=None)
def test_it_does_not_matter_where_the_bytes_were_cut(cuts: list[int]) -> None:
    data = b"".join(GOOD)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    splitter, tap, out = SseFrames(1024), Tap(), b""
    for start, end in pairwise(places):
        out += tap.feed(splitter.feed(data[start:end]))
    assert data == out + tap.feed(splitter.finish()) + tap.end()


# ---- whole answers ----


def test_a_whole_answer_goes_on_as_it_came() -> None:
    body = orjson.dumps(chunk({"text": "a"}, finish="STOP", usageMetadata=COUNTS))
    seen = check_whole(body)
    assert (True, COUNTED, Finish("stop", "STOP"), None, body) == (
        seen.content, seen.usage, seen.finish, seen.error, seen.body,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "cls"),
    [
        (b"", "empty_response"),
        (b"words", "retryable"),
        (orjson.dumps(ERROR), "overloaded"),
        (orjson.dumps([ERROR]), "overloaded"),
        (b"{}", "empty_response"),
    ],
)
def test_what_is_no_whole_answer(body: bytes, cls: str) -> None:
    seen = check_whole(body)
    assert seen.error is not None
    assert (cls, False) == (seen.error.cls, seen.content)


def test_lone_surrogates_of_a_whole_answer_are_replaced() -> None:
    body = b'{"candidates":[{"content":{"parts":[{"text":"\\ud83d"}]},"finishReason":"STOP"}]}'
    assert "\ufffd".encode() in check_whole(body).body
