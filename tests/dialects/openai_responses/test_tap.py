from __future__ import annotations

import json
from typing import Any

import pytest

from engine.chat import Text
from engine.dialects import DIALECTS
from engine.dialects.openai_responses.encode import Encoder
from engine.dialects.openai_responses.tap import Tap, check_whole
from engine.events import (
    Close,
    ErrorEvent,
    Event,
    Finish,
    Open,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
)
from engine.wire import dumps
from tests.grammar import check_responses_stream, named_payloads

EVENTS: list[Event] = [
    Start(), Open(0, Text("")), TextDelta(0, "Hi"), TextDelta(0, " you"), Close(0),
    UsageEvent(Usage(input=3, output=2)), Finish("stop"),
]  # fmt: skip
WHOLE = Encoder("req_1", "up", 7).feed(EVENTS)
FRAMES = [frame + b"\n\n" for frame in WHOLE.split(b"\n\n")[:-1]]


def frame(kind: str, **fields: Any) -> bytes:
    value = {"type": kind, **fields}
    return f"event: {kind}\ndata: {json.dumps(value)}\n\n".encode()


ERROR = frame("error", code="server_error", message="it broke", param=None, sequence_number=0)


def test_an_answer_goes_on_as_it_came() -> None:
    tap = Tap()
    assert tap.feed(FRAMES) == WHOLE
    assert b"" == tap.end()
    assert (True, True, None) == (tap.content, tap.done, tap.error)
    assert Finish("stop", "completed", tier="default") == tap.finish
    assert tap.usage is not None
    assert (3, 2) == (tap.usage.input, tap.usage.output)
    assert b"" == tap.feed([frame("response.output_text.delta", delta="late")])


def test_nothing_is_content_before_something_is_said() -> None:
    tap = Tap()
    tap.feed(FRAMES[:4])
    assert not tap.content
    tap.feed(FRAMES[4:5])
    assert tap.content
    tap = Tap()
    tap.feed([frame("response.output_item.added", item={"type": "function_call"})])
    assert tap.content


def test_comments_stay_and_what_is_not_of_the_stream_goes() -> None:
    tap = Tap()
    assert b": ping\n\n" == tap.feed([b": ping\n\n"])
    assert b"" == tap.feed([b"data: [DONE]\n\n"])
    assert FRAMES[0] == tap.feed([b"id: 1\n" + FRAMES[0]])


def test_a_frame_without_its_name_gets_one() -> None:
    bare = b"data: " + FRAMES[0].split(b"data: ")[1]
    assert FRAMES[0] == Tap().feed([bare])


def test_a_lone_surrogate_is_replaced() -> None:
    broken = FRAMES[4].replace(b'"Hi"', b'"\\ud800"')
    assert b"\xef\xbf\xbd" in Tap().feed([broken])


def test_the_model_is_renamed() -> None:
    out = Tap(model="mine").feed(FRAMES)
    names = {v["response"]["model"] for _, v in named_payloads(out) if "response" in v}
    assert {"mine"} == names


@pytest.mark.parametrize("frames", [[ERROR], [*FRAMES[:2], ERROR]])
def test_row_19_an_error_before_anything_was_said_is_one(frames: list[bytes]) -> None:
    tap = Tap()
    tap.feed(frames)
    assert tap.error is not None
    assert ("it broke", False) == (tap.error.message, tap.content)


def test_an_error_later_ends_the_answer_as_its_own() -> None:
    tap = Tap()
    out = tap.feed([*FRAMES[:5], ERROR, *FRAMES[5:]])
    assert out == b"".join(FRAMES[:5])
    ((name, value),) = named_payloads(tap.failure)
    assert ("response.failed", 5, "resp_1") == (
        name, value["sequence_number"], value["response"]["id"],
    )  # fmt: skip
    assert "it broke" == value["response"]["error"]["message"]


