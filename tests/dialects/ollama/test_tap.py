from __future__ import annotations

import json
from typing import Any

import pytest

from engine.dialects.ollama.tap import Tap, check_whole
from engine.events import ErrorEvent, Finish, Usage

TRUNCATED = ErrorEvent("truncated", "the upstream's answer ended before it was whole")
EMPTY = ErrorEvent("empty_response", "the upstream's answer has no content")


def line(content: str = "", done: bool = False, **more: object) -> bytes:
    message = {"role": "assistant", "content": content, **more}
    value: dict[str, Any] = {"model": "up", "message": message, "done": done}
    if done:
        value |= {"done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3}
    return json.dumps(value).encode() + b"\n"


A, B, END = line("a"), line("é"), line(done=True)
CALL = line(tool_calls=[{"function": {"name": "f", "arguments": {}}}])


def test_a_good_answer_goes_on_byte_for_byte() -> None:
    tap = Tap()
    assert tap.feed([A, B, END]) == A + B + END
    counts = {"prompt_eval_count": 7, "eval_count": 3}
    assert (True, Usage(7, 3, raw=counts), Finish("stop", "stop"), None, True) == (
        tap.content, tap.usage, tap.finish, tap.error, tap.done,
    )  # fmt: skip
    assert tap.feed([A]) == b""
    assert tap.end() == b""
    assert tap.error is None


@pytest.mark.parametrize(
    ("frames", "content"),
    [([line()], False), ([A], True), ([line(thinking="t")], True), ([CALL], True), ([END], False)],
)
def test_what_counts_as_content(frames: list[bytes], content: bool) -> None:
    tap = Tap()
    tap.feed(frames)
    assert tap.content is content


def test_a_call_ends_with_its_own_reason() -> None:
    tap = Tap()
    tap.feed([CALL, END])
    assert tap.finish == Finish("tool_calls", "stop")


def test_a_stream_that_breaks_off_is_an_error() -> None:
    tap = Tap()
    tap.feed([A])
    assert tap.end() == b""
    assert (tap.error, tap.failure) == (TRUNCATED, b'{"error":"%b"}\n' % TRUNCATED.message.encode())
    empty = Tap()
    empty.end()
    assert empty.error == EMPTY
    lax = Tap(finish_optional=True)
    lax.feed([A])
    assert (lax.end(), lax.error) == (b"", None)


def test_an_error_line_ends_it_in_its_own_words() -> None:
    tap = Tap()
    assert tap.feed([A, b'{"error":"no room"}\n', B]) == A
    assert (tap.error, tap.failure) == (
        ErrorEvent("retryable", "no room"), b'{"error":"no room"}\n',
    )  # fmt: skip
    assert tap.end() == b""


@pytest.mark.parametrize("junk", [b"<html>\n", b"[1]\n", b"nonsense\n"])
def test_what_is_no_object_ends_it(junk: bytes) -> None:
    tap = Tap()
    assert tap.feed([A, junk, END]) == A
    assert tap.error is not None


def test_blank_lines_go_and_surrogates_and_names_change() -> None:
    tap = Tap(model="m")
    odd = b'{"model":"up","message":{"content":"\\ud83d"},"done":false}\n'
    out = tap.feed([b"\n", odd])
    assert json.loads(out) == {"model": "m", "message": {"content": "�"}, "done": False}


def test_whole_answers() -> None:
    body = line("a", done=True).strip()
    seen = check_whole(body)
    assert (seen.body, seen.content, seen.finish, seen.error) == (
        body, True, Finish("stop", "stop"), None,
    )  # fmt: skip
    assert seen.usage is not None
    assert check_whole(b'{"error":"no"}').error == ErrorEvent("retryable", "no")
    assert check_whole(b"<html>").error is not None
    assert check_whole(A).error is not None
    odd = check_whole(body.replace(b'"a"', b'"\\ud83d"'))
    assert "�" in odd.body.decode()


def test_a_byte_order_mark_goes() -> None:
    tap = Tap()
    lines = [b"\xef\xbb\xbf" + A, END]
    assert A + END == tap.feed(lines)
    assert tap.error is None
    assert (
        b'{"message":{"content":"a"}}'
        == check_whole(b'\xef\xbb\xbf{"message":{"content":"a"}}').body
    )