@pytest.mark.parametrize(
    ("message", "kept"), [("it broke", True), ("Incorrect API key sk-123", False)]
)
def test_a_failed_response_keeps_its_words_but_for_the_key(message: str, kept: bool) -> None:
    code = "server_error" if kept else "invalid_api_key"
    error = {"code": code, "message": message}
    last = frame("response.failed", response={"id": "r", "status": "failed", "error": error})
    tap = Tap()
    tap.feed([*FRAMES[:5], last])
    assert kept == (last == tap.failure)
    assert b"sk-123" not in tap.failure


def test_row_18_an_answer_that_is_cut_off_fails() -> None:
    tap = Tap()
    tap.feed(FRAMES[:-1])
    assert b"" == tap.end()
    assert tap.error is not None
    assert "truncated" == tap.error.cls
    tap = Tap(finish_optional=True)
    tap.feed(FRAMES[:-1])
    assert (b"", None) == (tap.end(), tap.error)
    assert Finish("stop") == tap.finish
    tap = Tap()
    tap.end()
    assert tap.error is not None
    assert "empty_response" == tap.error.cls


@pytest.mark.parametrize("data", [b"<html>\n\n", b"data: {\n\n", b'{"error":{"message":"m"}}\n\n',
                                  b"\xff\n\n"])  # fmt: skip
def test_what_is_no_frame_ends_the_answer(data: bytes) -> None:
    tap = Tap()
    assert b"" == tap.feed([data])
    assert tap.error is not None


def test_an_incomplete_answer_is_whole() -> None:
    tap = Tap()
    details = {"reason": "max_output_tokens"}
    last = {"id": "r", "status": "incomplete", "incomplete_details": details, "output": [{}]}
    assert tap.feed([frame("response.incomplete", response=last)])
    assert Finish("length", "max_output_tokens") == tap.finish


def test_whole_answers() -> None:
    body = named_payloads(WHOLE)[-1][1]["response"]
    seen = check_whole(dumps(body))
    done = Finish("stop", "completed", tier="default")
    assert (True, done, None) == (seen.content, seen.finish, seen.error)
    assert seen.usage is not None
    assert 3 == seen.usage.input
    assert check_whole(b"<html>").error is not None
    assert check_whole(b'{"error":{"message":"m"}}').error is not None
    assert check_whole(b'{"status":"failed","output":[]}').error is not None
    odd = check_whole(dumps(body).replace(b'"Hi you"', b'"\\ud800"'))
    assert "�".encode() in odd.body


def test_the_table_lets_bodies_pass() -> None:
    dialect = DIALECTS["openai_responses"]
    body = b'{"model":"m","stream":true,"input":"hi","previous_response_id":"r"}'
    found = dialect.scan(body)
    assert found is not None
    assert (True, True) == (found.stream, found.include_usage)
    assert body.replace(b'"m"', b'"up"') == dialect.splice(body, found, "up", True)
    encoder = dialect.encoder("req_1", "m", 7, True, None)
    check_responses_stream(encoder.feed(EVENTS))


def test_a_connection_that_broke_ends_the_answer_under_its_id() -> None:
    tap = Tap()
    tap.feed(FRAMES[:5])
    ((name, value),) = named_payloads(tap.broken(ErrorEvent("timeout", "silence")))
    assert ("response.failed", 5, "resp_1") == (
        name, value["sequence_number"], value["response"]["id"],
    )  # fmt: skip
    assert b"silence" in Tap().broken(ErrorEvent("timeout", "silence"))


@pytest.mark.parametrize(
    ("said", "kept"), [({}, "r"), ({"store": True}, "r"), ({"store": False}, ""), ({"id": 1}, "")]
)
def test_an_id_under_which_the_upstream_keeps_the_answer(said: dict[str, Any], kept: str) -> None:
    response = {"id": "r", "status": "completed", "output": [], **said}
    tap = Tap()
    tap.feed([frame("response.created", response=response)])
    assert kept == tap.kept
    assert kept == check_whole(dumps(response)).kept
